# SPDX-License-Identifier: Apache-2.0
"""Does a container give each framework what the original gives it? `mmh verify --frameworks`.

Each model in a container is loaded by its frameworks' own loaders from the original file, and by mmh's
loaders straight from the container; tensors and the outputs of seeded forward passes are compared bit for
bit. Every framework runs in a process of its own, so that one that crashes takes no other with it.
Nothing that a model file says is run where the framework has a loader that does not: see
docs/compatibility.md for what is refused.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import mmh
from mmh import _models
from mmh._container import Container, FileInfo
from mmh._core import Progress, ProgressCallback

__all__ = ["FRAMEWORKS", "Check", "CheckProgress", "Framework", "Report", "verify"]

SEED = 7


@dataclass(frozen=True)
class Framework:
    """One that is asked: its name, the package it is in, what is installed for it, and the kinds it loads."""

    name: str
    module: str
    distributions: tuple[str, ...]
    kinds: tuple[str, ...]


FRAMEWORKS = (
    Framework("safetensors", "safetensors", ("safetensors",), ("safetensors",)),
    Framework("numpy", "numpy", ("numpy",), ("safetensors", "npy", "npz")),
    Framework("torch", "torch", ("torch",), ("safetensors", "torch", "torchscript")),
    Framework(
        "tensorflow",
        "tensorflow",
        ("tensorflow", "tensorflow-cpu", "tensorflow-macos"),
        ("safetensors", "saved-model", "tf-checkpoint", "tflite"),
    ),
    Framework("keras", "keras", ("keras",), ("keras", "hdf5")),
    Framework("h5py", "h5py", ("h5py",), ("hdf5",)),
    Framework("jax", "jax", ("jax",), ("safetensors",)),
    Framework("onnx", "onnx", ("onnx",), ("onnx",)),
    Framework("onnxruntime", "onnxruntime", ("onnxruntime", "onnxruntime-gpu"), ("onnx",)),
    Framework("gguf", "gguf", ("gguf",), ("gguf",)),
    Framework("transformers", "transformers", ("transformers",), ("transformers",)),
)
"""In the order in which they are asked."""

RESULTS = {
    "equal": "equal",
    "differs": "DIFFERS",
    "failed": "FAILED",
    "refused": "refused",
    "unloadable": "not loadable",
}
"""What comes of a check, and what people read. The last two say nothing against the container."""


@dataclass(frozen=True)
class Check:
    """One model in one framework.

    Attributes
    ----------
    file : str
        Its name in the container; of a folder ".", or the folder's.
    kind : str
        "safetensors", "onnx", "saved-model", ...
    result : str
        "equal"; "differs"; "failed": mmh's loader did not load what the framework's own did; "refused": to
        load it would run code that it brings; "unloadable": the framework's own loader does not load it.
    tensors, tensor_bytes : int
        Compared bit for bit.
    outputs : int
        Tensors that forward passes gave, compared bit for bit; 0: it was not run, and `text` says why.
    text : str
        More, for people.
    """

    file: str
    kind: str
    result: str
    tensors: int = 0
    tensor_bytes: int = 0
    outputs: int = 0
    text: str = ""


@dataclass(frozen=True)
class Tested:
    """A framework, its version (None: it is not installed) and what came of its checks."""

    name: str
    version: str | None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Report:
    """What came of all. `original`: "unpacked", or the path that was given as the original."""

    input: str
    original: str
    frameworks: tuple[Tested, ...] = ()
    untested: tuple[str, ...] = field(default=())

    @property
    def checks(self) -> list[Check]:
        """Those of all frameworks."""
        return [check for tested in self.frameworks for check in tested.checks]

    @property
    def exit(self) -> int:
        """0: whatever could be tested is equal; 3: something is not; 9: nothing could be tested."""
        results = {check.result for check in self.checks}
        if results & {"differs", "failed"}:
            return 3
        return 0 if "equal" in results else 9

    def as_json(self) -> dict[str, Any]:
        """An object for docs/schema/mmh-output.schema.json."""
        status = {0: "ok", 3: "corrupt", 9: "unsupported"}[self.exit]
        found: dict[str, Any] = {"verb": "verify", "input": self.input, "status": status, "exit": self.exit}
        if self.exit:
            found["message"] = self.summary()
        found["original"] = self.original
        found["frameworks"] = [
            {"name": t.name, "version": t.version, "checks": [asdict(check) for check in t.checks]}
            for t in self.frameworks
        ]
        return found | {"untested": list(self.untested)}

    def summary(self) -> str:
        """One line."""
        results = [check.result for check in self.checks]
        equal, wrong = results.count("equal"), results.count("differs") + results.count("failed")
        if wrong:
            return f"{wrong} of {equal + wrong} checks found another model than the original"
        if not equal:
            return "nothing could be tested: no framework that is here loads what is in it"
        return f"equal in {equal} {'check' if equal == 1 else 'checks'}"

    def as_text(self) -> str:
        """What people read. Control characters of names are escapes."""
        lines = [f"{self.input}: {self.summary()}"]
        for tested in self.frameworks:
            if tested.version is None:
                lines.append(f"  {tested.name:12} not present")
                continue
            for check in tested.checks:
                what = []
                if check.tensors:
                    what.append(f"{check.tensors} {'tensor' if check.tensors == 1 else 'tensors'}")
                if check.outputs:
                    what.append(f"{check.outputs} {'output' if check.outputs == 1 else 'outputs'}")
                said = ", ".join(what) + ("; " if what and check.text else "") + check.text
                result = RESULTS[check.result]
                lines.append(f"  {tested.name:12} {tested.version:10} {check.kind:13} {result:12} {check.file}: {said}")
        lines += [f"  no framework is asked about {name}" for name in self.untested]
        return "\n".join(shown(line) for line in lines)


@dataclass(frozen=True)
class CheckProgress(Progress):
    """Where the checks stand. Stage: "check"; `name`: the model that is loaded just now, of Check.file.

    Attributes
    ----------
    framework : str
        That loads it.
    check, checks : int
        Which of how many, from 1.
    """

    framework: str
    check: int
    checks: int


def shown(text: str) -> str:
    """A line for a terminal: control characters and the like, which a hostile name may hold, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# ---- what is in a container ----


