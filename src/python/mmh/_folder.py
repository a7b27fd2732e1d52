# SPDX-License-Identifier: Apache-2.0
"""Where checkpoints are: a folder of this machine, or one that fsspec reaches."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmh

# Of StorageWriter, and of torch's own writer through mmh:// (_fsspec.py).
_METADATA = re.compile(r"(rank\d+\.)?metadata\.mmh|(__\d+)?\.metadata\.mmh")


class Folder:
    """A folder by path or URL. Files appear under their names when they are complete."""

    def __init__(self, id: str | os.PathLike[str], storage_options: Mapping[str, Any]) -> None:
        """Raises ImportError for a URL where fsspec is missing, mmh.UsageError for an mmh:// URL."""
        self.id = id
        self._options = dict(storage_options)
        self._filesystem: Any = None
        text = os.fspath(id)
        if text.startswith(("mmh://", "mmh::")):
            raise mmh.UsageError(
                f"{text}: give the folder itself; mmh:// is for checkpoint_id without a reader or writer"
            )
        if "://" in text:
            import fsspec

            self._filesystem, self._path = fsspec.core.url_to_fs(text, **self._options)
        else:
            self._path = os.path.abspath(text)

    def join(self, name: str) -> str:
        """The path or URL of a file of it."""
        return os.path.join(os.fspath(self.id), name)

    def make(self) -> None:
        """Make it, and what it is in, where they are missing."""
        if self._filesystem is not None:
            self._filesystem.makedirs(self._path, exist_ok=True)
        else:
            os.makedirs(self._path, exist_ok=True)

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        if self._filesystem is not None:
            return bool(self._filesystem.exists(f"{self._path}/{name}"))
        return os.path.lexists(os.path.join(self._path, name))

    def pack(self, files: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> mmh.PackReport:
        """Write a container, in place of one that is there."""
        if self._filesystem is None:
            return mmh.pack_files(files, os.path.join(self._path, name), overwrite=True, **options)
        target = f"{self._path}/{name}"
        partial = f"{target}.partial"
        try:
            with self._filesystem.open(partial, "wb") as file:
                report = mmh.pack_files(files, file, **options)
        except BaseException:
            if self._filesystem.exists(partial):
                self._filesystem.rm_file(partial)
            raise
        if self._filesystem.exists(target):
            self._filesystem.rm_file(target)
        self._filesystem.mv(partial, target)
        return report

    def open(self, name: str, options: Mapping[str, Any]) -> mmh.Container:
        """Open a container of it. Raises what mmh.open raises, with its path in the message."""
        if self._filesystem is not None:
            return mmh.open(self.join(name), storage_options=self._options, **options)
        return mmh.open(os.path.join(self._path, name), **options)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            if self._filesystem is not None:
                self._filesystem.rm_file(f"{self._path}/{name}")
            else:
                os.unlink(os.path.join(self._path, name))
        except FileNotFoundError:
            pass

    def metadata_names(self) -> list[str]:
        """Names of the metadata files that are there: one, or one of each rank."""
        if self._filesystem is not None:
            names = [str(path).rsplit("/", 1)[-1] for path in self._filesystem.ls(self._path, detail=False)]
        else:
            names = [path.name for path in Path(self._path).iterdir()]
        return sorted(name for name in names if _METADATA.fullmatch(name))
