# SPDX-License-Identifier: Apache-2.0
"""Weight files that are packed: where they are found, and their tensors for PyTorch, decoded into new memory."""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

import torch
import torch.distributed

import mmh
from mmh import _torch_memory

SUFFIX = ".mmh"
INDEX_SUFFIX = ".safetensors.index.json"
# Tensors are decoded so many bytes at a time: enough for all threads, and what a load needs beside its own tensors.
BATCH_BYTES = 64 << 20
# What was decoded ahead and not asked for yet is let go beyond this.
AHEAD_BYTES = 2 * BATCH_BYTES


def container_of(path: str | os.PathLike[str]) -> str | None:
    """The container that stands for a file which is not there: "model.safetensors.mmh" for "model.safetensors".

    Also the one of a shard index, "model.safetensors.index.json.mmh", if `path` is one of its shards. None if the file
    itself is there (it wins), or if there is no container either.
    """
    wanted = Path(path)
    if wanted.is_file():
        return None
    beside = wanted.with_name(wanted.name + SUFFIX)
    if beside.is_file():
        return str(beside)
    shard = re.fullmatch(r"(.+)-\d{5}-of-\d{5}\.safetensors", wanted.name)
    if shard:
        index = wanted.with_name(shard[1] + INDEX_SUFFIX + SUFFIX)
        if index.is_file():
            return str(index)
    return None


def packed_single(folder: str | os.PathLike[str], variant: str | None = None) -> Path | None:
    """`model.safetensors` of a folder if its container stands for it; None if weights that are not packed go before it.

    These are the file itself, and a shard index with all of its shards there. `variant` as in "model.fp16.safetensors".
    """
    root, middle = Path(folder), f".{variant}" if variant else ""
    single = root / f"model{middle}.safetensors"
    if container_of(single) is None:
        return None
    index = root / f"model.safetensors.index{middle}.json"
    if index.is_file() and all((root / name).is_file() for name in _shards(index.read_bytes())):
        return None
    return single


def _shards(index: bytes) -> list[str]:
    """The file names in a shard index, each once, in natural order."""
    return sorted(set(json.loads(index)["weight_map"].values()), key=natural_order)


