# SPDX-License-Identifier: Apache-2.0
"""PyTorch: the functions of safetensors.torch over containers, and whole checkpoints without a pickle.

    import mmh.torch
    mmh.torch.save_file(model.state_dict(), "model.safetensors.mmh")
    tensors = mmh.torch.load_file("model.safetensors.mmh")
    mmh.torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 7}, "step7.mmh")
    checkpoint = mmh.torch.load("step7.mmh")

docs/python-torch.md says what is kept, and how it is stored.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

import mmh
import torch
from mmh._core import OpenOptions
from mmh._folder import Folder
from mmh._sources import is_url
from mmh._torch_memory import (
    DTYPES,
    address,
    byte_count,
    dtype_name,
    entry_of,
    item_bytes,
    safetensors_source,
    tensor_shape,
)
from mmh._torch_tree import Decoder, Encoder, StructureError, parse, read_text

__all__ = ["load", "load_file", "load_model", "save", "save_file", "save_model"]

STRUCTURE = "structure.json"
STORAGES = "tensors.safetensors"
_PICKLED = (".pt", ".pth", ".bin", ".ckpt")

Path = str | os.PathLike[str]
Name = TypeVar("Name", str, int)


# ---- dicts of tensors, as safetensors.torch has them ----


def load_file(
    filename: Any, device: str | int | torch.device = "cpu", **options: Unpack[OpenOptions]
) -> dict[str, torch.Tensor]:
    """All tensors of a container by name, each with the dtype and shape that it was packed with.

    filename: whatever mmh.open takes. options: those of mmh.open (threads, keys, signers, require, ...).
    The tensors are new, dense memory; each has a storage of its own.
    Raises mmh.CorruptError and what else mmh.open raises; mmh.UnsupportedError for a dtype that PyTorch lacks.
    """
    device = device_of(device)
    with mmh.open(filename, **options) as container:
        return load_tensors(container, container.keys(), device)


def load(
    data: Any,
    device: str | int | torch.device = "cpu",
    *,
    map_location: str | int | torch.device | None = None,
    weights_only: bool = True,
    **options: Unpack[OpenOptions],
) -> Any:
    """What `save` has saved: from bytes, a path, a file object, or an fsspec URL.

    A container of a safetensors file gives a dict of tensors, one of `save(object, path)` that object, and one of
    a packed .pt, .pth, .bin or .ckpt file what torch.load(weights_only=True) makes of it: no code runs.
    device: where tensors go; map_location is another word for it. weights_only: True, as nothing else is done.
    options: those of mmh.open.
    Raises mmh.CorruptError where the container or its structure is damaged or forged.
    """
    if not weights_only:
        raise mmh.UsageError(
            "weights_only=False would run what a pickle says: torch.load(container.open_file()) does so"
        )
    device = device_of(device if map_location is None else map_location)
    with mmh.open(data, **options) as container:
        names = [file.name for file in container.files]
        if sorted(names) == sorted((STRUCTURE, STORAGES)):
            return _load_object(container, device)
        if len(names) == 1 and names[0].endswith(_PICKLED):
            with container.open_file(names[0]) as file:
                return torch.load(file, map_location=device, weights_only=True)
        return load_tensors(container, container.keys(), device)


def save_file(
    tensors: Mapping[str, torch.Tensor],
    filename: Path,
    metadata: Mapping[str, str] | None = None,
    *,
    level: int = 5,
    overwrite: bool = True,
    **options: Any,
) -> mmh.PackReport:
    """Pack a dict of tensors: the container holds a safetensors file, which is never there uncompressed.

    metadata: texts for its header. level: 1..9. options: those of mmh.pack_files (threads, recipients, parity, ...).
    Raises ValueError for what is no dense, contiguous tensor, RuntimeError for tensors
    that share memory: see save_model.
    """
    inner = _inner_name(filename)
    return _write_tensors(tensors, filename, inner, metadata, level=level, overwrite=overwrite, **options)


def save(obj: Any, f: Any = None, metadata: Mapping[str, str] | None = None, *, level: int = 5, **options: Any) -> Any:
    """Save a checkpoint of any nesting to `f`, a path, URL or binary file object; or, without f, tensors as bytes.

    save(obj, path) takes dicts, lists, numbers, texts, tensors and more (docs/python-torch.md), keeps which tensors
    share memory, and writes no pickle. TypeError names the place of what it cannot store; nothing is written then.
    save(tensors) -> bytes of a container, as save_file writes them; with safetensors' rules and errors.
    metadata: texts, which mmh.open(path).metadata("tensors.safetensors") gives. level, options: as for save_file.
    """
    if isinstance(f, Mapping):  # save(tensors, metadata), as safetensors has it
        f, metadata = None, f
    if f is None:
        buffer = io.BytesIO()
        _write_tensors(obj, buffer, "model.safetensors", metadata, level=level, **options)
        return buffer.getvalue()
    encoder = Encoder()
    structure = encoder.structure(encoder.node(obj))
    files = {STORAGES: safetensors_source(encoder.entries, _texts(metadata)), STRUCTURE: structure}
    _pack(files, f, level=level, **options)
    return None


def save_model(
    model: torch.nn.Module,
    filename: Path,
    metadata: Mapping[str, str] | None = None,
    force_contiguous: bool = True,
    **options: Any,
) -> None:
    """Pack a model's state_dict; of parameters that share memory one is kept, metadata names the others.

    Raises RuntimeError where none of those that share a storage covers all of it.
    """
    state = model.state_dict()
    texts = dict(metadata or {})
    for kept, others in _duplicates(state, ()).items():
        for name in others:
            texts.setdefault(name, kept)
            del state[name]
    if force_contiguous:
        state = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(state, filename, texts or None, **options)


def load_model(
    model: torch.nn.Module,
    filename: Any,
    strict: bool = True,
    device: str | int | torch.device = "cpu",
    **options: Any,
) -> tuple[list[str], list[str]]:
    """Load a container into a model. Returns (missing, unexpected) names; RuntimeError if there are any and strict."""
    state = load_file(filename, device, **options)
    duplicates = _duplicates(model.state_dict(), state.keys())
    missing_names, unexpected_names = model.load_state_dict(state, strict=False)
    missing, unexpected = set(missing_names), list(unexpected_names)
    for others in duplicates.values():
        for name in others:
            if name in missing:
                missing.remove(name)
            else:
                unexpected.append(name)
    if strict and (missing or unexpected):
        message = f"Error(s) in loading state_dict for {type(model).__name__}:"
        if missing:
            message += "\n    Missing key(s) in state_dict: " + ", ".join(f'"{name}"' for name in sorted(missing))
        if unexpected:
            message += "\n    Unexpected key(s) in state_dict: " + ", ".join(f'"{name}"' for name in sorted(unexpected))
        raise RuntimeError(message)
    return sorted(missing), unexpected


# ---- within ----


def file_tensors(container: mmh.Container, file: str) -> dict[str, int]:
    """{name: index} of the tensors of one file of an open container: those of others may have the same names."""
    number = next((info.index for info in container.files if info.name == file), None)
    return {info.name: info.index for _, info in container.items() if info.file == number}


def load_indices(container: mmh.Container, indices: Mapping[str, int], names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Tensors by the names that `file_tensors` has for them, as storages: of unknown types bytes. Raises KeyError."""
    loaded = load_tensors(container, [indices[name] for name in names], "cpu", unknown_as_bytes=True)
    return {name: loaded[indices[name]] for name in names}


