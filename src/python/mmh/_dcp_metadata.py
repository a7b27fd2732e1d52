# SPDX-License-Identifier: Apache-2.0
"""The metadata of a distributed checkpoint as JSON, and back; docs/python-torch.md says what is in it."""

from __future__ import annotations

import enum
import io
import json
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mmh
import torch
from mmh._torch_memory import dtype_name, named_dtypes
from mmh._torch_tree import Decoder, Encoder, StructureError, parse

try:
    from torch.distributed.checkpoint.metadata import (
        BytesStorageMetadata,
        ChunkStorageMetadata,
        Metadata,
        MetadataIndex,
        StorageMeta,
        TensorProperties,
        TensorStorageMetadata,
    )
except ImportError as error:
    raise ImportError(f"mmh.dcp needs PyTorch 2.4 or later, and this is {torch.__version__}: {error}") from error

FORMAT = "mmh-dcp"
VERSION = 1
DCP_VERSION = "1.0.0"  # of torch's own metadata, for planners that ask

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
_DTYPES = named_dtypes()
_LAYOUTS = {"strided": torch.strided}
_MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
    "preserve": torch.preserve_format,
}


@dataclass(frozen=True)
class Stored:
    """Where an item of a checkpoint is: a tensor or a value of a container, or a range of a packed file."""

    file: str
    root: str  # of the container: one that was swapped for another is found out
    kind: str  # "tensor", "value", "raw": a file of the container; "range"
    name: str = ""
    offset: int = 0  # of a range
    length: int = 0
    transforms: tuple[str, ...] = ()


def _properties(value: TensorProperties, name: str) -> dict[str, Any]:
    memory_formats = {known: text for text, known in _MEMORY_FORMATS.items()}
    if value.layout != torch.strided or value.memory_format not in memory_formats:
        raise TypeError(f"{name}: cannot store a tensor of layout {value.layout}, {value.memory_format}")
    return {
        "dtype": dtype_name(value.dtype),
        "layout": "strided",
        "memory_format": memory_formats[value.memory_format],
        "requires_grad": bool(value.requires_grad),
        "pin_memory": bool(value.pin_memory),
    }


def encode(metadata: Metadata, stored: Mapping[MetadataIndex, Stored]) -> bytes:
    """The text of metadata.json. Raises TypeError naming what of the planner's data it cannot store."""
    files: dict[tuple[str, str], int] = {}
    items = []
    for index, where in stored.items():
        number = files.setdefault((where.file, where.root), len(files))
        item: dict[str, Any] = {"name": index.fqn, "file": number, "kind": where.kind}
        if index.offset is not None:
            item["offset"] = list(index.offset)
        if where.kind == "range":
            item["range"] = [where.offset, where.length]
            if where.transforms:
                item["transforms"] = list(where.transforms)
        elif where.name != index.fqn:
            item["stored_as"] = where.name
        items.append(item)
    state = []
    for name, described in metadata.state_dict_metadata.items():
        if isinstance(described, TensorStorageMetadata):
            state.append(
                {
                    "name": name,
                    "shape": list(described.size),
                    **_properties(described.properties, name),
                    "chunks": [[list(chunk.offsets), list(chunk.sizes)] for chunk in described.chunks],
                }
            )
        else:
            state.append({"name": name})
    encoder = Encoder()
    planner = encoder.node(metadata.planner_data, ("planner_data",))
    if encoder.entries:
        raise TypeError("planner_data: cannot store tensors in it")
    meta = metadata.storage_meta or StorageMeta()
    return json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "save_id": meta.save_id or "",
            "modules": list(getattr(meta, "modules", ())),  # PyTorch 2.4 has none yet
            "files": [{"name": name, "root": root} for name, root in files],
            "state": state,
            "items": items,
            "planner": json.loads(encoder.structure(planner)),
        },
        separators=(",", ":"),
        allow_nan=False,
    ).encode("ascii")


