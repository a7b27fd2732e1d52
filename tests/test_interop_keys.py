#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keys and signatures go both ways between mmh, PyPI's `cryptography`, and a program on libcrypto alone.

tests/key_tool.c is ours, tests/interop_openssl.c knows libcrypto and the specifications only.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import ROOT, main, skip

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, padding, rsa, x25519
except ImportError:
    serialization = None

COMPOSITES = ("ml-dsa-44-ed25519", "ml-dsa-65-ed25519", "ml-dsa-65-ecdsa-p256", "ml-dsa-87-ecdsa-p384")
SLH_DSA = [f"slh-dsa-{hash}-{size}{kind}" for hash in ("sha2", "shake") for size in (128, 192, 256) for kind in "sf"]
CLASSICAL = ("ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-pss")
SIGNATURES = (*CLASSICAL, "ml-dsa-44", "ml-dsa-65", "ml-dsa-87", *SLH_DSA, *COMPOSITES)
KEMS = ("x25519", "ml-kem-768", "ml-kem-1024", "x-wing", "rsa-oaep")
MESSAGE = b"what is signed"
KEY = 7  # MMH_E_KEY
UNTRUSTED = 6


def tool(name, *arguments, code=0):
    path = Path(os.environ.get("MMH_BUILD") or ROOT / "build") / "tests" / name
    if not path.exists():
        skip(f"there is no {path}")
    result = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == code, f"{name} {arguments}: {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout


def ours(*arguments, code=0):
    return tool("key_tool", *arguments, code=code)


def theirs(*arguments, code=0):
    return tool("interop_openssl", *arguments, code=code)


def written(tmp_path):
    path = tmp_path / "message"
    path.write_bytes(MESSAGE)
    return path


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def blocks(path):
    """The PEM blocks of a file, as cryptography's keys."""
    keys = []
    for block in re.findall(r"-----BEGIN [^-]*-----[^-]*-----END [^-]*-----\n", path.read_text()):
        if "PRIVATE" in block.splitlines()[0]:
            keys.append(serialization.load_pem_private_key(block.encode(), None))
        else:
            keys.append(serialization.load_pem_public_key(block.encode()))
    return keys


def need_cryptography():
    if serialization is None:
        skip("PyPI's cryptography, of 50.0 or later, is not here")


# ---- libcrypto alone ----


def test_libcrypto_verifies_what_we_sign(tmp_path):
    message, signature = written(tmp_path), tmp_path / "signature"
    for name in SIGNATURES:
        stem = tmp_path / name
        ours("generate", name, stem)
        ours("sign", f"{stem}.key", message, signature)
        theirs("verify", f"{stem}.pub", name, message, signature)
        theirs("verify", f"{stem}.key", name, message, signature)
        flip(signature)
        theirs("verify", f"{stem}.pub", name, message, signature, code=1)


def test_we_verify_what_libcrypto_signs(tmp_path):
    message, signature = written(tmp_path), tmp_path / "signature"
    for name in SIGNATURES:
        stem = tmp_path / name
        theirs("generate", name, stem)
        assert ours("info", f"{stem}.key").startswith(f"private {name} "), name
        assert ours("info", f"{stem}.pub").startswith(f"public {name} "), name
        theirs("sign", f"{stem}.key", name, message, signature)
        ours("verify", f"{stem}.pub", message, signature)
        flip(signature)
        ours("verify", f"{stem}.pub", message, signature, code=UNTRUSTED)
        # Our keys of their kind, and their keys used by us.
        ours("sign", f"{stem}.key", message, signature)
        theirs("verify", f"{stem}.pub", name, message, signature)


def test_libcrypto_signs_with_our_keys(tmp_path):
    message, signature = written(tmp_path), tmp_path / "signature"
    for name in (*CLASSICAL, "ml-dsa-44", "ml-dsa-65", "ml-dsa-87", "slh-dsa-sha2-128f", *COMPOSITES):
        stem = tmp_path / name
        ours("generate", name, stem)
        theirs("sign", f"{stem}.key", name, message, signature)
        ours("verify", f"{stem}.pub", message, signature)


