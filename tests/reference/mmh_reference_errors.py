"""What a reader refuses, and the cursor that refuses it: shared by the parts of the second reader."""
# SPDX-License-Identifier: Apache-2.0

import struct


class Corrupt(Exception):
    """The container is damaged beyond repair, or breaks a rule of the document."""


class Unsupported(Exception):
    """The container asks for something that this reader does not know."""


class NoKey(Exception):
    """No key opens the container, or a key is none."""


class Untrusted(Exception):
    """A signature that was asked for is missing or wrong."""


class Limit(Exception):
    """The container is over a limit of this reader's own."""


def need(condition, message):
    """Refuse (corrupt) what does not hold."""
    if not condition:
        raise Corrupt(message)


# --------------------------------------------------------------------------------------------------
# Integers and strings (the document's opening)
# --------------------------------------------------------------------------------------------------


class Cursor:
    """Reads little-endian integers from bytes and never beyond their end."""

    def __init__(self, data, what):
        self.data = data
        self.what = what
        self.at = 0

    def left(self):
        """How many bytes are still to read."""
        return len(self.data) - self.at

    def take(self, count):
        """The next `count` bytes."""
        need(count <= self.left(), self.what + ": ends too early")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def u8(self):
        return self.take(1)[0]

    def u16(self):
        return int.from_bytes(self.take(2), "little")

    def u32(self):
        return int.from_bytes(self.take(4), "little")

    def u64(self):
        return int.from_bytes(self.take(8), "little")

    def u16s(self, count):
        """`count` u16 as a tuple."""
        return struct.unpack("<%dH" % count, self.take(2 * count))

    def u32s(self, count):
        """`count` u32 as a tuple."""
        return struct.unpack("<%dI" % count, self.take(4 * count))

    def varint(self):
        """Unsigned LEB128 in its shortest form, at most 10 bytes (and 64 bits)."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.u8()
            value |= (byte & 127) << shift
            if byte < 128:
                need(byte or not shift, self.what + ": a varint is not in its shortest form")
                need(value < 1 << 64, self.what + ": a varint is over 64 bits")
                return value
        raise Corrupt(self.what + ": a varint is over 10 bytes")

    def svarint(self):
        """A varint of the zigzag form."""
        return unzigzag(self.varint())

    def string(self):
        """A varint byte count, then bytes; bytes that are not UTF-8 are kept as surrogates."""
        data = self.take(self.varint())
        need(b"\0" not in data, self.what + ": a string holds a zero byte")
        return data.decode("utf-8", "surrogateescape")

    def pad(self, alignment):
        """Zero bytes up to the next multiple of `alignment`, from the start of the payload (7)."""
        need(not any(self.take(-self.at % alignment)), self.what + ": padding is not zero")

    def end(self):
        """Nothing may follow."""
        need(not self.left(), self.what + ": bytes follow its end")


def unzigzag(u):
    """The signed number of a zigzag form."""
    return (u >> 1) ^ -(u & 1)


def ceil_div(a, b):
    """a / b, rounded up."""
    return -(-a // b)
