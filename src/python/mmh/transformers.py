# SPDX-License-Identifier: Apache-2.0
"""Packed weights in Hugging Face transformers: `import mmh.transformers` and `from_pretrained` reads them.

Where `model.safetensors` (or a shard that an index names) is not in a folder and `model.safetensors.mmh` is, that is
read in its place, by the same code of transformers, decoded straight into the tensors that the model gets. A folder
that is packed as one container can be named itself: `AutoModel.from_pretrained("minilm.mmh")`.

    import mmh.transformers
    model = AutoModel.from_pretrained(folder)            # model.safetensors.mmh is there
    mmh.transformers.save_pretrained(model, folder)      # writes it

The hook is three names of `transformers.modeling_utils`; disable() takes it out again.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import contextvars
import functools
import importlib
import inspect
import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import transformers

import mmh
import mmh.torch
from mmh import _packed_weights
from mmh._packed_weights import SUFFIX, PackedFile, container_of

__all__ = ["disable", "enable", "enabled", "folder", "save_pretrained", "saving"]

COPIED_BYTES = 4 << 30
"""Of a container of a whole model, at the most: what is no weights."""
TESTED = "4.57.6, 5.0.0, 5.12.1 and 5.24.0"

_options: dict[str, Any] = {}
_undo: list[Callable[[], None]] = []
_folders: dict[tuple[str, int, int], str] = {}
_makers: dict[str, int] = {}
_making = threading.Lock()
_level: contextvars.ContextVar[int | None] = contextvars.ContextVar("mmh_level", default=None)


def enable(**open_options: Any) -> None:
    """Let transformers read packed weights; importing this module does so. Calling it again changes the options.

    `open_options` go to mmh.open for every container: `keys` and `passphrase` of encrypted ones, `signers` and
    `require` of those that must be signed, `threads`. Raises mmh.UnsupportedError where this transformers is made
    otherwise than the hook expects; nothing is changed then.
    """
    if not _undo:
        _check()
        _hook()
    _options.clear()
    _options.update(open_options)


def disable() -> None:
    """Take everything out of transformers that enable() put in. Models that are loaded stay as they are."""
    while _undo:
        _undo.pop()()
    _options.clear()
    _forget_folders()


def enabled() -> bool:
    """Whether transformers reads packed weights now."""
    return bool(_undo)


def save_pretrained(model: Any, save_directory: str | os.PathLike[str], *, level: int = 5, **options: Any) -> Any:
    """`model.save_pretrained(save_directory, **options)` with each weight file packed: model.safetensors.mmh.

    `model` is of transformers, or a SentenceTransformer; `level` is that of mmh.pack. max_shard_size counts bytes
    before packing. A file of the same name that is not packed goes, and so do packed ones of an earlier save.
    """
    with saving(level):
        return model.save_pretrained(save_directory, **options)


@contextlib.contextmanager
def saving(level: int = 5) -> Iterator[None]:
    """Within it, `save_pretrained` of transformers packs the weight files that it writes."""
    if not enabled():
        raise mmh.UsageError("mmh.transformers is disabled")
    token = _level.set(level)
    try:
        yield
    finally:
        _level.reset(token)


def folder(container: str | os.PathLike[str]) -> str:
    """A folder for a whole model that was packed as one container, to give to any `from_pretrained`.

    It holds the files that are not weights (config, tokenizer), and for each safetensors file a link to the container,
    out of which the weights are decoded when they are loaded. It is removed when Python ends. Changes of the container
    make a new one. Raises mmh.UsageError if the container holds no model of transformers.
    """
    path = Path(container).resolve()
    state = path.stat()
    key = (str(path), state.st_size, state.st_mtime_ns)
    with _making:
        known = _folders.get(key)
        if known and os.path.isdir(known):
            return known
        target = tempfile.mkdtemp(prefix="mmh-")
        try:
            _lay_out(path, Path(target))
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        _folders[key] = target
        _makers[target] = os.getpid()
        return target


def _forget_folders() -> None:
    for path in _folders.values():
        if _makers.get(path) == os.getpid():  # a forked process leaves its parent's alone
            shutil.rmtree(path, ignore_errors=True)
    _folders.clear()
    _makers.clear()


atexit.register(_forget_folders)


def _lay_out(path: Path, target: Path) -> None:
    """Write into `target` what `folder` promises."""
    with mmh.open(path, **_options) as container:
        files = {PurePosixPath(file.name): file for file in container.files if file.kind == "file"}
        for name in files:
            if name.is_absolute() or ".." in name.parts:
                raise mmh.UsageError(f"{path.name} holds a file called {name}")
        roots = [name.parent for name in files if name.name in ("config.json", "modules.json")]
        if not roots:
            raise mmh.UsageError(f"{path.name} holds no config.json: it is no folder of a model")
        root = min(roots, key=lambda parent: len(parent.parts))

        def of_transformers(parent: PurePosixPath) -> bool:
            file = files.get(parent / "config.json")
            if file is None:
                return False
            try:
                config = json.loads(container.read(file.index, 0, file.bytes))
            except (ValueError, RecursionError) as error:
                raise mmh.UsageError(f"{path.name}: {file.name} is no JSON: {str(error)[:100]}") from None
            return isinstance(config, dict) and "model_type" in config

        inside = {name: file for name, file in files.items() if name.is_relative_to(root)}
        weights = {name for name, file in inside.items() if file.tensor_count and of_transformers(name.parent)}
        needed = sum(file.bytes for name, file in inside.items() if name not in weights)
        room = min(COPIED_BYTES, shutil.disk_usage(target).free)
        if needed > room:
            raise mmh.LimitError(
                f"{path.name}: its files that are no weights take {needed} bytes, and {room} may be copied out of it"
            )
        for name, file in inside.items():
            place = target / name.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            if name in weights:
                # Weights in other formats are of no use to the hook; the folder is what it was without them.
                if name.suffix == ".safetensors":
                    if name.with_name(name.name + SUFFIX) in files:
                        raise mmh.UsageError(
                            f"{path.name} holds {name} and {name}{SUFFIX}: one goes in the other's place"
                        )
                    place.with_name(name.name + SUFFIX).symlink_to(path)
                continue
            # Never through what is there: the links lead to the container.
            with container.open_file(file.name) as source, open(place, "xb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)


def _unpacked(source: Any) -> Any:
    """The folder of a whole model that is packed; anything else as it is."""
    if isinstance(source, str | os.PathLike) and os.fspath(source).endswith(SUFFIX) and os.path.isfile(source):
        return folder(source)
    if isinstance(source, str) and source.endswith(SUFFIX) and not os.path.exists(source):
        owner, slash, name = source.partition("/")  # "owner/name" may be a model of a hub
        if not slash or "/" in name or owner in ("", ".", "..") or os.path.isdir(owner):
            raise mmh.MissingFileError(f"there is no container {source}")
    return source


def _call_by(name: str, place: str, made: Any) -> None:
    """Let a model, its config or a tokenizer say the container's name, not that of the folder that it was read from."""
    for owner in (made, getattr(made, "config", None)):
        for attribute in ("_name_or_path", "name_or_path"):
            if getattr(owner, "__dict__", {}).get(attribute) == place:
                setattr(owner, attribute, name)


