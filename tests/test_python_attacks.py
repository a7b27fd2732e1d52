# SPDX-License-Identifier: Apache-2.0
"""What hostile objects, containers and surroundings get out of the Python package: an exception, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from python_support import environment, need_mmh, run_python

mmh = need_mmh()

DATA = random.Random(7).randbytes(4 << 20)


def packed(files: dict[str, Any], **options: Any) -> bytes:
    """A container in memory."""
    target = io.BytesIO()
    mmh.pack_files(files, target, level=1, **options)
    return target.getvalue()


def safetensors(shape: tuple[int, ...] = (2,), data: bytes = bytes(8), name: str = "w") -> bytes:
    """A file of one F32 tensor."""
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


def runs(code: str, *arguments: str) -> str:
    """What a program prints in a Python of its own, which has to end as it should."""
    ended = run_python(textwrap.dedent(code), *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", *arguments], env=environment(), capture_output=True, text=True, check=False
    )


# ---- file objects ----


def test_a_file_object_may_keep_slices_of_what_it_was_given() -> None:
    """Of what is written they stay as they were; into what was to be read nothing is written later."""
    runs(
        """
        import io, random, mmh
        data = random.Random(7).randbytes(4 << 20)

        class Sink:
            kept = []
            def write(self, memory):
                self.kept.append(memory[:])
                return len(memory)

        class Source(io.BytesIO):
            kept = []
            def readinto(self, memory):
                self.kept.append(memory[:])
                return super().readinto(memory)

        mmh.pack_files({"a.bin": Source(data)}, Sink(), level=1)
        whole = b"".join(bytes(part) for part in Sink.kept)
        with mmh.open(Source(whole)) as container:
            assert container.read("a.bin") == data
        assert len(Source.kept) > 2
        for part in Source.kept:
            part[:] = bytes(len(part))
        with mmh.open(io.BytesIO(whole)) as container:
            assert container.read("a.bin") == data
        """
    )


def test_a_file_object_cannot_resize_what_it_fills() -> None:
    class Source(io.BytesIO):
        def readinto(self, memory: Any) -> int:
            got = super().readinto(memory)
            owner = memory.obj
            memory.release()
            with pytest.raises(BufferError):
                owner.clear()
            return got

    with mmh.open(Source(packed({"a.bin": DATA}))) as container:
        assert container.read("a.bin") == DATA


@pytest.mark.parametrize("told", [-5, 1 << 70, 10**7])
def test_a_file_object_that_lies_of_what_it_read_is_told_so(told: int) -> None:
    class Source(io.BytesIO):
        def readinto(self, memory: Any) -> int:
            super().readinto(memory)
            return told

    with pytest.raises(OSError, match="says that it read"):
        mmh.pack_files({"a.bin": Source(DATA)}, io.BytesIO())


def test_a_file_object_that_lies_of_what_it_took_is_told_so() -> None:
    class Sink(io.BytesIO):
        def write(self, memory: Any) -> int:
            return super().write(memory) + 1

    with pytest.raises(OSError, match="says that it took"):
        mmh.pack_files({"a.bin": DATA}, Sink())


# ---- safetensors ----


@pytest.mark.parametrize(("framework", "module"), [("np", "numpy"), ("pt", "torch")])
def test_a_shape_that_a_framework_lacks_is_told_by_the_tensor(framework: str, module: str) -> None:
    """0 times anything is no bytes, so that such a header is a right one."""
    pytest.importorskip(module)
    whole = packed({"model.safetensors": safetensors((0, 1 << 63), b"", "layer")})
    with (
        mmh.safe_open(io.BytesIO(whole), framework) as file,
        pytest.raises(mmh.UnsupportedError, match=r"layer.*shape"),
    ):
        file.get_tensor("layer")


# ---- checkpoints of mmh.torch ----


def load_tree(tree: Any, path: Path) -> Any:
    """What mmh.torch.load gives of a structure.json with this tree, over a storage "w" of 8 bytes."""
    structure = {"format": "mmh-torch", "version": 1, "tensors": [], "tree": tree}
    path.write_bytes(
        packed(
            {
                "structure.json": json.dumps(structure).encode(),
                "tensors.safetensors": safetensors(data=b"\xff" * 8),
            }
        )
    )
    return pytest.importorskip("mmh.torch").load(path)


COLLIDING = [{"kind": "int", "hex": f"{number * sys.hash_info.modulus:x}"} for number in range(1, 100000)]


@pytest.mark.parametrize(
    "tree",
    [
        {"kind": "dict", "items": [[key, 1] for key in COLLIDING]},
        {"kind": "set", "items": COLLIDING},
        {"kind": "frozenset", "items": COLLIDING},
        {"kind": "counter", "items": [[{"kind": "tuple", "items": [key]}, 1] for key in COLLIDING]},
    ],
    ids=["dict", "set", "frozenset", "tuples"],
)
def test_keys_of_one_hash_do_not_take_for_ever(tree: Any, tmp_path: Path) -> None:
    with pytest.raises(mmh.CorruptError, match="same hash"):
        load_tree(tree, tmp_path / "model.mmh")


def test_text_of_numpy_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(mmh.CorruptError, match="no character"):
        load_tree({"kind": "numpy.scalar", "dtype": "<U1", "hex": "ffffffff"}, tmp_path / "scalar.mmh")
    with pytest.raises(mmh.CorruptError, match="no character"):
        load_tree({"kind": "numpy.array", "storage": "w", "dtype": "<U2", "shape": [1]}, tmp_path / "array.mmh")
    assert load_tree({"kind": "numpy.scalar", "dtype": ">U1", "hex": "0000006d"}, tmp_path / "right.mmh") == "m"


# ---- transformers ----


def test_a_file_named_as_the_link_to_the_container_does_not_overwrite_it(tmp_path: Path) -> None:
    """The folder of a whole model has model.safetensors.mmh as a link to the container."""
    packed_transformers = pytest.importorskip("mmh.transformers")
    whole = packed(
        {
            "config.json": b'{"model_type": "bert"}',
            "model.safetensors": safetensors(),
            "model.safetensors.mmh": b"written through the link",
        }
    )
    path = tmp_path / "model.mmh"
    path.write_bytes(whole)
    with pytest.raises(mmh.UsageError, match="one goes in"):
        packed_transformers.folder(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("config", [b"5", b"null", b"[", b"[" * 200000, b"\xff"])
def test_a_config_that_is_none_is_told_by_its_name(config: bytes, tmp_path: Path) -> None:
    packed_transformers = pytest.importorskip("mmh.transformers")
    path = tmp_path / "model.mmh"
    path.write_bytes(packed({"config.json": config, "model.safetensors": safetensors()}))
    try:
        folder = packed_transformers.folder(path)
    except mmh.UsageError as error:
        assert "config.json" in str(error)
    else:  # JSON, though of no model of transformers: its weights are copied
        assert config in (b"5", b"null") and (Path(folder) / "config.json").read_bytes() == config


# ---- verify --frameworks ----


def test_names_reach_a_terminal_as_escapes(tmp_path: Path) -> None:
    """Of files in containers, of containers, and in errors; also bytes that are no UTF-8."""
    pytest.importorskip("numpy")
    pytest.importorskip("safetensors")
    name = "x\x1b]0;title\x07\nmmh: fine"
    path = tmp_path / f"{name}\udcff.mmh"
    path.write_bytes(packed({f"{name}.safetensors": safetensors()}))
    for model in (path, tmp_path / f"{name} is not there"):
        ended = run_module("mmh", "verify-frameworks", "--only=numpy", str(model))
        said = ended.stdout + ended.stderr
        assert ended.returncode == (0 if model is path else 1), said
        assert "\\x1b]0;title\\x07\\nmmh: fine" in said or model is not path
        assert not any(ord(c) < 32 and c != "\n" for c in said) and "\nmmh: fine" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_temporary_folder(number: int, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    place = tmp_path / "temporary"
    place.mkdir()
    (tmp_path / "model.mmh").write_bytes(packed({"model.safetensors": safetensors()}))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mmh", "verify-frameworks", str(tmp_path / "model.mmh")],
        env=environment() | {"TMPDIR": str(place)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not list(place.glob("mmh-*/original/*")) and time.monotonic() < until:
        time.sleep(0.01)
    assert [path.stat().st_mode & 0o777 for path in place.glob("mmh-*")] == [0o700]
    process.send_signal(number)
    assert process.wait(timeout=60) == (130 if number == signal.SIGINT else 128 + number)
    assert not list(place.iterdir())


@pytest.mark.parametrize("name", ["../outside", "folder/../../outside", "{}/outside"])
def test_a_name_does_not_lead_out_of_the_temporary_folder(name: str, tmp_path: Path) -> None:
    """Where the original is one file, it is linked under its name in the container."""
    source, place = tmp_path / "original", tmp_path / "temporary"
    source.write_bytes(b"x")
    place.mkdir()
    with mmh.open(io.BytesIO(packed({"a": b"x"}))) as container:
        files = [dataclasses.replace(container.files[0], name=name.format(tmp_path))]
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(place))
        with pytest.raises(mmh.UsageError, match="outside of any folder"):
            mmh_frameworks()._folder_of(stack, source, files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original", "temporary"]


def mmh_frameworks() -> Any:
    return pytest.importorskip("mmh.frameworks")


# ---- mmh:// ----


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("inside", [".metadata", "x", "METADATA.JSON", "folder/metadata.json"])
@pytest.mark.parametrize("name", [".metadata", "__0.metadata"])
def test_metadata_that_is_a_pickle_is_not_run(name: str, inside: str, tmp_path: Path) -> None:
    """Whatever the file inside of the container is called."""
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    torch = pytest.importorskip("torch")
    pytest.importorskip("mmh._fsspec").register()
    url, ran = f"mmh://{tmp_path}/saved", tmp_path / "it ran"
    dcp.save({"w": torch.arange(9.0)}, checkpoint_id=url, no_dist=True)
    (tmp_path / "saved" / ".metadata.mmh").unlink()
    mmh.pack_files({inside: pickle.dumps(Runs(ran))}, tmp_path / "saved" / f"{name}.mmh")
    with pytest.raises(dcp.api.CheckpointException):
        dcp.load({"w": torch.zeros(9)}, checkpoint_id=url, no_dist=True)
    assert not ran.exists()
    with pytest.raises(mmh.UntrustedError, match="allow_pickle"):
        fsspec_of(url).cat_file(f"{url}/{name}")


def fsspec_of(url: str) -> Any:
    return pytest.importorskip("fsspec").core.url_to_fs(url)[0]
