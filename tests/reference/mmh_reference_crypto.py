"""Sections 15 and 16 of format.md, for the second reader and its writer: keys, seals, recipients, signatures.

Classic McEliece (kinds 5 to 10) is missing: no Python package has it. Primitives are those of PyPI
`cryptography`; what the document builds of them is written here once more.
"""
# SPDX-License-Identifier: Apache-2.0
# Source: RFC 5869, RFC 9180, draft-connolly-cfrg-xwing-kem, draft-ietf-lamps-pq-composite-sigs

import base64
import hashlib
import hmac
import os
import re
import struct
import zlib

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

import mmh_reference_slh_dsa as slh_dsa
from mmh_reference_errors import Cursor, Limit, NoKey, Unsupported, need

FILE_KEY_BYTES = 32
SEALED_KEY_BYTES = 48
RECIPIENTS_LIMIT = 1024
PASSPHRASES_LIMIT = 8
ARGON2_LIMIT = (1 << 20, 16, 16)
ARGON2_COST = (1 << 16, 3, 4)

X25519, ML_KEM_768, ML_KEM_1024, X_WING, RSA_OAEP, PASSPHRASE = 1, 2, 3, 4, 11, 12
KINDS = {
    X25519: "x25519",
    ML_KEM_768: "ml-kem-768",
    ML_KEM_1024: "ml-kem-1024",
    X_WING: "x-wing",
    RSA_OAEP: "rsa-oaep",
    PASSPHRASE: "passphrase",
}

RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw
SPKI = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo


# --------------------------------------------------------------------------------------------------
# Section 15: keys from keys, seals
# --------------------------------------------------------------------------------------------------


def hkdf_extract(new_hash, salt, ikm):
    """RFC 5869, 2.2."""
    return hmac.digest(salt or bytes(new_hash().digest_size), ikm, new_hash().name)


