# SPDX-License-Identifier: Apache-2.0
"""Tensors of a container as NumPy arrays in memory that frameworks can take over without a copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mmh import numpy as mmh_numpy
from mmh._container import Container, TensorInfo

Array = np.ndarray[Any, Any]

ALIGNMENT = 64
"""Bytes: what TensorFlow, JAX and ONNX Runtime want of memory that they are to share."""


def aligned(byte_count: int) -> Array:
    """Fresh memory: uint8, [byte_count], its first byte on a multiple of ALIGNMENT."""
    whole = np.empty(byte_count + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + byte_count]


def _shaped(info: TensorInfo, memory: Array, dense: bool) -> Array:
    """The array that a tensor's bytes are; with `dense` in C order, in aligned memory."""
    flat = memory.view(mmh_numpy.dtype_of(info.dtype, of=f'"{info.name}"'))
    if info.strides is not None:
        array = np.lib.stride_tricks.as_strided(flat, info.shape, [step * flat.itemsize for step in info.strides])
    elif info.column_major:
        array = flat.reshape(info.shape, order="F")
    else:
        return flat.reshape(info.shape)
    if not dense or array.flags.c_contiguous:
        return array
    straight = aligned(array.size * array.itemsize).view(array.dtype).reshape(info.shape)
    straight[...] = array
    return straight


def load_arrays(container: Container, names: Iterable[str | int] | None = None, *, dense: bool = True) -> list[Array]:
    """Load tensors (by default all), each chunk decoded once, by all threads.

    Returns their arrays in the order of `names`, each of its shape and in memory of its own that begins on
    a multiple of ALIGNMENT. With `dense` all are in C order: of views (PyTorch's strides) and column-major
    tensors that takes one copy.
    Raises UnsupportedError (a type that NumPy lacks), MissingTensorError, CorruptError.
    """
    infos = [container.tensor(name) for name in (container.keys() if names is None else names)]
    for info in infos:
        mmh_numpy.dtype_of(info.dtype, of=f'"{info.name}"')
    memories = [aligned(info.nbytes) for info in infos]
    container.load_many([(info.index, memory) for info, memory in zip(infos, memories, strict=True) if memory.size])
    return [_shaped(info, memory, dense) for info, memory in zip(infos, memories, strict=True)]


def load_slice(container: Container, info: TensorInfo, begin: Sequence[int], end: Sequence[int]) -> Array:
    """Elements begin[d] <= i < end[d] of a tensor, in C order and aligned; only their chunks are read."""
    part = mmh_numpy.get_slice(container, info, tuple(begin), tuple(end))
    return align(part)


def align(array: Array) -> Array:
    """The array itself if it is in C order and aligned, else a copy that is."""
    if array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0:
        return array
    straight = aligned(array.size * array.itemsize).view(array.dtype).reshape(array.shape)
    straight[...] = array
    return straight


def batches(container: Container, indices: Iterable[int], byte_count: int) -> Iterator[list[int]]:
    """Tensors in groups of about so many bytes: for callers that hand each group on and let go of it."""
    group: list[int] = []
    total = 0
    for index in indices:
        size = container.tensor(index).nbytes
        if group and total + size > byte_count:
            yield group
            group, total = [], 0
        group.append(index)
        total += size
    if group:
        yield group
