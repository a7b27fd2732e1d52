#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an attacker does to containers, and the exit code of the command that refuses it.

Forged containers come from the second writer (tests/reference), which knows the format and nothing of mmh: it makes
right all that needs no key. `python3 tests/test_attacks.py [NAME...]`, or pytest.
"""

import os
import pickle
import random
import signal
import stat
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "cli"), str(HERE / "reference")]

from harness import (  # noqa: E402
    DAMAGED,
    KEY,
    LIMIT,
    LOST,
    MENDED,
    OK,
    SANITIZERS,
    UNSUPPORTED,
    UNTRUSTED,
    USAGE,
    binary,
    main,
    mmh,
    safetensors,
    skip,
)

try:
    import mmh_reference as reference
    import mmh_reference_crypto as crypto
    import mmh_reference_parity as parity
    import mmh_reference_writer as writer
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa, x25519
except ImportError as missing:  # no cryptography >= 50, zstandard or numpy
    reference = None
    MISSING = str(missing)

FILES = {
    "model/weights.bin": random.Random(1).randbytes(5 * 8192),  # five chunks
    "model/readme": b"the secret name of the model\n" * 20,
}


def signer(private):
    return crypto.Signer(private.public_key(), private)


class World:
    """Keys of Alice (who opens), Bob (who signs) and Mallory (who may not), and their files."""

    def __init__(self, folder):
        if reference is None:
            skip(f"the second writer is not to be had: {MISSING}")
        self.folder = Path(folder)
        self.alice = crypto.XWingKey.from_seed(b"\1" * 32)
        mallory = x25519.X25519PrivateKey.generate()
        self.mallory = crypto.X25519Key(mallory.public_key(), mallory)
        halves = signer(mldsa.MLDSA65PrivateKey.generate()), signer(ed25519.Ed25519PrivateKey.generate())
        self.bob = crypto.Composite(33, *halves)
        self.file("alice.key", crypto.key_file(self.alice, True))
        self.file("alice.pub", crypto.key_file(self.alice))
        self.file("mallory.key", crypto.key_file(self.mallory, True))
        self.file("bob.pub", crypto.key_file(self.bob))

    def file(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    def source(self, files=None, suite=2, **options):
        return writer.source_from(FILES if files is None else files, suite, chunk_bytes=8192, **options)

    def sound(self, **options):
        """A container to Alice, signed by Bob."""
        options = {"cipher": 1, "recipients": [self.alice], "signers": [self.bob], **options}
        return writer.build(self.source(), **options)

    def restored(self):
        out = self.folder / "out"
        return sorted(path for path in out.rglob("*") if not path.is_dir()) if out.exists() else []

    def unpack(self, data, code, *options, key="alice.key", files=None):
        """Unpack: with exit code OK or MENDED the files are right, with any other there is none."""
        for path in self.restored():
            path.unlink()
        self.file("x.mmh", data)
        arguments = ["--key", key] if key else []
        result = mmh("unpack", "-q", "-f", *arguments, *options, "x.mmh", "-o", "out/", cwd=self.folder)
        assert result.code in (code if isinstance(code, tuple) else (code,)), f"exit {code} was expected: {result}"
        if result.code in (OK, MENDED):
            files = FILES if files is None else files
            got = {str(path.relative_to(self.folder / "out")): path.read_bytes() for path in self.restored()}
            assert got == files
        else:
            assert not self.restored(), "something was restored"
            assert result.err.startswith("mmh: ")
        return result

    def signed(self, data, code, *options, **more):
        """The same, and Bob must have signed it."""
        return self.unpack(data, code, "--signer", "bob.pub", *options, **more)

    def refused(self, forgery, sealed=LOST, signed=UNTRUSTED):
        """A forgery of an encrypted and signed container is refused for what it is, and as nobody's."""
        data = forgery.container() if isinstance(forgery, writer.Forgery) else forgery
        self.unpack(data, sealed)
        self.signed(data, signed)


def insider(world, change=None, sections=(), seals=None, stored=None, private=None):
    """What somebody who has the file key can make: with a right MAC, but not signed by Bob."""
    source = world.source()
    secrets = crypto.FileKeys(b"\7" * 32, 1, source.suite)
    if change:
        change(source)
    body = writer.make_body(source, secrets, seals)
    if stored:
        body = rebuilt(body, secrets, stored(list(body.chunks)))
    return writer.assemble(body, writer.make_sections(body, secrets, [world.alice], sections))


def rebuilt(body, secrets, chunks):
    """A body with other chunks, as they are stored, and its sealed pages as they were."""
    forgery = writer.Forgery(writer.assemble(body))
    return writer.Body(body.header, chunks, lambda new: new.chunk_list(), forgery.sealed)


# ---- what is sound ----


def test_what_is_sound_opens(tmp_path):
    world = World(tmp_path)
    for suite in (1, 2, 3):
        for cipher in (1, 2):
            data = writer.build(world.source(suite=suite), cipher, [world.alice], [world.bob], 10)
            world.signed(data, OK)
            mmh("verify", "--key", "alice.key", "--signer", "bob.pub", "x.mmh", cwd=tmp_path, code=OK)
            mmh("verify", "x.mmh", cwd=tmp_path, code=KEY)
    world.unpack(insider(world), OK)
    world.signed(insider(world), UNTRUSTED)
    world.unpack(writer.Forgery(world.sound()).container(), OK)


def test_no_key_and_another_key_open_nothing(tmp_path):
    world = World(tmp_path)
    world.unpack(world.sound(), KEY, key=None)
    world.unpack(world.sound(), KEY, key="mallory.key")


# ---- chunks ----


def test_swapped_chunks(tmp_path):
    world = World(tmp_path)
    for first, second in ((0, 1), (1, 4), (2, 3)):
        forgery = writer.Forgery(world.sound())
        chunks = forgery.chunks
        chunks[first], chunks[second] = chunks[second], chunks[first]
        world.refused(forgery)

        def swap(stored, first=first, second=second):
            stored[first], stored[second] = stored[second], stored[first]
            return stored

        world.refused(insider(world, stored=swap))


def test_chunks_swapped_in_place(tmp_path):
    world = World(tmp_path)
    data = bytearray(world.sound())
    first, second = reference.Container(bytes(data)).chunks[1:3]
    assert first.stored_bytes == second.stored_bytes
    one, two = (slice(chunk.at, chunk.at + chunk.stored_bytes) for chunk in (first, second))
    data[one], data[two] = data[two], data[one]
    world.refused(bytes(data), LOST, LOST)


def test_dropped_chunks(tmp_path):
    world = World(tmp_path)
    for number in (0, 2, 5):
        forgery = writer.Forgery(world.sound())
        del forgery.chunks[number]
        world.refused(forgery)
        world.refused(insider(world, stored=lambda chunks, number=number: chunks[:number] + chunks[number + 1 :]))


def test_chunks_that_are_there_twice(tmp_path):
    world = World(tmp_path)
    forgery = writer.Forgery(world.sound())
    forgery.chunks.insert(2, forgery.chunks[1])
    world.refused(forgery)
    forgery = writer.Forgery(world.sound())
    forgery.chunks[2] = forgery.chunks[1]
    world.refused(forgery)
    world.refused(insider(world, stored=lambda chunks: chunks[:2] + [chunks[1]] + chunks[3:]))


def test_a_changed_chunk_with_a_right_hash(tmp_path):
    world = World(tmp_path)
    for at in (0, 100, -1):
        forgery = writer.Forgery(world.sound())
        chunk = bytearray(forgery.chunks[3])
        chunk[at] ^= 1
        forgery.chunks[3] = bytes(chunk)
        world.refused(forgery)

        def change(stored, chunk=bytes(chunk)):
            stored[3] = chunk
            return stored

        world.refused(insider(world, stored=change))


