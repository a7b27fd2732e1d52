#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an attacker does to the content of containers, and the exit code that refuses it: chunks, pages, header, hashes.

`python3 tests/test_attacks_content.py [NAME...]`, or pytest.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "cli")]

from attack_support import FILES, World, crypto, insider, reference, root_of, writer  # noqa: E402
from harness import DAMAGED, KEY, LOST, MENDED, OK, UNSUPPORTED, UNTRUSTED, main, mmh  # noqa: E402


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


if __name__ == "__main__":
    main(globals())
