# SPDX-License-Identifier: Apache-2.0
"""What is written about the Python package is true: types, docstrings, examples."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from python_support import DOCUMENT, PACKAGE, ROOT, need_mmh, optional, run_python

mmh = need_mmh()

SOURCES = sorted(path for path in (PACKAGE / "mmh").glob("*.py") if path.name != "__main__.py")
NAMES = ["mmh" if path.stem == "__init__" else f"mmh.{path.stem}" for path in SOURCES]


def module(name: str) -> ModuleType:
    """A module of the package; skips where what it stands on is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        if missing == "mmh" or not missing:
            raise
        pytest.skip(f"{missing} is not installed")


def test_types_are_strict() -> None:
    pytest.importorskip("mypy")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir", os.devnull, "src/python/mmh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "mmh" / "py.typed").exists() and (PACKAGE / "mmh" / "_mmh.pyi").exists()


def test_the_stub_tells_of_what_the_extension_has() -> None:
    """Every name of the extension is in _mmh.pyi, and every name there is in the extension."""
    from mmh import _mmh

    text = (PACKAGE / "mmh" / "_mmh.pyi").read_text(encoding="utf-8")
    written = set(re.findall(r"^(?:class|def) (\w+)|^(\w+): ", text, re.MULTILINE))
    names = {name for pair in written for name in pair if name and not name.startswith("_")}
    assert names == {name for name in vars(_mmh) if not name.startswith("_")}
    for kind in (_mmh.Context, _mmh.Key, _mmh.Reader):
        body = text.split(f"class {kind.__name__}:\n")[1].split("\n\n")[0]
        stubbed = {name for name in re.findall(r"^    (?:def )?(\w+)[(:]", body, re.MULTILINE) if name != "__new__"}
        have = {name for name, value in vars(kind).items() if not name.startswith("__") and value is not None}
        assert {name for name in stubbed if not name.startswith("__")} == have, kind.__name__


def public(owner: ModuleType) -> list[tuple[str, Any]]:
    """What a module offers: functions and classes of its own, and their public members."""
    found: list[tuple[str, Any]] = []
    offered = getattr(owner, "__all__", None)
    for name, value in vars(owner).items():
        if name.startswith("_") or (offered is not None and name not in offered):
            continue
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        if not value.__module__.startswith("mmh") or (offered is None and value.__module__ != owner.__name__):
            continue
        found.append((f"{owner.__name__}.{name}", value))
        if inspect.isclass(value):
            for part, member in vars(value).items():
                if not part.startswith("_") and (callable(member) or isinstance(member, (property, classmethod))):
                    found.append((f"{owner.__name__}.{name}.{part}", member))
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if not name.rsplit(".", 1)[-1].startswith("_")])
def test_what_is_public_is_documented(name: str) -> None:
    bare = []
    for label, value in public(module(name)):
        text = inspect.getdoc(value.__func__ if isinstance(value, classmethod) else value)
        inherited = callable(value) and inspect.isfunction(value) and value.__name__ in dir(__import__("io").RawIOBase)
        if not text and not inherited:
            bare.append(label)
    assert bare == []


def test_what_can_fail_says_how() -> None:
    """Functions that open, read or write name what they raise."""
    for name in "open pack pack_tensors unpack verify safe_open".split():
        text = " ".join((inspect.getdoc(getattr(mmh, name)) or "").split())
        assert "Raises" in text or name == "safe_open", name
    for name in ("tensor", "load_into"):
        assert "Raises" in (inspect.getdoc(getattr(mmh.Container, name)) or ""), name


def test_what_is_listed_is_there() -> None:
    for name in NAMES:
        if name in ("mmh", "mmh.numpy") or not name.rsplit(".", 1)[-1].startswith("_"):
            loaded = module(name) if name in ("mmh", "mmh._container") else None
            for entry in getattr(loaded, "__all__", ()):
                assert hasattr(loaded, entry), f"{name}.{entry}"
    assert sorted(mmh.__all__) == mmh.__all__


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_examples_in_the_document_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(DOCUMENT), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0 and tried >= 20


def test_errors_of_the_document_are_those_of_the_package() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").split("## Errors")[1].split("\n## ")[0]
    told = set(re.findall(r"\b\w+(?:Error|Failure)\b", text)) - {"ValueError", "KeyError", "OSError", "MemoryError"}
    told -= {"FileNotFoundError", "TypeError", "Error"}
    kinds = {
        name
        for name in mmh.__all__
        if isinstance(getattr(mmh, name), type) and issubclass(getattr(mmh, name), mmh.Error)
    }
    assert told == kinds - {"Error"}


def test_importing_the_package_imports_no_framework() -> None:
    """Neither NumPy nor anything larger: `import mmh` is for scripts too."""
    code = "import sys; before = set(sys.modules); import mmh; print(*{n.split('.')[0] for n in sys.modules} - before)"
    ended = run_python(code)
    assert ended.returncode == 0, ended.stderr
    heavy = {
        "numpy",
        "torch",
        "tensorflow",
        "jax",
        "fsspec",
        "aiohttp",
        "asyncio",
        "ml_dtypes",
        "safetensors",
        "onnx",
        "socket",
    }
    assert not heavy & set(ended.stdout.split()), ended.stdout


def test_every_module_is_installed() -> None:
    """What lies in the folder is in the list of src/python/meson.build."""
    listed = set(re.findall(r"'mmh/([^']+)'", (PACKAGE / "meson.build").read_text(encoding="utf-8")))
    there = {
        path.name for path in (PACKAGE / "mmh").iterdir() if path.suffix in (".py", ".pyi") or path.name == "py.typed"
    }
    assert listed == there


def test_adapters_are_modules() -> None:
    """Each name that mmh.__getattr__ knows can be imported, or lacks a package of others."""
    for name in mmh._ADAPTERS:
        if (PACKAGE / "mmh" / f"{name}.py").exists():
            if optional(f"mmh.{name}"):
                assert getattr(mmh, name) is sys.modules[f"mmh.{name}"]
            continue
        pytest.fail(f"mmh.{name} is not there")
    with pytest.raises(AttributeError, match="nothing"):
        _ = mmh.nothing
