#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an attacker writes for names, links, payloads and sizes, and the exit code that refuses it.

`python3 tests/test_attacks_names.py [NAME...]`, or pytest.
"""

import os
import pickle
import struct
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "cli")]

from attack_support import World, crypto, reference, writer  # noqa: E402
from harness import KEY, LIMIT, LOST, MENDED, OK, main, mmh  # noqa: E402


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


if __name__ == "__main__":
    main(globals())
