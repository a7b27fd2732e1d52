#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an attacker makes of parity, spare copies and journals: repair as a way in.

`python3 tests/test_attacks_repair.py [NAME...]`, or pytest.
"""

import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "cli")]

from attack_support import World, crypto, ed25519, parity, reference, signer, writer  # noqa: E402
from harness import DAMAGED, KEY, LOST, MENDED, OK, UNTRUSTED, USAGE, binary, main, mmh  # noqa: E402


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
