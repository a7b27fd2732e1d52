#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""OpenSSF Model Signing bundles: PyPI's model-signing and libmmh believe each other's, and neither a wrong one."""

import base64
import hashlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
import library
from harness import OK, main, mmh, shared, skip
from library import CORRUPT, KEY, UNSUPPORTED, UNTRUSTED, USAGE, Context, MmhError

CURVES = {"p256": "SECP256R1", "p384": "SECP384R1", "p521": "SECP521R1"}


def oracle():
    """PyPI's model_signing, or skip."""
    try:
        import model_signing
    except ImportError:
        skip("model-signing is not installed: tools/requirements-check.txt")
    return model_signing


def crypto():
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        skip("cryptography is not installed: tools/requirements-check.txt")
    return serialization, ec


def key_files(folder, curve):
    """A private and a public key file, made by `cryptography`."""
    serialization, ec = crypto()
    key = ec.generate_private_key(getattr(ec, CURVES[curve])())
    private, public = folder / f"{curve}.key", folder / f"{curve}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def make_model(folder):
    model = folder / "model"
    (model / "onnx").mkdir(parents=True)
    (model / "config.json").write_text('{"a": 1}')
    (model / "empty").write_bytes(b"")
    (model / "onnx" / "weights.bin").write_bytes(bytes(range(256)) * 40000)
    (model / "onnx-2").write_bytes(b"sorted between")
    (model / 'Ünïcode "name".txt').write_bytes(b"names")
    (model / ".gitattributes").write_bytes(b"ignored")
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_bytes(b"ignored")
    return model


def refused(status, words, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except MmhError as error:
        assert error.status == status, (error.status, str(error))
        assert words in str(error), str(error)
        return error
    raise AssertionError("it was not refused")


def test_ours_are_verified_by_model_signing(tmp_path):
    model_signing = oracle()
    count = 0
    with Context() as context:
        for curve in CURVES:
            private, public = key_files(tmp_path, curve)
            key = context.read(private)
            model = make_model(tmp_path / curve)
            bundle = model / "model.sig"
            assert context.sign_bundle(model, bundle, [key]).file_count == 5
            config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=str(public))
            config.verify(str(model), str(bundle))
            (model / "config.json").write_text('{"a": 2}')
            try:
                config.verify(str(model), str(bundle))
            except ValueError:
                pass
            else:
                raise AssertionError("model-signing believed a file that was changed")
            count += 1
    print(f"{count} bundles of ours verified by model-signing")


def test_theirs_are_verified_by_us(tmp_path):
    model_signing = oracle()
    count = 0
    with Context() as context:
        for curve in CURVES:
            private, public = key_files(tmp_path, curve)
            key, other = context.read(public), context.generate("ecdsa-p256")
            hashings = [
                model_signing.hashing.Config(),
                model_signing.hashing.Config().use_shard_serialization(shard_size=1000000),
                model_signing.hashing.Config().use_file_serialization(hashing_algorithm="blake2"),
                model_signing.hashing.Config().use_file_serialization(hashing_algorithm="blake3"),
            ]
            for number, hashing in enumerate(hashings):
                model = make_model(tmp_path / f"{curve}-{number}")
                bundle = model / "model.sig"
                config = model_signing.signing.Config().use_elliptic_key_signer(private_key=str(private))
                hashing.set_ignored_paths(paths=[str(bundle)], ignore_git_paths=True)
                try:
                    config.set_hashing_config(hashing).sign(str(model), str(bundle))
                except ImportError as reason:  # blake3 is a package of its own
                    print(f"not made by model-signing: {reason}")
                    continue
                report, findings = context.verify_bundle(bundle, model, [key])
                assert report.is_signed and not findings
                error = refused(UNTRUSTED, "", context.verify_bundle, bundle, model, [other])
                assert not error.report.is_signed
                count += 1
    print(f"{count} bundles of model-signing verified")