def test_keys_that_decrypt_go_both_ways(tmp_path):
    for name in KEMS:
        stem, other = tmp_path / name, tmp_path / f"{name}-theirs"
        ours("generate", name, stem)
        for end in ("key", "pub"):
            found = theirs("info", f"{stem}.{end}").split()
            assert (
                found
                == {
                    "x25519": ["X25519"],
                    "ml-kem-768": ["ML-KEM-768"],
                    "ml-kem-1024": ["ML-KEM-1024"],
                    "x-wing": ["ML-KEM-768", "X25519"],
                    "rsa-oaep": ["RSA"],
                }[name]
            ), name
        theirs("generate", name, other)
        secret, public = ours("info", f"{other}.key").split(), ours("info", f"{other}.pub").split()
        assert secret[:2] == ["private", name] and public[:2] == ["public", name]
        assert secret[2] == public[2], "one key, one fingerprint"


# ---- PyPI's cryptography ----


def test_cryptography_reads_every_block(tmp_path):
    need_cryptography()
    kinds = {
        "ed25519": [ed25519.Ed25519PrivateKey],
        "ecdsa-p256": [ec.EllipticCurvePrivateKey],
        "ecdsa-p384": [ec.EllipticCurvePrivateKey],
        "ecdsa-p521": [ec.EllipticCurvePrivateKey],
        "rsa-pss": [rsa.RSAPrivateKey],
        "ml-dsa-44": [mldsa.MLDSA44PrivateKey],
        "ml-dsa-65": [mldsa.MLDSA65PrivateKey],
        "ml-dsa-87": [mldsa.MLDSA87PrivateKey],
        "ml-dsa-44-ed25519": [mldsa.MLDSA44PrivateKey, ed25519.Ed25519PrivateKey],
        "ml-dsa-65-ed25519": [mldsa.MLDSA65PrivateKey, ed25519.Ed25519PrivateKey],
        "ml-dsa-65-ecdsa-p256": [mldsa.MLDSA65PrivateKey, ec.EllipticCurvePrivateKey],
        "ml-dsa-87-ecdsa-p384": [mldsa.MLDSA87PrivateKey, ec.EllipticCurvePrivateKey],
        "x25519": [x25519.X25519PrivateKey],
        "ml-kem-768": [mlkem.MLKEM768PrivateKey],
        "ml-kem-1024": [mlkem.MLKEM1024PrivateKey],
        "x-wing": [mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey],
        "rsa-oaep": [rsa.RSAPrivateKey],
    }
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for name, wanted in kinds.items():
        stem = tmp_path / name
        ours("generate", name, stem)
        secret, public = blocks(Path(f"{stem}.key")), blocks(Path(f"{stem}.pub"))
        assert len(secret) == len(public) == len(wanted), name
        for private, shown, kind in zip(secret, public, wanted, strict=True):
            assert isinstance(private, kind), name
            assert private.public_key().public_bytes(*form) == shown.public_bytes(*form), name


