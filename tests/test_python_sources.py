# SPDX-License-Identifier: Apache-2.0
"""Containers that are no file on disk: bytes, file objects, URLs; and how much of a distant one is fetched."""

from __future__ import annotations

import array
import contextlib
import io
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from python_support import BUILD, need_mmh

mmh = need_mmh()

ROWS, COLUMNS, LAYERS = 1024, 512, 8


def weights(seed: int) -> bytes:
    numbers = random.Random(seed)
    line = array.array("f", (numbers.gauss(0, 0.02) for _ in range(COLUMNS * 32))).tobytes()
    return b"".join(bytes(line[(i * 64) % 8192 :] + line[: (i * 64) % 8192]) for i in range(ROWS // 32))


DATA = {f"layers.{i}.weight": weights(i) for i in range(LAYERS)} | {"norm": weights(99)[: 4 * 64]}
SHAPES = {name: (len(data) // 4 // COLUMNS, COLUMNS) if len(data) > 4096 else (64,) for name, data in DATA.items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.mmh"
    tensors = {name: ("F32", SHAPES[name], data) for name, data in DATA.items()}
    mmh.pack_tensors(tensors, path, metadata={"a": "b"}, level=1)
    return path


def check(container: Any) -> None:
    """Everything that a container does, whatever it is read from."""
    assert sorted(container.keys()) == sorted(DATA) and container.metadata() == {"a": "b"}
    for name, data in DATA.items():
        assert container.load_bytes(name) == data, name
    buffers = {name: bytearray(len(data)) for name, data in DATA.items()}
    container.load_many(list(buffers.items()))
    assert buffers == DATA
    part = bytearray(3 * COLUMNS * 4)
    container.load_slice_into("layers.3.weight", (700, 0), (703, COLUMNS), part)
    assert part == DATA["layers.3.weight"][700 * COLUMNS * 4 :][: len(part)]
    with container.open_file("model.safetensors") as file:
        assert file.read(9)[8:] == b"{"


# ---- memory and file objects ----


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array.array("B", data)])
def test_bytes_are_containers(model: Path, kind: Any) -> None:
    with mmh.open(kind(model.read_bytes())) as container:
        check(container)


def test_bytes_stay_while_they_are_needed(model: Path) -> None:
    memory = bytearray(model.read_bytes())
    with mmh.open(memory) as container:
        with pytest.raises(BufferError):
            memory.extend(b"more")  # it would move what the container reads
        check(container)
    memory.extend(b"more")


class Slow(io.RawIOBase):
    """A raw file that reads at most 1000 bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, len(self.data))[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        part = self.data[self.at : self.at + min(1000, len(buffer))]
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)


class ReadOnly:
    """What some packages call a file: seek, tell and read, nothing else."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size if size < 0 else min(size, 5000))


@pytest.mark.parametrize("kind", ["BytesIO", "buffered", "unbuffered", "short reads", "only read"])
def test_file_objects_are_containers(model: Path, kind: str) -> None:
    data = model.read_bytes()
    file: Any = {
        "BytesIO": lambda: io.BytesIO(data),
        "buffered": lambda: model.open("rb"),
        "unbuffered": lambda: model.open("rb", buffering=0),
        "short reads": lambda: Slow(data),
        "only read": lambda: ReadOnly(data),
    }[kind]()
    with mmh.open(file) as container:
        check(container)
    if kind != "only read":
        assert not file.closed  # who opened it closes it
        file.close()


def test_threads_may_share_a_file_object(model: Path) -> None:
    with model.open("rb") as file, mmh.open(file) as container:
        wrong: list[str] = []

        def work() -> None:
            for name, data in DATA.items():
                if container.load_bytes(name) != data:
                    wrong.append(name)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


class Failing(io.BytesIO):
    """A file whose reads fail once it was told so."""

    failing = False

    def readinto(self, buffer: Any) -> int:
        if self.failing:
            raise ConnectionResetError("the line went dead")
        return super().readinto(buffer)


def test_what_a_file_object_raises_comes_out(model: Path) -> None:
    file = Failing(model.read_bytes())
    with mmh.open(file) as container:
        file.failing = True
        buffers = [(name, bytearray(len(data))) for name, data in DATA.items()]
        for use in (
            lambda: container.load_bytes("layers.0.weight"),
            lambda: container.load_many(buffers),
            lambda: container.read(0, 4096, 100),
        ):
            with pytest.raises(ConnectionResetError, match="the line went dead"):
                use()
        file.failing = False
        check(container)
    file = Failing(model.read_bytes())
    file.failing = True
    with pytest.raises(ConnectionResetError):
        mmh.open(file)


def test_a_file_object_that_ends_early_is_an_error(model: Path) -> None:
    file = io.BytesIO(model.read_bytes())
    with mmh.open(file) as container:
        file.truncate(5000)
        with pytest.raises((OSError, mmh.CorruptError)):
            container.load_bytes("layers.7.weight")


def test_a_file_object_closed_meanwhile_is_an_error(model: Path) -> None:
    file = io.BytesIO(model.read_bytes())
    container = mmh.open(file)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        container.load_bytes("norm")
    container.close()


def test_pipes_and_text_are_refused(model: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe, os.fdopen(write, "wb"), pytest.raises((OSError, TypeError, ValueError)):
        mmh.open(pipe)
    for source in (io.StringIO("text"), model.open("r", encoding="latin-1")):
        with pytest.raises((TypeError, ValueError, mmh.Error)):
            mmh.open(source)
        source.close()


def test_names_of_files_are_text_bytes_or_paths(model: Path, tmp_path: Path) -> None:
    odd = tmp_path / "é ü\n.mmh"
    odd.write_bytes(model.read_bytes())
    for name in (str(odd), odd, os.fsencode(odd)):
        if isinstance(name, bytes):
            continue  # bytes are a container, not its name
        with mmh.open(name) as container:
            check(container)


# ---- packing from and to them ----


def test_files_are_packed_from_memory_and_file_objects(tmp_path: Path) -> None:
    text = b"the quick brown fox\n" * 5000
    (tmp_path / "raw").write_bytes(text)
    with (tmp_path / "raw").open("rb") as file:
        contents = {
            "plain.txt": text,
            "folder/parts.txt": [text[:7], b"", bytearray(text[7:50000]), memoryview(text[50000:])],
            "folder/file.txt": io.BytesIO(text),
            "opened.txt": file,
            "slow.txt": Slow(text),
            "empty": b"",
        }
        mmh.pack_files(contents, tmp_path / "out.mmh")
    with mmh.open(tmp_path / "out.mmh") as container:
        assert sorted(entry.name for entry in container.files if entry.kind == "file") == sorted(contents)
        for name in contents:
            with container.open_file(name) as file:
                assert file.read() == (b"" if name == "empty" else text), name


def test_streams_get_what_files_get(tmp_path: Path) -> None:
    tensors = {"norm": ("F32", (64,), DATA["norm"])}
    mmh.pack_tensors(tensors, tmp_path / "file.mmh")
    memory = io.BytesIO()
    mmh.pack_tensors(tensors, memory)
    assert memory.getvalue() == (tmp_path / "file.mmh").read_bytes()

    class Sink:
        """Not seekable, and takes 777 bytes at a time."""

        data = b""

        def write(self, part: Any) -> int:
            self.data += bytes(part[:777])
            return min(777, len(part))

    sink = Sink()
    mmh.pack_tensors(tensors, sink)
    assert mmh.open(sink.data).load_bytes("norm") == DATA["norm"]


def test_what_an_output_raises_comes_out() -> None:
    class Full:
        def write(self, part: Any) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        mmh.pack_tensors({"norm": ("F32", (64,), DATA["norm"])}, Full())


def test_what_a_source_raises_while_packing_leaves_nothing(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            raise ConnectionResetError("the line went dead")

    with pytest.raises(ConnectionResetError):
        mmh.pack_files({"a": b"x" * 100000, "b": Broken(b"y" * 100000)}, tmp_path / "out.mmh")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_block_is_told(tmp_path: Path) -> None:
    class Waiting(io.BytesIO):
        def readinto(self, buffer: Any) -> Any:
            return None

    with pytest.raises(OSError, match="gives nothing at 0"):
        mmh.open(Waiting(b"x" * 100000))


@pytest.mark.parametrize("name", ["", "/absolute", "../up", "a/../b", "a//b", "a\0b"])
def test_names_in_a_container_are_relative(tmp_path: Path, name: str) -> None:
    with pytest.raises((mmh.Error, ValueError)):
        mmh.pack_files({name: b"x"}, tmp_path / "out.mmh")
    assert list(tmp_path.iterdir()) == []


# ---- URLs ----


class Server:
    """A local HTTP server of one folder, which counts; `mode`: "ranges", "whole" (it ignores Range), "dying"
    (the connection ends in the middle of an answer), "gone" (404) or "broken" (500)."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mode = folder, "ranges"
        self.requests: list[tuple[str, str | None]] = []
        self.bytes = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, body: bool) -> None:
                with lock:
                    outer.requests.append((self.command, self.headers.get("Range")))
                status = {"gone": 404, "broken": 500}.get(outer.mode)
                path = outer.folder / self.path.lstrip("/")
                if status is None and not path.is_file():
                    status = 404
                if status is not None:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data = path.read_bytes()
                total = len(data)
                match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
                if match and outer.mode != "whole":
                    first = int(match[1]) if match[1] else total - int(match[2])
                    last = min(int(match[2]), total - 1) if match[1] and match[2] else total - 1
                    data = data[first : last + 1]
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
                else:
                    self.send_response(200)
                if outer.mode != "whole":
                    self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if not body:
                    return
                if outer.mode == "dying" and len(data) > 100:
                    data = data[: len(data) // 2]
                    self.close_connection = True
                with lock:  # before it is sent: who gets it may count at once
                    outer.bytes += len(data)
                with contextlib.suppress(OSError):  # who asked has left
                    self.wfile.write(data)

            def do_GET(self) -> None:
                self.answer(True)

            def do_HEAD(self) -> None:
                self.answer(False)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self) -> tuple[int, int]:
        """Requests with a body and bytes since the last call."""
        answer = sum(command == "GET" for command, _ in self.requests), self.bytes
        self.requests, self.bytes = [], 0
        return answer


@pytest.fixture
def server(model: Path) -> Iterator[Server]:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    running = Server(model.parent)
    yield running
    running.server.shutdown()
    running.server.server_close()


SLACK = 64 << 10


def test_a_url_is_a_container(server: Server) -> None:
    with mmh.open(f"{server.url}/model.mmh") as container:
        check(container)
    assert all(wanted for command, wanted in server.requests if command == "GET")


def test_only_what_is_needed_is_fetched(server: Server, model: Path, record_property: Any) -> None:
    whole = model.stat().st_size
    with mmh.open(f"{server.url}/model.mmh") as container:
        info = container.info
        requests, fetched = server.count()
        record_property("open", f"{requests} requests, {fetched} bytes of {whole}")
        assert fetched <= 2 * info.index_bytes + 3 * SLACK and requests <= 8

        tensor = container["layers.5.weight"]
        assert container.load_bytes("layers.5.weight") == DATA["layers.5.weight"]
        requests, fetched = server.count()
        record_property("tensor", f"{requests} requests, {fetched} bytes, {tensor.stored_bytes} stored")
        assert fetched <= tensor.stored_bytes * 1.02 + SLACK and requests <= 8

        part = bytearray(4 * COLUMNS * 4)
        container.load_slice_into("layers.2.weight", (10, 0), (14, COLUMNS), part)
        assert part == DATA["layers.2.weight"][10 * COLUMNS * 4 :][: len(part)]
        requests, fetched = server.count()
        record_property("slice", f"{requests} requests, {fetched} bytes")
        # A chunk has 2^18 elements: half of this tensor.
        assert fetched <= container["layers.2.weight"].stored_bytes * 0.55 + SLACK and requests <= 4

        names = ["layers.0.weight", "layers.1.weight", "norm"]
        buffers = [(name, bytearray(len(DATA[name]))) for name in names]
        container.load_many(buffers)
        assert all(buffer == DATA[name] for name, buffer in buffers)
        _, fetched = server.count()
        assert fetched <= sum(container[name].stored_bytes for name in names) * 1.02 + SLACK

        assert container.keys() and container.metadata() and container.files
        assert server.count() == (0, 0)  # known since it was opened


def test_drop_in_slices_fetch_their_chunks_alone(server: Server) -> None:
    pytest.importorskip("numpy")
    with mmh.safe_open(f"{server.url}/model.mmh", framework="np") as file:
        server.count()
        part = file.get_slice("layers.6.weight")
        assert part.get_shape() == list(SHAPES["layers.6.weight"]) and server.count() == (0, 0)
        assert part[1000:1002].tobytes() == DATA["layers.6.weight"][1000 * COLUMNS * 4 :][: 2 * COLUMNS * 4]
        _, fetched = server.count()
        assert 0 < fetched < len(DATA["layers.6.weight"]) * 0.55


def test_a_server_without_ranges_is_told_or_read_once(server: Server, model: Path) -> None:
    server.mode = "whole"
    try:
        with mmh.open(f"{server.url}/model.mmh") as container:
            check(container)
    except (mmh.Error, OSError, ValueError) as error:
        assert "range" in str(error).lower(), error
    else:
        assert server.count()[1] <= model.stat().st_size * 1.1


def test_a_server_that_dies_is_an_error(server: Server) -> None:
    with mmh.open(f"{server.url}/model.mmh") as container:
        server.mode = "dying"
        with pytest.raises((OSError, mmh.Error)) as caught:
            container.load_bytes("layers.0.weight")
        assert str(caught.value)
        server.mode = "broken"
        with pytest.raises((OSError, mmh.Error)):
            container.load_bytes("layers.0.weight")
        server.mode = "ranges"
        check(container)


def test_a_url_of_nothing_is_file_not_found(server: Server) -> None:
    with pytest.raises(FileNotFoundError):
        mmh.open(f"{server.url}/nothing.mmh")
    server.mode = "broken"
    with pytest.raises((OSError, mmh.Error)):
        mmh.open(f"{server.url}/model.mmh")


def test_a_protocol_that_nobody_knows_is_told() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises((mmh.Error, ValueError, OSError), match="nosuchprotocol"):
        mmh.open("nosuchprotocol://x/y.mmh")


def test_other_protocols_of_fsspec(model: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://models/model.mmh", "wb") as file:
        file.write(model.read_bytes())
    try:
        for url in ("memory://models/model.mmh", model.as_uri(), f"simplecache::{model.as_uri()}"):
            with mmh.open(url) as container:
                check(container)
        with pytest.raises(FileNotFoundError):
            mmh.open("memory://models/nothing.mmh")
    finally:
        fsspec.filesystem("memory").rm("/models", recursive=True)


def test_a_damaged_chunk_behind_a_url_names_its_tensor(server: Server, model: Path) -> None:
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 4
    damaged = model.parent / "damaged.mmh"
    damaged.write_bytes(data)
    with mmh.open(f"{server.url}/damaged.mmh") as container:
        wrong = 0
        for name, expected in DATA.items():
            try:
                assert container.load_bytes(name) == expected
            except mmh.CorruptError as error:
                assert name in str(error)
                wrong += 1
        assert wrong == 1


def test_encrypted_and_signed_containers_behind_a_url(server: Server, model: Path) -> None:
    key = mmh.Key.generate()
    path = model.parent / "secret.mmh"
    mmh.pack_tensors({"norm": ("F32", (64,), DATA["norm"])}, path, recipients=[key], sign_with=[key])
    with mmh.open(f"{server.url}/secret.mmh", keys=[key], signers=[key]) as container:
        assert container.load_bytes("norm") == DATA["norm"]
    with pytest.raises(mmh.UntrustedError):
        mmh.open(f"{server.url}/secret.mmh", keys=[key], signers=[mmh.Key.generate()])


def test_a_read_by_the_command_is_the_same(model: Path, tmp_path: Path) -> None:
    """What a file object of an original gives is what mmh unpack writes."""
    command = BUILD / "mmh"
    if not command.exists():
        pytest.skip("the command was not built")
    subprocess.run([command, "-q", "unpack", model, "-o", tmp_path / "out.safetensors"], check=True)
    with mmh.open(model) as container, container.open_file("model.safetensors") as file:
        assert file.read() == (tmp_path / "out.safetensors").read_bytes()
        file.seek(1000)
        assert file.read(5000) == (tmp_path / "out.safetensors").read_bytes()[1000:6000]