def test_chunks_without_room_for_a_tag(tmp_path):
    world = World(tmp_path)
    for size in (0, 15, 16):
        world.refused(insider(world, stored=lambda chunks, size=size: [bytes(size)] + chunks[1:]))


def test_truncation_at_every_chunk(tmp_path):
    world = World(tmp_path)
    data = world.sound()
    container = reference.Container(data)
    ends = [chunk.at + chunk.stored_bytes for chunk in container.chunks]
    for end in [0, 1, 127, 128, *ends, container.footer.index_a, container.footer.trailer]:
        world.refused(data[:end], LOST, LOST)


def test_truncation_behind_the_spare_footer_is_mended(tmp_path):
    world = World(tmp_path)
    data = world.sound()
    spare = reference.Container(data).footer.spare
    world.signed(data[: spare + 256], MENDED)
    world.refused(data[: spare + 255], LOST, LOST)


def test_trailing_bytes_change_nothing(tmp_path):
    world = World(tmp_path)
    data = world.sound()
    for more in (b"x", bytes(1000), data[:1000]):
        world.signed(data + more, MENDED)
        mmh("verify", "--key", "alice.key", "x.mmh", cwd=tmp_path, code=DAMAGED)


def test_a_whole_container_behind_another_is_judged_alone(tmp_path):
    """Offsets count from the first byte, so the second does not fit where it stands."""
    world = World(tmp_path)
    other = writer.build(world.source({"other": b"other"}), 1, [world.alice], [world.bob])
    world.signed(world.sound() + other, MENDED)


# ---- pages ----


def test_pages_dropped_doubled_and_unsealed(tmp_path):
    world = World(tmp_path)
    for change in (lambda pages: [], lambda pages: pages * 2, lambda pages: [(pages[0][0][:-1], pages[0][1])]):
        forgery = writer.Forgery(world.sound())
        forgery.sealed = change(forgery.sealed)
        world.refused(forgery)


def test_a_plain_container_with_encryption_written_on_it(tmp_path):
    """And one with the encryption struck out."""
    world = World(tmp_path)
    plain = writer.Forgery(writer.build(world.source()))
    sealed = writer.Forgery(world.sound())
    for forgery, fields in ((plain, b"\1\1"), (plain, b"\0\1"), (plain, b"\1\0"), (sealed, b"\0\0"), (sealed, b"\1\0")):
        header = bytearray(forgery.header)
        header[15:17] = fields
        kept, forgery.header = forgery.header, writer.with_crc(header)
        world.refused(forgery, LOST, (LOST, UNTRUSTED))
        forgery.header = kept


def test_an_index_whose_parts_are_not_divided_at_a_page(tmp_path):
    world = World(tmp_path)
    source, secrets = world.source(), crypto.FileKeys(b"\7" * 32, 1, 2)
    body = writer.make_body(source, secrets)
    forgery = writer.Forgery(writer.assemble(body))
    for public in (forgery.list + b"\0", forgery.list[:-1]):
        changed = writer.Body(body.header, body.chunks, lambda _, public=public: public, forgery.sealed)
        world.unpack(writer.assemble(changed, writer.make_sections(changed, secrets, [world.alice])), LOST)


# ---- splicing ----


def test_splicing_two_containers_of_one_recipient(tmp_path):
    world = World(tmp_path)
    one, other = writer.Forgery(world.sound()), writer.Forgery(world.sound())
    for at in range(3):
        forgery = writer.Forgery(world.sound())
        if at == 0:
            forgery.chunks[2] = other.chunks[2]
        elif at == 1:
            forgery.sealed = other.sealed
        else:
            forgery.chunks, forgery.sealed = other.chunks, other.sealed
        world.refused(forgery)
    one.replace(reference.SECTION_RECIPIENTS, other.section(reference.SECTION_RECIPIENTS))
    world.refused(one, KEY, KEY)


def test_a_file_key_that_serves_twice(tmp_path):
    """Two containers under one file key, as no writer makes them: what belongs to one opens in no other."""
    world = World(tmp_path)
    one = writer.Forgery(world.sound(file_key=b"\5" * 32))
    files = {name: bytes(len(data)) for name, data in FILES.items()}
    other = writer.build(world.source(files, shared=False), 1, [world.alice], [world.bob], file_key=b"\5" * 32)
    other = writer.Forgery(other)
    assert one.header == other.header
    one.chunks, sections = other.chunks, one.sections
    world.refused(one)
    one.sealed, one.sections = other.sealed, sections
    world.refused(one)


# ---- the header ----


def test_every_byte_of_the_header(tmp_path):
    """Changed with its CRC, its copies and the root made right: nobody signed it, and no key opens it."""
    world = World(tmp_path)
    data = world.sound()
    codes = {}
    for at in range(124):
        forgery = writer.Forgery(data)
        header = bytearray(forgery.header)
        header[at] ^= 0x40
        forgery.header = writer.with_crc(header)
        try:
            forged = forgery.container()
        except (KeyError, IndexError, AttributeError):
            continue
        result_codes = []
        for options in ([], ["--signer", "bob.pub"]):
            world.file("x.mmh", forged)
            command = ["unpack", "-q", "-f", "--key", "alice.key", *options, "x.mmh", "-o", "out/"]
            result_codes.append(mmh(*command, cwd=tmp_path).code)
            assert not world.restored()
        codes[at] = result_codes
    magic, judged, commitment = range(8), [*range(8, 10), *range(12, 20)], range(32, 64)
    for at, (sealed, signed) in codes.items():
        if at in magic:
            assert (sealed, signed) == (LOST, LOST) or sealed == UNSUPPORTED, at
        elif at in judged:
            assert sealed == signed == UNSUPPORTED, at
        else:
            assert sealed == (KEY if at in commitment else LOST), at
            assert signed == UNTRUSTED, at
    assert len(codes) >= 120


def test_a_header_that_differs_from_its_copy(tmp_path):
    world = World(tmp_path)
    data = bytearray(world.sound())
    data[100] ^= 1
    data[:128] = writer.with_crc(data[:128])
    world.refused(bytes(data), LOST, LOST)


def test_a_damaged_header_is_taken_from_its_copy(tmp_path):
    world = World(tmp_path)
    data = bytearray(world.sound())
    data[40] ^= 1
    world.signed(bytes(data), MENDED)


# ---- key commitment, recipients ----


def test_recipients_with_different_file_keys(tmp_path):
    """The header commits to one key: who is given another opens nothing, whatever the chunks would give."""
    world = World(tmp_path)
    source = world.source()
    other = (world.alice.kind, world.alice.seal(b"\2" * 32))
    for key, code in ((b"\1" * 32, KEY), (b"\2" * 32, OK)):
        secrets = crypto.FileKeys(key, 1, source.suite)
        body = writer.make_body(source, secrets)
        section = crypto.write_recipients(secrets, body.header, body.root, [world.mallory, other])
        world.unpack(writer.assemble(body, [(reference.SECTION_RECIPIENTS, section)]), code)


def test_a_chunk_that_opens_under_two_keys(tmp_path):
    """GCM takes a ciphertext that has a right tag under both: the second key has no container to use it in."""
    world = World(tmp_path)
    source = world.source({"a": bytes(64)})
    secrets = [crypto.FileKeys(bytes([key]) * 32, 1, source.suite) for key in (1, 2)]
    polyglot = two_key_ciphertext(secrets[0].chunk, secrets[1].chunk, 64 - 16)
    plain = secrets[0].open_chunk(0, polyglot)
    assert secrets[1].open_chunk(0, polyglot) != plain
    source = world.source({"a": plain})
    body = writer.make_body(source, secrets[0])
    assert body.chunks == [polyglot]
    for number, code in ((0, OK), (1, KEY)):
        stanza = (world.alice.kind, world.alice.seal(secrets[number].file_key))
        section = crypto.write_recipients(secrets[0], body.header, body.root, [stanza])
        data = writer.assemble(body, [(reference.SECTION_RECIPIENTS, section)])
        world.unpack(data, code, files={"a": plain})