def hkdf_expand(new_hash, prk, info, length):
    """RFC 5869, 2.3."""
    out, block = b"", b""
    for number in range(1, -(-length // new_hash().digest_size) + 1):
        block = hmac.digest(prk, block + info + bytes([number]), new_hash().name)
        out += block
    return out[:length]


def hkdf(new_hash, salt, ikm, info, length):
    """Both."""
    return hkdf_expand(new_hash, hkdf_extract(new_hash, salt, ikm), info, length)


def aead(cipher, key):
    """The AEAD of an encryption suite."""
    return AESGCM(key) if cipher == 1 else ChaCha20Poly1305(key)


class FileKeys:
    """What comes of a file key, and the seals made with it."""

    def __init__(self, file_key, cipher, suite):
        self.file_key = file_key
        self.cipher = cipher
        self.hash = hashlib.sha384 if suite == 3 else hashlib.sha256
        prk = hkdf_extract(self.hash, b"mmh container v1", file_key)
        for what in ("chunk", "page", "recipients", "commitment"):
            setattr(self, what, hkdf_expand(self.hash, prk, what.encode() + bytes([cipher, suite]), 32))

    def seal_chunk(self, number, payload):
        """A chunk as it is stored."""
        return aead(self.cipher, self.chunk).encrypt(struct.pack("<IQ", 0, number), payload, None)

    def seal_page(self, number, page, header):
        """A page as it is stored."""
        return aead(self.cipher, self.page).encrypt(struct.pack("<IQ", 0, number), page, header)

    def open_chunk(self, number, stored):
        """A chunk's payload."""
        return self._open(self.chunk, number, stored, None)

    def open_page(self, number, stored, header):
        """A page before it was sealed."""
        return self._open(self.page, number, stored, header)

    def _open(self, key, number, stored, extra):
        try:
            return aead(self.cipher, key).decrypt(struct.pack("<IQ", 0, number), stored, extra)
        except InvalidTag:
            need(False, "a seal is broken")

    def recipients_mac(self, header, root, section):
        """The MAC of section 1, whose other bytes are given."""
        return hmac.digest(self.recipients, header + root + section, self.hash().name)[:32]


# --------------------------------------------------------------------------------------------------
# Section 15: recipients
# --------------------------------------------------------------------------------------------------


def open_once(cipher, key, sealed, nonce=bytes(12)):
    """What is sealed under a key of its own; None if it does not open."""
    try:
        return cipher(key).decrypt(nonce, sealed, None)
    except InvalidTag:
        return None


class KemKey:
    """A key pair, or a public key, of one kind: `seal` makes a stanza's body, `open` gives the file key or None."""

    kind = 0
    enc_bytes = 0

    def seal(self, file_key):
        """A body for this recipient."""
        enc, shared = self.encapsulate()
        cipher, key, nonce = self.wrap(enc, shared)
        return enc + cipher(key).encrypt(nonce, file_key, None)

    def open(self, body):
        """The file key that a body holds."""
        if len(body) != self.enc_bytes + SEALED_KEY_BYTES:
            return None
        enc, sealed = body[: self.enc_bytes], body[self.enc_bytes :]
        shared = self.decapsulate(enc)
        if shared is None:
            return None
        cipher, key, nonce = self.wrap(enc, shared)
        return open_once(cipher, key, sealed, nonce)

    def wrap(self, enc, shared):
        """B: the AEAD, the key and the nonce that seal the file key."""
        info = b"mmh/v1/" + KINDS[self.kind].encode() + struct.pack("<H", self.kind)
        info += enc + hashlib.sha384(self.public).digest()
        return AESGCM, hkdf(hashlib.sha384, b"", shared, info, 32), bytes(12)


def x25519_shared(private, enc):
    """The shared secret; None for one of zeros."""
    try:
        return private.exchange(x25519.X25519PublicKey.from_public_bytes(enc))
    except ValueError:
        return None


class X25519Key(KemKey):
    """Kind 1, A."""

    kind = X25519
    enc_bytes = 32

    def __init__(self, public, private=None):
        self.public = public.public_bytes(*RAW)
        self.private = private

    def encapsulate(self):
        ephemeral = x25519.X25519PrivateKey.generate()
        shared = ephemeral.exchange(x25519.X25519PublicKey.from_public_bytes(self.public))
        return ephemeral.public_key().public_bytes(*RAW), shared

    def decapsulate(self, enc):
        return x25519_shared(self.private, enc)

    def wrap(self, enc, shared):
        key = hkdf(hashlib.sha256, enc + self.public, shared, b"mmh/v1/x25519", 32)
        return ChaCha20Poly1305, key, bytes(12)


class MlKemKey(KemKey):
    """Kinds 2 and 3, B."""

    def __init__(self, public, private=None):
        self.key = public
        self.public = public.public_bytes_raw()
        self.private = private
        self.kind = ML_KEM_768 if len(self.public) == 1184 else ML_KEM_1024
        self.enc_bytes = 1088 if self.kind == ML_KEM_768 else 1568

    def encapsulate(self):
        shared, enc = self.key.encapsulate()
        return enc, shared

    def decapsulate(self, enc):
        return self.private.decapsulate(enc)


def hpke_key(kem, kdf_id, aead_id, shared, info):
    """RFC 9180, 5.1: key and base nonce of the base mode, with HKDF-SHA-256 and an AEAD of 32 and 12 bytes."""
    suite = b"HPKE" + struct.pack(">HHH", kem, kdf_id, aead_id)

    def extract(salt, label, ikm):
        return hkdf_extract(hashlib.sha256, salt, b"HPKE-v1" + suite + label + ikm)

    def expand(prk, label, context, length):
        return hkdf_expand(
            hashlib.sha256, prk, struct.pack(">H", length) + b"HPKE-v1" + suite + label + context, length
        )

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    return expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)


class XWingKey(KemKey):
    """Kind 4, H."""

    kind = X_WING
    enc_bytes = 1120

    def __init__(self, mlkem_public, x25519_public, mlkem_private=None, x25519_private=None):
        self.parts = mlkem_public, x25519_public
        self.public = mlkem_public.public_bytes_raw() + x25519_public.public_bytes(*RAW)
        self.private = mlkem_private, x25519_private

    @classmethod
    def from_seed(cls, seed):
        """A key pair of X-Wing's own secret key."""
        expanded = hashlib.shake_256(seed).digest(96)
        first = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        second = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
        return cls(first.public_key(), second.public_key(), first, second)

    def combine(self, first, second, enc):
        """The shared secret of both."""
        label = bytes.fromhex("5c2e2f2f5e5c")
        return hashlib.sha3_256(first + second + enc[1088:] + self.public[1184:] + label).digest()

    def encapsulate(self):
        first, first_enc = self.parts[0].encapsulate()
        ephemeral = x25519.X25519PrivateKey.generate()
        second = ephemeral.exchange(self.parts[1])
        enc = first_enc + ephemeral.public_key().public_bytes(*RAW)
        return enc, self.combine(first, second, enc)

    def decapsulate(self, enc):
        second = x25519_shared(self.private[1], enc[1088:])
        return None if second is None else self.combine(self.private[0].decapsulate(enc[:1088]), second, enc)

    def wrap(self, enc, shared):
        return ChaCha20Poly1305, *hpke_key(0x647A, 1, 3, shared, b"mmh/v1/x-wing")


class RsaKey(KemKey):
    """Kind 11, B."""

    kind = RSA_OAEP
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)

    def __init__(self, public, private=None):
        self.key = public
        self.public = public.public_bytes(*SPKI)
        self.private = private
        self.enc_bytes = (public.key_size + 7) // 8
        if not 256 <= self.enc_bytes <= 2048:
            raise NoKey("an RSA key of %d bits" % public.key_size)

    def encapsulate(self):
        shared = os.urandom(32)
        return self.key.encrypt(shared, self.oaep), shared

    def decapsulate(self, enc):
        try:
            shared = self.private.decrypt(enc, self.oaep)
        except ValueError:
            return None
        return shared if len(shared) == 32 else None