def natural_order(name: str) -> list[tuple[int, int | str]]:
    """A key that sorts "layer.2" before "layer.10"."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name)]


def file_in(container: mmh.Container, path: str | os.PathLike[str]) -> mmh.FileInfo:
    """The file of a container that stands for `path`: the only one, or the one whose path ends most alike.

    Raises mmh.UsageError if no file is called so.
    """
    files = [file for file in container.files if file.kind == "file"]
    if len(files) == 1:
        return files[0]
    wanted = Path(path).parts

    def alike(file: mmh.FileInfo) -> int:
        count = 0
        for ours, theirs in zip(reversed(PurePosixPath(file.name).parts), reversed(wanted), strict=False):
            if ours != theirs:
                break
            count += 1
        return count

    best = max(files, key=lambda file: (alike(file), -len(file.name)), default=None)
    if best is None or alike(best) == 0:
        raise mmh.UsageError(f"no file of the container is called {Path(path).name}")
    return best


class PackedFile(mmh.safe_open):
    """One safetensors file inside a container, with the methods of `safetensors.safe_open(..., framework="pt")`.

    Tensors are decoded into new memory, checked. Whoever asks for one after the other gets them decoded by many: what
    comes next in natural order is decoded ahead, as much as was asked for so far and 64 MiB at most. Threads may share
    it.
    """

    def __init__(
        self,
        container: str | os.PathLike[str],
        path: str | os.PathLike[str] | None = None,
        *,
        device: Any = "cpu",
        **open_options: Any,
    ) -> None:
        """Open `container`, for its file that stands for `path`; `open_options` are those of mmh.open."""
        super().__init__(container, "pt", device, **open_options)
        try:
            self._file = file_in(self._container, path if path is not None else Path(container).stem)
            self._infos = {info.name: info for _, info in self._container.items() if info.file == self._file.index}
        except BaseException:
            self._container.close()
            raise
        self._order = sorted(self._infos, key=natural_order)
        self._place_of = {name: place for place, name in enumerate(self._order)}
        self._lock = threading.Lock()
        self._ahead: dict[str, torch.Tensor] = {}
        self._ahead_bytes = 0
        self._given: set[str] = set()
        self._given_bytes = 0

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def close(self) -> None:
        """Close the container, and drop what was decoded ahead."""
        with self._lock:
            self._ahead.clear()
            self._ahead_bytes = 0
            super().close()

    def keys(self) -> list[str]:
        """The tensors' names, sorted."""
        return sorted(self._infos)

    def offset_keys(self) -> list[str]:
        """The tensors' names, in the order in which the file has them."""
        return sorted(self._infos, key=lambda name: self._infos[name].file_offset)

    def metadata(self) -> dict[str, str] | None:
        """The file's `__metadata__`; None if it has none."""
        return self._container.metadata(self._file.index) or None

    def get_slice(self, name: str) -> mmh.SafeSlice:
        """A tensor that is decoded when it is indexed; of a part, the chunks that hold it.

        Raises mmh.MissingTensorError.
        """
        return mmh.SafeSlice(self, self._info(name))

    def get_tensor(self, name: str) -> torch.Tensor:
        """A tensor, its dtype and shape as in the file. Raises mmh.MissingTensorError, mmh.CorruptError."""
        self._info(name)
        with self._lock:
            if name not in self._ahead:
                self._decode(name)
            tensor = self._ahead.pop(name)
            self._ahead_bytes -= tensor.nbytes
            self._given.add(name)
            self._given_bytes += tensor.nbytes
            while self._ahead_bytes > AHEAD_BYTES:
                oldest = next(iter(self._ahead))
                self._ahead_bytes -= self._ahead.pop(oldest).nbytes
        return tensor.to(self._device)

    def get_tensors(self) -> dict[str, torch.Tensor]:
        """All tensors, by name."""
        return {name: self.get_tensor(name) for name in self._order}

    def _slice(self, info: mmh.TensorInfo, begin: tuple[int, ...], end: tuple[int, ...]) -> torch.Tensor:
        """Elements [begin, end) of a tensor in each dimension: what a SafeSlice asks for."""
        if not any(begin) and end == info.shape:
            return self.get_tensor(info.name)
        part: torch.Tensor = super()._slice(info, begin, end)
        return part

    def stream(
        self, wanted: Callable[[str], bool] | None = None, batch_bytes: int = BATCH_BYTES
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, tensor) one after the other in natural order, decoded `batch_bytes` at a time (at least one).

        `wanted` says which names are; the others are not decoded. One batch at most is held beside what the caller
        keeps.
        """
        names = [name for name in self._order if wanted is None or wanted(name)]
        for batch in _batches(names, lambda name: self._infos[name].nbytes, batch_bytes):
            with self._lock:
                tensors = self._load(batch)
            while tensors:
                name = next(iter(tensors))
                tensor = tensors.pop(name)
                yield name, tensor.to(self._device)

    def stream_shared(
        self, group: Any, device: Any, wanted: Callable[[str], bool] | None = None, batch_bytes: int = BATCH_BYTES
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """As `stream`, in each process of `group` (of torch.distributed): a tensor is decoded in one of them and sent.

        All of them have to take every tensor. `device` is where the group sends from: "cpu" for gloo, a GPU for NCCL.
        """
        rank, count = torch.distributed.get_rank(group), torch.distributed.get_world_size(group)
        names = [name for name in self._order if wanted is None or wanted(name)]
        for batch in _batches(names, lambda name: self._infos[name].nbytes, batch_bytes):
            owners, loads = {}, [0] * count
            for name in sorted(batch, key=lambda name: -self._infos[name].nbytes):
                owners[name] = loads.index(min(loads))
                loads[owners[name]] += self._infos[name].nbytes
            with self._lock:
                tensors = self._load([name for name in batch if owners[name] == rank])
            for name in batch:
                info = self._infos[name]
                mine = tensors.pop(name, None)
                tensor = self._empty(info) if mine is None else mine
                tensor = tensor.to(device)
                if tensor.nbytes:  # as bytes: not every backend sends every type
                    sender = torch.distributed.get_global_rank(group, owners[name])
                    torch.distributed.broadcast(tensor.reshape(-1).view(torch.uint8), sender, group=group)
                yield name, tensor

    def _info(self, name: str) -> mmh.TensorInfo:
        try:
            return self._infos[name]
        except KeyError:
            raise mmh.MissingTensorError(f"no tensor is called {name}") from None

    def _decode(self, name: str) -> None:
        """Decode a tensor into what is ahead, others with it; of these a damaged one is told when it is asked for."""
        room = min(BATCH_BYTES, self._given_bytes)
        batch = [name]
        for other in itertools.islice(self._order, self._place_of[name] + 1, None):
            if other in self._given or other in self._ahead:
                continue
            room -= self._infos[other].nbytes
            if room < 0:
                break
            batch.append(other)
        try:
            tensors = self._load(batch)
        except mmh.Error:
            if len(batch) == 1:
                raise
            tensors = self._load([name])
        self._ahead.update(tensors)
        self._ahead_bytes += sum(tensor.nbytes for tensor in tensors.values())

    def _load(self, names: Sequence[str]) -> dict[str, torch.Tensor]:
        tensors = {name: self._empty(self._infos[name]) for name in names}
        self._container.load_many(
            (self._infos[name].index, (tensor.data_ptr(), tensor.nbytes))
            for name, tensor in tensors.items()
            if tensor.nbytes
        )
        return tensors

    @staticmethod
    def _empty(info: mmh.TensorInfo) -> torch.Tensor:
        dtype = _torch_memory.DTYPES.get(info.dtype)
        if dtype is None:
            raise mmh.UnsupportedError(f"{info.name}: PyTorch {torch.__version__} has no type {info.dtype}")
        try:
            shape = _torch_memory.tensor_shape(dtype, info.shape)
        except ValueError as error:
            raise mmh.UnsupportedError(f"{info.name}: {error}") from None
        return torch.empty(shape, dtype=dtype, device="cpu")


def weight_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The safetensors files that a folder's weights are in, each there or packed, in natural order.

    As transformers has it: `model.safetensors`, else the shards of `model.safetensors.index.json` (which may be packed
    with them), else all there are. What is not packed goes before what is. Raises mmh.UsageError if there are none, or
    if one that the index names is missing.
    """
    root = Path(folder)
    single, index = root / "model.safetensors", root / ("model" + INDEX_SUFFIX)
    if single.is_file() or packed_single(root):
        return [single]
    text = None
    if index.is_file():
        text = index.read_bytes()
    elif packed := container_of(index):
        with mmh.open(packed) as container:
            file = file_in(container, index)
            text = container.read(file.index, 0, file.bytes)
    if text is not None:
        shards = [root / name for name in _shards(text)]
        for shard in shards:
            if not shard.is_file() and container_of(shard) is None:
                raise mmh.UsageError(f"{index.name} names {shard.name}: neither it nor {shard.name}{SUFFIX} is there")
        return shards
    names = {path.name for path in root.glob("*.safetensors")}
    names |= {path.name.removesuffix(SUFFIX) for path in root.glob(f"*.safetensors{SUFFIX}")}
    if not names:
        raise mmh.UsageError(f"no *.safetensors and no *.safetensors{SUFFIX} is in {root}")
    return [root / name for name in sorted(names, key=natural_order)]


def _batches(names: Iterable[str], size: Callable[[str], int], batch_bytes: int) -> Iterator[list[str]]:
    batch: list[str] = []
    held = 0
    for name in names:
        if batch and held + size(name) > batch_bytes:
            yield batch
            batch, held = [], 0
        batch.append(name)
        held += size(name)
    if batch:
        yield batch
