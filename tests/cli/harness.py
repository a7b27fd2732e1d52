# SPDX-License-Identifier: Apache-2.0
"""Running the mmh command from tests: where it is, what it gives back, and small files to feed it.

The tests are pytest functions that also run without pytest: `python3 tests/test_cli.py [NAME...]`.
"""

import inspect
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1:exitcode=99",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
}

OK, IO, USAGE, DAMAGED, MENDED, LOST, UNSUPPORTED, LIMIT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 9, 10, 130
UNTRUSTED, KEY = 7, 8

# A shell's background jobs ignore SIGINT, and nohup's SIGHUP: what they start would too, and never be interrupted.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler)


def skip(reason):
    """End this test as skipped. pytest knows unittest's exception too."""
    raise unittest.SkipTest(reason)


def binary():
    """The command under test: $MMH_BIN, else $MMH_BUILD/mmh, else build/mmh."""
    path = Path(os.environ.get("MMH_BIN") or Path(os.environ.get("MMH_BUILD") or ROOT / "build") / "mmh")
    if not path.exists():
        skip(f"there is no {path}: run make, or set MMH_BIN")
    return str(path.resolve())


def shared():
    """The folder of shared test data: $MMH_SHARED, else ../shared."""
    path = Path(os.environ.get("MMH_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        skip("MMH_SHARED is not set and ../shared is not there: its corpus is left out")
    return path


class Result:
    """What a run of the command did: code, out, err (text), raw (stdout's bytes), seconds, peak (bytes)."""

    def __init__(self, arguments, code, raw, err, seconds, peak):
        self.arguments, self.code, self.raw, self.seconds, self.peak = arguments, code, raw, seconds, peak
        self.out = raw.decode("utf-8", "surrogateescape")
        self.err = err.decode("utf-8", "surrogateescape")

    def __repr__(self):
        return (
            f"mmh {' '.join(map(str, self.arguments))}\n  exit {self.code}\n"
            f"  stdout {self.out[:2000]!r}\n  stderr {self.err[:2000]!r}"
        )

    def json(self):
        """The lines of stdout, each parsed as JSON; the only one by itself."""
        lines = [json.loads(line) for line in self.out.splitlines()]
        return lines[0] if len(lines) == 1 else lines


# Runs a command from a small process: a child's peak begins at that of the process that starts it.
STARTER = """
import os, sys, time
start = time.monotonic()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
status, usage = os.wait4(child, 0)[1:]
with open(sys.argv[1], "w") as report:
    print(time.monotonic() - start, usage.ru_maxrss, file=report)
code = os.waitstatus_to_exitcode(status)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def mmh(*arguments, cwd=None, stdin=None, timeout=120, environment=None, code=None, peak=False):
    """Run mmh; check its exit code if one is given. stdin: bytes; None: nothing, as /dev/null is.
    `peak`: the result's is needed."""
    environment = {**os.environ, **SANITIZERS, "LC_ALL": "C.UTF-8", **(environment or {})}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(stdin or b"")
        given.seek(0)
        command = [binary(), *map(os.fspath, map(str, arguments))]
        report = None
        if peak:
            report = tempfile.NamedTemporaryFile("r")  # noqa: SIM115 (closed below)
            command = [sys.executable, "-I", "-S", "-c", STARTER, report.name, *command]
        start = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else given,
            stdout=out,
            stderr=err,
            env=environment,
            start_new_session=True,
        )
        usage = None
        while usage is None:
            pid, status, rusage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                usage = rusage
                process.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() - start > timeout:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise AssertionError(f"mmh {arguments} took more than {timeout} s")
            else:
                time.sleep(0.001)
        seconds, most = time.monotonic() - start, usage.ru_maxrss
        if report:
            with report:
                said = report.read().split()
            if said:
                seconds, most = float(said[0]), int(said[1])
        out.seek(0)
        err.seek(0)
        result = Result(arguments, process.returncode, out.read(), err.read(), seconds, most * 1024)
    assert result.code >= 0 and result.code != 99 and "Sanitizer" not in result.err, f"crashed: {result}"
    assert code is None or result.code == code, f"exit {code} was expected: {result}"
    return result


def outputs(process):
    """Files that a run (whatever has its pid) has open for writing, named or not yet, as /proc shows them."""
    found = []
    try:
        for number in os.listdir(f"/proc/{process.pid}/fd"):
            path = os.readlink(f"/proc/{process.pid}/fd/{number}")
            flags = Path(f"/proc/{process.pid}/fdinfo/{number}").read_text().split("flags:")[1].split()[0]
            if path.startswith("/") and not path.startswith("/dev/") and int(flags, 8) & (os.O_WRONLY | os.O_RDWR):
                found.append(path)
    except OSError:
        pass  # it has just ended, or closed that one
    return found


def wait_for_output(process, folder, timeout=60):
    """Wait until a run has begun to write beneath a folder; skips where that cannot be seen."""
    if not os.path.exists("/proc/self/fdinfo"):
        skip("open files cannot be seen here")
    until = time.monotonic() + timeout
    while not any(path.startswith(f"{os.path.realpath(folder)}/") for path in outputs(process)):
        state = Path(f"/proc/{process.pid}/stat")
        assert state.exists() and state.read_text().split(")")[-1].split()[0] != "Z", "it ended, and wrote nothing"
        assert time.monotonic() < until, f"it wrote nothing for {timeout} s"
        time.sleep(0.002)


# ---- files ----


def put(folder, name, data):
    """Write a file, and the folders above it. Returns its path."""
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def floats(count, seed=1, dtype="BF16"):
    """Bytes of normally distributed weights."""
    source = random.Random(seed)
    values = [source.gauss(0, 0.02) for _ in range(count)]
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{count}{ {'F32': 'f', 'F16': 'e', 'F64': 'd'}[dtype] }", *values)


def safetensors(tensors, metadata=None):
    """A safetensors file of {name: (dtype, shape, bytes)}."""
    header, offset = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values())