class Passphrase(KemKey):
    """Kind 12, P."""

    kind = PASSPHRASE
    enc_bytes = 28

    def __init__(self, passphrase, cost=ARGON2_COST):
        self.passphrase = passphrase
        self.cost = cost

    def encapsulate(self):
        return struct.pack("<III", *self.cost) + os.urandom(16), b""

    def decapsulate(self, enc):
        cost = struct.unpack_from("<III", enc)
        memory, passes, lanes = cost
        if any(a > b for a, b in zip(cost, ARGON2_LIMIT)) or not passes or not lanes or memory < 8 * lanes:
            raise Limit("Argon2id with %d KiB, %d passes, %d lanes" % cost)
        return b""

    def wrap(self, enc, _):
        memory, passes, lanes = struct.unpack_from("<III", enc)
        kdf = Argon2id(salt=enc[12:], length=32, iterations=passes, lanes=lanes, memory_cost=memory)
        return ChaCha20Poly1305, kdf.derive(self.passphrase), bytes(12)


def read_recipients(section):
    """The stanzas of section 1, as (kind, body), and the MAC."""
    cursor = Cursor(section, "recipients")
    version = cursor.u16()
    if version != 1:
        raise Unsupported("recipients of version %d" % version)
    count = cursor.u16()
    need(1 <= count <= RECIPIENTS_LIMIT, "a count of recipients")
    stanzas = []
    for _ in range(count):
        kind = cursor.u16()
        need(not cursor.u16(), "a stanza's reserved bytes")
        stanzas.append((kind, cursor.take(cursor.u32())))
    need(sum(kind == PASSPHRASE for kind, _ in stanzas) <= PASSPHRASES_LIMIT, "too many passphrases")
    mac = cursor.take(32)
    cursor.end()
    return stanzas, mac


