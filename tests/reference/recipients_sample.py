"""Write tests/recipients_sample.h: a recipients section made from docs/format.md section 15 alone.

SPDX-License-Identifier: Apache-2.0

By PyPI's cryptography and argon2-cffi, which share no code with src/crypto but OpenSSL's.
Its stanzas are an X25519 one (A), an ML-KEM-768 one (B), one of a kind that nobody knows, and a
passphrase's (P); H is covered by the vectors of HPKE and age.
"""

import hashlib
import hmac
import struct
import sys

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FILE_KEY = bytes(range(100, 132))
AEAD_SUITE, HASH_SUITE = 2, 2
HEADER = bytes(i & 255 for i in range(128))
ROOT = bytes(range(32))
PASSPHRASE = b"correct horse"
COST = (64, 2, 2)
NONCE = bytes(12)


def expand(prk, info, digest, length=32):
    """Give HKDF-Expand's bytes."""
    out = block = b""
    count = 1
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([count]), digest)
        out += block
        count += 1
    return out[:length]


def container_key(what, hash_suite=HASH_SUITE):
    """Give a key of the container."""
    digest = "sha384" if hash_suite == 3 else "sha256"
    prk = hmac.digest(b"mmh container v1", FILE_KEY, digest)
    return expand(prk, what + bytes([AEAD_SUITE, hash_suite]), digest)


def stanza(kind, body):
    """Give a stanza's bytes."""
    return struct.pack("<HHI", kind, 0, len(body)) + body


def raw(key):
    """Give a public key's bytes."""
    return key.public_bytes_raw()


def x25519_stanza(secret):
    """Wrap as A says."""
    once = X25519PrivateKey.from_private_bytes(bytes(range(50, 82)))
    public, enc = raw(secret.public_key()), raw(once.public_key())
    key = HKDF(hashes.SHA256(), 32, enc + public, b"mmh/v1/x25519").derive(once.exchange(secret.public_key()))
    return stanza(1, enc + ChaCha20Poly1305(key).encrypt(NONCE, FILE_KEY, None))


def ml_kem_stanza(secret):
    """Wrap as B says."""
    public = raw(secret.public_key())
    shared, enc = secret.public_key().encapsulate()
    info = b"mmh/v1/ml-kem-768" + struct.pack("<H", 2) + enc + hashlib.sha384(public).digest()
    key = HKDF(hashes.SHA384(), 32, None, info).derive(shared)
    return stanza(2, enc + AESGCM(key).encrypt(NONCE, FILE_KEY, None))


def passphrase_stanza():
    """Wrap as P says."""
    salt = bytes(range(16))
    memory, passes, lanes = COST
    key = hash_secret_raw(PASSPHRASE, salt, passes, memory, lanes, 32, Type.ID)
    sealed = ChaCha20Poly1305(key).encrypt(NONCE, FILE_KEY, None)
    return stanza(12, struct.pack("<III", *COST) + salt + sealed)


def c_array(name, data):
    """Give a C array."""
    lines = [data[at : at + 18] for at in range(0, len(data), 18)]
    text = ",\n".join("    " + ", ".join(f"0x{byte:02x}" for byte in line) for line in lines)
    return f"static const uint8_t {name}[] = {{\n{text}\n}};\n"


def main():
    """Print the header."""
    scalar, seed = bytes(range(1, 33)), bytes(range(64))
    x25519 = X25519PrivateKey.from_private_bytes(scalar)
    ml_kem = MLKEM768PrivateKey.from_seed_bytes(seed)
    stanzas = [
        x25519_stanza(x25519),
        ml_kem_stanza(ml_kem),
        stanza(60000, b"unknown"),
        passphrase_stanza(),
    ]
    section = struct.pack("<HH", 1, len(stanzas)) + b"".join(stanzas)
    section += hmac.digest(container_key(b"recipients"), HEADER + ROOT + section, "sha256")[:32]
    parts = [
        ("sample_file_key", FILE_KEY),
        ("sample_root", ROOT),
        ("sample_x25519_secret", scalar),
        ("sample_ml_kem_seed", seed),
        ("sample_chunk_key", container_key(b"chunk")),
        ("sample_page_key", container_key(b"page")),
        ("sample_commitment", container_key(b"commitment")),
        ("sample_commitment_sha384", container_key(b"commitment", 3)),
        ("sample_section", section),
    ]
    sys.stdout.write(
        "/*\n * A recipients section that Python made: tests/reference/recipients_sample.py writes"
        " this file.\n *\n * SPDX-License-Identifier: Apache-2.0\n */\n"
        "#ifndef MMH_RECIPIENTS_SAMPLE_H\n#define MMH_RECIPIENTS_SAMPLE_H\n\n"
        "#include <stdint.h>\n\n/* clang-format off */\n"
        f"enum {{ SAMPLE_AEAD = {AEAD_SUITE}, SAMPLE_HASH = {HASH_SUITE} }};\n"
        f'static const char sample_passphrase[] = "{PASSPHRASE.decode()}";\n'
        + "".join(c_array(*part) for part in parts)
        + "/* clang-format on */\n#endif\n"
    )


if __name__ == "__main__":
    main()