@dataclass(frozen=True)
class Model:
    """A model in a container: what kind, its file or folder, and files that are part of it."""

    kind: str
    file: str
    parts: tuple[str, ...]


def models(container: Container) -> list[Model]:
    """The models in a container, each with the kind that frameworks know it by."""
    files = {file.name: file for file in container.files if file.kind == "file"}
    found: list[Model] = []
    taken: set[str] = set()

    def add(kind: str, file: str, parts: Iterable[str]) -> None:
        found.append(Model(kind, file, tuple(parts)))
        taken.update(found[-1].parts)

    for name in sorted(files):
        if name.rpartition("/")[2] == "saved_model.pb":
            top = name.removesuffix("saved_model.pb")
            add("saved-model", top.rstrip("/") or ".", [other for other in files if other.startswith(top)])
    for name in sorted(files):
        prefix = name.removesuffix(".index")
        shards = [other for other in files if other.startswith(f"{prefix}.data-")]
        if name not in taken and prefix != name and shards:
            add("tf-checkpoint", prefix, [name, *shards])
    for name in sorted(files):
        if name.rpartition("/")[2] == "config.json" and _is_transformers(container, files[name]):
            top = name.removesuffix("config.json")
            weights = [n for n in files if n.startswith(top) and n.endswith((".safetensors", ".bin")) and n != name]
            if weights:
                found.append(Model("transformers", top.rstrip("/") or ".", (name, *weights)))
                taken.add(name)
    for name, file in sorted(files.items()):
        if name not in taken and (kind := _kind_of(container, file)):
            add(kind, name, [name])
    return found


def _is_transformers(container: Container, file: FileInfo) -> bool:
    try:
        config = json.loads(container.read(file.index, 0, min(file.bytes, 1 << 20)))
    except ValueError:
        return False
    return isinstance(config, dict) and isinstance(config.get("model_type"), str)


_ENDINGS = {
    ".safetensors": "safetensors",
    ".onnx": "onnx",
    ".gguf": "gguf",
    ".npy": "npy",
    ".npz": "npz",
    ".keras": "keras",
    ".tflite": "tflite",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}


