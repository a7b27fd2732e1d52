# SPDX-License-Identifier: Apache-2.0
"""The wheel: what is in it, that one binary serves every Python from 3.11 on, and that it works where it is installed.

It is built once from this source tree, without network (the build's tools come from the environment that runs
the tests); MMH_WHEEL names a wheel to test instead. NumPy's versions come by pip, from MMH_WHEELS if that is a folder
of wheels.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from python_support import PACKAGE, ROOT, extension

if extension() is None:
    pytest.skip("the build made no extension module (no Python headers)", allow_module_level=True)

TOOLS = Path(sys.executable).parent


def run(*command: Any, **more: Any) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TOOLS), os.environ.get("PATH", "")])
    more = {"env": {**os.environ, "PATH": path, "PYTHONPATH": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}} | more
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **more)


def done(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 0, f"{ended.args}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this source tree, as `pip wheel .` makes it; in a folder of its own, of what git knows."""
    if os.environ.get("MMH_WHEEL"):
        return Path(os.environ["MMH_WHEEL"])
    for name in ("mesonpy", "mesonbuild"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: no wheel can be built without network")
    if not shutil.which("patchelf", path=os.pathsep.join([str(TOOLS), os.environ.get("PATH", "")])):
        pytest.skip("patchelf is not installed: no wheel can be built without network")
    source = tmp_path_factory.mktemp("source")
    if (ROOT / ".git").exists():
        listed = done(run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT)).split("\0")
    else:
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if "build" not in path.parts[len(ROOT.parts)]]
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    (source / ".deps").mkdir()
    for name in ("include", "lib"):
        if (ROOT / ".deps" / name).is_dir():
            shutil.copytree(ROOT / ".deps" / name, source / ".deps" / name, symlinks=True)
    out = tmp_path_factory.mktemp("wheel")
    done(run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source))
    (made,) = out.iterdir()
    shutil.rmtree(source)
    return made


def names_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    names = names_of(wheel)
    modules = {f"mmh/{path.name}" for path in (PACKAGE / "mmh").iterdir() if path.suffix in (".py", ".pyi")}
    information = {name for name in names if ".dist-info/" in name}
    libraries = {name for name in names if name.startswith("mmh/.libs/")}
    assert names - information - libraries == modules | {"mmh/py.typed", "mmh/_mmh.abi3.so", "mmh/bin/mmh"}
    assert {name.rsplit("/", 1)[1] for name in libraries} <= {"libblake3.so.0"}
    assert {re.sub(r".*\.dist-info/(licenses/)?", "", name) for name in information} == {
        "METADATA",
        "WHEEL",
        "RECORD",
        "LICENSE",
        "entry_points.txt",
    }


