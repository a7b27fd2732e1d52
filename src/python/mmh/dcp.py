# SPDX-License-Identifier: Apache-2.0
"""torch.distributed.checkpoint over containers: each rank writes one, metadata is JSON in another, no pickle.

    import torch.distributed.checkpoint as dcp
    import mmh.dcp
    dcp.save(state, storage_writer=mmh.dcp.StorageWriter("checkpoint/step7"))
    dcp.load(state, storage_reader=mmh.dcp.StorageReader("checkpoint/step7"))

Every byte that is loaded was checked; slices of shards decode alone, so that loading on another number of ranks
reads what it needs. docs/python-torch.md describes the files, and what holds for checkpoints of `mmh://` URLs.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import mmh
import torch
from mmh import _dcp_metadata
from mmh._dcp_metadata import Stored
from mmh._folder import Folder
from mmh._torch_memory import (
    FILE_NAMES,
    Entry,
    address,
    byte_count,
    entry_of,
    file_type,
    item_bytes,
    safetensors_source,
)
from mmh._torch_tree import Decoder, Encoder, StructureError, parse, read_text
from mmh.torch import file_tensors, load_indices
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import StorageReader as _StorageReader
from torch.distributed.checkpoint.storage import StorageWriter as _StorageWriter
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

__all__ = ["StorageReader", "StorageWriter", "verify"]

METADATA = "metadata.json"
SHARD = "shard.safetensors"
VALUES = "values.json"
_SHARD_FILE = re.compile(r"rank\d+-[0-9a-f]{32}\.mmh")
STAGED_BYTES = 256 << 20  # of whole tensors that cannot be decoded where they go

CheckpointId = str | os.PathLike[str]


@dataclass(frozen=True)
class _Place:
    rank: int


def _metadata_name(rank: int | None) -> str:
    return "metadata.mmh" if rank is None else f"rank{rank:05}.metadata.mmh"


def _shard_name(index: MetadataIndex, item: WriteItem) -> str:
    """As mmh names shards everywhere: name[0:4,0:8]; whole tensors by their name alone."""
    data = item.tensor_data
    if data is None or tuple(data.chunk.sizes) == tuple(data.size):
        return index.fqn
    pairs = zip(data.chunk.offsets, data.chunk.sizes, strict=True)
    return f"{index.fqn}[{','.join(f'{offset}:{offset + size}' for offset, size in pairs)}]"


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class StorageWriter(_StorageWriter):
    """Writes a distributed checkpoint: a container for each rank, and metadata.mmh when all of them are complete.

    A checkpoint that is there already stays whole until then: new files have new names, and replace it by one
    rename; what it consisted of is removed afterwards.
    """

    def __init__(
        self,
        path: CheckpointId,
        *,
        level: int = 1,
        overwrite: bool = True,
        allow_pickle: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """path: a folder, which is made, or an fsspec URL of one. level: 1 (fast) to 9 (small).

        overwrite: False refuses where a checkpoint is. allow_pickle: store values too that only a pickle can
        hold; loading them needs the reader's allow_pickle. options: those of mmh.pack_files (threads,
        recipients, passphrase, sign_with, parity, hash, ...), for every file of the checkpoint.
        """
        super().__init__()
        self._storage_options, self._options = dict(storage_options or {}), {"level": level, **options}
        self._overwrite, self._allow_pickle = overwrite, allow_pickle
        self._rank: int | None = None
        self._use_collectives = True
        self._save_id = ""
        self.reset(path)

    def reset(self, checkpoint_id: CheckpointId | None = None) -> None:
        """Another checkpoint begins, where `checkpoint_id` says or where the last one went."""
        if checkpoint_id is not None:
            self._folder = Folder(checkpoint_id, self._storage_options)
        self._save_id = secrets.token_hex(16)

    @property
    def checkpoint_id(self) -> CheckpointId:
        """The folder or URL."""
        return self._folder.id

    def storage_meta(self) -> StorageMeta:
        """Names this save, for planners."""
        return StorageMeta(checkpoint_id=self.checkpoint_id, save_id=self._save_id)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: CheckpointId) -> bool:
        """Whether it can be a folder or URL."""
        return bool(os.fspath(checkpoint_id))

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Learn this process's rank."""
        self._rank = kwargs.get("rank")
        self._use_collectives = kwargs.get("use_collectives", True)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Make the folder. Raises mmh.UsageError if a checkpoint is there and must not be replaced."""
        self._save_id = secrets.token_hex(16)  # a writer may save again without a reset
        self._folder.make()
        rank = None if self._use_collectives else self._rank
        if not self._overwrite and self._folder.exists(_metadata_name(rank)):
            raise mmh.UsageError(f"{self.checkpoint_id}: a checkpoint is there already")
        # Readers take the common one first: beside it the other would never be read, or an old one be read for it.
        if self._folder.exists(_metadata_name(0 if rank is None else None)):
            raise mmh.UsageError(
                f"{self.checkpoint_id}: a checkpoint is there that was saved with another use_collectives"
            )
        return plan if rank is None else replace(plan, storage_data=_Place(rank))

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Tell each rank its number."""
        return [
            plan if isinstance(plan.storage_data, _Place) else replace(plan, storage_data=_Place(rank))
            for rank, plan in enumerate(plans)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write this rank's items into one container. Tensors of a GPU come into main memory one by one."""
        if not plan.items:
            return _done([])
        rank = self._rank if self._rank is not None else plan.storage_data.rank
        file = f"rank{rank:05}-{self._save_id}.mmh"
        taken = {"__metadata__"}
        kinds: list[tuple[WriteItem, str, str, int]] = []  # item, kind, name in the container, bytes
        entries: list[Entry] = []
        for item in plan.items:
            if item.type == WriteItemType.BYTE_IO:
                continue
            name = _unique(_shard_name(item.index, item), taken)
            entries.append(_entry(name, item, planner))
            kinds.append((item, "tensor", name, entries[-1].nbytes))
        encoder = Encoder(taken, "values/")
        values: list[list[Any]] = []
        raw: dict[str, bytes] = {}
        for item in plan.items:
            if item.type != WriteItemType.BYTE_IO:
                continue
            stored_as, size = self._value(item, planner, encoder, values, raw)
            kinds.append((item, "raw" if stored_as else "value", stored_as or item.index.fqn, size))
        files: dict[str, Any] = {SHARD: safetensors_source([*entries, *encoder.entries], None)}
        if values:
            files[VALUES] = encoder.structure({"kind": "dict", "items": values})
        root = self._folder.pack({**files, **raw}, file, self._options).root
        return _done(
            [
                WriteResult(index=item.index, size_in_bytes=size, storage_data=Stored(file, root, kind, name))
                for item, kind, name, size in kinds
            ]
        )

    def _value(
        self, item: WriteItem, planner: SavePlanner, encoder: Encoder, values: list[list[Any]], raw: dict[str, bytes]
    ) -> tuple[str, int]:
        """Add a value to `values`, or its pickle to `raw`. Returns its name in `raw` or "", and its bytes."""
        problem: TypeError | None = None
        if isinstance(planner, DefaultSavePlanner) and _is_default(planner):
            try:
                value, place = planner.lookup_object(item.index), (item.index.fqn,)
                Encoder().node(value, place)  # so that `encoder` has nothing of what cannot be stored
                node = encoder.node(value, place)
                values.append([item.index.fqn, node])
                return "", len(json.dumps(node))
            except TypeError as error:
                problem = error
        data = planner.resolve_data(item)
        if not isinstance(data, io.BytesIO):
            raise TypeError(f"{item.index.fqn}: the planner gives a {type(data).__name__} for bytes")
        content = data.getvalue()
        if not self._allow_pickle:
            try:
                _dcp_metadata.check_value(content, item.index.fqn, "this")
            except mmh.UntrustedError:
                raise TypeError(
                    f"{problem or item.index.fqn + ': cannot store what only a pickle holds'}: "
                    "StorageWriter(..., allow_pickle=True) stores its pickle"
                ) from None
        name = f"raw/{len(raw)}"
        raw[name] = content
        return name, len(content)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write the metadata, by which the checkpoint comes to be, and remove the files that it replaces."""
        rank = None if self._use_collectives else self._rank
        name = _metadata_name(rank)
        stored = {result.index: result.storage_data for written in results for result in written}
        metadata.storage_data, metadata.storage_meta = stored, self.storage_meta()
        metadata.version = _dcp_metadata.DCP_VERSION
        before = self._files_of(name)
        self._folder.pack({METADATA: _dcp_metadata.encode(metadata, stored)}, name, self._options)
        for file in before - {where.file for where in stored.values()}:
            self._folder.remove(file)

    def _files_of(self, name: str) -> set[str]:
        """Files of the checkpoint that is there, as far as they can be told: those of an unreadable one stay."""
        opening = {"keys": self._options.get("recipients", ()), "passphrase": self._options.get("passphrase")}
        try:
            with self._folder.open(name, opening) as container:
                old = _dcp_metadata.decode(read_text(container, METADATA), name)
        except (mmh.Error, KeyError, OSError, ValueError):
            return set()
        return {where.file for where in old.storage_data.values() if _SHARD_FILE.fullmatch(where.file)}


def _unique(name: str, taken: set[str]) -> str:
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}#{count}"
    taken.add(unique)
    return unique


def _is_default(planner: SavePlanner) -> bool:
    """Whether the planner takes what it saves from the state dict as it is."""
    kind = type(planner)
    return isinstance(planner, DefaultSavePlanner) and all(
        getattr(kind, name) is getattr(DefaultSavePlanner, name)
        for name in ("resolve_data", "lookup_object", "transform_object")
    )


def _entry(name: str, item: WriteItem, planner: SavePlanner) -> Entry:
    data = item.tensor_data
    if data is None:
        raise TypeError(f"{item.index.fqn}: the plan does not describe this tensor")
    sizes, dtype = tuple(data.chunk.sizes), data.properties.dtype

    def resolve() -> torch.Tensor:
        tensor = planner.resolve_data(item)
        if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != sizes or tensor.dtype != dtype:
            raise TypeError(f"{name}: the planner gives another tensor than it has described")
        return tensor.detach()

    if _is_default(planner):  # nothing is computed: at most it is on a GPU
        return entry_of(name, resolve())
    file_dtype, shape = file_type(dtype, sizes)
    size = math.prod(sizes) * item_bytes(dtype)
    return Entry(name, file_dtype, shape, size, lambda: entry_of(name, resolve()).read(), False)


class StorageReader(_StorageReader):
    """Loads a checkpoint that StorageWriter has written: of each shard the chunks that the plan needs, checked."""

    def __init__(
        self,
        path: CheckpointId,
        *,
        allow_pickle: bool = False,
        metadata_bytes: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """allow_pickle: hand pickles that StorageWriter(allow_pickle=True) has stored to the planner, which runs them.

        metadata_bytes: more metadata than this is refused, as it may be a trap; 256 MiB, about a million shards.
        options: those of mmh.open (threads, keys, passphrase, signers, require), for every file.
        """
        super().__init__()
        self._allow_pickle, self._options = allow_pickle, options
        self._metadata_bytes = metadata_bytes
        self._storage_options = dict(storage_options or {})
        self._stored: dict[MetadataIndex, Stored] = {}
        self._state: dict[str, Any] = {}
        self.reset(path)

    def reset(self, checkpoint_id: CheckpointId | None = None) -> None:
        """Another checkpoint is to be read."""
        if checkpoint_id is not None:
            self._folder = Folder(checkpoint_id, self._storage_options)
        self._stored, self._state = {}, {}
        self._load_id = secrets.token_hex(16)

    @property
    def checkpoint_id(self) -> CheckpointId:
        """The folder or URL."""
        return self._folder.id

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: CheckpointId) -> bool:
        """Whether it can be a folder or URL."""
        return bool(os.fspath(checkpoint_id))

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The checkpoint's metadata. Raises mmh.CorruptError, mmh.IOFailure and what else mmh.open raises."""
        name = _metadata_name(kwargs.get("rank"))
        where = self._folder.join(name)
        with self._folder.open(name, self._options) as container:
            try:
                metadata = _dcp_metadata.decode(
                    _named(where, METADATA, read_text, container, METADATA, self._metadata_bytes), where
                )
            except (KeyError, StructureError) as error:
                raise mmh.CorruptError(_text(error, where)) from None
        if metadata.storage_meta is not None:
            metadata.storage_meta.load_id = self._load_id
        return metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Keep what the metadata says."""
        self._stored, self._state = metadata.storage_data, metadata.state_dict_metadata

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """The plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Read what the plan asks for. Errors name file and tensor."""
        by_file: dict[str, list[tuple[ReadItem, Stored]]] = {}
        for item in plan.items:
            stored = self._stored.get(item.storage_index)
            if stored is None:
                raise mmh.CorruptError(f"{self.checkpoint_id}: {item.storage_index.fqn!r} is stored nowhere")
            by_file.setdefault(stored.file, []).append((item, stored))
        for file, wanted in by_file.items():
            with self._folder.open(file, self._options) as container:
                if container.info.root != wanted[0][1].root:
                    raise mmh.CorruptError(
                        f"{self._folder.join(file)}: not the file that {wanted[0][0].storage_index.fqn!r} was saved in"
                    )
                tensors = [pair for pair in wanted if pair[0].type != LoadItemType.BYTE_IO]
                values = [pair for pair in wanted if pair[0].type == LoadItemType.BYTE_IO]
                self._read_tensors(container, file, tensors, planner)
                self._read_values(container, file, values, planner)
        return _done(None)

    def _read_tensors(
        self, container: mmh.Container, file: str, wanted: Sequence[tuple[ReadItem, Stored]], planner: LoadPlanner
    ) -> None:
        path = self._folder.join(file)
        indices = file_tensors(container, SHARD) if wanted else {}
        batch: list[tuple[ReadItem, mmh.TensorInfo, torch.Tensor, torch.Tensor]] = []  # item, what, target, memory
        staged = 0

        def flush() -> None:
            requests = [(info.index, address(memory)) for _, info, _, memory in batch if memory.numel()]
            _named(path, batch[0][1].name if len(batch) == 1 else "", container.load_many, requests)
            for item, _, target, memory in batch:
                _commit(planner, item, target, memory)
            batch.clear()

        for item, stored in wanted:
            dtype, chunk = self._described(item, path)
            if stored.kind != "tensor" or stored.name not in indices:
                raise mmh.CorruptError(f"{path}: there is no tensor {stored.name!r}")
            info = container.tensor(indices[stored.name])
            if (info.dtype, tuple(info.shape)) != file_type(dtype, chunk):
                raise mmh.CorruptError(f"{path}: {info.name!r} is not of the type and shape that the metadata says")
            target = planner.resolve_tensor(item).detach()
            lengths = tuple(item.lengths)
            if tuple(target.shape) != lengths:
                raise ValueError(f"{item.dest_index.fqn}: {tuple(target.shape)} instead of {lengths}")
            fits = target.device.type == "cpu" and target.dtype == dtype and target.is_contiguous()
            if lengths == chunk:
                memory = target if fits else torch.empty(chunk, dtype=dtype)
                batch.append((item, info, target, memory))
                staged += 0 if memory is target else byte_count(memory)
                if staged > STAGED_BYTES:
                    flush()
                    staged = 0
                continue
            memory = target if fits else torch.empty(lengths, dtype=dtype)
            if 0 not in lengths:
                begin = list(item.storage_offsets)
                end = [start + length for start, length in zip(begin, lengths, strict=True)]
                if info.dtype == FILE_NAMES.get(dtype) and info.dtype != "F4":
                    _named(path, info.name, container.load_slice_into, info.index, begin, end, address(memory))
                else:  # stored as another type: its elements are not those of the plan
                    full = torch.empty(chunk, dtype=dtype)
                    _named(path, info.name, container.load_into, info.index, address(full))
                    for axis, (start, length) in enumerate(zip(begin, lengths, strict=True)):
                        full = full.narrow(axis, start, length)
                    memory = full
            _commit(planner, item, target, memory)
        if batch:
            flush()

    def _described(self, item: ReadItem, path: str) -> tuple[torch.dtype, tuple[int, ...]]:
        """Element type and shape of the chunk that an item reads, which must hold what it reads."""
        fqn = item.storage_index.fqn
        state = self._state.get(fqn)
        if isinstance(state, TensorStorageMetadata):
            for chunk in state.chunks:
                if item.storage_index.offset is None or chunk.offsets == item.storage_index.offset:
                    ends = [a + b for a, b in zip(item.storage_offsets, item.lengths, strict=True)]
                    if all(end <= size for end, size in zip(ends, chunk.sizes, strict=True)):
                        return state.properties.dtype, tuple(chunk.sizes)
        raise mmh.CorruptError(f"{path}: the metadata does not describe {fqn!r}")

    def _read_values(
        self, container: mmh.Container, file: str, wanted: Sequence[tuple[ReadItem, Stored]], planner: LoadPlanner
    ) -> None:
        path = self._folder.join(file)
        values: dict[str, Any] | None = None
        for item, stored in wanted:
            if stored.kind == "value":
                if values is None:
                    values = self._values(container, path)
                if stored.name not in values:
                    raise mmh.CorruptError(f"{path}: there is no value {stored.name!r}")
                data = io.BytesIO()
                torch.save(values[stored.name], data)  # ours, of what was checked: what planners expect to load
            else:
                data = self._pickled(container, path, item, stored)
            data.seek(0)
            planner.load_bytes(item, data)

    def _values(self, container: mmh.Container, path: str) -> dict[str, Any]:
        def storages(names: Sequence[str]) -> dict[str, torch.Tensor]:
            loaded: dict[str, torch.Tensor] = _named(
                path, VALUES, load_indices, container, file_tensors(container, SHARD), names
            )
            return loaded

        try:
            text = _named(path, VALUES, read_text, container, VALUES)
            values = Decoder(parse(text, VALUES), storages, name=VALUES).object()
            if not isinstance(values, dict):
                raise StructureError(f"{VALUES}: no dict of values")
        except (KeyError, StructureError) as error:
            raise mmh.CorruptError(_text(error, path)) from None
        return values

    def _pickled(self, container: mmh.Container, path: str, item: ReadItem, stored: Stored) -> io.BytesIO:
        fqn = item.storage_index.fqn
        try:
            content = _named(path, fqn, container.read, stored.name)
        except KeyError:
            raise mmh.CorruptError(f"{path}: there is no {stored.name!r}, which holds {fqn!r}") from None
        if self._allow_pickle:
            return io.BytesIO(content)
        _dcp_metadata.check_value(content, fqn, path)
        value = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        data = io.BytesIO()
        torch.save(value, data)  # not the bytes of the file: the planner loads it without weights_only
        return data


def _commit(planner: LoadPlanner, item: ReadItem, target: torch.Tensor, memory: torch.Tensor) -> None:
    if memory is not target:
        target.copy_(memory)
    planner.commit_tensor(item, target)


def _named(path: str, name: str, call: Any, *arguments: Any) -> Any:
    """What a call gives; its errors tell of the file and what was read of it."""
    try:
        return call(*arguments)
    except mmh.Error as error:
        text = str(error)
        parts = [part for part in (path, name and repr(name)) if part and part.strip("'\"") not in text]
        raise type(error)(": ".join([*parts, text])) from error


def _text(error: Exception, path: str) -> str:
    text = str(error.args[0]) if error.args else str(error)
    return text if path in text else f"{path}: {text}"


def verify(
    path: CheckpointId,
    *,
    metadata_bytes: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[str]:
    """Check every byte of every file of a checkpoint, and that they belong together. Returns the files' names.

    path: a folder, of StorageWriter or of an mmh:// URL (without the mmh://). options: those of mmh.verify (keys,
    signers, quick, ...).
    Raises mmh.CorruptError with the file and what in it is damaged; spare copies that are damaged count too.
    """
    folder = Folder(path, storage_options or {})
    names = folder.metadata_names()
    if not names:
        raise mmh.IOFailure(f"{path}: there is no checkpoint")
    opening = {key: value for key, value in options.items() if key != "quick"}
    files = list(names)
    for name in names:
        _check(folder.join(name), options)
        with folder.open(name, opening) as container:
            try:
                metadata = _dcp_metadata.decode(read_text(container, METADATA, metadata_bytes), folder.join(name))
            except (KeyError, StructureError) as error:
                raise mmh.CorruptError(_text(error, folder.join(name))) from None
        roots = {
            f"{where.file}.mmh" if where.kind == "range" else where.file: where.root
            for where in metadata.storage_data.values()
        }
        for file, root in sorted(roots.items()):
            _check(folder.join(file), options)
            with folder.open(file, opening) as container:
                if container.info.root != root:
                    raise mmh.CorruptError(f"{folder.join(file)}: not the file that was saved")
            files.append(file)
    return files


def _check(path: str, options: Mapping[str, Any]) -> None:
    report = mmh.verify(path, **options)
    if not report.ok:
        tensors = sorted({damage.tensor for damage in report.damage if damage.tensor})
        of = f": {', '.join(tensors[:5])}{', ...' if len(tensors) > 5 else ''}" if tensors else ""
        raise mmh.CorruptError(f"{path}: {report.problem}{of}")


try:
    from mmh import _fsspec
except ImportError:  # fsspec is not installed: there are no URLs then
    pass
else:
    _fsspec.register()