# ---- the hook ----


def _unknown(what: str) -> mmh.UnsupportedError:
    return mmh.UnsupportedError(
        f"transformers {transformers.__version__} is not known to mmh.transformers: {what}; tested are {TESTED}."
        " Unpack the weights (mmh unpack), or use one of these versions"
    )


def _check() -> None:
    """Raise mmh.UnsupportedError unless the names that the hook replaces are there and take what it expects."""
    utils = importlib.import_module("transformers.modeling_utils")
    expected = {
        "safe_open": None,
        "safe_save_file": None,
        "_get_resolved_checkpoint_files": {
            "pretrained_model_name_or_path",
            "variant",
            "gguf_file",
            "use_safetensors",
            "transformers_explicit_filename",
        },
    }
    for name, parameters in expected.items():
        function = getattr(utils, name, None)
        if function is None:
            raise _unknown(f"its modeling_utils has no {name}")
        if parameters:
            lacking = parameters - set(inspect.signature(function).parameters)
            if lacking:
                raise _unknown(f"{name} takes no {', '.join(sorted(lacking))}")
    for module, owner, method in _READERS:
        if not hasattr(getattr(importlib.import_module(module), owner, None), method):
            raise _unknown(f"{module}.{owner} has no {method}")


def _replace(owner: Any, name: str, value: Any) -> None:
    """Set an attribute, and remember how to put back what was there (or that nothing was)."""
    missing = object()
    before = vars(owner).get(name, missing)

    def undo() -> None:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    setattr(owner, name, value)
    _undo.append(undo)


