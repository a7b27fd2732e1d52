# SPDX-License-Identifier: Apache-2.0
"""The index of a TensorFlow checkpoint: a sorted table of LevelDB's, of names to BundleEntryProto.

Only strings are looked up here: numbers are tensors of the container, and TensorFlow tells types and shapes
from the index alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES, _TRAILER_BYTES = 48, 5


class TableError(Exception):
    """It is no such table, or one that is compressed."""


@dataclass(frozen=True)
class Entry:
    """Where a value is: number of the shard, offset, bytes; and how many elements it has."""

    shard: int
    offset: int
    size: int
    count: int


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise TableError("it ends inside a number")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block, keys with the part that they share with the one before."""
    data, trailer = table[offset : offset + size], table[offset + size : offset + size + _TRAILER_BYTES]
    if len(trailer) < _TRAILER_BYTES or size < 4:
        raise TableError("a block ends outside of it")
    if trailer[0]:
        raise TableError("its blocks are compressed")
    end = size - 4 - 4 * struct.unpack_from("<I", data, size - 4)[0]
    at, key = 0, b""
    while at < end:
        shared, at = _varint(data, at)
        own, at = _varint(data, at)
        length, at = _varint(data, at)
        if shared > len(key) or at + own + length > end:
            raise TableError("an entry ends outside of its block")
        key = key[:shared] + data[at : at + own]
        yield key, data[at + own : at + own + length]
        at += own + length


def _handle(data: bytes, at: int = 0) -> tuple[int, int, int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return offset, size, at


def find(table: bytes, name: str) -> Entry | None:
    """The entry of a name; None if there is none. Raises TableError."""
    if len(table) < _FOOTER_BYTES or struct.unpack_from("<Q", table, len(table) - 8)[0] != _MAGIC:
        raise TableError("it is no table")
    footer, wanted = table[-_FOOTER_BYTES:], name.encode()
    *_, at = _handle(footer)
    offset, size, _ = _handle(footer, at)
    for last, handle in _block(table, offset, size):
        if last >= wanted:
            begin, length, _ = _handle(handle)
            for key, value in _block(table, begin, length):
                if key == wanted:
                    return _entry(value)
            return None
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif key & 7 == 2:
            size, at = _varint(data, at)
            yield key >> 3, data[at : at + size]
            at += size
        elif key & 7 == 5:
            at += 4
        elif key & 7 == 1:
            at += 8
        else:
            raise TableError("an entry is no message")


def _entry(value: bytes) -> Entry:
    numbers = {3: 0, 4: 0, 5: 0}
    count = 1
    for number, content in _fields(value):
        if number == 2 and isinstance(content, bytes):  # its shape
            for inner, extent in _fields(content):
                if inner == 2 and isinstance(extent, bytes):
                    count *= next((n for field, n in _fields(extent) if field == 1 and isinstance(n, int)), 0)
        elif number in numbers and isinstance(content, int):
            numbers[number] = content
    return Entry(numbers[3], numbers[4], numbers[5], count)


def strings(data: bytes, count: int) -> list[bytes]:
    """The elements of a tensor of strings: all lengths, a checksum of them, then the bytes. Raises TableError."""
    lengths, at = [], 0
    for _ in range(count):
        length, at = _varint(data, at)
        lengths.append(length)
    at += 4
    if at + sum(lengths) != len(data):
        raise TableError("its strings are not as long as it says")
    found = []
    for length in lengths:
        found.append(data[at : at + length])
        at += length
    return found