def _kind_of(container: Container, file: FileInfo) -> str | None:
    kind = next((kind for ending, kind in _ENDINGS.items() if file.name.lower().endswith(ending)), None)
    if kind is None and file.format in ("torch", "torch legacy"):
        kind = "torchscript" if _is_torchscript(container, file) else "torch"
    return kind


def _is_torchscript(container: Container, file: FileInfo) -> bool:
    import zipfile

    with container.open_file(file.index) as opened:
        if not zipfile.is_zipfile(opened):
            return False
        with zipfile.ZipFile(opened) as archive:
            return any("/code/" in f"/{name}" for name in archive.namelist())


# ---- asking ----


def version_of(framework: Framework) -> str | None:
    """Its version; None if it is not installed."""
    if importlib.util.find_spec(framework.module) is None:
        return None
    for name in framework.distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "?"


def verify(
    path: Any,
    *,
    source: Any = None,
    frameworks: Sequence[str] | None = None,
    run_code: bool = False,
    secrets: dict[str, Any] | None = None,
    verbose: bool = False,
    progress: ProgressCallback | None = None,
) -> Report:
    """Compare what frameworks load from the original with what mmh's loaders give them from a container.

    Parameters
    ----------
    path : path
        A container; or an original model, which is packed for the occasion.
    source : path, optional
        The original: the file or folder that was packed. By default the container is unpacked, into memory
        where there is room.
    frameworks : names, optional
        Of FRAMEWORKS; by default all that are installed.
    run_code : bool
        Load and run what a model brings of code, too: TorchScript and graphs with operations that reach
        outside, pickles, Lambda layers. Only for models that are trusted.
    secrets : dict, optional
        "keys", "signers": lists of paths; "passphrase": str.
    verbose : bool
        Show what frameworks write to standard error.
    progress : callable
        Called with a Progress while a model is packed or unpacked for the occasion, and with a CheckProgress
        when a check begins, is half done, and at the end; returning False cancels.

    Returns
    -------
    Report

    Raises what mmh.open and mmh.unpack raise, UsageError for a framework that is none.
    """
    known = {framework.name for framework in FRAMEWORKS}
    for name in frameworks or ():
        if name not in known:
            raise mmh.UsageError(f'no framework is called "{name}"; there are {", ".join(sorted(known))}')
    asked = [f for f in FRAMEWORKS if frameworks is None or f.name in frameworks]
    shown, secrets = os.fsdecode(path), secrets or {}
    with contextlib.ExitStack() as stack:
        if _models.is_original(path):
            source, path = path, _packed(stack, path, progress)
        with mmh.open(path, **open_options(secrets)) as container:
            found = models(container)
            files = [file for file in container.files if file.kind == "file"]
            sizes = {file.name: file.bytes for file in files}
        if source is None:
            folder = stack.enter_context(_models.temporary_folder(sum(sizes.values())))
            mmh.unpack(path, folder / "original", progress=progress, **open_options(secrets))
            original = folder / "original"
        else:
            original = _folder_of(stack, pathlib.Path(os.fsdecode(source)), files)
        versions = {framework: version_of(framework) for framework in asked}
        wanted = {f: [model for model in found if model.kind in f.kinds and versions[f] is not None] for f in asked}
        steps = _Steps(progress, [(f.name, model) for f in asked for model in wanted[f]], sizes)
        tested = []
        for framework, version in versions.items():
            job = {
                "framework": framework.name,
                "container": os.path.abspath(os.fsdecode(path)),
                "original": os.path.abspath(original),
                "run_code": run_code,
                "secrets": secrets,
            }
            if version is None or wanted[framework]:
                checks = _ask(job, wanted[framework], steps, verbose)
                tested.append(Tested(framework.name, version, tuple(checks)))
        covered = {part for model in found for part in model.parts}
        untested = [f.name for f in files if f.tensor_count and f.name not in covered and f.format != "tensor data"]
    return Report(shown, "unpacked" if source is None else os.fsdecode(source), tuple(tested), tuple(untested))


def open_options(secrets: dict[str, Any]) -> dict[str, Any]:
    """Options of mmh.open for paths of keys and a passphrase."""
    options: dict[str, Any] = {}
    passphrase = secrets.get("passphrase")
    for name in ("keys", "signers"):
        if secrets.get(name):
            options[name] = [mmh.Key.read(key, passphrase) for key in secrets[name]]
    if passphrase is not None:
        options["passphrase"] = passphrase
    return options