def open_recipients(section, keys, header, root):
    """The FileKeys of section 1: the first file key with the commitment, and a right MAC."""
    stanzas, mac = read_recipients(section)
    for key in sorted(keys, key=lambda key: key.kind == PASSPHRASE):
        for kind, body in stanzas:
            file_key = key.open(body) if kind == key.kind else None
            if file_key is None:
                continue
            secrets = FileKeys(file_key, header[15], header[14])
            if hmac.compare_digest(secrets.commitment, header[32:64]):
                right = secrets.recipients_mac(header, root, section[:-32])
                need(hmac.compare_digest(right, mac), "the recipients were changed")
                return secrets
    raise NoKey("no key opens the container")


def write_recipients(secrets, header, root, recipients):
    """Section 1 for recipients: keys, or (kind, body) of stanzas that there are."""
    out = struct.pack("<HH", 1, len(recipients))
    for recipient in recipients:
        kind, body = recipient if isinstance(recipient, tuple) else (recipient.kind, recipient.seal(secrets.file_key))
        out += struct.pack("<HHI", kind, 0, len(body)) + body
    return out + secrets.recipients_mac(header, root, out)


# --------------------------------------------------------------------------------------------------
# Section 16: signatures
# --------------------------------------------------------------------------------------------------

CONTEXT = b"mmh"
DETACHED_MAGIC = b"MMHSIG1\n"
ED25519, RSA_PSS = 1, 5
EC_CURVES = {
    2: (ec.SECP256R1, hashes.SHA256),
    3: (ec.SECP384R1, hashes.SHA384),
    4: (ec.SECP521R1, hashes.SHA512),
}
ML_DSA = {
    8: (mldsa.MLDSA44PublicKey, mldsa.MLDSA44PrivateKey, 2420, 1312),
    9: (mldsa.MLDSA65PublicKey, mldsa.MLDSA65PrivateKey, 3309, 1952),
    10: (mldsa.MLDSA87PublicKey, mldsa.MLDSA87PrivateKey, 4627, 2592),
}
# The algorithms of both halves, the label, the last number of the key's OID, the name.
COMPOSITES = {
    32: (8, 1, b"COMPSIG-MLDSA44-Ed25519-SHA512", 39, "ml-dsa-44-ed25519"),
    33: (9, 1, b"COMPSIG-MLDSA65-Ed25519-SHA512", 48, "ml-dsa-65-ed25519"),
    34: (9, 2, b"COMPSIG-MLDSA65-ECDSA-P256-SHA512", 45, "ml-dsa-65-ecdsa-p256"),
    35: (10, 3, b"COMPSIG-MLDSA87-ECDSA-P384-SHA512", 49, "ml-dsa-87-ecdsa-p384"),
}
ALGORITHMS = {ED25519, RSA_PSS, *EC_CURVES, *ML_DSA, *range(16, 28), *COMPOSITES}
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
COMPOSITE_OID = bytes.fromhex("2b06010505070600")[:-1]


def composite_message(label, context, message):
    """What both halves of a composite sign."""
    head = b"CompositeAlgorithmSignatures2025" + label + bytes([len(context)]) + context
    return head + hashlib.sha512(message).digest()


def der(tag, *parts):
    """A DER element."""
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 128 | len(size)]) + size + body


def raw_spki(oid, public):
    """A SubjectPublicKeyInfo of an OID without parameters."""
    return der(0x30, der(0x30, der(6, oid)), der(3, b"\0", public))


def split_raw_spki(data):
    """The OID and the key of such a one; None if it is none."""
    match = re.match(rb"\x30(?:[\x00-\x7f]|\x81.|\x82..|\x83...)\x30(.)\x06(.)", data, re.DOTALL)
    if not match or match[1][0] != match[2][0] + 2:
        return None
    oid = data[match.end() : match.end() + match[2][0]]
    rest = data[match.end() + len(oid) :]
    head = re.match(rb"\x03(?:[\x00-\x7f]|\x81.|\x82..|\x83...)\x00", rest, re.DOTALL)
    public = rest[head.end() :] if head else b""
    return (oid, public) if raw_spki(oid, public) == data else None