def npy(dtype, shape, data, fortran=False):
    """A version 1 npy file."""
    header = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {tuple(shape)!r}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def model(scale=1):
    """A small model with several element types."""
    return safetensors(
        {
            "embed.weight": ("BF16", (64 * scale, 32), floats(2048 * scale)),
            "layer.0.weight": ("F32", (32, 32), floats(1024, 2, "F32")),
            "layer.0.scale": ("F16", (32,), floats(32, 3, "F16")),
            "ids": ("I64", (16,), struct.pack("<16q", *range(16))),
            "empty": ("F32", (0, 4), b""),
            "scalar": ("F32", (), struct.pack("<f", 0.5)),
        },
        {"format": "pt", "note": 'a "quoted" \u00fc'},
    )


def tree(folder):
    """What is in a folder: {relative name: (kind, mode, bytes or target)}."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        mode = path.lstat().st_mode & 0o7777
        if path.is_symlink():
            found[name] = ("symlink", None, os.readlink(path))
        elif path.is_dir():
            found[name] = ("folder", mode, None)
        else:
            found[name] = ("file", mode, path.read_bytes())
    return found


# ---- without pytest ----


def main(namespace):
    """Run the test functions of a module, all or those named on the command line."""
    wanted = sys.argv[1:]
    passed, failed, skipped = 0, 0, 0
    for name, test in list(namespace.items()):
        if not name.startswith("test_") or not callable(test) or (wanted and name not in wanted):
            continue
        folder = Path(tempfile.mkdtemp(prefix="mmh-test-"))
        try:
            test(folder) if inspect.signature(test).parameters else test()
        except unittest.SkipTest as reason:
            skipped += 1
            print(f"skipped  {name}: {reason}")
        except Exception:
            failed += 1
            print(f"FAILED   {name}")
            traceback.print_exc()
        else:
            passed += 1
            print(f"ok       {name}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 77 if skipped and not passed else 0)
