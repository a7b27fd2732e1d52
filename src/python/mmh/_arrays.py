# SPDX-License-Identifier: Apache-2.0
"""Tensors of a container as NumPy arrays in memory that frameworks can take over without a copy."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy

import mmh

ALIGNMENT = 64
"""Bytes: what TensorFlow, JAX and ONNX Runtime want of memory that they are to share."""

_PLAIN = {
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
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "C128": "complex128",
}
_EXTENDED = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}
_NAMES = {value: key for key, value in (_PLAIN | _EXTENDED).items()}


def dtype_of(name: str, tensor: str = "") -> numpy.dtype[Any]:
    """The NumPy type of an element type of mmh; bfloat16 and the 8-bit floats are those of ml_dtypes.

    Raises mmh.UnsupportedError, which names `tensor`, for what NumPy has no whole elements of: packed
    4-bit types and GGUF's blocks.
    """
    if name in _PLAIN:
        return numpy.dtype(_PLAIN[name])
    if name in _EXTENDED:
        import ml_dtypes

        if hasattr(ml_dtypes, _EXTENDED[name]):
            return numpy.dtype(getattr(ml_dtypes, _EXTENDED[name]))
    raise mmh.UnsupportedError(f'"{tensor}" is {name}, which NumPy has no type for')


def name_of(dtype: numpy.dtype[Any]) -> str | None:
    """The element type of mmh for a NumPy type; None if there is none."""
    return _NAMES.get(dtype.name)


def aligned(byte_count: int) -> numpy.ndarray[Any, Any]:
    """Fresh memory: uint8, [byte_count], its first byte on a multiple of ALIGNMENT."""
    whole = numpy.empty(byte_count + ALIGNMENT, numpy.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + byte_count]


def _shaped(info: Any, memory: numpy.ndarray[Any, Any], dense: bool) -> numpy.ndarray[Any, Any]:
    """The array that a tensor's bytes are; with `dense` in C order, in aligned memory."""
    flat = memory.view(dtype_of(info.dtype, info.name))
    shape = tuple(info.shape)
    if info.strides is not None:
        array = numpy.lib.stride_tricks.as_strided(flat, shape, [step * flat.itemsize for step in info.strides])
    elif info.column_major:
        array = flat.reshape(shape, order="F")
    else:
        return flat.reshape(shape)
    if not dense or array.flags.c_contiguous:
        return array
    straight = aligned(array.size * array.itemsize).view(array.dtype).reshape(shape)
    straight[...] = array
    return straight


def load_arrays(
    container: mmh.Container, names: Iterable[str] | None = None, *, dense: bool = True
) -> dict[str, numpy.ndarray[Any, Any]]:
    """Load tensors, each chunk decoded once, by all threads.

    Returns {name: array}, each with its shape, in memory of its own that begins on a multiple of
    ALIGNMENT. With `dense` all are in C order: of views (PyTorch's strides) and of column-major tensors
    that takes one copy. Default: all tensors.
    Raises mmh.UnsupportedError (a type that NumPy lacks), mmh.MissingTensorError, mmh.CorruptError.
    """
    wanted = list(container.keys() if names is None else names)
    infos = [container.tensor(name) for name in wanted]
    for name, info in zip(wanted, infos, strict=True):
        dtype_of(info.dtype, name)
    memories = [aligned(info.nbytes) for info in infos]
    container.load_many([(name, memory) for name, memory in zip(wanted, memories, strict=True) if memory.size])
    return {
        name: _shaped(info, memory, dense) for name, info, memory in zip(wanted, infos, memories, strict=True)
    }


def batches(container: mmh.Container, names: Iterable[str], byte_count: int) -> Iterator[list[str]]:
    """Names in groups of about so many bytes: for callers that hand each group on and let go of it."""
    group: list[str] = []
    total = 0
    for name in names:
        size = container.tensor(name).nbytes
        if group and total + size > byte_count:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    if group:
        yield group


def little_endian(array: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    """The same numbers as files have them; the array itself on little-endian machines."""
    if sys.byteorder == "little" and array.dtype.byteorder != ">":
        return array
    return array.astype(array.dtype.newbyteorder("<"))
