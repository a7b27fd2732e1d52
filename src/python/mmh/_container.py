# SPDX-License-Identifier: Apache-2.0
"""Open containers and original files: what is in them, loaded into the caller's memory."""

from __future__ import annotations

import difflib
import io
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from mmh import _mmh, _sources
from mmh._core import Key, OpenOptions, PathLike, ProgressCallback, _context, check_options
from mmh._errors import CorruptError, MissingTensorError, UsageError

_MAGIC = b"\x89MMH"
_COMPARED_NAMES = 500
_KINDS = ("file", "folder", "symlink")


class MendedWarning(UserWarning):
    """A container is damaged, and what was read of it was restored from spare copies or parity."""


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a file.

    Attributes
    ----------
    index : int
        Its number in the container.
    name : str
    dtype : str
        "F32", "BF16", "I8", "Q4_K", ...
    shape : tuple of int
        As stored: of `column_major` tensors the first dimension varies fastest.
    nbytes : int
        In the file, from its first to its last element.
    file, file_offset : int
        Where it is.
    strides : tuple of int, or None
        In elements, where they do not lie one after another (PyTorch's views).
    column_major, big_endian : bool
        As in the original file; loads give host byte order.
    stored_bytes : int
        Its share of the chunks that hold it.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    file: int
    file_offset: int
    strides: tuple[int, ...] | None
    column_major: bool
    big_endian: bool
    stored_bytes: int


@dataclass(frozen=True)
class FileInfo:
    """An original file. `kind`: "file", "folder" or "symlink"; `digest`: of its content, in hexadecimal."""

    index: int
    name: str
    kind: str
    mode: int
    bytes: int
    format: str | None
    link_target: str | None
    digest: str | None
    tensor_count: int
    stored_bytes: int
    remark_count: int


@dataclass(frozen=True)
class Usage:
    """Bytes of one codec or element type."""

    name: str
    original_bytes: int
    stored_bytes: int
    floor_bytes: int
    chunk_count: int


@dataclass(frozen=True)
class ContainerInfo:
    """What a container says of itself. `root` is its identity, in hexadecimal."""

    format_version: str
    hash_suite: str
    writer: str
    level: int
    container_bytes: int
    original_bytes: int
    index_bytes: int
    floor_bytes: int
    file_count: int
    tensor_count: int
    block_count: int
    chunk_count: int
    root: str
    mended: int
    encrypted: bool
    by_dtype: tuple[Usage, ...]
    by_codec: tuple[Usage, ...]


class Container:
    """An open container, or original files by the same interface. Made by `open` and `open_original`.

    It is a mapping of names to `TensorInfo`. Several threads may use it; calls wait for each other, each
    works with all its threads. After a fork a child opens its own by itself, if it was opened by path.
    """

    def __init__(
        self,
        source: Any,
        *,
        original: bool = False,
        alone: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._original, self._alone, self._options = original, alone, options
        self._closed = False
        self._names: dict[str, int] | None = None
        self._files: tuple[FileInfo, ...] | None = None
        self._path: Any = None
        self._sources: list[Any] | None = None
        if _sources.is_url(source):
            self.name = str(source)
            self._sources = [_sources.of_url(source, storage_options)]
        elif isinstance(source, (str, os.PathLike)):
            self._path = os.path.abspath(os.fspath(source)) if os.fspath(source) else ""
            self.name = os.fsdecode(source)
        else:
            self.name = str(getattr(source, "name", "the file object"))
            name = self.name if not original else os.path.basename(self.name) or "file"
            self._sources = [_sources.of_file(name, source)]
        self._open()
        info = self._reader.info()
        self._root = info["root"]
        self._tensor_count: int = info["tensor_count"]
        if info["mended"] & 7 and not original:  # header, index or footer
            warnings.warn(
                f"{self.name} is damaged: spare copies of its index were used; `mmh repair` restores it",
                MendedWarning,
                stacklevel=3,
            )

    def _open(self) -> None:
        self._generation = _generation[0]
        context = _context(**self._options)
        try:
            self._reader: Any = _mmh.Reader(context, self._path, self._original, self._alone, self._sources)
        except CorruptError as error:
            if self._is_another_file():
                raise UsageError(
                    f"{self.name} is no mmh container: mmh.open_original reads model files that are not packed"
                ) from error
            raise

    def _is_another_file(self) -> bool:
        """Whether what cannot be opened is not called a container, and does not begin as one."""
        if self._path is None or self._original or self._path.endswith(".mmh"):
            return False
        try:
            with Path(self._path).open("rb") as file:
                return file.read(len(_MAGIC)) != _MAGIC
        except OSError:
            return False

    @property
    def _open_reader(self) -> Any:
        """The reader; of this process, where that was forked since."""
        if self._closed:
            raise UsageError(f"{self.name} is closed")
        if self._generation != _generation[0]:
            if self._path is None:
                raise RuntimeError(
                    f"{self.name} was opened from a file object before this process was forked: open it again"
                )
            self._open()
            if self._reader.info()["root"] != self._root:
                raise RuntimeError(f"{self.name} has changed since this process was forked from one that had it open")
        return self._reader

    # ---- what is in it ----

    @property
    def info(self) -> ContainerInfo:
        """Sizes, counts, identity, and bytes by codec and element type."""
        found = self._open_reader.info()
        for kind in ("by_dtype", "by_codec"):
            found[kind] = tuple(Usage(*entry) for entry in found[kind])
        return ContainerInfo(**found)

    @property
    def files(self) -> tuple[FileInfo, ...]:
        """The original files, in the order of their names."""
        reader = self._open_reader
        if self._files is None:
            files = []
            for index in range(reader.info()["file_count"]):
                name, kind, *rest = reader.file(index)
                files.append(FileInfo(index, name, _KINDS[kind], *rest))
            self._files = tuple(files)
        return self._files

    def _file(self, file: int | str) -> int:
        if isinstance(file, int):
            if not 0 <= file < len(self.files):
                raise IndexError(f"{self.name} has {len(self.files)} files, and no number {file}")
            return file
        for info in self.files:
            if info.name == file:
                return info.index
        raise KeyError(f'{self.name} has no file "{file}"')

    def _by_name(self) -> dict[str, int]:
        reader = self._open_reader
        if self._names is None:
            listed = reader.names()
            names: dict[str, int] = {}
            for index, (name, file) in enumerate(listed):
                if name in names:  # another file has one of that name
                    name = f"{self.files[file].name}:{name}"
                names.setdefault(name, index)
            self._names = names
        return self._names

    def keys(self) -> list[str]:
        """Names of the tensors; of a name that several files have, later ones are "file:name"."""
        return list(self._by_name())

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def _find(self, name: str) -> int | None:
        reader = self._open_reader
        if self._names is not None:
            index = self._names.get(name)
            if index is not None:
                return index
        found: int | None = reader.find(name)
        return found

    def _index(self, name: str | int | TensorInfo) -> int:
        if isinstance(name, TensorInfo):
            return name.index
        if isinstance(name, int) and not isinstance(name, bool):
            if not 0 <= name < self._tensor_count:
                raise MissingTensorError(f"{self.name} has {self._tensor_count} tensors, and no number {name}")
            return name
        if not isinstance(name, str):
            raise TypeError(f"a tensor is named by a str, not {type(name).__name__}")
        index = self._find(name)
        if index is None:
            raise MissingTensorError(f'{self.name} has no tensor "{name}"{self._meant(name)}')
        return index

    def _meant(self, name: str) -> str:
        """What was perhaps meant by a name that is not there, for a message; cheap, as people try names in loops."""
        if not name or self._tensor_count > _COMPARED_NAMES:
            return ""
        names = self.keys()
        close = [known for known in names if known.endswith(f".{name}") or name.endswith(f".{known}")]
        close = close or difflib.get_close_matches(name, names, 3)
        return f": is it {' or '.join(json.dumps(known) for known in close[:3])}?" if close else ""

    def tensor(self, name: str | int) -> TensorInfo:
        """What is known of a tensor. Raises MissingTensorError, a KeyError."""
        index = self._index(name)
        return TensorInfo(index, *self._open_reader.tensor(index))

    __getitem__ = tensor

    def items(self) -> Iterator[tuple[str, TensorInfo]]:
        """(name, TensorInfo) of each tensor."""
        for name, index in self._by_name().items():
            yield name, self.tensor(index)

    def metadata(self, file: int | str = 0) -> dict[str, str]:
        """Metadata of an original file, as safetensors' __metadata__; empty where there is none."""
        reader = self._open_reader
        if not self.files:
            return {}
        found: dict[str, str] = reader.metadata(self._file(file))
        return found

    # ---- loading ----

    def load_into(self, name: str | int, memory: Any) -> None:
        """Load a tensor into memory of its size: a writable contiguous buffer, DLPack tensor, or (address, bytes).

        Its bytes as they lie, in host byte order. Raises MissingTensorError, UsageError if the memory is too
        small, CorruptError.
        """
        self._open_reader.load_many([(self._index(name), memory)])

    def load_many(self, requests: Iterable[tuple[str | int, Any]]) -> None:
        """Load several tensors, [(name, memory), ...], by all threads; each chunk is decoded once.

        Memories must not overlap. What a failed call has written is unspecified.
        """
        reader = self._open_reader
        reader.load_many([(self._index(name), memory) for name, memory in requests])

    def load_slice_into(self, name: str | int, begin: Sequence[int], end: Sequence[int], memory: Any) -> None:
        """Load elements begin[d] <= i < end[d] of each dimension d, packed densely, row-major.

        Only the chunks that hold them are read.
        """
        self._open_reader.load_slice(self._index(name), begin, end, memory)

    def load_bytes(self, name: str | int) -> bytearray:
        """The bytes of a tensor, in host byte order."""
        info = self.tensor(name)
        memory = bytearray(info.nbytes)
        self.load_into(info.index, memory)
        return memory

    def read_into(self, file: int | str, offset: int, memory: Any) -> None:
        """Read bytes of an original file, from `offset`, as many as the memory takes."""
        self._open_reader.read(self._file(file), offset, memory)

    def read(self, file: int | str = 0, offset: int = 0, size: int = -1) -> bytes:
        """Bytes of an original file; size -1: to its end. What is behind the end is left out."""
        info = self.files[self._file(file)]
        if offset < 0:
            raise UsageError(f"offset must not be negative, and is {offset}")
        left = max(0, info.bytes - offset)
        memory = bytearray(left if size < 0 else min(size, left))
        if memory:
            self.read_into(info.index, offset, memory)
        return bytes(memory)

    def open_file(self, file: int | str = 0, *, buffer_size: int = 1 << 20) -> io.BufferedReader:
        """An original file as a seekable binary file object that reads only."""
        return io.BufferedReader(_OriginalFile(self, self.files[self._file(file)]), buffer_size)

    # ---- closing ----

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Let go of the file. What was loaded stays."""
        if not self._closed:
            self._reader.close()
        self._closed = True

    def __enter__(self) -> Container:
        if self._closed:
            raise UsageError(f"{self.name} is closed")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<mmh.Container {self.name!r}{', closed' if self._closed else ''}>"

    def __reduce__(self) -> Any:
        if self._path is None:
            raise TypeError(f"{self.name} was opened from a file object, and cannot be pickled")
        if set(self._options) - {"threads"}:
            raise TypeError("containers that were opened with keys or callbacks cannot be pickled")
        return _reopen, (self._path, self._original, self._alone, self._options)


def _reopen(path: Any, original: bool, alone: bool, options: dict[str, Any]) -> Container:
    return Container(path, original=original, alone=alone, **options)


class _OriginalFile(io.RawIOBase):
    """Reads an original file out of a container."""

    def __init__(self, container: Container, info: FileInfo) -> None:
        super().__init__()
        if info.kind != "file":
            raise UsageError(f'"{info.name}" is a {info.kind}')
        self._container, self._info, self._at = container, info, 0
        self.name = info.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._info.bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, memory: Any) -> int:
        view = memoryview(memory).cast("B")
        size = min(len(view), max(0, self._info.bytes - self._at))
        if size:
            self._container.read_into(self._info.index, self._at, view[:size])
        self._at += size
        return size


_generation = [0]


def _forked() -> None:
    _generation[0] += 1


os.register_at_fork(after_in_child=_forked)


def open(source: Any, **options: Unpack[OpenOptions]) -> Container:
    """Open a container: its index is read and checked, no weights are.

    Parameters
    ----------
    source : path, bytes-like, file object or URL
        A binary file object must be seekable. URLs ("https://...", "s3://...", "memory://...") are opened by
        fsspec with `storage_options`, and only what is needed is fetched, by ranges.
    threads : int
        0: all processors.
    keys, passphrase
        To decrypt with.
    signers : Key or keys
        Public keys, of which one must have signed; `require` (a mapping) says more: all, hybrid,
        post_quantum, min_category, min_counter, signature_file.
    progress : callable
        Called with a `Progress` some times a second while something is loaded; returning False cancels.

    Returns
    -------
    Container

    Raises IOFailure (FileNotFoundError is one), CorruptError, UnsupportedError, UntrustedError,
    KeyMissingError.
    """
    check_options(options, OpenOptions, "opening")
    return Container(
        source,
        storage_options=options.get("storage_options"),
        **_given(
            options.get("threads", 0),
            options.get("keys", ()),
            options.get("passphrase"),
            options.get("signers", ()),
            options.get("require"),
            options.get("progress"),
        ),
    )


def open_original(
    source: PathLike | Any,
    *,
    alone: bool = False,
    threads: int = 0,
    progress: ProgressCallback | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Container:
    """Open model files that are not packed by the same interface: their tensors are found as `pack` would.

    `alone`: a shard index by itself, without its shards. There are no digests, and no stored sizes.
    """
    return Container(
        source,
        original=True,
        alone=alone,
        storage_options=storage_options,
        **_given(threads, (), None, (), None, progress),
    )


def _given(
    threads: int,
    keys: Any,
    passphrase: Any,
    signers: Any,
    require: Any,
    progress: Any,
) -> dict[str, Any]:
    """The options of a context that are not the defaults."""
    options: dict[str, Any] = {}
    if threads:
        options["threads"] = threads
    if keys:
        options["keys"] = keys if isinstance(keys, Key) else tuple(keys)
    if passphrase is not None:
        options["passphrase"] = passphrase
    if signers:
        options["signers"] = signers if isinstance(signers, Key) else tuple(signers)
    if require:
        options["require"] = require
    if progress is not None:
        options["progress"] = progress
    return options


__all__ = [
    "Container",
    "ContainerInfo",
    "FileInfo",
    "MendedWarning",
    "TensorInfo",
    "Usage",
    "open",
    "open_original",
]