def two_key_ciphertext(first, second, size):
    """A ciphertext and tag that AES-256-GCM takes under both keys with a nonce of zeros."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    def block(key, data):
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        return int.from_bytes(encryptor.update(data), "big")

    def times(a, b):
        product = 0
        for bit in range(127, -1, -1):
            if b >> bit & 1:
                product ^= a
            a = a >> 1 ^ (0xE1 << 120) * (a & 1)
        return product

    def power(a, exponent):
        product = 1 << 127
        while exponent:
            if exponent & 1:
                product = times(product, a)
            a, exponent = times(a, a), exponent >> 1
        return product

    # Tag = sum of block[i] * H^(blocks + 1 - i), then lengths * H, then the mask: one block is solved for.
    data = [int.from_bytes(os.urandom(16), "big") for _ in range(size // 16)]
    lengths = 8 * (size + 16)
    hs = [block(key, bytes(16)) for key in (first, second)]
    masks = [block(key, bytes(15) + b"\1") for key in (first, second)]
    count = len(data) + 1

    def tag(h, mask, blocks):
        value = 0
        for one in [*blocks, lengths]:
            value = times(value ^ one, h)
        return value ^ mask

    tags = [tag(h, mask, [*data, 0]) for h, mask in zip(hs, masks)]
    factor = power(hs[0], 2) ^ power(hs[1], 2)
    last = times(tags[0] ^ tags[1], power(factor, (1 << 128) - 2))
    blocks = [*data, last]
    assert count == len(blocks) and tag(hs[0], masks[0], blocks) == tag(hs[1], masks[1], blocks)
    return b"".join(one.to_bytes(16, "big") for one in [*blocks, tag(hs[0], masks[0], blocks)])


def test_stanzas_added_and_removed(tmp_path):
    world = World(tmp_path)
    data = world.sound(recipients=[world.alice, crypto.Passphrase(b"x", (64, 1, 1))])
    forgery = writer.Forgery(data)
    section = forgery.section(reference.SECTION_RECIPIENTS)
    stanzas, mac = crypto.read_recipients(section)
    own = (world.mallory.kind, world.mallory.seal(bytes(32)))
    for changed in ([*stanzas, own], [own, *stanzas], stanzas[:1], stanzas[::-1], stanzas * 2):
        out = struct.pack("<HH", 1, len(changed))
        out += b"".join(struct.pack("<HHI", kind, 0, len(body)) + body for kind, body in changed)
        forgery.replace(reference.SECTION_RECIPIENTS, out + mac)
        world.unpack(forgery.container(), LOST)
    out = struct.pack("<HHHHI", 1, 1, stanzas[1][0], 0, len(stanzas[1][1])) + stanzas[1][1] + mac
    forgery.replace(reference.SECTION_RECIPIENTS, out)
    world.unpack(forgery.container(), KEY)
    forgery.replace(reference.SECTION_RECIPIENTS, None)
    world.unpack(forgery.container(), LOST)


def test_every_byte_of_the_recipients(tmp_path):
    world = World(tmp_path)
    data = writer.Forgery(world.sound(recipients=[world.alice]))
    section = data.section(reference.SECTION_RECIPIENTS)
    for at in [*range(12), *range(12, len(section), 97), *range(len(section) - 33, len(section))]:
        changed = bytearray(section)
        changed[at] ^= 1
        data.replace(reference.SECTION_RECIPIENTS, bytes(changed))
        world.file("x.mmh", data.container())
        result = mmh("unpack", "-q", "-f", "--key", "alice.key", "x.mmh", "-o", "out/", cwd=tmp_path)
        assert result.code in (LOST, KEY, UNSUPPORTED) and not world.restored(), (at, result)


def test_an_older_list_of_recipients_does_not_open_for_others(tmp_path):
    """Who was never let in is not let in by a list of another container with the same recipients."""
    world = World(tmp_path)
    one, other = world.sound(), writer.Forgery(world.sound(recipients=[world.alice, world.mallory]))
    forgery = writer.Forgery(one)
    forgery.replace(reference.SECTION_RECIPIENTS, other.section(reference.SECTION_RECIPIENTS))
    world.unpack(forgery.container(), KEY, key="mallory.key")


def test_malformed_kem_input_is_one_error(tmp_path):
    """Low order points, broken ciphertexts, wrong lengths: all look the same."""
    world = World(tmp_path)
    private = rsa.generate_private_key(65537, 2048)
    rsa_key = crypto.RsaKey(private.public_key(), private)
    first, second = world.alice.seal(bytes(32)), rsa_key.seal(bytes(32))
    world.file("rsa.key", crypto.pem(private, True))
    own = world.mallory.seal(bytes(32))
    low_order = [
        bytes(32),
        b"\1" + bytes(31),
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ]
    cases = [("mallory.key", 1, point + own[32:]) for point in low_order]
    cases += [("mallory.key", 1, body) for body in (b"", own[:-1], own + b"\0", b"\xff" * 80)]
    cases += [
        ("alice.key", 4, first[:at] + bytes([first[at] ^ 1]) + first[at + 1 :])
        for at in (0, 1087, 1088, 1119, 1120, 1167)
    ]
    cases += [("alice.key", 4, first[:1088] + point + first[1120:]) for point in low_order]
    cases += [("alice.key", 4, b"\xff" * len(first)), ("alice.key", 4, first[:-1])]
    cases += [("rsa.key", 11, bytes(len(second))), ("rsa.key", 11, b"\xff" * len(second)), ("rsa.key", 11, second[:-1])]
    forgery = writer.Forgery(world.sound())
    said = set()
    for key, kind, body in cases:
        section = struct.pack("<HHHHI", 1, 1, kind, 0, len(body)) + body + bytes(32)
        forgery.replace(reference.SECTION_RECIPIENTS, section)
        said.add(world.unpack(forgery.container(), KEY, key=key).err)
    assert len(said) == 1, said


def test_a_flipped_bit_of_mceliece(tmp_path):
    world = World(tmp_path)
    world.file("a", b"hello")
    made = mmh("keygen", "-q", "--algorithm=mceliece460896f", "-o", "m", cwd=tmp_path)
    if made.code == UNSUPPORTED:
        skip("this build has no Classic McEliece")
    mmh("pack", "-q", "-r", "m.pub", "a", "-o", "m.mmh", cwd=tmp_path, code=OK)
    data = (tmp_path / "m.mmh").read_bytes()
    world.unpack(data, OK, key="m.key", files={"a": b"hello"})
    forgery = writer.Forgery(data)
    section = bytearray(forgery.section(reference.SECTION_RECIPIENTS))
    said = set()
    for at in (12, 12 + 155, 12 + 156, 12 + 156 + 47):
        changed = bytearray(section)
        changed[at] ^= 1
        forgery.replace(reference.SECTION_RECIPIENTS, bytes(changed))
        said.add(world.unpack(forgery.container(), KEY, key="m.key").err)
    assert len(said) == 1, said


def test_public_keys_that_are_none(tmp_path):
    """An ML-KEM key with a coefficient that is no residue, and an X25519 key of low order."""
    world = World(tmp_path)
    world.file("a", b"hello")
    bad = bytearray(crypto.raw_spki(bytes.fromhex("608648016503040402"), world.alice.public[:1184]))
    bad[-1184:-1181] = b"\xff" * 3
    low = crypto.raw_spki(bytes.fromhex("2b656e"), bytes(32))
    for number, spki in enumerate((bytes(bad), low)):
        text = b"-----BEGIN PUBLIC KEY-----\n" + lines(spki) + b"-----END PUBLIC KEY-----\n"
        world.file("bad.pub", text)
        mmh("pack", "-q", "-r", "bad.pub", "a", "-o", f"{number}.mmh", cwd=tmp_path, code=KEY)
        assert not (tmp_path / f"{number}.mmh").exists()


def lines(data):
    """Base64 as PEM has it."""
    import base64

    return base64.encodebytes(data)


# ---- signatures ----


def replaced(world, *signatures, data=None):
    """The sound container with other signatures."""
    forgery = writer.Forgery(world.sound() if data is None else data)
    body = crypto.write_signatures(signatures) if signatures else None
    forgery.replace(reference.SECTION_SIGNATURES, body)
    return forgery.container()


def root_of(data):
    return reference.Container(data).root


def test_a_stripped_signature(tmp_path):
    world = World(tmp_path)
    data = replaced(world)
    world.signed(data, UNTRUSTED)
    world.unpack(data, OK)
    mmh("verify", "--signer", "bob.pub", "x.mmh", cwd=tmp_path, code=UNTRUSTED)
    world.signed(writer.build(world.source()), UNTRUSTED, key=None)


def test_a_signature_of_another_container(tmp_path):
    world = World(tmp_path)
    other = writer.Forgery(world.sound())
    forgery = writer.Forgery(world.sound())
    forgery.replace(reference.SECTION_SIGNATURES, other.section(reference.SECTION_SIGNATURES))
    world.signed(forgery.container(), UNTRUSTED)


def test_every_part_of_a_signature(tmp_path):
    world = World(tmp_path)
    forgery = writer.Forgery(world.sound())
    section = forgery.section(reference.SECTION_SIGNATURES)
    for at in [*range(0, 120), *range(120, len(section), 211), len(section) - 1]:
        changed = bytearray(section)
        changed[at] ^= 4
        forgery.replace(reference.SECTION_SIGNATURES, bytes(changed))
        world.file("x.mmh", forgery.container())
        result = mmh("verify", "-q", "--signer", "bob.pub", "x.mmh", cwd=tmp_path)
        assert result.code in (UNTRUSTED, LOST, UNSUPPORTED), (at, result)


def test_half_of_a_composite(tmp_path):
    """Removed, spoiled, doubled, or used for itself."""
    world = World(tmp_path)
    data = world.sound()
    root = root_of(data)
    good = crypto.sign(world.bob, 2, root)
    first, second = good.signature[:3309], good.signature[3309:]
    for signature in (first, second, first + bytes(64), bytes(3309) + second, first + first, second + first):
        world.signed(replaced(world, crypto.Signature(33, good.raw, signature), data=data), UNTRUSTED)
    for algorithm, half, key in ((9, first, world.bob.halves[0]), (1, second, world.bob.halves[1])):
        world.file("half.pub", crypto.key_file(key))
        raw = crypto.Statement(2, root, key.fingerprint).encode()
        for statement in (good.raw, raw):
            forged = replaced(world, crypto.Signature(algorithm, statement, half), data=data)
            world.signed(forged, UNTRUSTED)
            world.unpack(forged, UNTRUSTED, "--signer", "half.pub")


def test_a_hybrid_is_not_satisfied_by_its_classical_half(tmp_path):
    """Whoever broke Ed25519 signs with that half alone."""
    world = World(tmp_path)
    data = world.sound()
    half = world.bob.halves[1]
    world.signed(replaced(world, crypto.sign(half, 2, root_of(data)), data=data), UNTRUSTED)
    world.file("half.pub", crypto.key_file(half))
    forged = replaced(world, crypto.sign(half, 2, root_of(data)), data=data)
    world.unpack(forged, OK, "--signer", "half.pub")
    for policy in ("hybrid", "pq", "category=1"):
        world.unpack(forged, UNTRUSTED, "--signer", "half.pub", "--require", policy)


def test_ml_dsa_is_not_satisfied_by_ed25519(tmp_path):
    """The number of another algorithm on a signature, and the other way round."""
    world = World(tmp_path)
    data = world.sound()
    root = root_of(data)
    keys = [world.bob, *world.bob.halves, signer(ec.generate_private_key(ec.SECP256R1()))]
    keys.append(signer(ec.generate_private_key(ec.SECP384R1())))
    for key in keys:
        world.file("key.pub", crypto.key_file(key))
        good = crypto.sign(key, 2, root)
        world.unpack(replaced(world, good, data=data), OK, "--signer", "key.pub")
        for algorithm in sorted({0, 1, 2, 3, 9, 10, 16, 33, 34, 65535} - {key.algorithm}):
            raw = good.raw
            forged = replaced(world, crypto.Signature(algorithm, raw, good.signature), data=data)
            world.unpack(forged, UNTRUSTED, "--signer", "key.pub")
            resigned = crypto.Signature(algorithm, raw, key.sign(crypto.signed_bytes(algorithm, raw)))
            world.unpack(replaced(world, resigned, data=data), UNTRUSTED, "--signer", "key.pub")


def test_a_signature_with_another_context(tmp_path):
    world = World(tmp_path)
    data = world.sound()
    for key in (world.bob, world.bob.halves[0]):
        world.file("key.pub", crypto.key_file(key))
        good = crypto.sign(key, 2, root_of(data))
        for context in (b"", b"mmh2", b"MMH"):
            message = crypto.signed_bytes(key.algorithm, good.raw)
            forged = crypto.Signature(key.algorithm, good.raw, key.sign(message, context))
            world.unpack(replaced(world, forged, data=data), UNTRUSTED, "--signer", "key.pub")


def test_another_signers_key(tmp_path):
    """Mallory signs, with her fingerprint, with Bob's, and with her key beside it: no key is looked for there."""
    world = World(tmp_path)
    data = world.sound()
    root = root_of(data)
    own = crypto.Composite(33, signer(mldsa.MLDSA65PrivateKey.generate()), signer(ed25519.Ed25519PrivateKey.generate()))
    for fingerprint in (own.fingerprint, world.bob.fingerprint):
        raw = crypto.Statement(2, root, fingerprint, notes=[(b"key", own.spki)]).encode()
        forged = crypto.Signature(33, raw, own.sign(crypto.signed_bytes(33, raw)))
        world.signed(replaced(world, forged, data=data), UNTRUSTED)