class _Steps:
    """Tells how far the checks are: by the models' bytes, half of them for each of the two loaders."""

    def __init__(self, told: ProgressCallback | None, checks: Sequence[tuple[str, Model]], sizes: Mapping[str, int]):
        self._told, self._checks = told, checks
        self._ends = list(itertools.accumulate(sum(sizes[part] for part in model.parts) for _, model in checks))
        self._number = 0  # of the check, from 0

    def begin(self) -> None:
        """A check begins, after another one or as the first."""
        self._tell(0.0)

    def half(self) -> None:
        """The framework's own loader has done, mmh's begins."""
        self._tell(0.5)

    def done(self) -> None:
        """This check has ended."""
        if self._number + 1 == len(self._checks):
            self._tell(1.0)
        else:
            self._number += 1

    def _tell(self, share: float) -> None:
        if self._told is None:
            return
        framework, model = self._checks[self._number]
        begin = self._ends[self._number - 1] if self._number else 0
        done = begin + int(share * (self._ends[self._number] - begin))
        told = CheckProgress(
            "check", model.file, done, self._ends[-1], 0, framework, self._number + 1, len(self._checks)
        )
        if self._told(told) is False:
            raise mmh.CancelledError("the progress callback returned False")


def _packed(stack: contextlib.ExitStack, path: Any, progress: ProgressCallback | None) -> pathlib.Path:
    size = sum(file.stat().st_size for file in pathlib.Path(path).rglob("*")) if os.path.isdir(path) else 0
    folder = stack.enter_context(_models.temporary_folder(size or os.path.getsize(path)))
    mmh.pack(path, folder / "packed.mmh", level=1, progress=progress)
    return folder / "packed.mmh"


def _folder_of(stack: contextlib.ExitStack, source: pathlib.Path, files: list[FileInfo]) -> pathlib.Path:
    """The folder in which the container's names are, for the original that was given."""
    if source.is_file() and len(files) == 1:  # whatever it is called now
        name = pathlib.PurePosixPath(files[0].name)
        if name.is_absolute() or ".." in name.parts:
            raise mmh.UsageError(f'the container holds a file called "{name}", outside of any folder')
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mmh-")))
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source.absolute())
        return folder
    for folder in [source, source.parent] if source.is_dir() else [source.parent]:
        if all((folder / file.name).is_file() for file in files):
            return folder
    missing = next((file.name for file in files if not (source / file.name).is_file()), "it")
    raise mmh.UsageError(f'{source} is not what was packed: "{missing}" is not there')


_START = "import sys; sys.path.append(sys.argv[1]); from mmh._framework_checks import main; main()"


def _ask(job: dict[str, Any], wanted: list[Model], steps: _Steps, verbose: bool) -> list[Check]:
    """The checks of one framework, by a process of its own; by another one after a crash."""
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "HF_HUB_OFFLINE": "1",
    }
    checks: list[Check] = []
    while len(checks) < len(wanted):
        left = len(wanted) - len(checks)
        of_ours = False  # it is mmh's loader that is at work
        steps.begin()
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as errors,
        ):
            given.write(json.dumps(job | {"models": [asdict(model) for model in wanted[-left:]]}).encode())
            given.seek(0)
            with subprocess.Popen(
                [sys.executable, "-P", "-c", _START, str(pathlib.Path(mmh.__file__).parent.parent)],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=None if verbose else errors,
                env=environment,
            ) as worker:
                assert worker.stdout is not None
                try:
                    for line in worker.stdout:
                        told = json.loads(line)
                        of_ours = told.get("stage") == "ours"
                        if of_ours:
                            steps.half()
                            continue
                        checks.append(Check(**told["check"]))
                        steps.done()
                        if len(checks) < len(wanted):
                            steps.begin()
                except BaseException:  # an interrupt, or the callback's
                    worker.kill()
                    raise
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip().splitlines()
        if len(checks) < len(wanted):  # it crashed
            why = f"its process ended with {worker.returncode}" + (f": {said[-1][:200]}" if said else "")
            model = wanted[len(checks)]
            checks.append(Check(model.file, model.kind, "failed" if of_ours else "unloadable", text=why))
            steps.done()
    return checks
