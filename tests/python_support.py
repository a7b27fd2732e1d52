# SPDX-License-Identifier: Apache-2.0
"""What the tests of the Python package share: the package that was just built, models, and damage."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("MMH_BUILD") or ROOT / "build")
PACKAGE = ROOT / "src" / "python"
DOCUMENT = ROOT / "docs" / "python.md"


def extension() -> Path | None:
    """The extension module that the build made, or None (no Python headers when it was set up)."""
    return next((path for path in sorted(BUILD.rglob("_mmh.abi3.so")) if path.is_file()), None)


def need_mmh(*submodules: str) -> Any:
    """The package of this source tree. Skips the module if its extension was not built, or if what a
    submodule stands on ("torch" for mmh.torch) is not installed."""
    if extension() is None and not (PACKAGE / "mmh" / "_mmh.abi3.so").exists():
        if os.environ.get("MMH_NEED_PYTHON"):
            raise RuntimeError("the build made no extension module: were the headers of Python there?")
        pytest.skip("the build made no extension module (no Python headers)", allow_module_level=True)
    if str(PACKAGE) not in sys.path:
        sys.path.insert(0, str(PACKAGE))
    package = importlib.import_module("mmh")
    for name in submodules:
        importlib.import_module(f"mmh.{name}")
    return package


def optional(name: str) -> ModuleType | None:
    """A package that a test can do without."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def environment(**more: str) -> dict[str, str]:
    """Environment for a process of its own that imports the package of this tree."""
    paths = [str(PACKAGE), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)} | more


def run_python(code: str, *arguments: str, timeout: float = 300, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a program in a Python of its own, with this tree's package."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **more,
    )


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Turn one bit of a file over."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0] ^ (1 << bit)
        file.seek(offset)
        file.write(bytes([byte]))