def test_a_statement_of_another_root_or_suite(tmp_path):
    world = World(tmp_path)
    data = world.sound()
    root = root_of(data)
    for suite, said in ((1, root), (3, root), (2, root[:31]), (2, root + b"\0"), (2, root[:1]), (2, bytes(32))):
        raw = crypto.Statement(suite, said, world.bob.fingerprint).encode()
        forged = crypto.Signature(33, raw, world.bob.sign(crypto.signed_bytes(33, raw)))
        world.signed(replaced(world, forged, data=data), UNTRUSTED)


def test_one_signer_is_not_two(tmp_path):
    """A policy of all signers is not met by one who signed twice."""
    world = World(tmp_path)
    data = world.sound()
    other = signer(ed25519.Ed25519PrivateKey.generate())
    world.file("other.pub", crypto.key_file(other))
    twice = [crypto.sign(world.bob, 2, root_of(data), counter=n) for n in range(2)]
    both = ["--signer", "other.pub", "--require", "all"]
    world.signed(replaced(world, *twice, data=data), UNTRUSTED, *both)
    world.signed(replaced(world, *twice, crypto.sign(other, 2, root_of(data)), data=data), OK, *both)


def test_rollback_to_an_older_version(tmp_path):
    world = World(tmp_path)
    older, newer = (world.sound(counter=counter) for counter in (4, 5))
    world.signed(older, UNTRUSTED, "--require", "counter=5")
    world.signed(newer, OK, "--require", "counter=5")
    raw = crypto.Statement(2, root_of(older), world.bob.fingerprint, counter=5).encode()
    good = crypto.sign(world.bob, 2, root_of(older), counter=4)
    world.signed(
        replaced(world, crypto.Signature(33, raw, good.signature), data=older), UNTRUSTED, "--require", "counter=5"
    )