def test_a_container_stands_for_its_files(tmp_path):
    model_signing = oracle()
    private, public = key_files(tmp_path, "p256")
    model, container = make_model(tmp_path), tmp_path / "model.mmh"
    assert mmh("pack", model, "-o", container).code == OK
    with Context() as context:
        key = context.read(private)
        of_folder, of_container = tmp_path / "folder.sig", tmp_path / "container.sig"
        context.sign_bundle(model, of_folder, [key])
        context.sign_bundle(container, of_container, [key])
        payloads = [json.loads(path.read_text())["dsseEnvelope"]["payload"] for path in (of_folder, of_container)]
        assert payloads[0] == payloads[1]
        for bundle in (of_folder, of_container):
            for path in (model, container):
                context.verify_bundle(bundle, path, [key])
            config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=str(public))
            config.verify(str(model), str(bundle))
        # The container itself is a file, too, if that is what is meant.
        context.sign_bundle(container, tmp_path / "file.sig", [key], as_file=True)
        context.verify_bundle(tmp_path / "file.sig", container, [key], as_file=True)
        error = refused(UNTRUSTED, "", context.verify_bundle, tmp_path / "file.sig", container, [key])
        assert ("missing", "model.mmh") in error.findings


def test_files_that_differ_are_named(tmp_path):
    with Context() as context:
        model, bundle, key = make_model(tmp_path), tmp_path / "model.sig", context.generate("ecdsa-p384")
        for shards in (0, 4096):
            context.sign_bundle(model, bundle, [key], shard_bytes=shards, overwrite=True)
            weights = (model / "onnx" / "weights.bin").read_bytes()
            (model / "config.json").unlink()
            (model / "added").write_bytes(b"x")
            (model / "onnx" / "weights.bin").write_bytes(weights[:-1] + b"\0")
            (model / ".git" / "more").write_bytes(b"ignored")
            error = refused(UNTRUSTED, "2 more files", context.verify_bundle, bundle, model, [key])
            assert sorted(error.findings) == [
                ("differs", "onnx/weights.bin"),
                ("extra", "added"),
                ("missing", "config.json"),
            ], error.findings
            assert error.report.is_signed and error.report.right_count == 1
            error = refused(UNTRUSTED, "", context.verify_bundle, bundle, model, [key], allow_extra=True)
            assert error.report.extra == 0
            # A file that has become longer, with all that was signed at its beginning.
            (model / "onnx" / "weights.bin").write_bytes(weights + b"\0")
            (model / "added").unlink()
            (model / "config.json").write_text('{"a": 1}')
            error = refused(UNTRUSTED, "weights.bin", context.verify_bundle, bundle, model, [key])
            assert error.findings == [("differs", "onnx/weights.bin")]
            (model / "onnx" / "weights.bin").write_bytes(weights)
            report, findings = context.verify_bundle(bundle, model, [key])
            assert not findings and report.bytes == len(weights) + 27


def test_symlinks_are_refused_or_followed(tmp_path):
    with Context() as context:
        model, bundle, key = make_model(tmp_path), tmp_path / "model.sig", context.generate("ecdsa-p256")
        (tmp_path / "outside").write_bytes(b"blob")
        (model / "link").symlink_to("../outside")
        refused(USAGE, "is a symlink", context.sign_bundle, model, bundle, [key])
        context.sign_bundle(model, bundle, [key], ignored=["link"])
        context.verify_bundle(bundle, model, [key])
        context.sign_bundle(model, bundle, [key], symlinks=True, overwrite=True)
        context.verify_bundle(bundle, model, [key])
        (tmp_path / "outside").write_bytes(b"other")
        error = refused(UNTRUSTED, "link", context.verify_bundle, bundle, model, [key])
        assert error.findings == [("differs", "link")]
        (model / "to-folder").symlink_to("onnx")
        refused(
            UNSUPPORTED,
            "does not lead to a file",
            context.sign_bundle,
            model,
            bundle,
            [key],
            symlinks=True,
            overwrite=True,
        )