class _Fields:
    """A JSON object of which each field is asked for by name and type, and none is left over."""

    def __init__(self, node: Any, what: str) -> None:
        if not isinstance(node, dict):
            raise StructureError(f"{what}: {type(node).__name__} instead of an object")
        self._left, self._what = dict(node), what

    def get(self, key: str, kind: type, default: Any = ...) -> Any:
        value = self._left.pop(key, default)
        if value is ...:
            raise StructureError(f"{self._what}: no field {key!r}")
        if value is not default and type(value) is not kind:
            raise StructureError(f"{self._what}: field {key!r} is a {type(value).__name__}")
        return value

    def counts(self, key: str, default: Any = ...) -> Any:
        return default if default is not ... and key not in self._left else _counts(self.get(key, list), self._what)

    def texts(self, key: str, default: Any = ...) -> Any:
        values = self.get(key, list, default)
        if any(type(value) is not str for value in values):
            raise StructureError(f"{self._what}: field {key!r} has what is no text")
        return values

    def one_of(self, key: str, known: Mapping[str, Any]) -> Any:
        value = self.get(key, str)
        if value not in known:
            raise StructureError(f"{self._what}: unknown {key} {value[:40]!r}")
        return known[value]

    def end(self) -> None:
        if self._left:
            raise StructureError(f"{self._what}: unknown field {next(iter(self._left))[:40]!r}")


def _counts(values: Any, what: str) -> list[int]:
    if not isinstance(values, list) or any(type(value) is not int or not 0 <= value < 1 << 62 for value in values):
        raise StructureError(f"{what}: a size is no count")
    return values


def decode(text: bytes | bytearray, name: str) -> Metadata:
    """Metadata of a text that may be hostile; its storage_data maps MetadataIndex to Stored.

    name: of the file, for messages. Raises StructureError.
    """
    top = _Fields(parse(text, name), name)
    if top.get("format", str) != FORMAT:
        raise StructureError(f"{name}: not of the format {FORMAT}")
    version = top.get("version", int)
    if version != VERSION:
        raise StructureError(f"{name}: version {version}: this mmh reads version {VERSION}")
    files = []
    for node in top.get("files", list):
        fields = _Fields(node, f"{name}: a file")
        file, root = fields.get("name", str), fields.get("root", str)
        fields.end()
        if not _FILE_NAME.fullmatch(file):
            raise StructureError(f"{name}: a file is called {file[:40]!r}")
        files.append((file, root))
    state: dict[str, TensorStorageMetadata | BytesStorageMetadata] = {}
    for node in top.get("state", list):
        key, described = _decode_state(node, name)
        if key in state:
            raise StructureError(f"{name}: {key[:100]!r} is there twice")
        state[key] = described
    stored: dict[MetadataIndex, Stored] = {}
    for node in top.get("items", list):
        index, where = _decode_item(node, name, files)
        if index in stored or index.fqn not in state:
            raise StructureError(f"{name}: item {index.fqn[:100]!r} is there twice, or has no description")
        stored[index] = where
    save_id, modules = top.get("save_id", str), top.texts("modules")
    planner = Decoder(top.get("planner", dict), _no_storages, name=f"{name}: planner").object()
    top.end()
    metadata = Metadata(
        state_dict_metadata=state, planner_data=planner, storage_data=stored, storage_meta=StorageMeta(save_id=save_id)
    )
    for owner, field, value in ((metadata.storage_meta, "modules", modules), (metadata, "version", DCP_VERSION)):
        if hasattr(owner, field):  # PyTorch 2.4 has neither
            setattr(owner, field, value)
    return metadata


def _no_storages(names: Iterable[str]) -> dict[str, torch.Tensor]:
    raise KeyError(next(iter(names)))


def _decode_state(node: Any, file: str) -> tuple[str, TensorStorageMetadata | BytesStorageMetadata]:
    fields = _Fields(node, f"{file}: an entry of the state")
    name = fields.get("name", str)
    fields = _Fields(node, f"{file}: {name[:100]!r}")
    fields.get("name", str)
    if len(node) == 1:
        return name, BytesStorageMetadata()
    shape = fields.counts("shape")
    properties = TensorProperties(
        dtype=fields.one_of("dtype", _DTYPES),
        layout=fields.one_of("layout", _LAYOUTS),
        requires_grad=fields.get("requires_grad", bool),
        memory_format=fields.one_of("memory_format", _MEMORY_FORMATS),
        pin_memory=fields.get("pin_memory", bool),
    )
    chunks = []
    for chunk in fields.get("chunks", list):
        what = f"{file}: a chunk of {name[:100]!r}"
        if not isinstance(chunk, list) or len(chunk) != 2:
            raise StructureError(f"{what}: no pair")
        offsets, sizes = _counts(chunk[0], what), _counts(chunk[1], what)
        if len(offsets) != len(shape) or len(sizes) != len(shape):
            raise StructureError(f"{what}: of another number of dimensions")
        if any(offset + size > whole for offset, size, whole in zip(offsets, sizes, shape, strict=True)):
            raise StructureError(f"{what}: lies outside of it")
        chunks.append(ChunkStorageMetadata(offsets=torch.Size(offsets), sizes=torch.Size(sizes)))
    fields.end()
    return name, TensorStorageMetadata(properties=properties, size=torch.Size(shape), chunks=chunks)


