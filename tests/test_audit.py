#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Audits: what a container uses is told as it is, judged by each profile, and exported as valid CycloneDX."""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import main, skip, tree
from library import KEY, Context, MmhError, algorithms, allows, profiles

PROFILES = ["default", "cnsa2", "bsi", "classical"]


def validator():
    """CycloneDX's own validator, or skip."""
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError:
        skip("cyclonedx-python-lib is not installed: tools/requirements-check.txt")
    return JsonStrictValidator(SchemaVersion.V1_6)


def model(folder):
    path = folder / "model"
    path.mkdir()
    (path / "weights.bin").write_bytes(bytes(range(256)) * 999)
    (path / 'Ünïcode "name"\n.txt').write_text("names")
    (path / "empty").write_bytes(b"")
    return path


def names(used):
    return sorted(component["bom-ref"] for component in used)


def test_profiles_know_every_algorithm():
    """Each algorithm of the build has a verdict of each profile, and what a profile makes it allows."""
    assert list(profiles()) == PROFILES
    known = algorithms()
    assert len(known) > 20
    for name, info in known.items():
        for profile in PROFILES:
            allowed, why = allows(profile, name)
            assert why != "is not known" and "part of" not in why, (profile, name)
            if profile != "classical" and allowed:
                assert info.post_quantum, (profile, name)
            if profile == "classical":
                assert allowed == (info.classical and not info.post_quantum), name
    for profile, info in profiles().items():
        for name in info.algorithms.decode().split(","):
            assert allows(profile, name)[0] and name in known
        for name in (info.aead, info.hash_suite):
            assert name is None or allows(profile, name.decode())[0]
    assert allows("default", "rot13") == (False, "is not known")
    assert allows("nobody", "x-wing") == (False, "there is no such profile")


def test_what_profiles_allow():
    """CNSA 2.0 names one algorithm for each purpose; BSI wants hybrids, but for hash-based signatures."""
    asked = [*algorithms(), "passphrase", "aes-256-gcm", "chacha20-poly1305", "blake3", "sha256", "sha384"]
    assert [name for name in asked if allows("cnsa2", name)[0]] == ["ml-dsa-87", "ml-kem-1024", "aes-256-gcm", "sha384"]
    bsi = {name for name in asked if allows("bsi", name)[0]}
    assert bsi == {
        *(f"slh-dsa-{hash}-{size}{speed}" for hash in ("sha2", "shake") for size in (192, 256) for speed in "sf"),
        *("ml-dsa-65-ed25519", "ml-dsa-65-ecdsa-p256", "ml-dsa-87-ecdsa-p384", "x-wing"),
        *("mceliece460896f-x25519", "mceliece6688128-x25519"),
        *("passphrase", "aes-256-gcm", "sha256", "sha384"),
    } & set(asked), bsi


def test_each_profile_is_met_by_what_it_makes(tmp_path):
    path = model(tmp_path)
    expected = {
        "default": {"default"},
        "cnsa2": {"default", "cnsa2"},
        "bsi": {"default", "bsi"},
        "classical": {"classical"},
    }
    with Context() as context:
        for name, info in profiles().items():
            key = context.generate(info.algorithms.decode())
            container = context.pack(
                path,
                tmp_path / f"{name}.mmh",
                [key],
                [key],
                sha384=info.hash_suite == b"sha384",
                blake3=info.hash_suite is None,
                aead=info.aead or b"chacha20-poly1305",
            )
            with context.audit(container) as audit:
                assert audit.meets() == expected[name], (name, audit.write("text"))