class Signer:
    """A key that signs (with its private part) and that signatures are checked with."""

    def __init__(self, public, private=None):
        self.key = public
        self.private = private
        self.algorithm = self._algorithm()
        self.spki = public.public_bytes(*SPKI)

    @property
    def fingerprint(self):
        """What a statement says of the key."""
        return hashlib.sha256(self.spki).digest()

    def _algorithm(self):
        if isinstance(self.key, ed25519.Ed25519PublicKey):
            return ED25519
        if isinstance(self.key, rsa.RSAPublicKey):
            return RSA_PSS
        for number, (curve, _) in EC_CURVES.items():
            if isinstance(self.key, ec.EllipticCurvePublicKey) and isinstance(self.key.curve, curve):
                return number
        for number, (kind, *_) in ML_DSA.items():
            if isinstance(self.key, kind):
                return number
        raise NoKey("a key that does not sign")

    def raw_public(self):
        """The public key as it stands in a composite."""
        if self.algorithm in EC_CURVES:
            return self.key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return self.key.public_bytes_raw()

    def verify(self, message, signature, context=CONTEXT):
        """Whether it is right."""
        try:
            if self.algorithm in EC_CURVES:
                self.key.verify(signature, message, ec.ECDSA(EC_CURVES[self.algorithm][1]()))
            elif self.algorithm == RSA_PSS:
                if self.key.key_size < 2048:
                    return False
                self.key.verify(signature, message, PSS, hashes.SHA256())
            elif self.algorithm in ML_DSA:
                self.key.verify(signature, message, context)
            else:
                self.key.verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def sign(self, message, context=CONTEXT):
        """A signature."""
        if self.algorithm in EC_CURVES:
            return self.private.sign(message, ec.ECDSA(EC_CURVES[self.algorithm][1]()))
        if self.algorithm == RSA_PSS:
            return self.private.sign(message, PSS, hashes.SHA256())
        if self.algorithm in ML_DSA:
            return self.private.sign(message, context)
        return self.private.sign(message)


class SlhDsa:
    """SLH-DSA (16 to 27): it verifies alone."""

    private = None

    def __init__(self, algorithm, public):
        self.algorithm = algorithm
        self.public = public
        self.spki = raw_spki(slh_dsa.oid(algorithm - 16), public)
        self.fingerprint = hashlib.sha256(self.spki).digest()

    def verify(self, message, signature, context=CONTEXT):
        """Whether it is right."""
        return slh_dsa.verify(self.algorithm - 16, self.public, message, signature, context)


class Composite:
    """32 to 35."""

    def __init__(self, algorithm, first, second):
        self.algorithm = algorithm
        self.halves = first, second
        first_number, second_number, self.label, last, _ = COMPOSITES[algorithm]
        if (first.algorithm, second.algorithm) != (first_number, second_number):
            raise NoKey("halves that make no composite")
        self.public = first.raw_public() + second.raw_public()
        self.spki = raw_spki(COMPOSITE_OID + bytes([last]), self.public)
        self.fingerprint = hashlib.sha256(self.spki).digest()

    @classmethod
    def from_public(cls, algorithm, public):
        """A public key of its bytes."""
        kind, _, _, size = ML_DSA[COMPOSITES[algorithm][0]]
        second = public_half(COMPOSITES[algorithm][1], public[size:])
        return cls(algorithm, Signer(kind.from_public_bytes(public[:size])), second)

    def verify(self, message, signature, context=CONTEXT):
        """Whether both halves are right."""
        size = ML_DSA[self.halves[0].algorithm][2]
        message = composite_message(self.label, context, message)
        first = self.halves[0].verify(message, signature[:size], self.label)
        return self.halves[1].verify(message, signature[size:]) and first

    def sign(self, message, context=CONTEXT):
        """A signature of both."""
        message = composite_message(self.label, context, message)
        return self.halves[0].sign(message, self.label) + self.halves[1].sign(message)


