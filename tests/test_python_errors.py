# SPDX-License-Identifier: Apache-2.0
"""What the Python package does when something is wrong: which error, what it names, and what works after."""

from __future__ import annotations

import array
import copy
import errno
import gc
import json
import io
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from python_support import ROOT, flip, need_mmh, run_python

mmh = need_mmh()

ROWS, COLUMNS = 600, 512


def floats(count: int, seed: int) -> bytes:
    """Weights that look like weights: F32 of mixed exponents."""
    numbers = random.Random(seed)
    return array.array("f", (numbers.gauss(0, 0.02) for _ in range(count))).tobytes()


DATA = {
    "layers.0.weight": floats(ROWS * COLUMNS, 1),
    "layers.1.weight": floats(ROWS * COLUMNS, 2),
    "norm": floats(64, 3),
    "steps": struct.pack("<5q", 1, -2, 3, 1 << 40, 5),
}
TENSORS = {
    "layers.0.weight": ("F32", (ROWS, COLUMNS), DATA["layers.0.weight"]),
    "layers.1.weight": ("F32", (ROWS, COLUMNS), DATA["layers.1.weight"]),
    "norm": ("F32", (64,), DATA["norm"]),
    "steps": ("I64", (5,), DATA["steps"]),
}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container that tests only read."""
    path = tmp_path_factory.mktemp("model") / "model.mmh"
    mmh.pack_tensors(TENSORS, path)
    return path


@pytest.fixture
def own(model: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    path = tmp_path / "own.mmh"
    path.write_bytes(model.read_bytes())
    return path


def check(container: Any, *names: str) -> None:
    for name in names or DATA:
        assert container.load_bytes(name) == DATA[name], name


def damage_tensor(path: Path, name: str) -> None:
    """Flip a bit in the middle of the stored bytes of a large tensor: tensors lie in the container in their order."""
    with mmh.open(path) as container:
        tensors = sorted((container[key] for key in container), key=lambda tensor: tensor.file_offset)
        begin = sum(tensor.stored_bytes for tensor in tensors[: [tensor.name for tensor in tensors].index(name)])
        flip(path, 4096 + begin + container[name].stored_bytes // 2)


# ---- names, types, sizes ----


def test_every_error_is_an_mmh_error_and_a_builtin() -> None:
    builtins = {
        "UsageError": ValueError,
        "IOFailure": OSError,
        "MemoryFailure": MemoryError,
        "MissingTensorError": KeyError,
        "MissingFileError": FileNotFoundError,
    }
    names = "UnsupportedError CorruptError UntrustedError KeyMissingError LimitError DeviceError CancelledError".split()
    for name in [*builtins, *names]:
        kind = getattr(mmh, name)
        assert issubclass(kind, mmh.Error) and issubclass(kind, builtins.get(name, Exception)), name
        assert kind.__doc__, name


def test_errors_tell_status_and_code(own: Path) -> None:
    own.write_bytes(b"no container at all" * 300)
    with pytest.raises(mmh.Error) as caught:
        mmh.open(own)
    assert caught.value.status in ("corrupt", "unsupported") and isinstance(caught.value.code, int)
    assert str(own) in str(caught.value)


def test_another_file_is_told_from_a_damaged_container(own: Path, tmp_path: Path) -> None:
    """A plain model file is the user's mistake, with what reads it; what is called .mmh is damaged."""
    plain = tmp_path / "model.safetensors"
    plain.write_bytes(b"\x10\0\0\0\0\0\0\0" + b'{"__metadata__":{}}')
    with pytest.raises(mmh.UsageError, match=r"model\.safetensors is no mmh container.*open_original"):
        mmh.open(plain)
    own.write_bytes(plain.read_bytes() * 300)
    with pytest.raises(mmh.CorruptError, match="no mmh container"):
        mmh.open(own)


