#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an attacker does to recipients, keys and secrets, and the exit code that refuses it.

`python3 tests/test_attacks_keys.py [NAME...]`, or pytest.
"""

import os
import random
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "cli")]

from attack_support import World, crypto, reference, rsa, writer  # noqa: E402
from harness import (  # noqa: E402
    KEY,
    LOST,
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


if __name__ == "__main__":
    main(globals())