def public_half(algorithm, public):
    """The classical half of a composite's public key."""
    if algorithm == ED25519:
        return Signer(ed25519.Ed25519PublicKey.from_public_bytes(public))
    return Signer(ec.EllipticCurvePublicKey.from_encoded_point(EC_CURVES[algorithm][0](), public))


class Statement:
    """What a signature says."""

    def __init__(self, suite, root, fingerprint, counter=0, time=0, notes=()):
        self.suite = suite
        self.root = root
        self.fingerprint = fingerprint
        self.counter = counter
        self.time = time
        self.notes = list(notes)

    def encode(self):
        """Its bytes."""
        out = struct.pack("<BBB", 1, self.suite, len(self.root)) + self.root + self.fingerprint
        out += struct.pack("<QQH", self.counter, self.time, len(self.notes))
        for note in self.notes:
            out += b"".join(struct.pack("<H", len(text)) + text for text in note)
        return out


def read_statement(data):
    """A statement; None for another version's."""
    cursor = Cursor(data, "statement")
    if cursor.u8() != 1:
        return None
    suite = cursor.u8()
    root_bytes = cursor.u8()
    need(1 <= root_bytes <= 64, "the bytes of a root")
    root = cursor.take(root_bytes)
    statement = Statement(suite, root, cursor.take(32), cursor.u64(), cursor.u64())
    count = cursor.u16()
    need(count <= 64, "too many notes")
    statement.notes = [(cursor.take(cursor.u16()), cursor.take(cursor.u16())) for _ in range(count)]
    cursor.end()
    return statement


def signed_bytes(algorithm, statement):
    """What is signed."""
    return b"mmh signature v1\n" + struct.pack("<HI", algorithm, len(statement)) + statement


class Signature:
    """One of a section's signatures."""

    def __init__(self, algorithm, statement, signature):
        self.algorithm = algorithm
        self.raw = statement
        self.statement = read_statement(statement) if algorithm in ALGORITHMS else None
        self.signature = signature

    def is_right(self, key, suite, root):
        """Whether the key made it, of this root."""
        said = self.statement
        if said is None or key.algorithm != self.algorithm or said.fingerprint != key.fingerprint:
            return False
        if (said.suite, said.root) != (suite, root):
            return False
        return key.verify(signed_bytes(self.algorithm, self.raw), self.signature)

    def encode(self):
        """Its bytes in a section."""
        head = struct.pack("<HHII", self.algorithm, 0, len(self.raw), len(self.signature))
        return head + self.raw + self.signature


def sign(key, suite, root, counter=0, time=0, notes=()):
    """A signature by a key."""
    raw = Statement(suite, root, key.fingerprint, counter, time, notes).encode()
    return Signature(key.algorithm, raw, key.sign(signed_bytes(key.algorithm, raw)))


def read_signatures(section):
    """The signatures of section 2; none of one that is not there."""
    if section is None:
        return []
    cursor = Cursor(section, "signatures")
    version = cursor.u16()
    if version != 1:
        raise Unsupported("signatures of version %d" % version)
    count = cursor.u16()
    need(1 <= count <= 256, "a count of signatures")
    signatures = []
    for _ in range(count):
        algorithm, reserved = cursor.u16s(2)
        statement_bytes, signature_bytes = cursor.u32s(2)
        need(not reserved, "a signature's reserved bytes")
        need(max(statement_bytes, signature_bytes) <= 65536, "a signature's sizes")
        signatures.append(Signature(algorithm, cursor.take(statement_bytes), cursor.take(signature_bytes)))
    cursor.end()
    return signatures


def write_signatures(signatures):
    """Section 2."""
    return struct.pack("<HH", 1, len(signatures)) + b"".join(one.encode() for one in signatures)


def read_detached(data):
    """The signatures of a detached signature file."""
    cursor = Cursor(data, "signature file")
    need(cursor.take(8) == DETACHED_MAGIC, "no signature file")
    crc = cursor.u32()
    section = cursor.take(cursor.left())
    need(zlib.crc32(section) == crc, "a signature file is damaged")
    return read_signatures(section)


