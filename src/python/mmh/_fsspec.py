# SPDX-License-Identifier: Apache-2.0
"""The fsspec protocol mmh://: files that are packed as they are written, and decoded by ranges as they are read.

`mmh:///folder/name` is kept as the container `/folder/name.mmh`; `mmh::s3://bucket/name` as `s3://bucket/name.mmh`.
Metadata of torch's distributed checkpoints (`.metadata`) is kept as JSON and never as the pickle that torch writes.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import tempfile
from collections.abc import Mapping
from typing import Any

import fsspec
import mmh
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

SUFFIX = ".mmh"
METADATA = "metadata.json"
_DCP_METADATA = re.compile(r"(__\d+)?\.metadata(\.tmp)?")
_SPOOLED_BYTES = 16 << 20  # in memory; more goes to a file without a name


class MmhFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A file system over another one, whose files are containers of one file each."""

    protocol = "mmh"
    root_marker = ""
    cachable = True

    def __init__(
        self,
        fo: Any = None,
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        fs: Any = None,
        *,
        level: int = 1,
        allow_pickle: bool = False,
        packing: Mapping[str, Any] | None = None,
        opening: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """fo: the folder or file beneath, of a chain of URLs. level: 1 (fast) to 9 (small).

        packing, opening: more options of mmh.pack_files and mmh.open.
        allow_pickle: let torch.distributed.checkpoint load values that weights_only refuses.
        target_protocol, target_options, fs: the file system beneath; the local one by default.
        """
        super().__init__(**options)
        self.fs = fs if fs is not None else fsspec.filesystem(target_protocol or "file", **(target_options or {}))
        self._target_options = dict(target_options or {})
        self._root = str(self.fs._strip_protocol(fo)).rstrip("/") if fo else ""
        self._packing, self._opening = {"level": level, **(packing or {})}, dict(opening or {})
        self._allow_pickle = allow_pickle
        # Of the checkpoints whose metadata was read: {path: (root, values with where they are)}.
        self._expected: dict[str, tuple[str, list[tuple[str, Any]]]] = {}

    # ---- names ----

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in path]
        text = os.fspath(path)
        for prefix in ("mmh://", "mmh::"):
            text = text.removeprefix(prefix)
        return text.rstrip("/") or "/"

    def _below(self, path: str) -> str:
        """The path as the file system beneath has it."""
        name = str(self._strip_protocol(path))
        if "::" in name:
            raise ValueError(f"{path}: write mmh::{name.split('::')[-1]}/{name.split('::')[0].lstrip('/')} instead")
        if "://" not in name and self._root:  # of a chain: as far as it does not say so itself
            inside = name == self._root or name.startswith(f"{self._root}/")
            return name if inside else f"{self._root}/{name.strip('/')}".rstrip("/")
        return str(self.fs._strip_protocol(name))

    def _stored(self, path: str) -> str:
        return self._below(path) + SUFFIX

    # ---- containers ----

    def _container(self, path: str) -> mmh.Container:
        stored = self._stored(path)
        if isinstance(self.fs, LocalFileSystem):
            return mmh.open(stored, **self._opening)
        if not self.fs.exists(stored):
            raise FileNotFoundError(stored)
        url = self.fs.unstrip_protocol(stored)
        return mmh.open(url, storage_options=self._target_options, **self._opening)

    def _pack(self, content: Any, name: str, path: str) -> None:
        stored = self._stored(path)
        self._expected.pop(self._below(path), None)
        if isinstance(self.fs, LocalFileSystem):
            mmh.pack_files({name: content}, stored, overwrite=True, **self._packing)
            return
        partial = f"{stored}.partial"
        try:
            with self.fs.open(partial, "wb") as file:
                mmh.pack_files({name: content}, file, **self._packing)
        except BaseException:
            if self.fs.exists(partial):
                self.fs.rm_file(partial)
            raise
        if self.fs.exists(stored):
            self.fs.rm_file(stored)
        self.fs.mv(partial, stored)

    # ---- what fsspec asks for ----

    def _open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        if mode in ("wb", "xb"):
            if mode == "xb" and self.exists(path):
                raise FileExistsError(path)
            return _Writer(self, path)
        if mode != "rb":
            raise ValueError(f"{path}: a packed file can be read or written anew, not opened as {mode!r}")
        if _DCP_METADATA.fullmatch(posixpath.basename(self._below(path))):
            text = self._metadata_text(path)
            if text is not None:
                return io.BytesIO(self._pickled_metadata(text, path))
            if not self._allow_pickle:  # torch unpickles whatever it is given by this name
                raise mmh.UntrustedError(
                    f"{self._stored(path)}: its metadata is no {METADATA}: torch would run it as a pickle; if you "
                    "trust who wrote it, pass allow_pickle=True"
                )
        container = self._container(path)
        try:
            expected = self._expected.get(self._below(path))
            if expected is not None:
                self._check(container, path, *expected)
            return _Reader(container, container.files[0].name)
        except BaseException:
            container.close()
            raise

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Bytes of a file, of which only the chunks that hold them are decoded."""
        with self._open(path) as file:
            size = file.seek(0, io.SEEK_END)
            begin, stop, _ = slice(start, end).indices(size)
            file.seek(begin)
            return bytes(file.read(max(0, stop - begin)))

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Name, size and type of a file, as it is when it is read."""
        name = self._strip_protocol(path)
        stored = self._stored(path)
        if self.fs.isfile(stored):
            with self._open(path) as file:
                size = file.seek(0, io.SEEK_END)
            return {"name": name, "size": size, "type": "file", "stored_size": self.fs.size(stored)}
        if self.fs.isdir(self._below(path)):
            return {"name": name, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether there is such a file or folder."""
        return bool(self.fs.exists(self._stored(path)) or self.fs.isdir(self._below(path)))

    def isfile(self, path: str) -> bool:
        """Whether there is such a file."""
        return bool(self.fs.isfile(self._stored(path)))

    def isdir(self, path: str) -> bool:
        """Whether there is such a folder."""
        return bool(self.fs.isdir(self._below(path)))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Packed files and folders of a folder; what else is in it is not seen."""
        if self.isfile(path):
            return [self.info(path)] if detail else [self._strip_protocol(path)]
        found: list[Any] = []
        for entry in self.fs.ls(self._below(path), detail=True):
            name = str(entry["name"]).rstrip("/")
            if entry["type"] == "directory":
                found.append({"name": name, "size": 0, "type": "directory"})
            elif name.endswith(SUFFIX):
                name = name.removesuffix(SUFFIX)
                found.append(self.info(name) if detail else {"name": name})
        return found if detail else [entry["name"] for entry in found]

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Make a folder."""
        self.fs.mkdir(self._below(path), create_parents=create_parents, **kwargs)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder and what it is in."""
        self.fs.makedirs(self._below(path), exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        self.fs.rmdir(self._below(path))

    def _rm(self, path: str) -> None:
        self.fs.rm_file(self._stored(path))

    def rm_file(self, path: str) -> None:
        """Remove a file."""
        self._rm(path)

    def mv(self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """Rename a file or folder."""
        if self.isfile(path1):
            self.fs.mv(self._stored(path1), self._stored(path2), **kwargs)
        else:
            self.fs.mv(self._below(path1), self._below(path2), recursive=recursive, maxdepth=maxdepth, **kwargs)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copy a file, without decoding it."""
        if self.isfile(path1):
            self.fs.cp_file(self._stored(path1), self._stored(path2), **kwargs)
        else:
            self.makedirs(path2, exist_ok=True)

    # ---- torch.distributed.checkpoint ----

    def _metadata_text(self, path: str) -> bytes | None:
        """The JSON of a checkpoint's metadata; None if the file holds something else."""
        from mmh._torch_tree import StructureError, read_text

        with self._container(path) as container:
            if container.files[0].name != METADATA:
                return None
            try:
                return read_text(container, METADATA)
            except StructureError as error:
                raise mmh.CorruptError(f"{self._stored(path)}: {error}") from None

    def _folder(self, path: str) -> str:
        return posixpath.dirname(self._below(path))

    def _store_metadata(self, content: bytes, path: str) -> None:
        """Keep metadata as JSON, with the identity of each file that it refers to."""
        from mmh import _dcp_metadata

        metadata, ranges = _dcp_metadata.from_pickle(content, self._below(path))
        roots = {}
        for name in {info.relative_path for info in ranges.values()}:
            with self._container(f"{self._folder(path)}/{name}") as container:
                roots[name] = container.info.root
        stored = {
            index: _dcp_metadata.Stored(
                file=info.relative_path,
                root=roots[info.relative_path],
                kind="range",
                offset=info.offset,
                length=info.length,
                transforms=tuple(getattr(info, "transform_descriptors", None) or ()),  # PyTorch 2.4 has none yet
            )
            for index, info in ranges.items()
        }
        self._pack(_dcp_metadata.encode(metadata, stored), METADATA, path)

    def _pickled_metadata(self, text: bytes, path: str) -> bytes:
        """What torch's reader unpickles: made here and now, of what was read and checked."""
        from mmh import _dcp_metadata
        from mmh._torch_tree import StructureError

        try:
            metadata = _dcp_metadata.decode(text, self._stored(path))
        except StructureError as error:
            raise mmh.CorruptError(str(error)) from None
        expected: dict[str, tuple[str, list[tuple[str, Any]]]] = {}
        for index, stored in metadata.storage_data.items():
            entry = expected.setdefault(f"{self._folder(path)}/{stored.file}", (stored.root, []))
            if _dcp_metadata.is_value(metadata, index):
                entry[1].append((index.fqn, stored))
        self._expected.update(expected)
        return _dcp_metadata.to_pickle(metadata)

    def _check(self, container: mmh.Container, path: str, root: str, values: list[tuple[str, Any]]) -> None:
        """Whether a file is the one that the metadata was written for, and its values are no programs."""
        if container.info.root != root:
            raise mmh.CorruptError(f"{self._stored(path)}: not the file that the checkpoint's metadata was written for")
        if self._allow_pickle:
            return
        from mmh import _dcp_metadata

        for name, where in values:
            content = container.read(0, where.offset, where.length)
            _dcp_metadata.check_value(content, name, self._stored(path), where.transforms)


class _Reader(io.BufferedReader):
    """A file in a container, which is closed with it."""

    def __init__(self, container: mmh.Container, name: str) -> None:
        file = container.open_file(name)
        super().__init__(file.detach(), 1 << 20)
        self._container = container

    def close(self) -> None:
        """Close the file and its container."""
        super().close()
        self._container.close()


class _Writer(io.RawIOBase):
    """Keeps what is written until it is complete, then packs it; what is not closed is not there."""

    def __init__(self, filesystem: MmhFileSystem, path: str) -> None:
        super().__init__()
        self._filesystem, self._path = filesystem, path
        self._spool: Any = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES)  # noqa: SIM115  # closed by close

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._spool.write(view)
        return len(view)

    def tell(self) -> int:
        return int(self._spool.tell())

    def fileno(self) -> int:
        """Of the spool: what os.fsync is called with before the file is packed, which syncs it anyway."""
        return int(self._spool.fileno())

    def commit(self) -> None:
        """Of a transaction of fsspec's, as PyTorch 2.4 has them: each file has got its name when it was closed."""

    def discard(self) -> None:
        """Close without packing."""
        self._spool.close()
        super().close()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def close(self) -> None:
        """Pack, and give the file its name."""
        if self.closed:
            return
        try:
            name = posixpath.basename(self._filesystem._below(self._path))
            self._spool.seek(0)
            if _DCP_METADATA.fullmatch(name):
                self._filesystem._store_metadata(self._spool.read(), self._path)
            else:
                self._filesystem._pack(self._spool, name, self._path)
        finally:
            self.discard()

    def __del__(self) -> None:
        if not self.closed:
            self.discard()


def register() -> None:
    """Make mmh:// known to fsspec, where the package is not installed with its entry point."""
    fsspec.register_implementation("mmh", MmhFileSystem, clobber=True)
