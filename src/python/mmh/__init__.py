# SPDX-License-Identifier: Apache-2.0
"""mmh: AI model files made small, verifiable and quick to load, bit for bit.

>>> import mmh                                          # doctest: +SKIP
>>> mmh.pack("model.safetensors")                       # doctest: +SKIP
>>> with mmh.safe_open("model.safetensors.mmh", framework="pt") as file:    # doctest: +SKIP
...     weight = file.get_tensor("lm_head.weight")

`mmh.torch`, `mmh.numpy`, `mmh.tensorflow`, `mmh.jax` load and save tensors as the modules of these names of
safetensors do. `mmh.open` is what lies beneath.
"""

from __future__ import annotations

import importlib
from typing import Any

from mmh import _mmh
from mmh._container import (
    Container,
    ContainerInfo,
    FileInfo,
    MendedWarning,
    TensorInfo,
    Usage,
    open,
    open_original,
)
from mmh._core import (
    Algorithm,
    Damage,
    Key,
    KeyPart,
    Layer,
    OpenOptions,
    PackOptions,
    PackReport,
    Progress,
    Recipient,
    RepairReport,
    Security,
    Signature,
    VerifyReport,
    algorithms,
    decrypt,
    encrypt,
    pack,
    pack_files,
    pack_tensors,
    repair,
    security,
    sign,
    unpack,
    verify,
)
from mmh._errors import (
    CancelledError,
    CorruptError,
    DeviceError,
    Error,
    IOFailure,
    KeyMissingError,
    LimitError,
    MemoryFailure,
    MissingFileError,
    MissingTensorError,
    UnsupportedError,
    UntrustedError,
    UsageError,
)
from mmh._safe import SafeSlice, safe_open

__version__: str = _mmh.version.replace("-draft", ".dev0")  # as PEP 440 and the wheel have it

# Each imports its framework: not before it is asked for.
_ADAPTERS = ("dcp", "frameworks", "jax", "keras", "numpy", "onnx", "tensorflow", "torch", "transformers", "vllm")


def __getattr__(name: str) -> Any:
    if name in _ADAPTERS:
        try:
            return importlib.import_module(f"mmh.{name}")
        except ModuleNotFoundError as error:
            raise AttributeError(f"mmh.{name} needs the package {error.name}, which is not installed") from error
    raise AttributeError(f"module 'mmh' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_ADAPTERS, *(name for name in globals() if name.startswith("__"))})


def info(source: object, **options: object) -> ContainerInfo:
    """What a container says of itself: sizes, counts, identity. Options are those of `open`."""
    with open(source, **options) as container:  # type: ignore[arg-type]
        return container.info


__all__ = [
    "Algorithm",
    "CancelledError",
    "Container",
    "ContainerInfo",
    "CorruptError",
    "Damage",
    "DeviceError",
    "Error",
    "FileInfo",
    "IOFailure",
    "Key",
    "KeyMissingError",
    "KeyPart",
    "Layer",
    "LimitError",
    "MemoryFailure",
    "MendedWarning",
    "MissingFileError",
    "MissingTensorError",
    "OpenOptions",
    "PackOptions",
    "PackReport",
    "Progress",
    "Recipient",
    "RepairReport",
    "SafeSlice",
    "Security",
    "Signature",
    "TensorInfo",
    "UnsupportedError",
    "UntrustedError",
    "Usage",
    "UsageError",
    "VerifyReport",
    "algorithms",
    "decrypt",
    "encrypt",
    "info",
    "open",
    "open_original",
    "pack",
    "pack_files",
    "pack_tensors",
    "repair",
    "safe_open",
    "security",
    "sign",
    "unpack",
    "verify",
]
