# SPDX-License-Identifier: Apache-2.0
"""Tensors as NumPy arrays: load_file, save_file, load, save, as safetensors.numpy has them.

Types that NumPy lacks (bfloat16, 8-bit floats) come as those of ml_dtypes where that is installed.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from mmh import _core
from mmh._container import Container, TensorInfo, open as open_container
from mmh._core import OpenOptions, PackReport, PathLike
from mmh._errors import UnsupportedError

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
_NAMES = {name: dtype for dtype, name in {**_PLAIN, **_EXTENDED}.items()}


def dtype_of(name: str, *, of: str = "a tensor") -> np.dtype[Any]:
    """The NumPy type of an element type ("BF16"). Raises UnsupportedError where there is none."""
    if name in _PLAIN:
        return np.dtype(_PLAIN[name])
    if name in _EXTENDED:
        try:
            import ml_dtypes
        except ImportError:
            raise UnsupportedError(
                f"{of} is of type {name}, which NumPy has with the package ml_dtypes alone"
            ) from None
        kind = getattr(ml_dtypes, _EXTENDED[name], None)
        if kind is not None:
            found: np.dtype[Any] = np.dtype(kind)
            return found
    raise UnsupportedError(f"{of} is of type {name}, which NumPy does not have")


def _bytes_of(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bytes of a C-contiguous array as a flat view; also of types that have no buffer protocol."""
    return array.reshape(-1).view(np.uint8)


def empty(info: TensorInfo) -> np.ndarray[Any, Any]:
    """An array for a tensor, C-contiguous over its memory: of its shape, or reversed if column-major."""
    dtype = dtype_of(info.dtype, of=f'"{info.name}"')
    try:
        return np.empty(info.shape[::-1] if info.column_major else info.shape, dtype)
    except ValueError as error:  # of a tensor without elements the other extents may be anything
        raise UnsupportedError(f'"{info.name}": NumPy has no shape {list(info.shape)}: {error}') from None


def _finished(info: TensorInfo, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.T if info.column_major else array


def get(container: Container, name: str) -> np.ndarray[Any, Any]:
    """One tensor of a container as a new array of its shape."""
    info = container.tensor(name)
    if info.strides is not None:
        dtype = dtype_of(info.dtype, of=f'"{info.name}"')
        memory = np.empty(info.nbytes // dtype.itemsize, dtype)
        container.load_into(info.index, _bytes_of(memory))
        return np.lib.stride_tricks.as_strided(
            memory, info.shape, [stride * dtype.itemsize for stride in info.strides]
        ).copy()
    array = empty(info)
    container.load_into(info.index, _bytes_of(array))
    return _finished(info, array)


def get_slice(
    container: Container, info: TensorInfo, begin: tuple[int, ...], end: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    """Elements begin[d] <= i < end[d] of a tensor as a new array; only their chunks are read."""
    if info.strides is not None:
        whole = get(container, info.name)
        return whole[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))].copy()
    shape = [b - a for a, b in zip(begin, end, strict=True)]
    dtype = dtype_of(info.dtype, of=f'"{info.name}"')
    if info.column_major:
        array = np.empty(shape[::-1], dtype)
        container.load_slice_into(info.index, begin, end, _bytes_of(array))
        return array.T
    array = np.empty(shape, dtype)
    container.load_slice_into(info.index, begin, end, _bytes_of(array))
    return array


def load_all(container: Container) -> dict[str, np.ndarray[Any, Any]]:
    """All tensors of a container, by one call."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    requests: list[tuple[str | int, Any]] = []
    for name, info in container.items():
        if info.strides is not None:
            arrays[name] = get(container, name)
            continue
        array = empty(info)
        requests.append((info.index, _bytes_of(array)))
        arrays[name] = _finished(info, array)
    container.load_many(requests)
    return arrays


def load_file(filename: PathLike, **options: Unpack[OpenOptions]) -> dict[str, np.ndarray[Any, Any]]:
    """Load all tensors of a container into new arrays.

    `options` are those of `mmh.open`. Returns {name: array}. Raises as `mmh.open`, and CorruptError.
    """
    with open_container(filename, **options) as container:
        return load_all(container)


def load(data: Any, **options: Unpack[OpenOptions]) -> dict[str, np.ndarray[Any, Any]]:
    """The same of a container in memory, as `save` gives it."""
    with open_container(data, **options) as container:
        return load_all(container)


def described(tensors: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int, ...], Any]]:
    """{name: (dtype, shape, memory)} for `mmh.pack_tensors`; row-major, little-endian."""
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors must be a dict of str to array, not {type(tensors).__name__}")
    described: dict[str, tuple[str, tuple[int, ...], Any]] = {}
    for name, given in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"names must be str, and {name!r} is not")
        if not isinstance(given, (np.ndarray, np.generic)):
            raise TypeError(f'"{name}" must be a NumPy array, and is {type(given).__name__}')
        array = np.asarray(given)
        dtype = _NAMES.get(array.dtype.name)
        if dtype is None or dtype == "C128":
            raise UnsupportedError(f'"{name}" is of type {array.dtype}, which safetensors does not have')
        order = array.dtype.byteorder
        if order == ">" or (order == "=" and sys.byteorder == "big"):
            array = array.astype(array.dtype.newbyteorder("<"))
        array = np.ascontiguousarray(array).reshape(array.shape)
        described[name] = (dtype, array.shape, _bytes_of(array))
    return described


def save_file(
    tensors: Mapping[str, np.ndarray[Any, Any]],
    filename: PathLike,
    metadata: Mapping[str, str] | None = None,
    *,
    overwrite: bool = True,
    **options: Any,
) -> PackReport:
    """Pack arrays as the safetensors file that they make.

    An existing file is replaced, as safetensors does, unless `overwrite=False`. `options` are those of
    `mmh.pack`: level, threads, recipients, sign_with, parity, ... Raises TypeError and UnsupportedError for
    what is no array or of a type that safetensors lacks, IOFailure.
    """
    return _core.pack_tensors(
        described(tensors),
        filename,
        metadata=metadata,
        name=file_name(filename),
        overwrite=overwrite,
        **options,
    )


def save(
    tensors: Mapping[str, np.ndarray[Any, Any]],
    metadata: Mapping[str, str] | None = None,
    **options: Any,
) -> bytes:
    """The same as bytes."""
    output = io.BytesIO()
    _core.pack_tensors(described(tensors), output, metadata=metadata, **options)
    return output.getvalue()


def file_name(path: PathLike) -> str:
    """Name of the safetensors file in a container at a path: its own without ".mmh"."""
    name = os.path.basename(os.fsdecode(path)).removesuffix(".mmh")
    if name in ("", ".", ".."):
        return "model.safetensors"
    return name if name.endswith(".safetensors") else name + ".safetensors"