def test_post_quantum_signatures_stand_beside(tmp_path):
    """With ECDSA, model-signing verifies it still; without, it refuses, and we do not."""
    model_signing = oracle()
    private, public = key_files(tmp_path, "p256")
    model, bundle = make_model(tmp_path), tmp_path / "model.sig"
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=str(public))
    with Context() as context:
        ecdsa = context.read(private)
        for algorithm in ("ml-dsa-65", "ml-dsa-65-ed25519", "ml-dsa-87-ecdsa-p384", "slh-dsa-sha2-128f", "ed25519"):
            key, hybrid = context.generate(algorithm), algorithm.count("-") > 2 and algorithm.startswith("ml")
            context.sign_bundle(model, bundle, [key, ecdsa], overwrite=True)
            config.verify(str(model), str(bundle))
            report, _ = context.verify_bundle(bundle, model, [key, ecdsa], {"all": True})
            assert report.right_count == 2
            strong = {"post_quantum": True}
            refused(UNTRUSTED, "post-quantum", context.verify_bundle, bundle, model, [ecdsa], strong)
            if algorithm != "ed25519":
                context.verify_bundle(bundle, model, [key, ecdsa], strong)
            if hybrid:
                context.verify_bundle(bundle, model, [key, ecdsa], {"hybrid": True})
            # Stripped of it, the bundle is what it was without.
            stripped = json.loads(bundle.read_text())
            assert stripped["dsseEnvelope"]["signatures"][1]["keyid"].startswith(algorithm + ":")
            del stripped["dsseEnvelope"]["signatures"][1]
            (tmp_path / "stripped.sig").write_text(json.dumps(stripped))
            context.verify_bundle(tmp_path / "stripped.sig", model, [key, ecdsa])
            error = refused(
                UNTRUSTED,
                "no signature by the " + algorithm,
                context.verify_bundle,
                tmp_path / "stripped.sig",
                model,
                [key, ecdsa],
                {"all": True},
            )
            assert error.report.right_count == 1
            context.sign_bundle(model, bundle, [key], overwrite=True)
            context.verify_bundle(bundle, model, [key])
            try:
                config.verify(str(model), str(bundle))
            except Exception:
                pass
            else:
                raise AssertionError(f"model-signing believed {algorithm}")


def test_the_specifications_bundles(tmp_path):
    """Signatures of valid ones by the keys that they have certificates for; invalid ones are refused."""
    serialization, _ = crypto()
    from cryptography import x509

    vectors, counts = shared() / "vectors" / "oms" / "test-vectors" / "v1.0", {}
    model = tmp_path / "model"
    model.mkdir()
    (model / "other").write_bytes(b"none of the files that were signed")
    with Context() as context:
        stranger = context.generate("ecdsa-p384")
        for path in sorted(vectors.rglob("*.json")):
            kind, name = path.parent.name, path.name.split(".")[0]
            counts[kind] = counts.get(kind, 0) + 1
            if kind != "valid":
                if kind == "invalid":
                    refused(CORRUPT, "", context.verify_bundle, path, model, [stranger])
                else:
                    refused(UNTRUSTED, "", context.verify_bundle, path, model, [stranger])
                continue
            error = refused(UNTRUSTED, "", context.verify_bundle, path, model, [stranger])
            if name != "key":
                assert "chains of certificates and logs are not checked" in str(error)
            material = json.loads(path.read_text())["verificationMaterial"]
            if name == "certificate":
                raw = material["x509CertificateChain"]["certificates"][0]["rawBytes"]
            elif name == "sigstore":
                raw = material["certificate"]["rawBytes"]
            else:
                continue  # its key is not published
            public = x509.load_der_x509_certificate(base64.b64decode(raw)).public_key()
            (tmp_path / "leaf.pub").write_bytes(
                public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            )
            leaf = context.read(tmp_path / "leaf.pub")
            error = refused(UNTRUSTED, "", context.verify_bundle, path, model, [leaf])
            assert error.report.is_signed and error.report.right_count == 1, str(error)
            assert sorted(error.findings) == [("extra", "other"), ("missing", "signme-1"), ("missing", "signme-2")]
    assert counts == {"valid": 3, "invalid": 4, "invalid-payload": 1}, counts
    print(f"bundles of the specification: {counts}")