def test_an_audit_tells_what_is_used(tmp_path):
    path = model(tmp_path)
    with Context() as context:
        modern, old = context.generate(None), context.generate("ed25519,x25519")
        container = context.pack(
            path, tmp_path / "m.mmh", [modern, old], [modern, old], b"secret", aead=b"aes-256-gcm", counter=7
        )
        with context.audit(container, [modern]) as audit:
            findings = audit.findings()
            assert list(findings) == PROFILES
            assert [found[:2] for found in findings["default"]] == [
                ("hash", "blake3"),
                ("encryption", "aes-256-gcm"),
                ("recipient 1", "x-wing"),
                ("recipient 2", "x25519"),
                ("recipient 3", "passphrase"),
                ("signature 1", "ml-dsa-65-ed25519"),
                ("signature 2", "ed25519"),
            ]
            assert [found[2] for found in findings["default"]] == [True, True, True, False, True, True, True]
            assert findings["default"][3][3:] == ("falls to a quantum computer", 0, True)
            assert findings["default"][5][4:] == (3, False)
            assert audit.meets() == set()  # the old recipient can open all, and the new algorithms are new
            value = json.loads(audit.write("json"))
            assert value["encrypted"] and value["aead"] == "aes-256-gcm" and len(value["recipients"]) == 3
            assert [signature["result"] for signature in value["signatures"]] == ["right", "unchecked"]
            assert [signature["counter"] for signature in value["signatures"]] == [7, 7]
            assert all(signature["of_this_root"] for signature in value["signatures"])
            assert [profile["name"] for profile in value["profiles"]] == PROFILES
            for profile in value["profiles"]:
                assert profile["met"] == all(found["meets"] for found in profile["findings"]) is False
            text = audit.write("text")
            assert "default: not met\n" in text and "falls to a quantum computer" in text
        plain = context.pack(path, tmp_path / "plain.mmh", sha384=True)
        with context.audit(plain) as audit:
            assert audit.meets() == set(PROFILES)
            assert ("signatures", "none", True, "not signed: nobody answers for it", 0, False) in audit.findings()[
                "bsi"
            ]


def test_bills_of_materials_are_valid(tmp_path):
    """For every algorithm that there is."""
    path, check, count = model(tmp_path), validator(), 0
    with Context() as context:
        for name, info in algorithms().items():
            key = context.generate(name)
            keys = ([], [key]) if info.signs else ([key], [])
            container = context.pack(path, tmp_path / "m.mmh", *keys, aead=b"chacha20-poly1305")
            with context.audit(container) as audit:
                text = audit.write("bill")
            assert check.validate_str(text) is None, (name, check.validate_str(text))
            value = json.loads(text)
            crypto = [c for c in value["components"] if c["type"] == "cryptographic-asset"]
            asset = next(c for c in crypto if c["bom-ref"] == f"crypto/{name}")
            properties = asset["cryptoProperties"]["algorithmProperties"]
            assert properties["nistQuantumSecurityLevel"] == info.nist_category, name
            assert properties["primitive"] in (["signature"] if info.signs else ["kem", "pke", "key-agree"])
            references = names(value["components"])
            assert len(references) == len(set(references))
            for dependency in value["dependencies"]:
                assert set(dependency["dependsOn"]) <= set(references)
            if info.classical and info.post_quantum:
                parts = next(d for d in value["dependencies"] if d["ref"] == f"crypto/{name}")["dependsOn"]
                levels = {
                    c["bom-ref"]: c["cryptoProperties"]["algorithmProperties"]["nistQuantumSecurityLevel"]
                    for c in crypto
                    if c["bom-ref"] in parts
                }
                assert set(levels.values()) == {0, info.nist_category}
            count += 1
    print(f"{count} bills of materials validated")


def test_hashes_in_a_bill_are_those_of_the_files(tmp_path):
    path, check = model(tmp_path), validator()
    (path / "link").symlink_to("weights.bin")
    with Context() as context:
        key = context.generate("x25519")
        container = context.pack(path, tmp_path / "m.mmh", [key])
        # Encrypted, and without the key: nothing of the files is told, and no hash is made up.
        with context.audit(container) as audit:
            text = audit.write("bill")
            assert (
                check.validate_str(text) is None
                and "weights" not in text
                and "SHA-256" not in text.replace("HMAC with SHA-256", "").replace("HKDF with SHA-256", "")
            )
        try:
            context.audit(container, hash_files=True)
        except MmhError as error:
            assert error.status == KEY, str(error)
        else:
            raise AssertionError("files were hashed without a key")
        context.allow(key)
        with context.audit(container, hash_files=True, time_seconds=1700000000) as audit:
            text = audit.write("bill")
            assert text == audit.write("bill")
        assert check.validate_str(text) is None
        value = json.loads(text)
        assert value["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
        found = next(c for c in value["components"] if c["type"] == "machine-learning-model")
        assert found["name"] == "m"
        hashes = {file["name"]: file["hashes"] for file in found["components"]}
        expected = {name: data for name, (kind, _, data) in tree(path).items() if kind == "file"}
        assert set(hashes) == set(expected), (set(hashes), set(expected))
        for name, data in expected.items():
            assert hashes[name] == [{"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}]


if __name__ == "__main__":
    main(globals())