def write_detached(signatures):
    """A detached signature file."""
    section = write_signatures(signatures)
    return DETACHED_MAGIC + struct.pack("<I", zlib.crc32(section)) + section


# --------------------------------------------------------------------------------------------------
# Key files: PEM, hybrids as the blocks of their halves
# --------------------------------------------------------------------------------------------------

KEY_LINE = re.compile(rb"^mmh key: (.*)$", re.MULTILINE)
PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----\s(.*?)-----END \1-----", re.DOTALL)


def pem_blocks(data):
    """Each block as (public, private) objects of `cryptography`, or (spki, None) of ones it does not know."""
    for block in PEM_BLOCK.finditer(data):
        if b"PRIVATE" in block[1]:
            private = serialization.load_pem_private_key(block[0], None)
            yield private.public_key(), private
        else:
            spki = base64.b64decode(block[2])
            try:
                yield serialization.load_der_public_key(spki), None
            except Exception:
                yield spki, None


def other_public_key(spki):
    """A public key that `cryptography` does not know: composites and SLH-DSA."""
    oid, public = split_raw_spki(spki) or (b"", b"")
    for algorithm, composite in COMPOSITES.items():
        if oid == COMPOSITE_OID + bytes([composite[3]]):
            return Composite.from_public(algorithm, public)
    for number in range(12):
        if oid == slh_dsa.oid(number):
            return SlhDsa(16 + number, public)
    raise NoKey("a public key of a kind that is not known")


def all_keys(data):
    """The keys of a file: (those that sign, those that decrypt)."""
    line = KEY_LINE.search(data)
    said = dict(part.strip().split(b" ") for part in line[1].split(b",")) if line else {}
    blocks = list(pem_blocks(data))
    signers, recipients = [], []
    for algorithm, (*_, name) in COMPOSITES.items():
        if said.get(b"sign") == name.encode():
            first, second = (Signer(*blocks.pop(0)) for _ in range(2))
            signers.append(Composite(algorithm, first, second))
    if said.get(b"decrypt") == b"x-wing":
        first = next(block for block in blocks if hasattr(block[0], "encapsulate"))
        second = next(block for block in blocks if isinstance(block[0], x25519.X25519PublicKey))
        blocks = [block for block in blocks if block is not first and block is not second]
        recipients.append(XWingKey(first[0], second[0], first[1], second[1]))
    for public, private in blocks:
        if isinstance(public, bytes):
            signers.append(other_public_key(public))
        elif isinstance(public, x25519.X25519PublicKey):
            recipients.append(X25519Key(public, private))
        elif hasattr(public, "encapsulate"):
            recipients.append(MlKemKey(public, private))
        else:
            signers.append(Signer(public, private))
            if isinstance(public, rsa.RSAPublicKey):
                recipients.append(RsaKey(public, private))
    return signers, recipients


def private_keys(data):
    """The keys of a file that open containers."""
    return all_keys(data)[1]


def public_keys(data):
    """The keys of a file that signatures are checked with."""
    return all_keys(data)[0]


def pem(key, private):
    """A PEM block of one of `cryptography`'s keys."""
    if private:
        encryption = serialization.NoEncryption()
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_file(key, private=False):
    """A key of this module as mmh's files have it."""
    if isinstance(key, Composite):
        halves = [half.private if private else half.key for half in key.halves]
        line = b"mmh key: sign " + COMPOSITES[key.algorithm][4].encode() + b"\n\n"
    elif isinstance(key, XWingKey):
        halves = key.private if private else key.parts
        line = b"mmh key: decrypt x-wing\n\n"
    elif isinstance(key, X25519Key):
        public = x25519.X25519PublicKey.from_public_bytes(key.public)
        halves, line = [key.private if private else public], b""
    else:
        halves, line = [key.private if private else key.key], b""
    return line + b"".join(pem(half, private) for half in halves)