def _decode_item(node: Any, name: str, files: list[tuple[str, str]]) -> tuple[MetadataIndex, Stored]:
    fields = _Fields(node, f"{name}: an item")
    fqn, number, kind = fields.get("name", str), fields.get("file", int), fields.get("kind", str)
    if not 0 <= number < len(files):
        raise StructureError(f"{name}: {fqn[:100]!r} is in a file that is not listed")
    if kind not in ("tensor", "value", "raw", "range"):
        raise StructureError(f"{name}: {fqn[:100]!r} is of unknown kind {kind[:40]!r}")
    offset = fields.counts("offset", None)
    begin, length, transforms, stored_as = 0, 0, (), fqn
    if kind == "range":
        pair = fields.counts("range")
        if len(pair) != 2:
            raise StructureError(f"{name}: {fqn[:100]!r} has a range of {len(pair)} numbers")
        begin, length = pair
        transforms = tuple(fields.texts("transforms", []))
    else:
        stored_as = fields.get("stored_as", str, fqn)
    fields.end()
    file, root = files[number]
    return MetadataIndex(fqn, offset), Stored(file, root, kind, stored_as, begin, length, transforms)


# ---- the pickle that torch's own reader and writer exchange ----

_METADATA_MODULE = "torch.distributed.checkpoint.metadata"
_ALLOWED = {
    (_METADATA_MODULE, name)
    for name in (
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    )
} | {
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("collections", "OrderedDict"),
}


def _member(kind: Any, name: Any) -> Any:
    """What getattr is for in such a pickle: Python 3.11 before 3.11.4 so names a member of an enumeration."""
    if isinstance(kind, enum.EnumMeta) and isinstance(name, str) and name in kind.__members__:
        return kind.__members__[name]
    raise pickle.UnpicklingError("getattr of what is no enumeration is no part of metadata")


class _MetadataUnpickler(pickle.Unpickler):
    """Makes what metadata consists of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED or (module == "torch" and name in _DTYPES):
            return super().find_class(module, name)
        if (module, name) == ("builtins", "getattr"):
            return _member
        raise pickle.UnpicklingError(f"{module}.{name} is no part of metadata")


def from_pickle(content: bytes, name: str) -> tuple[Metadata, dict[MetadataIndex, Any]]:
    """(metadata, its storage_data) of what torch's FileSystemWriter has pickled. Raises TypeError for anything else."""
    try:
        metadata = _MetadataUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # whatever a damaged or foreign pickle leads to
        raise TypeError(f"{name}: cannot keep this metadata as JSON ({error}): mmh:// keeps no pickles here") from None
    if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, dict):
        raise TypeError(f"{name}: cannot keep this metadata as JSON: it is none of torch.distributed.checkpoint")
    return metadata, metadata.storage_data


def to_pickle(metadata: Metadata) -> bytes:
    """The reverse, of checked metadata whose items are all ranges of files."""
    from torch.distributed.checkpoint.filesystem import _StorageInfo

    metadata.storage_data = {
        index: _StorageInfo(
            where.file, where.offset, where.length, *([list(where.transforms)] if where.transforms else [])
        )
        for index, where in metadata.storage_data.items()
    }
    return pickle.dumps(metadata)


def is_value(metadata: Metadata, index: MetadataIndex) -> bool:
    """Whether an item is no tensor: torch's planner unpickles those without weights_only."""
    return isinstance(metadata.state_dict_metadata.get(index.fqn), BytesStorageMetadata)


def check_value(content: bytes, name: str, path: str, transforms: Sequence[str] = ()) -> None:
    """Raise mmh.UntrustedError if a value is a pickle that needs more than weights_only allows.

    transforms: of torch's extensions, which the bytes went through.
    """
    try:
        stream: Any = io.BytesIO(content)
        if transforms:
            from torch.distributed.checkpoint._extension import ExtensionRegistry

            for extension in ExtensionRegistry().from_descriptor_list(transforms):
                stream = extension.transform_from(stream)  # type: ignore[attr-defined]
        torch.load(io.BytesIO(stream.read()), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises its own kinds, and those of the objects
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise mmh.UntrustedError(
            f"{path}: {name!r} is a pickle that weights_only refuses ({reason}): if you trust who wrote it, "
            "pass allow_pickle=True"
        ) from None