def test_a_detached_signature_of_another_container(tmp_path):
    world = World(tmp_path)
    data = replaced(world)
    signature = crypto.sign(world.bob, 2, root_of(data))
    world.file("x.sig", crypto.write_detached([signature]))
    world.signed(data, OK, "--signature", "x.sig")
    world.signed(replaced(world), UNTRUSTED, "--signature", "x.sig")


# ---- the tree ----


def test_a_page_is_no_chunk_and_a_table_no_page(tmp_path):
    """What is hashed as one thing is not taken for another: chunk, page, table and content have domains."""
    world = World(tmp_path)
    data = writer.build(world.source())
    container = reference.Container(data)
    page = container.index.stored[0]
    forgery = writer.Forgery(data)
    forgery.chunks[0] = page
    right = forgery.list
    digest = container.chunks[0].digest
    forgery.public_bytes = right[: right.index(digest)].replace(b"", b"") + container.index.public[0].digest
    forgery.public_bytes += right[len(forgery.public_bytes) : len(right) - len(forgery.plain_rest)]
    forgery.plain_rest = b""
    world.unpack(forgery.container(), LOST, key=None)


def test_the_last_page_twice(tmp_path):
    """An odd leaf is not doubled to make a pair: a table with the row twice has another root."""
    world = World(tmp_path)
    data = writer.build(world.source(), signers=[world.bob])
    container = reference.Container(data)
    forgery = writer.Forgery(data)
    body = writer.Body(
        forgery.header, forgery.chunks, [(container.index.stored[0], container.index.public[0].decoded_bytes)] * 2
    )
    forged = writer.assemble(body, forgery.sections)
    assert root_of(data) != body.root
    world.unpack(forged, LOST, key=None)
    body.root = root_of(data)
    world.signed(writer.assemble(body, forgery.sections), LOST, key=None)


def test_no_pages_and_no_chunks(tmp_path):
    world = World(tmp_path)
    forgery = writer.Forgery(writer.build(world.source()))
    world.unpack(writer.assemble(writer.Body(forgery.header, forgery.chunks, [])), LOST, key=None)
    body = writer.Body(forgery.header, [], [(b"\0", 1)])
    world.unpack(writer.assemble(body), LOST, key=None)


def test_a_range_is_not_released_before_it_is_checked(tmp_path):
    world = World(tmp_path)
    data = insider(world)
    world.file("x.mmh", data)
    name = "model/weights.bin"
    cat = ["cat", "--key", "alice.key", "x.mmh", name]
    assert mmh(*cat, cwd=tmp_path, code=OK).raw == FILES[name]

    def change(stored):
        number = next(n for n, chunk in enumerate(stored) if len(chunk) == 8192 + 16)
        stored[number] = bytes([stored[number][0] ^ 1]) + stored[number][1:]
        return stored

    world.file("x.mmh", insider(world, stored=change))
    result = mmh(*cat, cwd=tmp_path, code=LOST)
    assert not result.raw


# ---- names, payloads, sizes ----


def test_names_that_lead_outside(tmp_path):
    world = World(tmp_path)
    for name in ("../x", "/tmp/x", "a/../../x", "a//x", "./x", "a/.", "..", "", "a/", ".mmh-0123456789abcdef.tmp"):
        source = world.source({name: b"data"})
        world.unpack(writer.build(source, 1, [world.alice]), LOST)
        world.unpack(writer.build(source), LOST, key=None)
    assert not (tmp_path / "x").exists()


def test_links_that_lead_outside(tmp_path):
    world = World(tmp_path)
    for name, target in (("a", b"/etc"), ("a", b".."), ("d/a", b"../.."), ("a", b"b/../.."), ("a", b"")):
        row = writer.string(name) + bytes([2, 0]) + writer.varint(0o777) + b"\0" + writer.string(target) + b"\0"
        source = writer.Source(2, [], b"", writer.string("") + b"\0", b"\0" + b"\1" + row + b"\0\0")
        world.unpack(writer.build(source, 1, [world.alice]), LOST)
    row = writer.string("a") + bytes([2, 0]) + writer.varint(0o777) + b"\0" + writer.string(b"..") + b"\0"
    link = writer.string("a") + bytes([2, 0]) + writer.varint(0o777) + b"\0" + writer.string(b"b") + b"\0"
    below = writer.string("a/x") + bytes([1, 0]) + writer.varint(0o755) + b"\0\0"
    source = writer.Source(2, [], b"", writer.string("") + b"\0", b"\0" + b"\2" + link + below + b"\0\0")
    world.unpack(writer.build(source, 1, [world.alice]), LOST)
    assert row


def test_names_that_collide(tmp_path):
    """The same name twice is refused, one that differs in case unless it is asked for; others are two files."""
    world = World(tmp_path)
    source = world.source({"a": b"1", "b": b"2"})
    source.rest = source.rest.replace(writer.string("b"), writer.string("a"))
    world.unpack(writer.build(source, 1, [world.alice]), LOST)
    files = {"readme": b"1", "README": b"2"}
    data = writer.build(world.source(files), 1, [world.alice])
    refusal = mmh("unpack", "-q", "--key", "alice.key", world.file("c.mmh", data), "-o", "c/", cwd=tmp_path)
    assert refusal.code not in (OK, MENDED) and not list(
        (tmp_path / "c").rglob("?*") if (tmp_path / "c").exists() else []
    )
    world.unpack(data, OK, "--any-names", files=files)
    files = {"\u00e9": b"1", "e\u0301": b"2"}
    world.unpack(writer.build(world.source(files), 1, [world.alice]), OK, files=files)


def test_a_pickle_is_data(tmp_path):
    """What it would run does not run, neither packed nor listed nor unpacked."""
    world = World(tmp_path)
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    payload = pickle.dumps(Evil())
    world.file("model.pt", payload)
    mmh("pack", "-q", "-r", "alice.pub", "model.pt", "-o", "p.mmh", cwd=tmp_path, code=OK)
    for verb in ("verify", "ls", "info"):
        mmh(verb, "--key", "alice.key", "p.mmh", cwd=tmp_path, code=OK)
    world.unpack((tmp_path / "p.mmh").read_bytes(), OK, files={"model.pt": payload})
    assert not marker.exists()


