# SPDX-License-Identifier: Apache-2.0
"""JAX: tensors straight from a container; what safetensors.flax has."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

import mmh
from mmh import _arrays, _models
from mmh import numpy as mmh_numpy
from mmh._arrays import Array
from mmh._container import Container, TensorInfo

__all__ = ["get", "get_slice", "load", "load_all", "load_file", "save", "save_file"]

_SHARES = "may_alias" in inspect.signature(jax.device_put).parameters


def _placed(array: Array, device: Any) -> jax.Array:
    """An array of JAX over the same memory, on the CPU; else a copy on the device."""
    if isinstance(device, str):
        platform, _, number = device.partition(":")
        device = jax.devices(platform)[int(number or 0)]
    if _SHARES:
        return jax.device_put(array, device, may_alias=True)
    return jax.device_put(array, device)


def get(container: Container, name: str, device: Any = None) -> jax.Array:
    """One tensor of a container. Raises as load_file."""
    return _placed(_arrays.load_arrays(container, [name])[0], device)


def get_slice(
    container: Container, info: TensorInfo, begin: tuple[int, ...], end: tuple[int, ...], device: Any = None
) -> jax.Array:
    """Elements begin[d] <= i < end[d] of a tensor; only their chunks are read."""
    return _placed(_arrays.load_slice(container, info, begin, end), device)


def load_all(container: Container, device: Any = None, names: Iterable[str] | None = None) -> dict[str, jax.Array]:
    """Tensors of a container, by one call; by default all."""
    wanted = list(container.keys() if names is None else names)
    arrays = _arrays.load_arrays(container, wanted)
    arrays.reverse()
    return {name: _placed(arrays.pop(), device) for name in wanted}


def load_file(
    filename: Any, *, names: Iterable[str] | None = None, device: Any = None, **options: Any
) -> dict[str, jax.Array]:
    """Load tensors from a container, or from an original model file.

    Returns {name: jax.Array} of the shapes and types that were packed; on the CPU they share the memory
    that they were decoded into. As everywhere in JAX, 64-bit types become 32-bit ones without
    jax_enable_x64.

      filename   whatever mmh.open takes; `options` are its own
      names      which tensors; default: all
      device     a jax.Device or sharding, "cpu", "gpu:1", ...; None: JAX's default device

    Raises UnsupportedError for a type that NumPy and ml_dtypes lack, MissingTensorError, CorruptError.
    """
    with _models.opened(filename, **options) as container:
        return load_all(container, device, names)


def load(data: Any, **options: Any) -> dict[str, jax.Array]:
    """The same of a container in memory, as `save` gives it."""
    return load_file(data, **options)


def save_file(
    tensors: Mapping[str, Any], filename: Any, metadata: Mapping[str, str] | None = None, **options: Any
) -> mmh.PackReport:
    """Pack arrays as the safetensors file that they make.

    `options` are those of mmh.numpy.save_file: overwrite, level, recipients, ... On the CPU the arrays are
    read where they are.
    Raises TypeError for what is no array, UnsupportedError for a type that safetensors lacks.
    """
    return mmh_numpy.save_file(_arrays_of(tensors), filename, metadata, **options)


def save(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None, **options: Any) -> bytes:
    """The same as bytes."""
    return mmh_numpy.save(_arrays_of(tensors), metadata, **options)


def _arrays_of(tensors: Mapping[str, Any]) -> dict[str, Array]:
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors must be a dict of str to jax.Array, not {type(tensors).__name__}")
    for name, tensor in tensors.items():
        if not isinstance(tensor, jax.Array):
            raise TypeError(f'"{name}" must be a jax.Array, and is {type(tensor).__name__}')
    return {name: np.asarray(tensor) for name, tensor in tensors.items()}