def load_tensors(
    container: mmh.Container, names: Iterable[Name], device: str | int | torch.device, unknown_as_bytes: bool = False
) -> dict[Name, torch.Tensor]:
    """Tensors of an open container by name or index, all by one call, as `load_file` gives them.

    unknown_as_bytes: what this PyTorch has no element type for comes as uint8 [nbytes].
    """
    names = list(names)
    infos = [container.tensor(name) for name in names]
    wanted: list[tuple[torch.dtype, Sequence[int]]] = []
    for info in infos:
        dtype = DTYPES.get(info.dtype)
        if dtype is None and unknown_as_bytes:
            wanted.append((torch.uint8, (info.nbytes,)))
            continue
        if dtype is None:
            raise mmh.UnsupportedError(f"{info.name}: this PyTorch has no element type {info.dtype}")
        try:
            shape = tensor_shape(dtype, info.shape)
        except ValueError as error:
            raise mmh.UnsupportedError(f"{info.name}: {error}") from None
        if info.strides is not None:  # as they lie, gaps included
            shape = (info.nbytes // item_bytes(dtype),)
        elif info.column_major:
            shape = shape[::-1]
        wanted.append((dtype, shape))
    tensors = [torch.empty(tuple(shape), dtype=dtype) for dtype, shape in wanted]
    for info, tensor in zip(infos, tensors, strict=True):
        if byte_count(tensor) != info.nbytes:
            raise mmh.CorruptError(f"{info.name}: {info.nbytes} bytes for {info.dtype} of shape {list(info.shape)}")
    container.load_many(
        (info.index, address(tensor)) for info, tensor in zip(infos, tensors, strict=True) if tensor.numel()
    )
    result = {}
    for name, info, tensor in zip(names, infos, tensors, strict=True):
        if info.strides is not None:
            try:
                tensor = tensor.as_strided(tuple(info.shape), tuple(info.strides))
            except RuntimeError as error:
                raise mmh.CorruptError(f"{info.name}: {error}") from None
        elif info.column_major:
            tensor = tensor.permute(*reversed(range(tensor.dim())))
        result[name] = tensor.to(device)
    return result


def device_of(device: Any) -> torch.device:
    """A device by any name that PyTorch has for it; None is the CPU. Raises mmh.UsageError for others."""
    try:
        return torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        raise mmh.UsageError(f"device {device!r} is invalid: {error}") from None


def get(container: mmh.Container, name: str, device: Any = "cpu") -> torch.Tensor:
    """One tensor of an open container, for `mmh.safe_open`."""
    return load_tensors(container, [name], device)[name]


def load_all(container: mmh.Container, device: Any = "cpu") -> dict[str, torch.Tensor]:
    """All tensors of an open container, for `mmh.safe_open`."""
    return load_tensors(container, container.keys(), device)


def get_slice(
    container: mmh.Container,
    info: mmh.TensorInfo,
    begin: Sequence[int],
    end: Sequence[int],
    device: Any = "cpu",
) -> torch.Tensor:
    """Elements begin[d] <= i < end[d] of a tensor of an open container; only their chunks are read."""
    dtype = DTYPES.get(info.dtype)
    if info.strides is not None or dtype is None or dtype_name(dtype) == "float4_e2m1fn_x2":
        whole = get(container, info.name, device)
        bounds = [slice(a, b) for a, b in zip(begin, end, strict=True)]
        if whole.dim() and whole.shape[-1] != info.shape[-1]:  # two elements in one of PyTorch's
            if begin[-1] % 2 or end[-1] % 2:
                raise mmh.UnsupportedError(f"{info.name}: {info.dtype} comes in pairs of the last dimension")
            bounds[-1] = slice(begin[-1] // 2, end[-1] // 2)
        return whole[tuple(bounds)].clone()
    shape = [b - a for a, b in zip(begin, end, strict=True)]
    tensor = torch.empty(shape[::-1] if info.column_major else shape, dtype=dtype)
    if tensor.numel():
        container.load_slice_into(info.index, begin, end, address(tensor))
    if info.column_major:
        tensor = tensor.permute(*reversed(range(tensor.dim())))
    return tensor.to(device)


def _load_object(container: mmh.Container, device: str | int | torch.device) -> Any:
    def storages(names: Sequence[str]) -> dict[str, torch.Tensor]:
        return load_indices(container, file_tensors(container, STORAGES), names)

    try:
        return Decoder(parse(read_text(container, STRUCTURE), STRUCTURE), storages, device).object()
    except StructureError as error:
        raise mmh.CorruptError(str(error)) from None


def _texts(metadata: Mapping[str, str] | None) -> dict[str, str] | None:
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata[{key!r}] is no text")
    return dict(metadata) if metadata else None


def _inner_name(filename: Path) -> str:
    """What the file in the container is called, so that `mmh unpack` gives it back under the name one expects."""
    name = os.path.basename(os.fspath(filename)).removesuffix(".mmh")
    return name if name.endswith(".safetensors") else f"{name or 'model'}.safetensors"


def _write_tensors(
    tensors: Mapping[str, torch.Tensor], output: Any, name: str, metadata: Mapping[str, str] | None, **options: Any
) -> mmh.PackReport:
    if not isinstance(tensors, Mapping):
        raise ValueError(f"expected a dict of tensors, not a {type(tensors).__name__}")
    for key, tensor in tensors.items():
        if not isinstance(key, str):
            raise ValueError(f"the key {key!r} is no text")
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(
                f"{key}: a {type(tensor).__name__} is no tensor: mmh.torch.save(object, path) stores those"
            )
        if tensor.layout != torch.strided:
            raise ValueError(f"{key}: a tensor of layout {tensor.layout}: make it dense with .to_dense()")
        if tensor.device.type == "meta":
            raise ValueError(f"{key}: a tensor of the meta device has no values")
        if tensor.dtype not in DTYPES.values() or dtype_name(tensor.dtype) == "complex128":
            raise ValueError(f"{key}: safetensors has no element type for {tensor.dtype}")
    shared = [names for names in _shared(tensors) if len(names) > 1]
    if shared:
        raise RuntimeError(
            f"these tensors share memory: {shared}. Save one of each, use mmh.torch.save_model(model, path), "
            "or mmh.torch.save(tensors, path), which keeps what is shared"
        )
    for key, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise ValueError(f"{key}: not contiguous: save tensor.contiguous(), or by mmh.torch.save(tensors, path)")
    entries = [entry_of(key, tensor) for key, tensor in tensors.items()]
    return _pack({name: safetensors_source(entries, _texts(metadata))}, output, **options)


def _pack(files: Mapping[str, Any], output: Any, *, overwrite: bool = True, **options: Any) -> mmh.PackReport:
    """Pack to a path, an fsspec URL or a file object; what is there is replaced when the new one is complete."""
    if not is_url(output):
        return mmh.pack_files(files, output, overwrite=overwrite, **options)
    parent, name = output.rsplit("/", 1)
    if parent.endswith(":/"):  # memory://name: the folder is the root
        parent += "/"
    folder = Folder(parent, options.pop("storage_options", None) or {})
    if not overwrite and folder.exists(name):
        raise mmh.UsageError(f"{output} exists")
    return folder.pack(files, name, options)


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """First byte and end of the memory between a tensor's first and last element."""
    begin = tensor.data_ptr()
    if tensor.numel() == 0:
        return begin, begin
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return begin, begin + (reach + 1) * tensor.element_size()


def _shared(tensors: Mapping[str, torch.Tensor]) -> list[list[str]]:
    """Names by what overlaps: each list is of tensors of one storage whose memory runs into each other."""
    storages: dict[tuple[str, int, int], list[tuple[int, int, str]]] = {}
    groups: list[list[str]] = []
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        if tensor.device.type == "meta" or storage.nbytes() == 0:
            groups.append([name])
            continue
        key = (str(tensor.device), storage.data_ptr(), storage.nbytes())
        storages.setdefault(key, []).append((*_span(tensor), name))
    for spans in storages.values():
        end = -1
        for begin, stop, name in sorted(spans):
            if begin >= end:
                groups.append([name])
            else:
                groups[-1].append(name)
            end = max(end, stop)
    return groups


def _duplicates(state: Mapping[str, torch.Tensor], preferred: Iterable[str]) -> dict[str, list[str]]:
    """{kept name: names of tensors in the same memory}, where there are such."""
    preferred = set(preferred)
    result: dict[str, list[str]] = {}
    for names in _shared(state):
        if len(names) < 2:
            continue
        whole = {name for name in names if byte_count(state[name]) == state[name].untyped_storage().nbytes()}
        if not whole:
            raise RuntimeError(
                f"none of {sorted(names)} covers all of the storage that they share: nothing is saved or loaded, "
                "because what lies in the rest of it would be lost"
            )
        kept = min(whole & preferred or whole)
        result[kept] = [name for name in sorted(names) if name != kept]
    return result