def test_the_wheel_is_for_every_later_python(wheel: Path) -> None:
    assert re.fullmatch(r"mmh-[\w.]+-cp311-abi3-\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        text = archive.read(metadata).decode()
    assert "Requires-Python: >=3.11" in text
    required = [line for line in text.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert required == []  # frameworks are optional
    extras = {line.split()[1] for line in text.splitlines() if line.startswith("Provides-Extra:")}
    assert {"numpy", "torch", "tensorflow", "jax", "onnx", "fsspec"} <= extras


def test_the_extension_has_no_debugging_symbols_and_exports_one_function(wheel: Path, tmp_path: Path) -> None:
    if not shutil.which("nm"):
        pytest.skip("no nm: symbols cannot be looked at")
    with zipfile.ZipFile(wheel) as archive:
        module = Path(archive.extract("mmh/_mmh.abi3.so", tmp_path))
    exported = [line.split()[-1] for line in done(run("nm", "-D", "--defined-only", module)).splitlines()]
    assert [name for name in exported if not name.startswith("_edata")] == ["PyInit__mmh"]
    assert ".debug_info" not in done(run("readelf", "-S", "-W", module))


def test_abi3audit_passes(wheel: Path) -> None:
    if importlib.util.find_spec("abi3audit") is None:
        pytest.skip("abi3audit is not installed")
    told = run(sys.executable, "-m", "abi3audit", "--strict", "--assume-minimum-abi3", "3.11", "-v", wheel)
    assert told.returncode == 0, told.stdout + told.stderr


def test_auditwheel_shows_what_it_needs(wheel: Path) -> None:
    """Of the system: libc, and the libraries of the compressors, of which any recent system has these versions."""
    if importlib.util.find_spec("auditwheel") is None:
        pytest.skip("auditwheel is not installed")
    told = done(run(sys.executable, "-m", "auditwheel", "show", wheel))
    assert "linux_x86_64" in told or "linux_aarch64" in told, told
    needed = set(re.findall(r"(lib[\w+-]+\.so\.\d+)", told))
    allowed = {"libc.so.6", "libm.so.6", "libzstd.so.1", "liblzma.so.5", "libisal.so.2", "libz.so.1", "libblake3.so.0"}
    allowed |= {"libcrypto.so.3", "libpthread.so.0", "libdl.so.2", "libmceliece.so.1"}
    assert needed <= allowed, needed - allowed


# ---- installed ----

SMOKE = """
import array, os, subprocess, sys, tempfile
import mmh
assert "site-packages" in mmh.__file__, mmh.__file__
os.chdir(sys.argv[1])
data = array.array("f", (i / 7 for i in range(300000))).tobytes()
mmh.pack_tensors({"layer.weight": ("F32", (300, 1000), data)}, "model.mmh", metadata={"a": "b"})
with mmh.open("model.mmh") as container:
    assert container.load_bytes("layer.weight") == data and container.metadata() == {"a": "b"}
try:
    mmh.open("missing.mmh")
except FileNotFoundError as error:
    assert "missing.mmh" in str(error)
assert mmh.verify("model.mmh")
key = mmh.Key.generate()
mmh.pack_tensors({"x": ("U8", (3,), b"abc")}, "secret.mmh", recipients=[key], sign_with=[key])
assert mmh.open("secret.mmh", keys=[key], signers=[key]).load_bytes("x") == b"abc"
command = os.path.join(os.path.dirname(sys.executable), "mmh")
told = subprocess.run([command, "ls", "model.mmh"], capture_output=True, text=True, check=True).stdout
assert "layer.weight" in told, told
subprocess.run([command, "-q", "unpack", "model.mmh", "-o", "out/"], check=True)
subprocess.run([command, "verify", "-q", "model.mmh"], check=True)
print("works", sys.version_info[:2])
"""

NUMPY_SMOKE = """
import sys, tempfile, os
import numpy as np
import mmh, mmh.numpy
os.chdir(sys.argv[1])
weights = {"w": np.arange(6000, dtype=np.float32).reshape(60, 100), "s": np.float16(2), "i": np.arange(9)}
mmh.numpy.save_file(weights, "model.safetensors.mmh")
loaded = mmh.numpy.load_file("model.safetensors.mmh")
assert all(np.array_equal(loaded[name], value) and loaded[name].dtype == value.dtype for name, value in weights.items())
with mmh.safe_open("model.safetensors.mmh", framework="np") as file:
    assert np.array_equal(file.get_slice("w")[3:9:2, -1], weights["w"][3:9:2, -1])
assert mmh.numpy.load(mmh.numpy.save(weights)).keys() == weights.keys()
print("numpy", np.__version__)
"""

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def python(version: str) -> str:
    """An interpreter of a version that runs; skips where there is none."""
    candidates = [sys.executable, shutil.which(f"python{version}") or ""]
    candidates += sorted(glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}*/bin/python")))
    for candidate in filter(None, candidates):
        code = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
        if run(candidate, "-c", code).stdout.strip() == version:
            return candidate
    pytest.skip(f"no Python {version} here")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Any:
    """Environments of their own with nothing but the wheel, one for each version."""
    made: dict[str, Path] = {}

    def home(version: str) -> Path:
        if version not in made:
            folder = tmp_path_factory.mktemp("python") / version
            done(run(python(version), "-m", "venv", "--without-pip", folder))
            install(folder, "--no-index", "--no-deps", wheel)
            made[version] = folder
        return made[version]

    return home


def install(folder: Path, *what: Any) -> None:
    done(run(sys.executable, "-m", "pip", "-q", "--python", folder / "bin" / "python", "install", *what))


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_where_it_is_installed(homes: Any, tmp_path: Path, version: str) -> None:
    told = done(run(homes(version) / "bin" / "python", "-c", SMOKE, tmp_path))
    assert told.startswith("works"), told


@pytest.mark.parametrize(
    ("version", "numpy"),
    [("3.11", "1.26"), ("3.11", "2"), ("3.12", "1.26"), ("3.12", "2"), ("3.13", "2"), ("3.14", "2")],
)
def test_numpy_1_26_and_2_load_and_save(homes: Any, tmp_path: Path, version: str, numpy: str) -> None:
    folder = homes(version)
    wheels = os.environ.get("MMH_WHEELS")
    where = ["--no-index", "--find-links", wheels] if wheels else ["--timeout", "20", "--retries", "1"]
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "-q", "--python", folder / "bin" / "python", "install", *where]
    command += ["--only-binary", ":all:", "--target", target, f"numpy=={numpy}.*"]
    got = run(*command)
    if got.returncode:
        pytest.skip(f"NumPy {numpy} for Python {version} cannot be had here (no network?)")
    env = {**os.environ, "PYTHONPATH": str(target)}
    told = done(run(folder / "bin" / "python", "-c", NUMPY_SMOKE, tmp_path, env=env))
    assert told.startswith(f"numpy {numpy}."), told


def test_the_command_and_the_package_are_one_library(homes: Any) -> None:
    folder = homes("3.11") if sys.version_info[:2] == (3, 11) else homes(f"{sys.version_info[0]}.{sys.version_info[1]}")
    version = done(run(folder / "bin" / "mmh", "--version"))
    told = done(run(folder / "bin" / "python", "-c", "import mmh._mmh; print(mmh._mmh.version)"))
    assert told.strip() in version
    program = "import mmh, importlib.metadata; print(mmh.__version__ == importlib.metadata.version('mmh'))"
    assert done(run(folder / "bin" / "python", "-c", program)).strip() == "True"


def test_uninstalling_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    done(run(sys.executable, "-m", "venv", "--without-pip", folder))
    before = {path for path in folder.rglob("*")}
    install(folder, "--no-index", "--no-deps", wheel)
    done(run(sys.executable, "-m", "pip", "-q", "--python", folder / "bin" / "python", "uninstall", "-y", "mmh"))
    assert {path for path in folder.rglob("*") if path.name != "__pycache__"} == before