def crypto_verify(name, key, signature):
    if name == "ed25519":
        key.verify(signature, MESSAGE)
    elif name.startswith("ecdsa"):
        digest = {"6": hashes.SHA256, "4": hashes.SHA384, "1": hashes.SHA512}[name[-1]]()
        key.verify(signature, MESSAGE, ec.ECDSA(digest))
    elif name == "rsa-pss":
        key.verify(signature, MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    else:
        key.verify(signature, MESSAGE, b"mmh")


def crypto_sign(name, key):
    if name == "ed25519":
        return key.sign(MESSAGE)
    if name.startswith("ecdsa"):
        digest = {"6": hashes.SHA256, "4": hashes.SHA384, "1": hashes.SHA512}[name[-1]]()
        return key.sign(MESSAGE, ec.ECDSA(digest))
    if name == "rsa-pss":
        return key.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    return key.sign(MESSAGE, b"mmh")


def crypto_make(name):
    made = {
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ecdsa-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "rsa-pss": lambda: rsa.generate_private_key(65537, 2048),
        "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
        "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
        "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
        "x25519": x25519.X25519PrivateKey.generate,
        "ml-kem-768": mlkem.MLKEM768PrivateKey.generate,
        "ml-kem-1024": mlkem.MLKEM1024PrivateKey.generate,
    }
    return made[name]()


ALONE = (*CLASSICAL, "ml-dsa-44", "ml-dsa-65", "ml-dsa-87")


def test_cryptography_verifies_what_we_sign(tmp_path):
    need_cryptography()
    message, signature = written(tmp_path), tmp_path / "signature"
    for name in ALONE:
        stem = tmp_path / name
        ours("generate", name, stem)
        ours("sign", f"{stem}.key", message, signature)
        key = blocks(Path(f"{stem}.pub"))[0]
        crypto_verify(name, key, signature.read_bytes())
        flip(signature)
        try:
            crypto_verify(name, key, signature.read_bytes())
        except InvalidSignature:
            continue
        raise AssertionError(name)


def test_we_use_what_cryptography_makes(tmp_path):
    need_cryptography()
    message, signature = written(tmp_path), tmp_path / "signature"
    forms = [serialization.PrivateFormat.PKCS8]
    for name in (*ALONE, "x25519", "ml-kem-768", "ml-kem-1024"):
        key = crypto_make(name)
        secret, public = tmp_path / f"{name}.key", tmp_path / f"{name}.pub"
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        plain = serialization.NoEncryption()
        sealed = serialization.BestAvailableEncryption(b"secret")
        more = [serialization.PrivateFormat.TraditionalOpenSSL] if name.startswith(("ecdsa", "rsa")) else []
        fingerprints = {ours("info", public).split()[2]}
        for form in [*forms, *more]:
            secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
            fingerprints.add(ours("info", secret).split()[2])
        if name in ALONE:
            signature.write_bytes(crypto_sign(name, key))
            ours("verify", public, message, signature)
            ours("sign", secret, message, signature)
            crypto_verify(name, key.public_key(), signature.read_bytes())
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, forms[0], sealed))
        fingerprints.add(ours("info", secret, "secret").split()[2])
        ours("info", secret, "wrong", code=KEY)
        assert len(fingerprints) == 1, name


def test_composites_are_made_of_cryptographys_keys(tmp_path):
    """Each half by itself is cryptography's; put under our line they are one key."""
    need_cryptography()
    message, signature = written(tmp_path), tmp_path / "signature"
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "both.key"
    path.write_bytes(
        b"mmh key: sign ml-dsa-65-ed25519\n"
        + crypto_make("ml-dsa-65").private_bytes(*pem)
        + crypto_make("ed25519").private_bytes(*pem)
    )
    ours("sign", path, message, signature)
    assert signature.stat().st_size == 3309 + 64
    theirs("verify", path, "ml-dsa-65-ed25519", message, signature)


# ---- the whole of a file ----


def test_private_files_under_a_passphrase_show_nothing(tmp_path):
    stem = tmp_path / "alice"
    ours("generate", "ml-dsa-65-ed25519,x-wing", stem, "secret")
    path = Path(f"{stem}.key")
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.findall("-----BEGIN (.*)-----", path.read_text()) == ["MMH ENCRYPTED PRIVATE KEY"]
    assert "mmh key" not in path.read_text()
    told = ours("info", path, "secret").replace("private", "public")
    assert told == ours("info", f"{stem}.pub")
    ours("info", path, code=KEY)
    ours("info", path, "Secret", code=KEY)


def test_age_recipients_come_back(tmp_path):
    for name in ("x25519", "x-wing"):
        stem, text = tmp_path / name, tmp_path / f"{name}.txt"
        ours("generate", name, stem)
        text.write_text("# alice\n" + ours("recipient", f"{stem}.key"))
        assert ours("info", text) == ours("info", f"{stem}.pub")


if __name__ == "__main__":
    main()
