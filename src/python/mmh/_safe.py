# SPDX-License-Identifier: Apache-2.0
"""safe_open: the interface of safetensors' over a container."""

from __future__ import annotations

import copy
import importlib
import operator
from collections.abc import Mapping
from types import EllipsisType, TracebackType
from typing import Any, Unpack

from mmh._container import Container, TensorInfo, open as open_container
from mmh._core import OpenOptions
from mmh._errors import UnsupportedError, UsageError
from mmh._sources import dtype_bits

_MODULES = {
    "pt": "mmh.torch",
    "torch": "mmh.torch",
    "pytorch": "mmh.torch",
    "np": "mmh.numpy",
    "numpy": "mmh.numpy",
    "tf": "mmh.tensorflow",
    "tensorflow": "mmh.tensorflow",
    "jax": "mmh.jax",
    "flax": "mmh.jax",
}


class SafeSlice:
    """A tensor of which elements are loaded by indexing; only the chunks that hold them are read."""

    def __init__(self, owner: safe_open, info: TensorInfo) -> None:
        self._owner, self._info = owner, info

    def get_shape(self) -> list[int]:
        """Its extents."""
        return list(self._info.shape)

    def get_dtype(self) -> str:
        """Its element type as safetensors spells it: "F32", "BF16", ..."""
        return self._info.dtype

    def __getitem__(self, index: Any) -> Any:
        shape = self._info.shape
        items = list(index) if isinstance(index, tuple) else [index]
        if any(item is Ellipsis for item in items):
            at = next(i for i, item in enumerate(items) if item is Ellipsis)
            if any(isinstance(item, EllipsisType) for item in items[at + 1 :]):
                raise IndexError("an index can have one ellipsis")
            items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
        if len(items) > len(shape):
            raise IndexError(f'"{self._info.name}" has {len(shape)} dimensions, and {len(items)} are indexed')
        begin, end, dropped, steps = [], [], [], []
        for number, extent in enumerate(shape):
            item = items[number] if number < len(items) else slice(None)
            if isinstance(item, slice):
                first, last, step = item.indices(extent)
                if step < 1:
                    raise IndexError("steps must be positive")
                if step > 1 and 0 < dtype_bits(self._info.dtype) < 8:
                    raise UnsupportedError(
                        f'"{self._info.name}": {self._info.dtype} has no steps: elements share bytes'
                    )
                begin.append(first)
                end.append(max(first, last))
                steps.append(step)
                continue
            if isinstance(item, bool):  # which NumPy and PyTorch take for a mask
                raise TypeError(f'"{self._info.name}" is indexed by int, slice and ..., not {item}')
            at = operator.index(item)
            if not -extent <= at < extent:
                raise IndexError(f'"{self._info.name}": {at} is outside of dimension {number}, of extent {extent}')
            begin.append(at % extent)
            end.append(at % extent + 1)
            steps.append(1)
            dropped.append(number)
        part = self._owner._slice(self._info, tuple(begin), tuple(end))
        if dropped or any(step > 1 for step in steps):
            kept = [0 if number in dropped else slice(None, None, steps[number]) for number in range(len(shape))]
            part = part[(*kept, ...)]  # with ... NumPy gives an array of no dimensions, not a scalar
        return part


class safe_open:
    """Open a container as safetensors.safe_open opens a safetensors file.

    Parameters
    ----------
    filename : path, file object or URL
        As for `mmh.open`.
    framework : str
        "pt", "np", "tf" or "jax": what tensors are given as.
    device : str
        Where they are put.
    options
        As for `mmh.open`: keys, signers, threads, ...

    >>> with safe_open(path, framework="np") as file:   # doctest: +SKIP
    ...     for name in file.keys():
    ...         tensor = file.get_tensor(name)
    """

    def __init__(self, filename: Any, framework: str, device: Any = "cpu", **options: Unpack[OpenOptions]) -> None:
        if not isinstance(framework, str):
            raise TypeError(f"framework is a str, not {type(framework).__name__}")
        module = _MODULES.get(framework)
        if module is None:
            raise UsageError(f'framework must be "pt", "np", "tf" or "jax", not {framework!r}')
        self._framework: Any = importlib.import_module(module)
        known = getattr(self._framework, "device_of", None)  # says now that there is no such device
        self._device = known(device) if known else device
        if device != "cpu" and module == "mmh.numpy":
            raise UsageError(f"NumPy has no device {device!r}")
        self._container: Container = open_container(filename, **options)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_framework": self._framework.__name__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_framework": importlib.import_module(state["_framework"])})

    def __copy__(self) -> safe_open:  # as of a Container: a copy may be closed by itself
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        closed = ", closed" if self._container.closed else ""
        return f"<mmh.safe_open {self._container.name!r}{closed}>"

    @property
    def container(self) -> Container:
        """The container that it is a face of."""
        return self._container

    def _place(self) -> dict[str, Any]:
        return {} if self._device in ("cpu", None) else {"device": self._device}

    def keys(self) -> list[str]:
        """Names of the tensors, sorted as safetensors gives them."""
        return sorted(self._container.keys())

    def offset_keys(self) -> list[str]:
        """Names of the tensors in the order in which they lie in the file."""
        places = [(info.file, info.file_offset, name) for name, info in self._container.items()]
        return [name for _, _, name in sorted(places)]

    def metadata(self) -> dict[str, str] | None:
        """The file's __metadata__, or None."""
        found: Mapping[str, str] = self._container.metadata()
        return dict(found) or None

    def get_tensor(self, name: str) -> Any:
        """A tensor, as new memory. Raises MissingTensorError, CorruptError."""
        return self._framework.get(self._container, name, **self._place())

    def get_slice(self, name: str) -> SafeSlice:
        """A tensor to index. Raises MissingTensorError."""
        return SafeSlice(self, self._container.tensor(name))

    def _slice(self, info: TensorInfo, begin: tuple[int, ...], end: tuple[int, ...]) -> Any:
        return self._framework.get_slice(self._container, info, begin, end, **self._place())

    def get_tensors(self) -> dict[str, Any]:
        """All tensors, by one call: each chunk is decoded once."""
        tensors: dict[str, Any] = self._framework.load_all(self._container, **self._place())
        return tensors

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def __enter__(self) -> safe_open:
        self._container.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