def _replace_everywhere(function: Any, value: Any) -> None:
    """Replace a function in all modules of transformers, also in those that will have imported it meanwhile."""

    def swap(old: Any, new: Any) -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith("transformers.") and vars(module).get(function.__name__) is old:
                setattr(module, function.__name__, new)

    swap(function, value)
    _undo.append(lambda: swap(value, function))


def _hook() -> None:
    utils = importlib.import_module("transformers.modeling_utils")
    resolve = utils._get_resolved_checkpoint_files
    _replace_everywhere(resolve, _resolving(resolve))
    _replace(utils, "safe_open", _opening(utils.safe_open))
    _replace(utils, "safe_save_file", _writing(utils.safe_save_file))
    # Where a file is not to be mapped it is read as a whole, by `open`.
    _replace(utils, "open", _reading)
    # Who else opens weight files: weights that stay on disk are read from there when they are used.
    for module in ("transformers.modeling_layers", "transformers.integrations.accelerate", "accelerate.utils.offload"):
        with contextlib.suppress(ImportError):
            user = importlib.import_module(module)
            if hasattr(user, "safe_open"):
                _replace(user, "safe_open", _opening(user.safe_open))
    _replace(transformers.PreTrainedModel, "save_pretrained", _saving(transformers.PreTrainedModel.save_pretrained))
    importlib.import_module("transformers.models.auto.modeling_auto")  # gives its classes copies of what they inherit
    for module, owner, method in _READERS:
        for cls in _family(getattr(importlib.import_module(module), owner)):
            if method in vars(cls):
                _replace(cls, method, _naming_containers(vars(cls)[method]))


def _family(cls: Any) -> Iterator[Any]:
    """A class and all that are made of it so far."""
    yield cls
    for child in cls.__subclasses__():
        yield from _family(child)


# What takes the name of a model, and reads files of its folder.
_READERS = (
    ("transformers.modeling_utils", "PreTrainedModel", "from_pretrained"),
    ("transformers.models.auto.auto_factory", "_BaseAutoModelClass", "from_pretrained"),
    ("transformers.configuration_utils", "PretrainedConfig", "get_config_dict"),
    ("transformers.generation", "GenerationConfig", "from_pretrained"),
    ("transformers.tokenization_utils_base", "PreTrainedTokenizerBase", "from_pretrained"),
    ("transformers.models.auto.tokenization_auto", "AutoTokenizer", "from_pretrained"),
    ("transformers.models.auto.processing_auto", "AutoProcessor", "from_pretrained"),
    ("transformers.processing_utils", "ProcessorMixin", "from_pretrained"),
)


def _naming_containers(method: Any) -> Any:
    """A `from_pretrained` that takes a container of a whole model, too."""
    original = method.__func__

    @functools.wraps(original)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        source: Any = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        place = _unpacked(source)
        if place is source:
            return original(cls, *args, **kwargs)
        if args:
            args = (place, *args[1:])
        else:
            kwargs["pretrained_model_name_or_path"] = place
        result = original(cls, *args, **kwargs)
        for made in result if isinstance(result, tuple) else (result,):
            _call_by(os.fspath(source), place, made)
        return result

    return classmethod(from_pretrained)


