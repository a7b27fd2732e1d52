# SPDX-License-Identifier: Apache-2.0
"""Packed weights in vLLM: `vllm serve FOLDER --load-format mmh`.

vLLM finds `register` by the entry point "mmh" of its group "vllm.general_plugins" and calls it in each of its
processes. The folder is one for transformers whose safetensors files are packed, each under its name with ".mmh" behind
it; what is not packed is read as it is. What of this was checked, and how, is in docs/python-transformers.md.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors
import torch
from vllm.model_executor.model_loader import register_model_loader
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.model_loader.ep_weight_filter import should_skip_weight
from vllm.model_executor.model_loader.weight_utils import download_weights_from_hf

import mmh
from mmh._packed_weights import BATCH_BYTES, SUFFIX, PackedFile, container_of, natural_order, weight_files

__all__ = ["LOAD_FORMAT", "MmhModelLoader", "register"]

LOAD_FORMAT = "mmh"
TESTED = "0.33.0"
_EXTRA_OPTIONS: dict[str, type] = {"threads": int, "batch_bytes": int, "share": bool}


class MmhModelLoader(DefaultModelLoader):  # type: ignore[misc]
    """vLLM's default loader, a BaseModelLoader, with its weights out of containers.

    `model_loader_extra_config` takes, beside what the default loader takes, "threads" (of one container, 0: all),
    "batch_bytes" (decoded at once, 64 MiB) and "share": with tensor parallelism each weight is decoded by one rank and
    sent to the others, where else every rank decodes every weight.
    """

    def __init__(self, load_config: Any) -> None:
        """`load_config` is vLLM's LoadConfig. Raises ValueError for a wrong option."""
        given = load_config.model_loader_extra_config
        own: dict[str, Any] = {}
        if isinstance(given, dict):
            own = {key: value for key, value in given.items() if key in _EXTRA_OPTIONS}
            for key, value in own.items():
                other_type = type(value) is not _EXTRA_OPTIONS[key]
                if other_type or value < 0:
                    raise ValueError(f"{key} must be a {_EXTRA_OPTIONS[key].__name__} and not negative, got {value!r}")
            load_config = copy.copy(load_config)
            load_config.model_loader_extra_config = {key: given[key] for key in given if key not in own}
        super().__init__(load_config)
        self._threads = own.get("threads", 0)
        self._batch_bytes = own.get("batch_bytes", BATCH_BYTES)
        self._share = own.get("share", False)

    def download_model(self, model_config: Any) -> None:
        """Get the model's weight files, if it is not a folder here."""
        self._folder(model_config.model, None, model_config.revision)

    def _folder(self, model: str, subfolder: str | None, revision: str | None) -> Path:
        if not os.path.isdir(model):
            model = download_weights_from_hf(
                model,
                self.load_config.download_dir,
                [f"*.safetensors{SUFFIX}"],
                revision,
                subfolder=subfolder,
                ignore_patterns=self.load_config.ignore_patterns,
            )
        return Path(model, subfolder or "")

    def _get_weights_iterator(self, source: Any) -> Iterator[tuple[str, torch.Tensor]]:
        """(prefix + name, tensor) of a DefaultModelLoader.Source; a batch of tensors is in memory at a time."""
        folder = self._folder(source.model_or_path, source.subfolder, source.revision)
        if source.allow_patterns_overrides is None:
            files = weight_files(folder)
        else:
            files = _matching(folder, source.allow_patterns_overrides)
        share = self._share and _group() is not None
        # The ranks that share have to take the same tensors, so none of them leaves out other ranks' experts.
        experts = None if share else self.local_expert_ids

        def wanted(name: str) -> bool:
            if source.is_unused_weight is not None and source.is_unused_weight(name):
                return False
            return not should_skip_weight(name, experts)

        for file in files:
            for name, tensor in self._tensors(file, wanted, share):
                yield source.prefix + name, tensor

    def _tensors(self, file: Path, wanted: Callable[[str], bool], share: bool) -> Iterator[tuple[str, torch.Tensor]]:
        container = container_of(file)
        if container is None:
            with safetensors.safe_open(file, framework="pt") as plain:
                for name in sorted(plain.keys(), key=natural_order):
                    if wanted(name):
                        yield name, plain.get_tensor(name)
            return
        with PackedFile(container, file, threads=self._threads) as packed:
            if share:
                group = _group()
                yield from packed.stream_shared(group.device_group, group.device, wanted, self._batch_bytes)
            else:
                yield from packed.stream(wanted, self._batch_bytes)


def _group() -> Any:
    """vLLM's tensor parallel group; None of one process."""
    from vllm.distributed import get_tp_group

    group = get_tp_group()
    return group if group.world_size > 1 else None


def _matching(folder: Path, patterns: list[str]) -> list[Path]:
    """The files of the first pattern that finds any, each there or packed, in natural order."""
    for pattern in patterns:
        names = {path.name for path in folder.glob(pattern)}
        names |= {path.name.removesuffix(SUFFIX) for path in folder.glob(pattern + SUFFIX)}
        if names:
            return [folder / name for name in sorted(names, key=natural_order)]
    raise mmh.UsageError(f"nothing in {folder} is called like {', '.join(patterns)}, with {SUFFIX} or without")


def _check() -> None:
    """Raise mmh.UnsupportedError unless the default loader is made as this module expects."""
    lacking = [name for name in ("_get_weights_iterator", "Source") if not hasattr(DefaultModelLoader, name)]
    if not lacking:
        expected = {"model_or_path", "revision", "subfolder", "prefix", "allow_patterns_overrides", "is_unused_weight"}
        fields = {field.name for field in dataclasses.fields(DefaultModelLoader.Source)}
        lacking = [f"Source.{name}" for name in sorted(expected - fields)]
    if lacking:
        raise mmh.UnsupportedError(
            f"this vLLM is not known to mmh.vllm: its DefaultModelLoader has no {', '.join(lacking)}; known is {TESTED}"
        )


def register() -> None:
    """Make the load format "mmh" known to vLLM; doing so again changes nothing. Raises mmh.UnsupportedError."""
    if not _registered:
        _check()
        register_model_loader(LOAD_FORMAT)(MmhModelLoader)
        _registered.append(LOAD_FORMAT)


_registered: list[str] = []