def test_misspelt_options_are_named_with_what_is_meant(model: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'thread'.*did you mean 'threads'"):
        mmh.open(model, thread=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"'levels'.*did you mean 'level'"):
        mmh.pack(model, tmp_path / "a.mmh", levels=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'levels'"):
        mmh.numpy.save_file({}, tmp_path / "a.mmh", levels=1)
    assert not (tmp_path / "a.mmh").exists()


def test_dlpack_tensors_are_memory(model: Path) -> None:
    """What has no buffer protocol (PyTorch's bfloat16) is loaded into; not what is read only or has gaps."""
    torch, np = pytest.importorskip("torch"), pytest.importorskip("numpy")
    with mmh.open(model) as container:
        info = container["norm"]
        right = container.load_bytes("norm")
        memory = torch.zeros(info.nbytes // 2, dtype=torch.bfloat16)
        container.load_into("norm", memory)
        assert memory.view(torch.uint8).numpy().tobytes() == right
        container.load_many([("norm", memory.view(2, -1))])
        output = io.BytesIO()
        mmh.pack_tensors({"norm": ("BF16", memory.shape, memory)}, output)
        with mmh.open(output) as again:
            assert again.load_bytes("norm") == right
        for bad, problem in (
            (torch.zeros(info.nbytes, dtype=torch.bfloat16)[::2], "contiguous"),
            (torch.zeros(info.nbytes // 2 + 1, dtype=torch.bfloat16), "bytes"),
        ):
            with pytest.raises(ValueError, match=problem):
                container.load_into("norm", bad)

        class ReadOnly:
            """Offers NumPy's capsule of memory that must not be written to."""

            def __dlpack__(self, **how: object) -> object:
                frozen = np.zeros(info.nbytes, np.uint8)
                frozen.flags.writeable = False
                return frozen.__dlpack__(**how)

        with pytest.raises((ValueError, BufferError), match=r"writable|readonly|read-only"):
            container.load_into("norm", ReadOnly())


def test_a_public_part_is_not_called_key(tmp_path: Path) -> None:
    key = mmh.Key.generate("ed25519")
    with pytest.raises(mmh.UsageError, match="secret=True"):
        key.write(tmp_path / "alice.key")
    assert not (tmp_path / "alice.key").exists()


def test_what_is_nothing_to_open_is_named() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        mmh.open(None)


def test_outputs_are_no_urls(tmp_path: Path) -> None:
    with pytest.raises(mmh.UsageError, match=r"memory://s.mmh.*file object"):
        mmh.pack_files({"a": b"a"}, "memory://s.mmh")


def test_errors_survive_pickling() -> None:
    """concurrent.futures and torch's data loaders send them between processes."""
    with pytest.raises(mmh.Error) as caught:
        mmh.open("/no/such/file.mmh")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value) and str(again) == str(caught.value) and again.status == caught.value.status


def test_a_missing_tensor_is_named(model: Path) -> None:
    with mmh.open(model) as container:
        buffer = bytearray(4)
        for use in (
            lambda: container["layers.7.weight"],
            lambda: container.tensor("layers.7.weight"),
            lambda: container.load_bytes("layers.7.weight"),
            lambda: container.load_into("layers.7.weight", buffer),
            lambda: container.load_many([("norm", bytearray(256)), ("layers.7.weight", buffer)]),
            lambda: container.load_slice_into("layers.7.weight", (0,), (1,), buffer),
        ):
            with pytest.raises(mmh.MissingTensorError, match=r"layers\.7\.weight"):
                use()
        assert "layers.7.weight" not in container and "norm" in container and 3 not in container
        check(container)


def test_a_name_that_is_nearly_right_is_answered(model: Path) -> None:
    with mmh.open(model) as container:
        for given, meant in (("weight", "layers.0.weight"), ("layers.0.weigt", "layers.0.weight"), ("x.norm", "norm")):
            with pytest.raises(mmh.MissingTensorError, match=rf'no tensor "{given}": is it .*"{meant}"'):
                container.tensor(given)
        with pytest.raises(mmh.MissingTensorError, match=r'no tensor "zzz"$'):
            container.tensor("zzz")


def test_a_buffer_of_another_size_is_refused(model: Path) -> None:
    with mmh.open(model) as container:
        for size in (0, 255, 257):
            with pytest.raises((mmh.UsageError, ValueError), match=r"norm|256"):
                container.load_into("norm", bytearray(size))
            with pytest.raises((mmh.UsageError, ValueError), match=r"norm|256"):
                container.load_many([("steps", bytearray(40)), ("norm", bytearray(size))])
        for size in (15, 17):
            with pytest.raises((mmh.UsageError, ValueError)):
                container.load_slice_into("norm", (4,), (8,), bytearray(size))
        check(container)


def test_a_buffer_that_cannot_be_written_is_refused(model: Path) -> None:
    with mmh.open(model) as container:
        frozen = bytes(256)
        for buffer in (frozen, memoryview(frozen), memoryview(bytearray(256)).toreadonly()):
            with pytest.raises((BufferError, TypeError, ValueError)):
                container.load_into("norm", buffer)
        assert frozen == bytes(256)


def test_a_buffer_with_gaps_is_refused(model: Path) -> None:
    with mmh.open(model) as container:
        with pytest.raises((BufferError, ValueError, mmh.UsageError)):
            container.load_into("norm", memoryview(bytearray(512))[::2])
        for wrong in (None, 3, "text", [0] * 256, object()):
            with pytest.raises(TypeError):
                container.load_into("norm", wrong)


def test_buffers_of_any_kind_are_filled(model: Path) -> None:
    with mmh.open(model) as container:
        numbers = array.array("f", bytes(256))
        container.load_into("norm", numbers)
        assert numbers.tobytes() == DATA["norm"]
        whole = bytearray(300)
        container.load_into("norm", memoryview(whole)[20:276])
        assert whole == bytes(20) + DATA["norm"] + bytes(24)
        square = memoryview(bytearray(256)).cast("f", (8, 8))
        container.load_into("norm", square)
        assert square.tobytes() == DATA["norm"]


def test_destinations_that_meet_are_refused(model: Path) -> None:
    with mmh.open(model) as container:
        memory = memoryview(bytearray(512))
        with pytest.raises(mmh.UsageError):
            container.load_many([("norm", memory[:256]), ("steps", memory[200:240])])
        container.load_many([])
        container.load_many([("norm", memory[:256]), ("norm", memory[256:])])
        assert memory[:256] == memory[256:] == DATA["norm"]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ((0, 0), (601, 512)),
        ((0, 513), (600, 514)),
        ((5, 0), (4, 512)),
        ((-1, 0), (1, 512)),
        ((0,), (1,)),
        ((0, 0, 0), (1, 1, 1)),
        ((0, 0), (1,)),
        ((0, 0), (1 << 63, 512)),
        ((0, 0), (1 << 70, 512)),
    ],
)
def test_a_slice_beyond_its_tensor_is_refused(model: Path, begin: tuple[int, ...], end: tuple[int, ...]) -> None:
    with mmh.open(model) as container:
        with pytest.raises((mmh.Error, ValueError, OverflowError, IndexError)):
            container.load_slice_into("layers.0.weight", begin, end, bytearray(2048))
        check(container, "norm")


def test_slices_are_the_elements(model: Path) -> None:
    with mmh.open(model) as container:
        buffer = bytearray(3 * 7 * 4)
        container.load_slice_into("layers.1.weight", (590, 100), (593, 107), buffer)
        rows = [
            DATA["layers.1.weight"][(row * COLUMNS + 100) * 4 : (row * COLUMNS + 107) * 4] for row in (590, 591, 592)
        ]
        assert buffer == b"".join(rows)
        container.load_slice_into("norm", (4,), (4,), bytearray())


def test_reads_beyond_a_file_are_refused(model: Path) -> None:
    with mmh.open(model) as container:
        size = container.files[0].bytes
        assert container.read(0, size, 0) == b"" and len(container.read(0, size - 8, 8)) == 8
        assert container.read(0, size - 4, 8) == container.read(0)[-4:] and container.read(0, size + 1, 1) == b""
        for offset, count in ((size - 4, 8), (size + 1, 1), (1 << 63, 1), (-1, 1)):
            with pytest.raises((mmh.Error, ValueError, OverflowError)):
                container.read_into(0, offset, bytearray(count))
        for file, offset in ((1, 0), (-1, 0), (0, -1)):
            with pytest.raises((mmh.Error, IndexError)):
                container.read(file, offset, 1)


@pytest.mark.parametrize(
    ("dtype", "shape", "data"),
    [
        ("F33", (2,), bytes(8)),
        ("", (2,), bytes(8)),
        ("F32", (3,), bytes(8)),
        ("F32", (2,), bytes(9)),
        ("F32", (-2,), bytes(8)),
        ("F32", (-2, -1), bytes(8)),
        ("F32", (1 << 62, 8), bytes(8)),
    ],
)
def test_tensors_that_cannot_be_are_named(tmp_path: Path, dtype: str, shape: tuple[int, ...], data: bytes) -> None:
    with pytest.raises((mmh.UsageError, ValueError), match=r"the\.bad\.one"):
        mmh.pack_tensors({"good": ("U8", (1,), b"x"), "the.bad.one": (dtype, shape, data)}, tmp_path / "x.mmh")
    assert list(tmp_path.iterdir()) == []


def test_shapes_are_whole_numbers(tmp_path: Path) -> None:
    for shape in ((2.0,), 2, ("2",), None):
        with pytest.raises(TypeError):
            mmh.pack_tensors({"x": ("F32", shape, bytes(8))}, tmp_path / "x.mmh")

    class Two:
        """As NumPy's integers are."""

        def __index__(self) -> int:
            return 2

    mmh.pack_tensors({"x": ("F32", (Two(),), bytes(8))}, tmp_path / "x.mmh")
    assert mmh.open(tmp_path / "x.mmh")["x"].shape == (2,)


def test_names_and_numbers_of_no_tensor(model: Path) -> None:
    with mmh.open(model) as container:
        for name in ("norm\0", "\0", "\ud800", "", "norm:norm", 4, -1, 1 << 64, 1 << 70):
            with pytest.raises(mmh.MissingTensorError):
                _ = container[name]
        for name in (True, None, 1.0, b"norm"):
            with pytest.raises(TypeError):
                _ = container[name]
        assert "norm\0" not in container and "\ud800" not in container
        assert container[container["norm"].index] == container["norm"]


def test_the_extension_itself_takes_nothing_amiss(model: Path) -> None:
    """What the package never does to it must not end the process either."""
    from mmh import _mmh

    context = _mmh.Context()
    reader = _mmh.Reader(context, os.fsencode(model))
    for use in (
        lambda: _mmh.Reader(context, None),
        lambda: _mmh.Reader(None, os.fsencode(model)),
        lambda: _mmh.Reader(context, None, sources=[1]),
        lambda: _mmh.Reader(context, None, sources=[("x",)]),
        lambda: _mmh.Reader(context, None, sources=[]),
        lambda: _mmh.Context(progress=3),
        lambda: _mmh.Context(keys=[3]),
        _mmh.Key,
        lambda: reader.tensor(99),
        lambda: reader.file(99),
        lambda: reader.load_many([(0,)]),
        lambda: reader.load_many([(99, bytearray(1))]),
        lambda: reader.load_many([3]),
        lambda: reader.load_slice(0, (1,), (2,), None),
        lambda: reader.read(99, 0, bytearray(1)),
        lambda: reader.find(3),
    ):
        with pytest.raises((TypeError, ValueError, mmh.Error)):
            use()
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.info()


def test_arguments_that_mean_nothing_are_refused(model: Path, tmp_path: Path) -> None:
    for arguments in (
        {"level": 0},
        {"level": 10},
        {"level": -1},
        {"parity": -1.0},
        {"hash": "md5"},
        {"parity": 5000.0},
    ):
        with pytest.raises((mmh.UsageError, ValueError, mmh.UnsupportedError)):
            mmh.pack_tensors(TENSORS, tmp_path / "x.mmh", **arguments)
    for arguments in ({"threads": -1}, {"threads": 1 << 40}):
        with pytest.raises((ValueError, OverflowError, mmh.Error)):
            mmh.open(model, **arguments)
    for call in (
        mmh.open,
        lambda: mmh.open(model, 4),
        lambda: mmh.open(model, no_such=1),
        lambda: mmh.open(None),
        lambda: mmh.open(3.5),
        lambda: mmh.open(model, threads="two"),
        lambda: mmh.open(model, progress=3),
        lambda: mmh.open(model, keys=["text"]),
        lambda: mmh.pack(3),
        lambda: mmh.pack_tensors([1], tmp_path / "x.mmh"),
        mmh.verify,
    ):
        with pytest.raises(TypeError):
            call()
    assert list(tmp_path.iterdir()) == []


# ---- files that are not what they should be ----


def test_a_missing_file_is_file_not_found(tmp_path: Path) -> None:
    path = tmp_path / "no such.mmh"
    for use in (mmh.open, mmh.verify, mmh.pack, mmh.open_original):
        with pytest.raises(FileNotFoundError, match=r"no such\.mmh") as caught:
            use(path)
        assert isinstance(caught.value, mmh.IOFailure) and caught.value.errno == errno.ENOENT


def test_a_folder_is_no_container(tmp_path: Path) -> None:
    with pytest.raises(mmh.Error, match=str(tmp_path)):
        mmh.open(tmp_path)


@pytest.mark.parametrize("data", [b"", b"x", b"hello" * 1000, bytes(9000)])
def test_other_files_are_no_containers(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.mmh"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises((mmh.CorruptError, mmh.UnsupportedError)):
            mmh.open(source)


def test_a_container_cut_short_is_damaged(own: Path) -> None:
    data = own.read_bytes()
    for size in (100, 4096, len(data) // 2):
        own.write_bytes(data[:size])
        with pytest.raises(mmh.CorruptError):
            mmh.open(own).load_bytes("layers.1.weight")


@pytest.mark.parametrize("name", ["layers.0.weight", "layers.1.weight"])
def test_a_damaged_chunk_names_its_tensor(own: Path, name: str) -> None:
    damage_tensor(own, name)
    other = "layers.1.weight" if name == "layers.0.weight" else "layers.0.weight"
    with mmh.open(own) as container:
        for use in (
            lambda: container.load_bytes(name),
            lambda: container.load_into(name, bytearray(len(DATA[name]))),
            lambda: container.load_many([(key, bytearray(len(DATA[key]))) for key in DATA]),
        ):
            with pytest.raises(mmh.CorruptError) as caught:
                use()
            assert name in str(caught.value) and other not in str(caught.value)
            assert caught.value.status == "corrupt"
        check(container, other, "norm", "steps")  # the rest is there
    report = mmh.verify(own)
    assert not report and not report.ok and report.damaged_chunks == 1
    assert {entry.tensor for entry in report.damage} == {None, name}
    with pytest.raises(mmh.CorruptError):
        mmh.verify(own, check=True)


def test_unpacking_what_is_damaged_leaves_nothing(own: Path, tmp_path: Path) -> None:
    damage_tensor(own, "layers.0.weight")
    with pytest.raises(mmh.CorruptError):
        mmh.unpack(own, tmp_path / "out.safetensors", as_file=True)
    assert [path.name for path in tmp_path.iterdir()] == ["own.mmh"]


def test_parity_mends_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.mmh"
    mmh.pack_tensors(TENSORS, path, parity=10.0)
    damage_tensor(path, "layers.0.weight")
    with mmh.open(path) as container:
        check(container)
    assert not mmh.verify(path)
    report = mmh.repair(path)
    assert report and report.restored_chunks == 1 and report.from_parity == 1
    assert mmh.verify(path)


def test_a_file_deleted_or_replaced_while_open_stays_readable(own: Path) -> None:
    with mmh.open(own) as container:
        own.unlink()
        own.write_bytes(b"something else")
        check(container)


def test_a_file_cut_while_open_is_an_error(own: Path) -> None:
    with mmh.open(own) as container:
        with own.open("r+b") as file:
            file.truncate(5000)
        with pytest.raises((mmh.IOFailure, mmh.CorruptError)):
            container.load_bytes("layers.1.weight")


def test_nothing_is_overwritten_unasked(own: Path, tmp_path: Path) -> None:
    before = own.read_bytes()
    with pytest.raises(mmh.UsageError, match=r"own\.mmh"):
        mmh.pack_tensors(TENSORS, own)
    assert own.read_bytes() == before
    mmh.pack_tensors({"x": ("U8", (1,), b"x")}, own, overwrite=True)
    assert mmh.open(own).keys() == ["x"]
    assert [path.name for path in tmp_path.iterdir()] == ["own.mmh"]


# ---- closing ----


def test_a_closed_container_says_so(model: Path) -> None:
    container = mmh.open(model)
    assert not container.closed
    container.close()
    container.close()
    assert container.closed
    buffer = bytearray(256)
    for use in (
        lambda: container["norm"],
        lambda: container.load_bytes("norm"),
        lambda: container.load_into("norm", buffer),
        lambda: container.load_many([("norm", buffer)]),
        lambda: container.load_slice_into("norm", (0,), (1,), buffer),
        lambda: container.read(0, 0, 1),
        lambda: container.info,
        container.metadata,
        container.__enter__,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert buffer == bytes(256)
    assert "closed" in repr(container)


def test_with_closes_whatever_happens(model: Path) -> None:
    with pytest.raises(ZeroDivisionError), mmh.open(model) as container:
        _ = 1 // 0
    assert container.closed


def test_what_was_said_outlives_the_container(model: Path) -> None:
    with mmh.open(model) as container:
        tensor, files, info = container["norm"], container.files, container.info
    assert tensor.name == "norm" and tensor.shape == (64,) and tensor.nbytes == 256 and tensor.dtype == "F32"
    assert files[0].tensor_count == 4 and info.tensor_count == 4


def test_containers_that_are_forgotten_are_closed(model: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc: open files cannot be counted")
    gc.collect()
    before = descriptors()
    kept = [mmh.open(model) for _ in range(20)]
    watch = weakref.ref(kept[0])
    assert descriptors() >= before + 20
    kept.append(kept)  # a cycle
    del kept
    gc.collect()
    assert watch() is None and descriptors() == before


def test_a_callback_that_knows_its_container_keeps_nothing(model: Path) -> None:
    """progress refers to the container and the container to progress: the collector takes both."""

    class Owner:
        def told(self, now: Any) -> None:
            pass

    owner = Owner()
    owner.container = mmh.open(model, progress=owner.told)  # type: ignore[attr-defined]
    watch = weakref.ref(owner)
    del owner
    gc.collect()
    assert watch() is None


def test_an_opened_file_keeps_its_container(model: Path) -> None:
    container = mmh.open(model)
    name = container.files[0].name
    file = container.open_file(name)
    del container
    gc.collect()
    data = file.read()
    assert data[8:9] == b"{" and DATA["norm"] in data
    assert file.seek(8) == 8 and file.read(1) == b"{" and file.tell() == 9
    assert file.seek(-4, os.SEEK_END) == len(data) - 4 and file.read() == data[-4:] and file.read(5) == b""
    assert file.readable() and file.seekable() and not file.writable()
    with pytest.raises((OSError, ValueError)):
        file.write(b"x")
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_a_missing_file_inside_is_named(model: Path) -> None:
    with mmh.open(model) as container, pytest.raises((KeyError, FileNotFoundError, mmh.Error), match="no-such-file"):
        container.open_file("no-such-file")


def test_collecting_garbage_while_loading_is_harmless(model: Path) -> None:
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            gc.collect()

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        for _ in range(10):
            check(mmh.open(model))
    finally:
        stop.set()
        thread.join()


def test_copies_of_a_container_open_its_file_again(model: Path) -> None:
    """As data loaders do that send it to other processes; what cannot be opened again cannot be sent."""
    with mmh.open(model, threads=2) as container:
        for use in (lambda given: pickle.loads(pickle.dumps(given)), copy.copy, copy.deepcopy):
            with use(container) as other:
                assert other is not container
                check(other)
        check(container)
        assert pickle.loads(pickle.dumps(container["norm"])) == container["norm"]
    for source, options in (
        (model.read_bytes(), {}),
        (model, {"progress": lambda now: None}),
        (model, {"passphrase": "x"}),
    ):
        with mmh.open(source, **options) as container, pytest.raises(TypeError):
            pickle.dumps(container)


def test_copies_of_a_safe_open_open_its_file_again(model: Path) -> None:
    """Data sets hold one, and workers that are spawned get the data set as a pickle."""
    np = pytest.importorskip("numpy")
    with mmh.safe_open(model, framework="np") as file:
        assert repr(file) == f"<mmh.safe_open {str(model)!r}>"
        for use in (lambda given: pickle.loads(pickle.dumps(given)), copy.copy, copy.deepcopy):
            part = use(file.get_slice("norm"))
            np.testing.assert_array_equal(part[:], file.get_tensor("norm"))
            with use(file) as other:
                np.testing.assert_array_equal(other.get_tensor("norm"), file.get_tensor("norm"))
    with mmh.safe_open(model.read_bytes(), framework="np") as file, pytest.raises(TypeError, match="file object"):
        pickle.dumps(file)


def test_the_package_lists_its_modules() -> None:
    assert {"torch", "numpy", "dcp", "safe_open", "__version__"} <= set(dir(mmh)) and "importlib" not in dir(mmh)


def test_a_program_may_end_with_an_open_container(model: Path) -> None:
    for code in (
        "import mmh, sys; c = mmh.open(sys.argv[1]); print(len(c.load_bytes('norm')))",
        "import mmh, sys; f = mmh.open(sys.argv[1]).open_file('model.safetensors'); print(len(f.read(256)))",
        "import mmh, sys; c = mmh.open(sys.argv[1]); loop = [c]; loop.append(loop); print(len(c.load_bytes('norm')))",
        "import mmh, sys, threading; c = mmh.open(sys.argv[1], progress=lambda now: None)\n"
        "t = threading.Thread(target=lambda: print(len(c.load_bytes('norm')))); t.start()",
    ):
        ended = run_python(code, str(model))
        assert ended.returncode == 0 and ended.stdout == "256\n" and ended.stderr == "", ended


# ---- threads and processes ----


@pytest.mark.parametrize("count", [2, 8])
def test_threads_may_share_a_container(model: Path, count: int) -> None:
    with mmh.open(model) as container, ThreadPoolExecutor(count) as pool:

        def work(number: int) -> bool:
            name = list(DATA)[number % len(DATA)]
            if number % 3 == 0:
                buffer = bytearray(len(DATA[name]))
                container.load_many([(name, buffer)])
                return buffer == DATA[name]
            return bool(container.load_bytes(name) == DATA[name])

        assert all(pool.map(work, range(48)))


@pytest.mark.parametrize("count", [2, 8])
def test_threads_may_have_containers_of_their_own(model: Path, count: int) -> None:
    def work(_: int) -> None:
        with mmh.open(model, threads=2) as container:
            check(container)

    with ThreadPoolExecutor(count) as pool:
        assert list(pool.map(work, range(16))) == [None] * 16


def test_other_threads_run_while_one_loads(tmp_path: Path) -> None:
    """The GIL is let go: another thread's loop advances during one call."""
    path = tmp_path / "large.mmh"
    data = DATA["layers.0.weight"] * 40
    mmh.pack_tensors({"x": ("F32", (len(data) // 4,), data)}, path, level=1)
    steps = [0]
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            steps[0] += 1
            time.sleep(0)  # lets the GIL go

    buffer = bytearray(len(data))
    during = 0
    interval = sys.getswitchinterval()
    with mmh.open(path, threads=1) as container:
        thread = threading.Thread(target=count)
        sys.setswitchinterval(100)  # a thread gives way only where it lets go by itself
        try:
            thread.start()
            for _ in range(5):
                begun = steps[0]
                container.load_into("x", buffer)
                during += steps[0] - begun
                time.sleep(0.001)
        finally:
            stop.set()
            sys.setswitchinterval(interval)
            thread.join()
    assert buffer == data and during > 0


def test_closing_while_another_thread_loads(model: Path) -> None:
    """The other thread gets its bytes or is told that the container is closed, nothing else."""
    for _ in range(20):
        container = mmh.open(model)
        answers: list[Any] = []

        def load(container: Any = container, answers: list[Any] = answers) -> None:
            try:
                answers.append(container.load_bytes("layers.0.weight") == DATA["layers.0.weight"])
            except ValueError as error:
                answers.append("closed" in str(error))

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        container.close()
        for thread in threads:
            thread.join()
        assert answers == [True] * 3


def in_child(work: Callable[[], bool]) -> str:
    """What `work` does in a forked child: "right", "wrong" or the error's name; hangs are ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(60)
        try:
            answer = "right" if work() else "wrong"
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        answer = file.read()
    os.waitpid(child, 0)
    return answer


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("used", [False, True])
def test_after_a_fork_both_load_or_are_told(model: Path, used: bool) -> None:
    with mmh.open(model, threads=2) as container:
        if used:
            check(container)
        answer = in_child(lambda: container.load_bytes("layers.0.weight") == DATA["layers.0.weight"])
        assert answer == "right" or "fork" in answer, answer
        check(container)

        def anew() -> bool:
            check(mmh.open(model, threads=2))
            return True

        assert in_child(anew) == "right"
        check(container)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_loads(model: Path) -> None:
    """The lock of a call that another thread is in does not hang the child."""
    with mmh.open(model) as container:
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                container.load_bytes("layers.0.weight")

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for _ in range(5):
                answer = in_child(lambda: container.load_bytes("norm") == DATA["norm"])
                assert answer == "right" or "fork" in answer, answer
        finally:
            stop.set()
            thread.join()
        check(container)


def test_data_loaders_that_spawn_open_anew(model: Path) -> None:
    code = """
import multiprocessing, sys, mmh
def work(path):
    with mmh.open(path) as container:
        return len(container.load_bytes("layers.0.weight"))
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(work, [sys.argv[1]] * 4))
"""
    script = model.parent / "spawn.py"
    script.write_text(code)
    ended = run_python(
        f"import runpy, sys; sys.argv[0] = {str(script)!r}; runpy.run_path(sys.argv[0], run_name='__main__')",
        str(model),
    )
    size = len(DATA["layers.0.weight"])
    assert ended.stdout.strip() == str([size] * 4), ended.stderr


# ---- interrupted ----


def large(tmp_path: Path) -> tuple[Path, bytes]:
    path = tmp_path / "large.mmh"
    data = DATA["layers.0.weight"] * 24
    mmh.pack_tensors({"x": ("F32", (len(data) // 4,), data), "y": ("U8", (3,), b"abc")}, path, level=1)
    return path, data


def test_progress_tells_and_stops(tmp_path: Path) -> None:
    path, data = large(tmp_path)
    seen: list[Any] = []
    with mmh.open(path, progress=seen.append) as container:
        assert container.load_bytes("x") == data
    report = mmh.verify(path, progress=seen.append)
    assert seen and all(now.stage and now.done_bytes <= now.total_bytes for now in seen if now.total_bytes)
    assert report is not None
    stop = True
    with mmh.open(path, progress=lambda now: not stop) as container:
        with pytest.raises(mmh.CancelledError):
            container.load_bytes("x")
        stop = False
        assert container.load_bytes("x") == data  # still usable


def test_what_progress_raises_comes_out(tmp_path: Path) -> None:
    path, _ = large(tmp_path)

    def refuse(now: Any) -> None:
        raise LookupError("from the callback")

    for use in (
        lambda: mmh.open(path, progress=refuse).load_bytes("x"),
        lambda: mmh.verify(path, progress=refuse),
        lambda: mmh.unpack(path, tmp_path / "out.safetensors", as_file=True, progress=refuse),
        lambda: mmh.pack(path, tmp_path / "again.mmh", progress=refuse),
    ):
        with pytest.raises(LookupError, match="from the callback"):
            use()
    assert [entry.name for entry in tmp_path.iterdir()] == ["large.mmh"]


def test_stopped_writes_leave_nothing(tmp_path: Path) -> None:
    path, data = large(tmp_path)
    for use in (
        lambda: mmh.unpack(path, tmp_path / "out.safetensors", as_file=True, progress=lambda now: False),
        lambda: mmh.pack(path, tmp_path / "again.mmh", progress=lambda now: False),
        lambda: mmh.pack_tensors({"x": ("U8", (len(data),), data)}, tmp_path / "more.mmh", progress=lambda now: False),
    ):
        with pytest.raises(mmh.CancelledError):
            use()
        assert [entry.name for entry in tmp_path.iterdir()] == ["large.mmh"]


def test_a_callback_that_calls_again_is_told(tmp_path: Path) -> None:
    """It must not wait for itself."""
    path, data = large(tmp_path)
    answers: list[Any] = []

    def again(now: Any) -> None:
        try:
            answers.append(container.load_bytes("y"))
        except RuntimeError as error:
            answers.append(error)

    with mmh.open(path, progress=again) as container:
        assert container.load_bytes("x") == data
    assert answers and all(answer == b"abc" or isinstance(answer, RuntimeError) for answer in answers)


@pytest.mark.parametrize("call", ["load", "verify", "pack", "unpack"])
def test_ctrl_c_ends_a_call(tmp_path: Path, call: str) -> None:
    """KeyboardInterrupt, nothing half written, and the container loads afterwards."""
    path, data = large(tmp_path)
    (tmp_path / "raw.bin").write_bytes(data * 4)
    code = """
import os, signal, sys, threading, time, mmh
path, call, folder = sys.argv[1:]
c = mmh.open(path)
buffer = bytearray(c["x"].nbytes)
calls = {
    "load": lambda: c.load_into("x", buffer),
    "verify": lambda: mmh.verify(path),
    "pack": lambda: mmh.pack(folder + "/raw.bin", folder + "/out.mmh", level=9),
    "unpack": lambda: mmh.unpack(path, folder + "/out.safetensors", as_file=True),
}
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
begun = time.monotonic()
try:
    while time.monotonic() < begun + 60:
        calls[call]()
        for name in ("out.mmh", "out.safetensors"):
            if os.path.exists(os.path.join(folder, name)):
                os.unlink(os.path.join(folder, name))
except KeyboardInterrupt:
    print("interrupted", c.load_bytes("y"))
"""
    ended = run_python(code, str(path), call, str(tmp_path))
    assert ended.stdout.strip() == "interrupted bytearray(b'abc')", ended.stderr
    left = {entry.name for entry in tmp_path.iterdir()} - {"out.mmh", "out.safetensors"}
    assert left == {"large.mmh", "raw.bin"}


def test_memory_that_runs_out_is_an_error(tmp_path: Path) -> None:
    path, data = large(tmp_path)
    code = """
import resource, sys, mmh
with mmh.open(sys.argv[1], threads=1) as c:
    c.load_bytes("y")
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), before[1]))
    try:
        c.load_bytes("x")
    except MemoryError as error:
        print("refused")
    resource.setrlimit(resource.RLIMIT_AS, before)
    print(len(c.load_bytes("x")))
"""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc: the memory in use cannot be told")
    ended = run_python(code, str(path))
    assert ended.stdout.split() == ["refused", str(len(data))], ended.stderr


# ---- keys and signatures ----


@pytest.fixture(scope="module")
def alice() -> Any:
    return mmh.Key.generate()


@pytest.fixture(scope="module")
def mallory() -> Any:
    return mmh.Key.generate()


def test_an_encrypted_container_needs_its_key(tmp_path: Path, alice: Any, mallory: Any) -> None:
    path = tmp_path / "secret.mmh"
    mmh.pack_tensors(TENSORS, path, recipients=[alice])
    for keys in ((), (mallory,)):
        with pytest.raises(mmh.KeyMissingError):
            mmh.open(path, keys=keys)
    with pytest.raises(mmh.KeyMissingError):
        mmh.open(path, passphrase="guess")
    with mmh.open(path, keys=[mallory, alice]) as container:
        assert container.info.encrypted
        check(container)
    assert b"layers.0.weight" not in path.read_bytes()


def test_a_passphrase_opens_its_container(tmp_path: Path) -> None:
    path = tmp_path / "secret.mmh"
    mmh.pack_tensors({"x": ("U8", (3,), b"abc")}, path, passphrase="correct horse")
    for passphrase in (None, "", "wrong horse", "correct horse "):
        with pytest.raises(mmh.KeyMissingError):
            mmh.open(path, passphrase=passphrase)
    for passphrase in ("correct horse", b"correct horse"):
        assert mmh.open(path, passphrase=passphrase).load_bytes("x") == b"abc"


def test_who_signed_is_checked(tmp_path: Path, alice: Any, mallory: Any) -> None:
    path = tmp_path / "signed.mmh"
    mmh.pack_tensors(TENSORS, path, sign_with=[alice])
    with pytest.raises(mmh.UntrustedError):
        mmh.open(path, signers=[mallory])
    with pytest.raises(mmh.UntrustedError):
        mmh.verify(path, signers=[mallory])
    mmh.verify(path, signers=[alice])
    with mmh.open(path, signers=[mallory, alice]) as container:
        check(container)
    with pytest.raises(mmh.UntrustedError):
        mmh.open(path, signers=[alice, mallory], require={"all": True})
    mmh.open(path, signers=[alice], require={"hybrid": True}).close()
    unsigned = tmp_path / "unsigned.mmh"
    mmh.pack_tensors(TENSORS, unsigned)
    with pytest.raises(mmh.UntrustedError):
        mmh.open(unsigned, signers=[alice])


def test_signing_and_encrypting_afterwards(own: Path, tmp_path: Path, alice: Any) -> None:
    mmh.sign(own, [alice])
    mmh.verify(own, signers=[alice])
    mmh.encrypt(own, [alice], output=tmp_path / "secret.mmh")
    with pytest.raises(mmh.KeyMissingError):
        mmh.open(tmp_path / "secret.mmh")
    check(mmh.open(tmp_path / "secret.mmh", keys=[alice]))
    mmh.decrypt(tmp_path / "secret.mmh", output=tmp_path / "plain.mmh", keys=[alice])
    check(mmh.open(tmp_path / "plain.mmh"))


def test_keys_are_files_of_their_own(tmp_path: Path, alice: Any) -> None:
    secret, public = tmp_path / "alice.key", tmp_path / "alice.pub"
    alice.write(secret, secret=True)
    alice.write(public, secret=False)
    assert secret.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in public.read_text()
    path = tmp_path / "both.mmh"
    mmh.pack_tensors(TENSORS, path, recipients=[mmh.Key.read(public)], sign_with=[mmh.Key.read(secret)])
    with mmh.open(path, keys=[mmh.Key.read(secret)], signers=[mmh.Key.read(public)]) as container:
        check(container)
    with pytest.raises(mmh.KeyMissingError):
        mmh.open(path, keys=[mmh.Key.read(public)])
    with pytest.raises(mmh.Error):
        mmh.pack_tensors(TENSORS, tmp_path / "no.mmh", sign_with=[mmh.Key.read(public)])
    with pytest.raises(mmh.Error):
        alice.write(secret, secret=True)
    with pytest.raises(mmh.UsageError, match="secret=True"):
        alice.write(tmp_path / "locked.key", passphrase="pass")
    assert not (tmp_path / "locked.key").exists()
    alice.write(tmp_path / "locked.key", secret=True, passphrase="pass")
    for passphrase in (None, "no"):
        with pytest.raises(mmh.KeyMissingError):
            mmh.Key.read(tmp_path / "locked.key", passphrase=passphrase)
    mmh.Key.read(tmp_path / "locked.key", passphrase="pass")
    with pytest.raises(mmh.KeyMissingError):
        mmh.Key.parse(b"no key")
    with pytest.raises(FileNotFoundError):
        mmh.Key.read(tmp_path / "missing.key")


def test_keys_say_nothing_of_their_secret(alice: Any) -> None:
    assert "PRIVATE" not in repr(alice) and "PRIVATE" not in str(alice)
    with pytest.raises(TypeError):
        pickle.dumps(alice)


def test_a_changed_tensor_of_a_signed_container_is_found(tmp_path: Path, alice: Any) -> None:
    path = tmp_path / "signed.mmh"
    mmh.pack_tensors(TENSORS, path, sign_with=[alice])
    damage_tensor(path, "layers.0.weight")
    with mmh.open(path, signers=[alice]) as container:
        with pytest.raises(mmh.CorruptError, match=r"layers\.0\.weight"):
            container.load_bytes("layers.0.weight")
        check(container, "layers.1.weight")


# ---- the command's containers ----


def test_containers_of_the_command_are_read(tmp_path: Path) -> None:
    """One library: what mmh pack writes is opened, and the other way round; the same input gives the same bytes."""
    command = Path(os.environ.get("MMH_BUILD") or ROOT / "build") / "mmh"
    if not command.exists():
        pytest.skip("the command was not built")
    path = tmp_path / "model.mmh"
    mmh.pack_tensors(TENSORS, path, metadata={"format": "pt"})
    subprocess.run([command, "-q", "unpack", path, "-o", tmp_path / "model.safetensors"], check=True)
    subprocess.run([command, "-q", "pack", tmp_path / "model.safetensors", "-o", tmp_path / "again.mmh"], check=True)
    with mmh.open(tmp_path / "again.mmh") as container:
        check(container)
        assert container.metadata() == {"format": "pt"}
    mmh.pack(tmp_path / "model.safetensors", tmp_path / "third.mmh")
    assert (tmp_path / "third.mmh").read_bytes() == (tmp_path / "again.mmh").read_bytes()
    header = (tmp_path / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", header[:8])
    assert json.loads(header[8 : 8 + size])["norm"]["shape"] == [64]