def test_sizes_beyond_all_bounds(tmp_path):
    """2^63 and more in every size of the footer, the trailer and the index: quick refusals."""
    world = World(tmp_path)
    data = world.sound()
    footer = reference.Container(data).footer
    for at in (8, 16, 24, 32, 40, 44, 48, 56):
        for value in (1 << 63, (1 << 64) - 1, (1 << 64) - 256):
            raw = bytearray(footer.raw)
            width = 4 if at in (40, 44) else 8
            raw[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
            raw[252:] = struct.pack("<I", reference.zlib.crc32(bytes(raw[:252])))
            changed = bytearray(data)
            changed[-256:] = raw
            changed[footer.spare : footer.spare + 256] = raw
            started = time.monotonic()
            world.unpack(bytes(changed), LOST)
            assert time.monotonic() - started < 20
    for size in (1 << 62, 1 << 63, (1 << 64) - 16):
        forgery = writer.Forgery(writer.build(world.source()))
        forgery.public_bytes = struct.pack("<I", 2) + b"\1" + writer.varint(size) + b"\0" + bytes(32)
        forgery.plain_rest = b""
        world.unpack(forgery.container(), LOST, key=None)
    sections = [(reference.SECTION_RECIPIENTS, b"")]
    body = writer.make_body(world.source(), crypto.FileKeys(b"\7" * 32, 1, 2))
    whole = writer.assemble(body, sections)
    at = whole.index(struct.pack("<IIQ", 1, reference.section_crc(1, b""), 0))
    changed = whole[: at + 8] + struct.pack("<Q", 1 << 63) + whole[at + 16 :]
    world.unpack(changed, LOST)


def test_bombs(tmp_path):
    """A terabyte in a few chunks: refused over --max-size before a byte is written, in little memory."""
    world = World(tmp_path)
    source = world.source({"a": b"x" * 8192})
    size = 1 << 40
    row = bytes([0, 0]) + writer.varint(size) + writer.varint(1 << 24)
    row += writer.svarint(0) + writer.svarint(-1) * ((size >> 24) - 1) + writer.varint(0)
    name = writer.string("a") + bytes([0, 0]) + writer.varint(0o644) + writer.varint(0)
    name += writer.varint(size) + bytes(32) + b"\1\0"
    source.payloads, source.codecs = [b"\0"], b"\1"
    source.rest = b"\1" + row + b"\1" + name + b"\0\0"
    data = writer.build(source, 1, [world.alice])
    world.unpack(data, LIMIT, "--max-size", "1G")


def test_a_page_that_grows(tmp_path):
    world = World(tmp_path)
    import zstandard

    secrets = crypto.FileKeys(b"\7" * 32, 1, 2)
    body = writer.make_body(world.source(), secrets)
    forgery = writer.Forgery(writer.assemble(body))
    bomb = zstandard.ZstdCompressor(19).compress(bytes(1 << 28))
    for decoded in (1 << 18, 1000, (1 << 31) - 1):
        sealed = [(secrets.seal_page(1, bomb, body.header), decoded)]
        changed = writer.Body(body.header, body.chunks, lambda new: new.chunk_list(), sealed)
        data = writer.assemble(changed, writer.make_sections(changed, secrets, [world.alice]))
        world.unpack(data, LOST)
    assert forgery


def test_passphrases_that_cost_too_much(tmp_path):
    """Argon2id over the limits is refused before it is tried, and no key is in its way."""
    world = World(tmp_path)
    world.file("pass", b"correct horse\n")
    options = ["--passphrase-file", "pass"]
    sound = world.sound(recipients=[world.alice, crypto.Passphrase(b"correct horse", (64, 1, 1))])
    world.unpack(sound, OK, *options, key=None)
    for cost in ((1 << 20) + 1, 1, 1), (64, 17, 1), (1 << 20, 1, 17), ((1 << 32) - 1, 1, 1), (64, (1 << 32) - 1, 1):
        forgery = writer.Forgery(sound)
        body = struct.pack("<III", *cost) + bytes(16 + 48)
        section = struct.pack("<HHHHI", 1, 1, 12, 0, len(body)) + body + bytes(32)
        forgery.replace(reference.SECTION_RECIPIENTS, section)
        started = time.monotonic()
        world.unpack(forgery.container(), LIMIT, *options, key=None)
        assert time.monotonic() - started < 10
    world.file("pass", b"wrong\n")
    world.unpack(sound, KEY, *options, key=None)


# ---- keys, nonces, secrets ----


def test_no_key_and_no_nonce_serves_twice(tmp_path):
    world = World(tmp_path)
    keys, seen = [world.alice], set()
    world.file("a.bin", random.Random(1).randbytes(300000))
    for number in range(3):
        name = f"{number}.mmh"
        mmh("pack", "-q", "-r", "alice.pub", "a.bin", "-o", name, cwd=tmp_path, code=OK)
        data = (tmp_path / name).read_bytes()
        container = reference.open_container(data, keys)
        assert {name: entry[2] for name, entry in container.restore().items()} == {
            "a.bin": (tmp_path / "a.bin").read_bytes()
        }
        seals = [chunk.seal for chunk in container.chunks]
        assert seals == sorted(set(seals))
        seen.add(container.header[32:64])
        seen.update(container.stored(n) for n in range(len(seals)))
    chunks = len(seals)
    assert len(seen) == 3 * (chunks + 1)
    mmh("encrypt", "-q", "-f", "--key", "alice.key", "-r", "alice.pub", "--rekey", "2.mmh", cwd=tmp_path, code=OK)
    again = reference.open_container(tmp_path / "2.mmh", keys)
    assert again.header[32:64] not in seen
    assert not any(again.stored(n) in seen for n in range(chunks))


def test_secret_files_are_for_their_owner_alone(tmp_path):
    World(tmp_path)
    before = os.umask(0)
    try:
        mmh("keygen", "-q", "-o", "carol", cwd=tmp_path, code=OK)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "carol.key").stat().st_mode) == 0o600


def test_no_passphrase_in_the_arguments(tmp_path):
    """There is no option that takes one."""
    world = World(tmp_path)
    world.file("a", b"hello")
    for verb in ("pack", "unpack", "encrypt", "keygen"):
        mmh(verb, "--passphrase=secret", "a", "-o", "b", cwd=tmp_path, code=USAGE)
    assert not (tmp_path / "b").exists()


def test_a_killed_pack_leaves_no_plain_text(tmp_path):
    """Whatever was written when it died is sealed."""
    world = World(tmp_path)
    needle = b"the words that nobody may read. "
    rng = random.Random(2)
    data = b"".join(needle + rng.randbytes(96) for _ in range(1 << 18))
    world.file("plain.bin", data)
    for delay in (0.02, 0.05, 0.1, 0.2, 0.4):
        arguments = ["pack", "-q", "-f", "-1", "-r", "alice.pub", "plain.bin", "-o", "p.mmh"]
        process = subprocess.Popen(
            [binary(), *arguments], cwd=tmp_path, env={**os.environ, **SANITIZERS}, stderr=subprocess.DEVNULL
        )
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in tmp_path.iterdir():
            if path.name != "plain.bin":
                assert needle not in path.read_bytes(), path


def test_a_model_of_weights_is_hidden(tmp_path):
    """Neither its names nor its numbers are to be seen in the container."""
    world = World(tmp_path)
    numbers = struct.pack("<64f", *[0.5] * 32, *range(32))
    world.file("secret-name.safetensors", safetensors({"hidden.layer": ("F32", [64], numbers)}))
    mmh("pack", "-q", "-r", "alice.pub", "secret-name.safetensors", "-o", "m.mmh", cwd=tmp_path, code=OK)
    data = (tmp_path / "m.mmh").read_bytes()
    for needle in (b"secret-name", b"hidden", b"layer", b"safetensors", numbers[:32], numbers[-32:]):
        assert needle not in data
    result = mmh("ls", "-l", "m.mmh", cwd=tmp_path)
    assert result.code == KEY and "hidden" not in result.out


def test_a_signature_of_an_unknown_algorithm_is_passed_over(tmp_path):
    world = World(tmp_path)
    secrets = crypto.FileKeys(b"\7" * 32, 1, 2)
    body = writer.make_body(world.source(), secrets)
    recipients = crypto.write_recipients(secrets, body.header, body.root, [world.alice])
    bobs = crypto.sign(world.bob, 2, body.root).encode()
    for stated in (b"", b"\1", b"\1" * 99):
        other = struct.pack("<HHII", 999, 0, len(stated), 0) + stated
        section = struct.pack("<HH", 1, 2) + other + bobs
        world.signed(writer.assemble(body, [(1, recipients), (2, section)]), OK)
        only = struct.pack("<HH", 1, 1) + other
        world.signed(writer.assemble(body, [(1, recipients), (2, only)]), UNTRUSTED)


# ---- repair as a way in ----


def lying_tail(world, tail_bytes):
    """A sound container whose parity is said to be of a tail of another length."""
    body = writer.make_body(world.source())
    geometry = parity.Geometry.choose(len(body.front), 10, tail_bytes, body.root)
    area = b"".join(parity.make_area(body.new_hash, geometry, body.front, bytes(tail_bytes)))
    area = bytes(-len(body.front) % 8) + area
    section = geometry.encode() + struct.pack("<QQ", len(body.front), len(area))
    trailer = writer.pack_sections([(3, section)])
    footer = writer.make_footer(body, len(body.front) + len(area), len(trailer))
    return body.front + area + trailer + footer + body.index + footer, tail_bytes != 256 + len(trailer)


