# SPDX-License-Identifier: Apache-2.0
"""What the framework modules share: opening, finding files inside a container, temporary folders in memory."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import mmh
from mmh._container import Container, FileInfo

PIECE_BYTES = 1 << 24
"""How much is copied at a time."""

_MAGIC = b"\x89MMH\r\n\x1a\n"


@contextlib.contextmanager
def opened(source: Any, **options: Any) -> Iterator[Container]:
    """A container, opened for the length of a `with` statement.

    `source`: a container that is open already (and stays so), what mmh.open takes, or an original model
    file or folder, which is read by the same interface. `options` are those of mmh.open.
    """
    if isinstance(source, Container):
        yield source
        return
    if is_original(source):
        with mmh.open_original(source) as container:
            yield container
        return
    with mmh.open(source, **options) as container:
        yield container


def is_original(source: Any) -> bool:
    """Whether a path is of a model that is not packed. What is no path, or not there, is not."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = os.fspath(source)
    if isinstance(path, str) and "://" in path:
        return False
    if os.path.isdir(path):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) != _MAGIC
    except OSError:
        return False  # mmh.open says what is wrong with it


def file_named(container: Container, ending: str, *, model: str | None = None, what: str = "model") -> FileInfo:
    """The FileInfo of the one regular file whose name ends so; `model` names it, or the folder that has it.

    Raises mmh.UsageError if there is none, or if there are several and `model` does not say which.
    """
    found = [file for file in container.files if file.kind == "file" and file.name.endswith(ending)]
    if model is not None:
        wanted = model.strip("/")
        found = [file for file in found if file.name == wanted or file.name.startswith(f"{wanted}/")]
    if len(found) > 1:
        depth = min(file.name.count("/") for file in found)
        found = [file for file in found if file.name.count("/") == depth]
    if not found:
        raise mmh.UsageError(f"there is no {what} here: no file is called ...{ending}")
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:4])
        raise mmh.UsageError(f"there are several of {what} here ({names}): say which by model=")
    return found[0]


def copy_file(container: Container, file: FileInfo, destination: Any) -> None:
    """Write an original file into something with write(), a piece at a time."""
    for offset in range(0, file.bytes, PIECE_BYTES):
        destination.write(container.read(file.index, offset, min(PIECE_BYTES, file.bytes - offset)))


@contextlib.contextmanager
def temporary_folder(byte_count: int) -> Iterator[pathlib.Path]:
    """A folder for so many bytes that is gone after the `with` statement, whatever happens in it.

    In memory (/dev/shm) where that has room for them and as much again, else where the system has its
    temporary files; $TMPDIR goes before both.
    """
    place = None
    if "TMPDIR" not in os.environ:
        with contextlib.suppress(OSError):
            room = shutil.disk_usage("/dev/shm").free
            if os.access("/dev/shm", os.W_OK) and room >= 2 * byte_count:
                place = "/dev/shm"
    with tempfile.TemporaryDirectory(prefix="mmh-", dir=place) as name:
        yield pathlib.Path(name)


@contextlib.contextmanager
def temporary_file(container: Container, file: FileInfo) -> Iterator[pathlib.Path]:
    """An original file under its own name in a temporary folder, for the length of a `with` statement."""
    with temporary_folder(file.bytes) as folder:
        place = folder / file.name.rpartition("/")[2]
        with open(place, "xb") as target:
            copy_file(container, file, target)
        yield place