def _resolving(original: Callable[..., Any]) -> Callable[..., Any]:
    """What finds the weight files: `model.safetensors` is there if its container is.

    Shards need nothing: transformers takes their names from the index and asks only when it opens them.
    """
    signature = inspect.signature(original)

    @functools.wraps(original)
    def resolve(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        source = given["pretrained_model_name_or_path"] = _unpacked(given["pretrained_model_name_or_path"])
        if (
            source is not None
            and os.path.isdir(source)
            and not given["gguf_file"]
            and not given["transformers_explicit_filename"]
            and given["use_safetensors"] is not False
            and not given.get("from_tf")
            and not given.get("from_flax")
        ):
            subfolder = given.get("subfolder") or (given.get("download_kwargs") or {}).get("subfolder") or ""
            single = _packed_weights.packed_single(os.path.join(source, subfolder), given["variant"])
            if single:
                return [str(single)], None
        return original(*bound.args, **bound.kwargs)

    return resolve


def _opening(original: Callable[..., Any]) -> Callable[..., Any]:
    """`safe_open` that opens the container of a file that is not there."""

    @functools.wraps(original, updated=())
    def safe_open(filename: Any, framework: str = "pt", device: Any = "cpu", **options: Any) -> Any:
        container = container_of(filename)
        if container is None:
            return original(filename, framework, device, **options)
        return PackedFile(container, filename, device=device, **_options)

    return safe_open


def _reading(file: Any, *args: Any, **kwargs: Any) -> Any:
    """`open` that reads the file inside the container where the file is not there."""
    mode = args[0] if args else kwargs.get("mode", "r")
    if mode == "rb" and isinstance(file, str | os.PathLike) and os.fspath(file).endswith(".safetensors"):
        path = container_of(file)
        if path is not None:
            container = mmh.open(path, **_options)
            return _Inside(container, container.open_file(_packed_weights.file_in(container, file).name))
    return builtins.open(file, *args, **kwargs)


class _Inside:
    """A file of a container, which is closed with it."""

    def __init__(self, container: mmh.Container, file: Any) -> None:
        self._container, self._file = container, file

    def __enter__(self) -> Any:
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._container.close()


def _writing(original: Callable[..., Any]) -> Callable[..., Any]:
    """`save_file` that packs, within saving()."""

    @functools.wraps(original)
    def save_file(tensors: Any, filename: Any, metadata: dict[str, str] | None = None) -> None:
        level = _level.get()
        if level is None:
            original(tensors, filename, metadata=metadata)
            return
        mmh.torch.save_file(tensors, os.fspath(filename) + SUFFIX, metadata=metadata, level=level)
        # It would be read in place of what was written now.
        with contextlib.suppress(FileNotFoundError):
            os.remove(filename)

    return save_file


def _saving(original: Callable[..., Any]) -> Callable[..., Any]:
    """`save_pretrained` that removes, within saving(), packed files of an earlier save, as the original does shards."""

    @functools.wraps(original)
    def save(self: Any, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        if _level.get() is None or not kwargs.get("is_main_process", True):
            return original(self, save_directory, *args, **kwargs)
        before = _packed_files(save_directory, kwargs.get("variant"))
        result = original(self, save_directory, *args, **kwargs)
        after = _packed_files(save_directory, kwargs.get("variant"))
        for path in before.items() & after.items():
            os.remove(path[0])
        return result

    return save


def _packed_files(directory: str | os.PathLike[str], variant: str | None) -> dict[str, tuple[int, int]]:
    """Packed weights in a folder, and what tells whether they were written anew: (inode, time)."""
    found = {}
    pattern = re.compile(rf"model{re.escape('.' + variant) if variant else ''}(-\d{{5}}-of-\d{{5}})?\.safetensors\.mmh")
    if os.path.isdir(directory):
        for entry in os.scandir(directory):
            if pattern.fullmatch(entry.name):
                state = entry.stat()
                found[entry.path] = (state.st_ino, state.st_mtime_ns)
    return found


enable()
