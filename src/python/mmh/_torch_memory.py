# SPDX-License-Identifier: Apache-2.0
"""Memory of tensors: element types by name, views of their bytes, and where loaded ones are put."""

from __future__ import annotations

import bisect
import ctypes
import io
import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmh._sources import safetensors_parts

# By the names that files have; what this version of PyTorch lacks is left out.
_FILE_TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F4": "float4_e2m1fn_x2",  # an element of PyTorch's is two of the file's
    "C64": "complex64",
    "C128": "complex128",
}
DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, attribute) for name, attribute in _FILE_TYPES.items() if hasattr(torch, attribute)
}
FILE_NAMES: dict[torch.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}
_PAIRS = getattr(torch, "float4_e2m1fn_x2", None)
# safetensors has no name for these: their bytes go in as another type.
_STORED_AS = {"C128": ("F64", 2)}


def dtype_name(dtype: torch.dtype) -> str:
    """PyTorch's own name of an element type, "float32"."""
    return str(dtype).removeprefix("torch.")


def item_bytes(dtype: torch.dtype) -> int:
    """Bytes of an element; dtype.itemsize came with PyTorch 2.1."""
    return torch.empty(0, dtype=dtype).element_size()


def byte_count(tensor: torch.Tensor) -> int:
    """Bytes of a tensor's elements; Tensor.nbytes came with PyTorch 2.1."""
    return tensor.numel() * tensor.element_size()


def named_dtypes() -> dict[str, torch.dtype]:
    """Every element type of this PyTorch by its name."""
    return {dtype_name(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}


def tensor_shape(dtype: torch.dtype, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that PyTorch gives a tensor of a file: four-bit elements lie two by two in the last dimension.

    Raises ValueError if they are an odd number, or for extents that PyTorch has not.
    """
    if any(extent >= 1 << 63 for extent in shape):  # of a tensor without elements they may be anything
        raise ValueError(f"PyTorch has no shape {list(shape)}")
    if dtype is not _PAIRS:
        return tuple(shape)
    if not shape or shape[-1] % 2:
        raise ValueError(f"its rows of {shape[-1] if shape else 1} four-bit elements are no whole bytes")
    return (*shape[:-1], shape[-1] // 2)


def file_type(dtype: torch.dtype, shape: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """(name, shape) under which a safetensors file holds a tensor; ("U8", bytes) where it has no such type."""
    name = FILE_NAMES.get(dtype)
    if name is None:
        return "U8", (math.prod(shape) * item_bytes(dtype),)
    if dtype is _PAIRS:
        return (name, (*shape[:-1], shape[-1] * 2)) if shape else (name, (2,))
    if name in _STORED_AS:
        stored, factor = _STORED_AS[name]
        return stored, (*shape, factor)
    return name, tuple(shape)


def tensor_bytes(tensor: torch.Tensor) -> Any:
    """The bytes of a contiguous tensor in main memory, to read or write: [byte_count]; no copy, no reference to it."""
    count = byte_count(tensor)
    return (ctypes.c_char * count).from_address(tensor.data_ptr()) if count else bytearray()


def address(tensor: torch.Tensor) -> tuple[int, int]:
    """(address, bytes) of a contiguous tensor in main memory, as mmh takes memory; no reference to it."""
    return tensor.data_ptr(), byte_count(tensor)


def storage_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """All bytes of the storage that a tensor lies in, as uint8 [bytes], in main memory."""
    storage = tensor.untyped_storage()
    flat = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    flat.set_(storage, 0, (storage.nbytes(),), (1,))
    return flat.cpu()


class Entry:
    """A tensor that is to be written: its name, the file's dtype and shape, and where its bytes come from."""

    __slots__ = ("dtype", "name", "nbytes", "read", "ready", "shape")

    def __init__(
        self, name: str, dtype: str, shape: Sequence[int], nbytes: int, read: Callable[[], tuple[Any, Any]], ready: bool
    ) -> None:
        """read: gives (bytes-like [nbytes], what keeps it alive). ready: it costs no memory, the bytes are there."""
        self.name, self.dtype, self.shape, self.nbytes = name, dtype, tuple(shape), nbytes
        self.read, self.ready = read, ready


def entry_of(name: str, tensor: torch.Tensor) -> Entry:
    """A tensor of any device as it is written; moved to main memory, and made dense, when its bytes are wanted."""
    dtype, shape = file_type(tensor.dtype, tensor.shape)

    def read() -> tuple[Any, Any]:
        here = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
        return tensor_bytes(here), here

    ready = tensor.device.type == "cpu" and tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()
    return Entry(name, dtype, shape, byte_count(tensor), read, ready)


def laid_out(entries: Sequence[Entry], metadata: Mapping[str, str] | None) -> tuple[bytes, list[Entry]]:
    """(head, tensors in their order) of the safetensors file that holds them."""
    described = {entry.name: (entry.dtype, entry.shape, (number, entry.nbytes)) for number, entry in enumerate(entries)}
    head, *order = safetensors_parts(described, metadata)
    return head, [entries[number] for number, _ in order]


class EntryFile(io.RawIOBase):
    """A safetensors file that is nowhere: its tensors are fetched as they are read, and the last few are kept."""

    KEPT_BYTES = 64 << 20  # and one more

    def __init__(self, entries: Sequence[Entry], metadata: Mapping[str, str] | None) -> None:
        head, ordered = laid_out(entries, metadata)
        self._parts: list[bytes | Entry] = [head, *(entry for entry in ordered if entry.nbytes)]
        self._ends = list(
            itertools.accumulate(part.nbytes if isinstance(part, Entry) else len(part) for part in self._parts)
        )
        self._at = 0
        self._kept: dict[int, tuple[memoryview, Any]] = {}
        self._lock = threading.Lock()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._ends[-1])[whence])
        return self._at

    def _part(self, number: int) -> memoryview:
        part = self._parts[number]
        if isinstance(part, bytes):
            return memoryview(part)
        if number not in self._kept:
            data, owner = part.read()
            view = memoryview(data).cast("B")
            if len(view) != part.nbytes:
                raise ValueError(f"{part.name}: {len(view)} bytes instead of {part.nbytes}")
            while self._kept and sum(len(kept) for kept, _ in self._kept.values()) > self.KEPT_BYTES:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = (view, owner)
        return self._kept[number][0]

    def readinto(self, buffer: Any) -> int:
        to = memoryview(buffer).cast("B")
        done = 0
        with self._lock:
            number = bisect.bisect_right(self._ends, self._at)
            while done < len(to) and number < len(self._parts):
                part = self._part(number)
                begin = self._at - (self._ends[number] - len(part))
                now = min(len(part) - begin, len(to) - done)
                to[done : done + now] = part[begin : begin + now]
                done += now
                self._at += now
                number += 1
        return done


def safetensors_source(entries: Sequence[Entry], metadata: Mapping[str, str] | None) -> Any:
    """The same as a source of mmh.pack_files: parts where all bytes are in memory, else a file that fetches them."""
    if not all(entry.ready for entry in entries):
        return EntryFile(entries, metadata)
    head, ordered = laid_out(entries, metadata)
    return [head, *(entry.read()[0] for entry in ordered if entry.nbytes)]
