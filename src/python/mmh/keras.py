# SPDX-License-Identifier: Apache-2.0
"""Keras 3: models and weights straight from a container."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import keras

import mmh
from mmh import _models
from mmh._container import Container, FileInfo

__all__ = ["load_model", "load_weights"]

_ENDINGS = (".keras", ".h5", ".hdf5")


class _NamedFile(io.BufferedReader):
    """A file of a container that has a name: keras.saving.load_model asks str() of it what kind it is."""

    def __init__(self, container: Container, file: FileInfo) -> None:
        super().__init__(container.open_file(file.index).detach(), 1 << 20)
        self._file_name = file.name.rpartition("/")[2]

    def __str__(self) -> str:
        return self._file_name

    def __fspath__(self) -> str:
        return self._file_name


def _loader_of_archives() -> Callable[..., Any] | None:
    """What loads a .keras file from an open file: inside Keras since 3.1, though not by a public name."""
    try:
        from keras.src.saving import saving_lib
    except ImportError:
        return None
    return saving_lib.load_model if hasattr(saving_lib, "_load_model_from_fileobj") else None


def _find(container: Container, model: str | None, endings: tuple[str, ...]) -> FileInfo:
    names = [file.name for file in container.files if file.kind == "file"]
    if model is not None:
        names = [name for name in names if name == model or name.startswith(f"{model.strip('/')}/")]
    found = [ending for ending in endings if any(name.endswith(ending) for name in names)]
    if not found:
        raise mmh.UsageError(f"there is no Keras model here: no file is called ...{', ...'.join(endings)}")
    return _models.file_named(container, found[0], model=model, what="Keras model")


def load_model(path: Any, *, model: str | None = None, open_options: Any = None, **options: Any) -> Any:
    """keras.saving.load_model of a .keras or .h5 file inside a container.

    Keras reads the file out of the container as it goes; of a .keras file it holds the weights once itself
    until the model has them. Keras before 3.1 gets a temporary file (in memory, where there is room).

      path           a packed .keras or .h5 file; whatever mmh.open takes, or the original file
      model          which one, if the container has several
      open_options   dict: keys, signers, ... of mmh.open
      options        those of keras.saving.load_model: custom_objects, compile, safe_mode

    Raises UsageError if there is none, CorruptError, and what Keras raises: ValueError for models with code
    in them (Lambda layers), unless safe_mode=False.
    """
    with _models.opened(path, **(open_options or {})) as container:
        file = _find(container, model, _ENDINGS)
        load_archive = _loader_of_archives()
        if load_archive is not None and file.name.endswith(".keras"):
            chosen = {"custom_objects": None, "compile": True, "safe_mode": True} | options
            with container.open_file(file.index) as opened:
                return load_archive(opened, **chosen)
        if load_archive is not None:
            with _NamedFile(container, file) as opened:
                return keras.saving.load_model(opened, **options)
        with _models.temporary_file(container, file) as place:
            return keras.saving.load_model(os.fspath(place), **options)


def load_weights(model: Any, path: Any, *, file: str | None = None, open_options: Any = None, **options: Any) -> None:
    """model.load_weights of a .weights.h5 file inside a container.

    Keras wants a path here: it gets a temporary file, in memory where there is room, for as long as it
    reads.
    """
    with _models.opened(path, **(open_options or {})) as container:
        found = _find(container, file, (".weights.h5", ".h5", ".hdf5", ".keras"))
        with _models.temporary_file(container, found) as place:
            model.load_weights(os.fspath(place), **options)