def test_parity_that_lies_of_the_tail_is_not_believed(tmp_path):
    world = World(tmp_path)
    for tail_bytes in (256, 300, 344, 345, 352, 2000, 100_000, 3_000_000):
        data, lies = lying_tail(world, tail_bytes)
        world.file("x.mmh", data)
        mmh("verify", "x.mmh", cwd=tmp_path, code=DAMAGED)
        for output in ([], ["-f", "-o", "new.mmh"]):
            world.file("x.mmh", data)
            mmh("repair", *output, "x.mmh", cwd=tmp_path, code=LOST if lies else MENDED)
            for name in ("x.mmh", "new.mmh") if lies and output else ("x.mmh",):
                assert not lies or not (tmp_path / name).exists() or (tmp_path / name).read_bytes() == data


def behind(data, files, percent):
    """What somebody can put behind a container: all of another one that lies there, but for its end."""
    source = writer.source_from(files, 2, chunk_bytes=8192)
    gaps = [-(-len(data) // 4096) * 4096 - 128] + [-len(chunk) % 8 for chunk in source.payloads[:-1]]
    body = writer.Body(
        writer.make_header(source),
        source.payloads,
        lambda offsets: offsets.chunk_list() + source.head + source.codecs + source.rest,
        gaps=gaps,
    )
    other = writer.assemble(body, [], percent)
    return other, data + other[len(data) : reference.Container(other).footer.trailer]


def test_repair_makes_no_other_container_of_one(tmp_path):
    world = World(tmp_path)
    evil = {"model/weights.bin": b"EVIL" * 10240, "model/readme": b"evil"}
    for options in ({}, {"percent": 10}, {"percent": 20, "signers": []}):
        data = world.sound(**options)
        for percent in (10, 100):
            other, forged = behind(data, evil, percent)
            world.file("x.mmh", forged)
            assert other[:8] == data[:8] and other != data
            mmh("repair", "x.mmh", cwd=tmp_path, code=MENDED)
            assert (tmp_path / "x.mmh").read_bytes() == data
            # Without a footer of its own it is beyond repair, or comes back; its header is still its own.
            end = len(data) - 256
            footers = reference.Container(data).footer
            lost = bytearray(forged)
            for at in (footers.trailer + footers.trailer_bytes, end):
                lost[at : at + 256] = bytes(256)
            world.file("x.mmh", bytes(lost))
            result = mmh("repair", "x.mmh", cwd=tmp_path)
            after = (tmp_path / "x.mmh").read_bytes()
            assert result.code in (MENDED, LOST) and after in (data, bytes(lost)), result


def test_repair_looks_whether_the_result_is_signed(tmp_path):
    world = World(tmp_path)
    for signers, code in (([world.bob], MENDED), ([], UNTRUSTED)):
        data = world.sound(percent=20, signers=signers)
        bad = bytearray(data)
        bad[3000] ^= 1
        for footerless in (False, True):
            if footerless:
                footer = reference.Container(data).footer
                for at in (footer.trailer + footer.trailer_bytes, len(data) - 256):
                    bad[at : at + 256] = bytes(256)
            world.file("x.mmh", bytes(bad))
            mmh("verify", "--signer", "bob.pub", "x.mmh", cwd=tmp_path, code=DAMAGED if signers else UNTRUSTED)
            mmh("repair", "--signer", "bob.pub", "x.mmh", cwd=tmp_path, code=code)
            assert (tmp_path / "x.mmh").read_bytes() == (data if signers else bytes(bad))


def without_footers(data):
    bad, footer = bytearray(data), reference.Container(data).footer
    for at in (footer.trailer + footer.trailer_bytes, len(data) - 256):
        bad[at : at + 256] = bytes(256)
    return bad


def stacked(world, count):
    """A container with later trailers, each signed once more, and where each of them ends."""
    ones = [signer(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([1 + i]) * 32)) for i in range(count)]
    data = writer.build(world.source(), percent=20)
    root, ends, signed = reference.Container(data).root, [len(data)], b""
    for number, one in enumerate(ones):
        signed += crypto.sign(one, 2, root).encode()
        data = writer.append_trailer(data, [(2, struct.pack("<HH", 1, number + 1) + signed)])
        ends.append(len(data))
    return data, ends


def test_a_packed_file_does_not_take_its_container_over(tmp_path):
    """Mallory's file is stored as it is, and holds a container that begins where it does; then the end is cut off."""
    world = World(tmp_path)
    noise = random.Random(11).randbytes

    def victim(payload):
        world.file("a.bin", payload)
        world.file("secret", noise(9000))
        mmh("pack", "-q", "-f", "--parity=20%", "-o", "v.mmh", "a.bin", "secret", cwd=tmp_path, code=OK)
        return (tmp_path / "v.mmh").read_bytes()

    header = victim(noise(700_000))[:128]
    source = writer.source_from({"r": b"evil", "w": noise(600_000)}, header[14], chunk_bytes=1 << 20)
    gaps = [0] + [-len(chunk) % 8 for chunk in source.payloads[:-1]]
    body = writer.Body(
        header,
        source.payloads,
        lambda offsets: offsets.chunk_list() + source.head + source.codecs + source.rest,
        gaps=gaps,
    )
    geometry = parity.Geometry.choose(len(body.front), 5, 352, body.root)

    def area(tail):
        return bytes(-len(body.front) % 8) + b"".join(parity.make_area(body.new_hash, geometry, body.front, tail))

    length = len(area(bytes(352)))
    section = writer.pack_sections([(3, geometry.encode() + struct.pack("<QQ", len(body.front), length))])
    for further in (0, 1 << 20):  # where it says that it ends
        tail = writer.make_footer(body, len(body.front) + length + further, len(section)) + section
        data = victim((body.front + area(tail))[128:] + noise(2000))
        footer = reference.Container(data).footer
        world.file("x.mmh", data[: footer.trailer + footer.trailer_bytes])
        mmh("unpack", "-qf", "x.mmh", "-o", "out/", cwd=tmp_path, code=MENDED)
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.bin", "secret"]
        mmh("repair", "-q", "x.mmh", cwd=tmp_path, code=MENDED)
        assert (tmp_path / "x.mmh").read_bytes() == data


def test_a_sound_copy_gives_the_newest_trailer_back(tmp_path):
    world = World(tmp_path)
    data, ends = stacked(world, 3)
    footer = reference.Container(data).footer
    bad = bytearray(data)
    bad[footer.trailer + 5] ^= 1
    bad[ends[2] : footer.trailer] = bytes(footer.trailer - ends[2])
    world.file("sound.mmh", data)
    for hurt in (bytes(bad), data[:-5000]):
        world.file("x.mmh", hurt)
        mmh("repair", "-q", "--source", "sound.mmh", "x.mmh", cwd=tmp_path, code=MENDED)
        assert (tmp_path / "x.mmh").read_bytes() == data


def test_packets_behind_the_end_tell_nothing(tmp_path):
    world = World(tmp_path)
    data, _ = stacked(world, 2)
    container = reference.Container(data)
    footer = container.footer
    section = reference.trailer_sections(data, footer)[3][1]
    body = writer.make_body(world.source())
    body.header, body.root = container.header, container.root
    body.index = data[footer.index_a : footer.index_a + footer.index_bytes]
    body.index_at, body.table_bytes, body.page_count = footer.index_a, footer.table_bytes, footer.pages
    trailer = writer.pack_sections([(3, section)])
    at = sum(struct.unpack("<QQ", section[64:80])) + 8
    tail = writer.make_footer(body, at, len(trailer)) + trailer
    packets = parity.tail_packets(container.new_hash, parity.Geometry.parse(section[:64], len(data)), tail, 9)
    world.file("x.mmh", data + bytes(-len(data) % 8) + b"".join(packets))
    mmh("repair", "-q", "x.mmh", cwd=tmp_path, code=MENDED)
    assert (tmp_path / "x.mmh").read_bytes() == data
    mmh("verify", "-q", "x.mmh", cwd=tmp_path, code=OK)


def test_the_newest_of_many_trailers_serves(tmp_path):
    world = World(tmp_path)
    data, _ = stacked(world, 70)
    world.file("x.mmh", bytes(without_footers(data)))
    mmh("repair", "-q", "x.mmh", cwd=tmp_path, code=MENDED)
    assert len((tmp_path / "x.mmh").read_bytes()) == len(data)


def test_another_containers_header_is_mended(tmp_path):
    world = World(tmp_path)
    data = writer.build(world.source(), percent=20)
    world.file("x.mmh", world.sound()[:128] + data[128:])
    mmh("repair", "-q", "x.mmh", cwd=tmp_path, code=MENDED)
    assert (tmp_path / "x.mmh").read_bytes() == data


def test_a_detached_signature_that_cannot_be_read_is_none(tmp_path):
    world = World(tmp_path)
    data = writer.build(world.source(), percent=20)
    world.file("bad.sig", b"MMHSIG1\n" + bytes(100))
    for hurt in (data, data[:3000] + b"?" + data[3001:], bytes(without_footers(data))):
        world.file("x.mmh", hurt)
        for name in ("bad.sig", "none.sig"):
            result = mmh("verify", "--signer", "bob.pub", "--signature", name, "x.mmh", cwd=tmp_path)
            assert result.code not in (OK, DAMAGED), result
            result = mmh("repair", "--signer", "bob.pub", "--signature", name, "x.mmh", cwd=tmp_path)
            assert result.code not in (OK, MENDED) and (tmp_path / "x.mmh").read_bytes() == hurt, result


def test_signatures_replace_neither_what_is_signed_nor_a_key(tmp_path):
    world = World(tmp_path)
    data = writer.build(world.source())
    world.file("x.mmh", data)
    mmh("keygen", "-q", "--algorithm=ed25519", "-o", "k", cwd=tmp_path, code=OK)
    key = (tmp_path / "k.key").read_bytes()
    for where in ("--detached=x.mmh", "--detached=./x.mmh", "--detached=k.key", "--bundle=x.mmh", "--bundle=-"):
        mmh("sign", "-f", "--key", "k.key", where, "x.mmh", cwd=tmp_path, code=USAGE)
    assert (tmp_path / "x.mmh").read_bytes() == data and (tmp_path / "k.key").read_bytes() == key
    assert not (tmp_path / "-").exists()
    mmh("repair", "--signer=k.pub", "--require=newest", "x.mmh", cwd=tmp_path, code=USAGE)


def journal_of(root, size, records):
    """A journal with right CRCs, as of no file in particular."""
    body = b""
    for offset, data in records:
        head = struct.pack("<QII", offset, len(data), 0)
        body += struct.pack("<II", zlib.crc32(head + data), 0x64696C76) + head + data + bytes(-len(data) % 8)
    head = (b"MMHJRNL\n" + root + struct.pack("<QQQQ", size, size, len(records), 128 + len(body))).ljust(124, b"\0")
    return head + struct.pack("<I", zlib.crc32(head)) + body


def test_a_journal_that_was_unpacked_is_not_replayed(tmp_path):
    world = World(tmp_path)
    data = world.sound(percent=10)
    container = reference.Container(data)
    zeros = [(128, bytes(container.footer.trailer - 128))]
    journal = journal_of(container.root, len(data), zeros)
    bad = bytearray(data)
    bad[3000] ^= 1
    for footerless in (False, True):
        if footerless:
            bad[-256:] = bytes(256)
        world.file("x.mmh", bytes(bad))
        world.file("evil.mmh", writer.build(world.source({"x.mmh-journal": journal})))
        mmh("unpack", "-f", "evil.mmh", "-o", "x.mmh-journal", cwd=tmp_path, code=OK)
        result = mmh("repair", "x.mmh", cwd=tmp_path, code=USAGE)
        assert "not made for this file" in result.err and "move it away" in result.err
        assert (tmp_path / "x.mmh").read_bytes() == bytes(bad)
        (tmp_path / "x.mmh-journal").unlink()
        mmh("repair", "x.mmh", cwd=tmp_path, code=MENDED)
        assert (tmp_path / "x.mmh").read_bytes() == data


def test_a_file_with_a_journals_name_stays(tmp_path):
    world = World(tmp_path)
    data = world.sound(percent=10)
    notes = world.file("x.mmh-journal", b"my notes\n")
    world.file("x.mmh", data)
    mmh("repair", "x.mmh", cwd=tmp_path, code=OK)
    bad = data[:3000] + bytes([data[3000] ^ 1]) + data[3001:]
    world.file("x.mmh", bad)
    assert "is no journal" in mmh("repair", "x.mmh", cwd=tmp_path, code=USAGE).err
    mmh("repair", "-o", "new.mmh", "x.mmh", cwd=tmp_path, code=MENDED)
    assert (tmp_path / "new.mmh").read_bytes() == data and (tmp_path / "x.mmh").read_bytes() == bad
    assert notes.read_bytes() == b"my notes\n"


def test_verify_unpack_and_repair_agree_on_a_lying_section(tmp_path):
    world = World(tmp_path)
    data = writer.build(world.source(), percent=10)
    container = reference.Container(data)
    footer = container.footer
    section = bytearray(reference.trailer_sections(data, footer)[3][1])
    section[72:80] = bytes(8)  # the area has no bytes
    bad = bytearray(data)
    bad[3000] ^= 1
    trailer = writer.pack_sections([(3, bytes(section))])
    assert len(trailer) == footer.trailer_bytes
    bad[footer.trailer : footer.trailer + len(trailer)] = trailer
    world.file("x.mmh", bytes(bad))
    codes = [
        mmh(*verb, "x.mmh", cwd=tmp_path).code for verb in (["verify"], ["unpack", "-f", "-o", "out/"], ["repair"])
    ]
    assert codes in ([LOST, LOST, LOST], [DAMAGED, MENDED, MENDED]), codes


def test_a_sound_container_is_sound_where_nothing_can_be_written(tmp_path):
    world = World(tmp_path)
    data = bytearray(world.sound(percent=10))
    for code in (OK, 1):  # sound, damaged
        world.file("x.mmh", bytes(data))
        limited = ["bash", "-c", 'ulimit -f 0; exec "$0" repair -q x.mmh', binary()]
        run = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == code, run.stderr
        assert (tmp_path / "x.mmh").read_bytes() == bytes(data)
        data[3000] ^= 1


def test_a_key_that_is_given_has_to_open(tmp_path):
    world = World(tmp_path)
    world.file("x.mmh", world.sound())
    mmh("verify", "--quick", "--signer", "bob.pub", "x.mmh", cwd=tmp_path, code=OK)
    mmh("verify", "--quick", "--signer", "bob.pub", "--key", "alice.key", "x.mmh", cwd=tmp_path, code=OK)
    mmh("verify", "--quick", "--signer", "bob.pub", "--key", "mallory.key", "x.mmh", cwd=tmp_path, code=KEY)


def test_bytes_behind_the_end_are_told_when_they_go(tmp_path):
    world = World(tmp_path)
    data = world.sound()
    world.file("x.mmh", data + bytes(100))
    mmh("verify", "x.mmh", cwd=tmp_path, code=DAMAGED)
    mmh("repair", "x.mmh", cwd=tmp_path, code=MENDED)
    assert (tmp_path / "x.mmh").read_bytes() == data


if __name__ == "__main__":
    main(globals())
