# SPDX-License-Identifier: Apache-2.0
"""What is read and written that is no path: memory, file objects, URLs."""

from __future__ import annotations

import io
import json
import math
import operator
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mmh import _mmh
from mmh._errors import IOFailure, UsageError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")

# Bits of an element, by the name that safetensors has for it: in the order, from its end, in which that
# package lays tensors out.
SAFETENSORS_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


def is_url(source: object) -> bool:
    """Whether a source is a URL, which fsspec opens."""
    return isinstance(source, str) and bool(_URL.match(source))


class _FileReader:
    """Reads ranges of a seekable file object, one at a time: it has one position."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._lock = threading.Lock()
        with self._lock:
            self.bytes = int(file.seek(0, io.SEEK_END))

    def __call__(self, offset: int, memory: memoryview) -> None:
        with self._lock:
            self._file.seek(offset)
            done = 0
            while done < len(memory):
                if hasattr(self._file, "readinto"):
                    got = self._file.readinto(memory[done:])
                    if got is None:
                        raise OSError(f"the file object gives nothing at {offset + done}, as one that does not block")
                else:
                    data = self._file.read(len(memory) - done)
                    got = len(data)
                    memory[done : done + got] = data
                if not got:
                    raise OSError(f"the file object ends at {offset + done}, before {offset + len(memory)}")
                if not 0 < got <= len(memory) - done:
                    raise OSError(f"the file object says that it read {got} bytes of {len(memory) - done}")
                done += got


class _RangeReader:
    """Reads ranges of a file of fsspec, several at a time."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self._filesystem, self._path = filesystem, path
        size = filesystem.size(path)
        if size is None:
            raise OSError(f"{path}: the server does not tell its size, so that ranges of it cannot be read")
        self.bytes = int(size)

    def __call__(self, offset: int, memory: memoryview) -> None:
        try:
            data = self._filesystem.cat_file(self._path, start=offset, end=offset + len(memory))
        except OSError:
            raise
        except Exception as error:  # of the package that fsspec uses: who reads a file expects an OSError
            raise IOFailure(f"{self._path}: reading {len(memory)} bytes at {offset} failed: {error}") from error
        if len(data) != len(memory):
            raise OSError(
                f"{self._path}: {len(memory)} bytes at {offset} were asked for and {len(data)} came: "
                "the server does not give ranges"
            )
        memory[:] = data


def of_url(url: str, storage_options: Mapping[str, Any] | None) -> tuple[str, int, Callable[[int, memoryview], None]]:
    """A source of a URL. Raises ImportError without fsspec, OSError."""
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(url, **(storage_options or {}))
    reader = _RangeReader(filesystem, path)
    return url, reader.bytes, reader


def of_file(name: str, content: Any) -> tuple[Any, ...]:
    """A source of a file's content: bytes-like, a sequence of such, or a seekable binary file object."""
    if hasattr(content, "seek") and (hasattr(content, "read") or hasattr(content, "readinto")):
        if isinstance(content, io.TextIOBase):
            raise TypeError(f"{name}: the file object must be binary")
        reader = _FileReader(content)
        return name, reader.bytes, reader
    if isinstance(content, (str, int)):
        raise TypeError(f"{name}: content must be bytes-like or a binary file object, not {type(content).__name__}")
    try:
        memoryview(content)
    except TypeError:
        if not isinstance(content, Iterable):
            raise TypeError(
                f"{name}: content must be bytes-like or a binary file object, not {type(content).__name__}"
            ) from None
        return name, list(content)
    return name, [content]


def writer(file: Any) -> Callable[[memoryview], None]:
    """What writes all of a memory to a file object, also where it takes only some of it at a time."""

    def write(memory: memoryview) -> None:
        done = 0
        while done < len(memory):
            took = file.write(memory[done:])
            if took is None:  # a raw file that would block, or an object that does not tell
                took = len(memory) - done
            if took <= 0:
                raise OSError("the file object takes no bytes")
            if took > len(memory) - done:
                raise OSError(f"the file object says that it took {took} bytes of {len(memory) - done}")
            done += took

    return write


def _memory_bytes(memory: Any) -> int:
    return _mmh.memory_bytes(memory)


def safetensors_parts(
    tensors: Mapping[str, tuple[str, Sequence[int], Any]], metadata: Mapping[str, str] | None
) -> list[Any]:
    """The safetensors file of these tensors, as the memories that follow each other in it.

    Byte for byte as the safetensors package writes it: by falling alignment, then by name; no bytes between.
    """
    header: dict[str, Any] = {}
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors must be a dict, not {type(tensors).__name__}")
    if metadata is not None:
        if not isinstance(metadata, Mapping):
            raise TypeError(f"metadata must be a dict of str to str, not {type(metadata).__name__}")
        for key, value in metadata.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise TypeError(f"metadata must be str to str, and {key!r} is not")
            if "\0" in key + value:
                raise UsageError(f"metadata {key!r}: there cannot be null characters")
        header["__metadata__"] = dict(sorted(metadata.items()))
    order = list(SAFETENSORS_BITS)
    entries = []
    for name, (dtype, shape, memory) in tensors.items():
        if name == "__metadata__":
            raise UsageError('a tensor cannot be called "__metadata__"')
        if "\0" in name:
            raise UsageError(f"{name!r}: names cannot have null characters")
        dimensions = [operator.index(extent) for extent in shape]
        if any(extent < 0 for extent in dimensions):
            raise UsageError(f'"{name}" cannot be of shape {dimensions}')
        bits = SAFETENSORS_BITS.get(dtype)
        if bits is None:
            raise UsageError(f'"{name}" is of type {dtype}, which safetensors does not have')
        size = math.prod(dimensions) * bits
        if size % 8 or size // 8 != _memory_bytes(memory):
            raise UsageError(
                f'"{name}": {dtype} of shape {dimensions} takes {size / 8:g} bytes, and its memory has '
                f"{_memory_bytes(memory)}"
            )
        entries.append((-order.index(dtype), name, dtype, dimensions, size // 8, memory))
    entries.sort(key=lambda entry: entry[:2])
    offset = 0
    for _, name, dtype, dimensions, size, _ in entries:
        header[name] = {"dtype": dtype, "shape": dimensions, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *(entry[5] for entry in entries)]


def dtype_bits(dtype: str) -> int:
    """Bits of an element of a type of the library; 0 for block types and opaque bytes."""
    return _mmh.dtypes().get(dtype, (0, 0, 0))[0]