def test_what_is_written_meets_the_schemas(tmp_path):
    try:
        import jsonschema
        from referencing import Registry, Resource
    except ImportError:
        skip("jsonschema is not installed: tools/requirements-check.txt")
    folder = shared() / "vectors" / "oms" / "schemas" / "v1.0"
    schemas = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    registry = Registry().with_resources([(schema["$id"], Resource.from_contents(schema)) for schema in schemas])
    with Context() as context:
        keys = [context.generate("ecdsa-p256"), context.generate(None)]
        for shards in (0, 5000):
            model, bundle = make_model(tmp_path / str(shards)), tmp_path / f"{shards}.sig"
            context.sign_bundle(model, bundle, keys, shard_bytes=shards)
            value = json.loads(bundle.read_text())
            statement = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
            for what, kind in ((value, "bundle"), (statement, "statement")):
                schema = next(schema for schema in schemas if f"/{kind}/" in schema["$id"])
                jsonschema.Draft202012Validator(schema, registry=registry).validate(what)
            names = [item["name"] for item in statement["predicate"]["resources"]]
            assert names == sorted(names) and ("empty" in names) == (not shards)
            digests = b"".join(bytes.fromhex(item["digest"]) for item in statement["predicate"]["resources"])
            assert statement["subject"][0]["digest"]["sha256"] == hashlib.sha256(digests).hexdigest()
            assert statement["subject"][0]["name"] == "model"


def test_the_same_model_gives_the_same_list(tmp_path):
    with Context() as context:
        key, payloads = context.generate("ed25519"), set()
        for name in ("a", "b"):
            model = make_model(tmp_path / name)
            context.sign_bundle(model, tmp_path / f"{name}.sig", [key])
            payloads.add(json.loads((tmp_path / f"{name}.sig").read_text())["dsseEnvelope"]["payload"])
        assert len(payloads) == 1


def test_a_single_file_is_a_model(tmp_path):
    """By its name, as the specification has it; and by ".", as model-signing writes it."""
    model_signing = oracle()
    private, public = key_files(tmp_path, "p256")
    folder = tmp_path / "one"
    folder.mkdir()
    weights = folder / "w.bin"
    weights.write_bytes(b"weights")
    with Context() as context:
        key = context.read(private)
        context.sign_bundle(weights, tmp_path / "ours.sig", [key])
        context.verify_bundle(tmp_path / "ours.sig", weights, [key])
        context.verify_bundle(tmp_path / "ours.sig", folder, [key])
        config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=str(public))
        config.verify(str(folder), str(tmp_path / "ours.sig"))
        signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=str(private))
        signer.sign(str(weights), str(tmp_path / "theirs.sig"))
        context.verify_bundle(tmp_path / "theirs.sig", weights, [key])
        weights.write_bytes(b"Weights")
        refused(UNTRUSTED, "differs", context.verify_bundle, tmp_path / "theirs.sig", weights, [key])


def test_wrong_calls_are_refused(tmp_path):
    with Context() as context:
        model, bundle, key = make_model(tmp_path), tmp_path / "model.sig", context.generate("ed25519")
        public = context.read(context.write(key, tmp_path / "key.pub", False))
        (tmp_path / "nothing").mkdir()
        refused(USAGE, "has no files", context.sign_bundle, tmp_path / "nothing", bundle, [key])
        refused(library.IO, "is not there", context.sign_bundle, tmp_path / "absent", bundle, [key])
        refused(KEY, "a private one is needed", context.sign_bundle, model, bundle, [public])
        refused(USAGE, "no key to sign with", context.sign_bundle, model, bundle, [])
        for path in ("/abs", "../up", "a*", "a//b"):
            refused(USAGE, "cannot be ignored", context.sign_bundle, model, bundle, [key], ignored=[path])
        assert not bundle.exists()
        context.sign_bundle(model, bundle, [key])
        refused(USAGE, "exists", context.sign_bundle, model, bundle, [key])
        refused(UNTRUSTED, "no key to believe", context.verify_bundle, bundle, model, [])
        refused(USAGE, "counter", context.verify_bundle, bundle, model, [key], {"min_counter": 1})
        (model / os.fsdecode(b"\xff")).write_bytes(b"")
        refused(UNSUPPORTED, "no UTF-8", context.sign_bundle, model, bundle, [key], overwrite=True)


if __name__ == "__main__":
    main(globals())
