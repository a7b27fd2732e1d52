# SPDX-License-Identifier: Apache-2.0
"""Distributed checkpoints: on several ranks, resharded, damaged, replaced; by mmh.dcp and by mmh:// URLs."""

from __future__ import annotations

import copy
import enum
import io
import json
import os
import pickle
import pickletools
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from json_mutation import mutated
from python_support import environment, flip, need_mmh

torch = pytest.importorskip("torch")
mmh = need_mmh("dcp") if torch.distributed.is_available() else need_mmh()
if not torch.distributed.is_available():
    pytest.skip("this PyTorch has no torch.distributed", allow_module_level=True)

import torch.distributed.checkpoint as dcp  # noqa: E402
from mmh import _dcp_metadata  # noqa: E402
from mmh._torch_tree import StructureError  # noqa: E402
from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner  # noqa: E402

try:
    import fsspec
except ImportError:
    fsspec = None

FAILURE = (Exception, CheckpointException)  # which is none, and is what torch makes of those of a rank
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is")
need_fsspec = pytest.mark.skipif(fsspec is None, reason="fsspec is not installed")
KINDS = ["mmh", "plain", "async-mmh"] + (["url"] if fsspec else [])


def on_ranks(count: int, tmp_path: Path, action: str, folder: Path, *options: str) -> Any:
    """Run the program on so many ranks; what rank 0 tells."""
    store = tmp_path / f"store-{uuid.uuid4().hex}"
    program = Path(__file__).with_name("python_dcp_ranks.py")
    started = [
        subprocess.Popen(
            [sys.executable, str(program), str(rank), str(count), str(store), action, str(folder), *options],
            env=environment(OMP_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    outputs = [process.communicate(timeout=600) for process in started]
    for process, (_, errors) in zip(started, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return json.loads(outputs[0][0].splitlines()[-1])


@pytest.fixture(scope="module")
def four_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of one state by four ranks, a folder of each kind."""
    folder = tmp_path_factory.mktemp("four")
    on_ranks(4, folder, "save", folder, f"kinds={','.join(KINDS)}")
    return folder


def load(state: Any, reader: Any, **options: Any) -> Any:
    """Load into a copy of a state, as a single process."""
    into = copy.deepcopy(state)
    dcp.load(into, storage_reader=reader, no_dist=True, **options)
    return into


def save(state: Any, writer: Any, **options: Any) -> None:
    dcp.save(state, storage_writer=writer, no_dist=True, **options)


STATE: dict[str, Any] = {
    "model": {"weight": torch.arange(60_000.0).reshape(300, 200), "half": torch.randn(500).bfloat16()},
    "step": 7,
    "text": "a value",
    "list": [1, 2.5, None],
}
BLANK: dict[str, Any] = {
    "model": {"weight": torch.zeros(300, 200), "half": torch.zeros(500).bfloat16()},
    "step": 0,
    "text": "",
    "list": [0, 0, 0],
}


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return type(first) is type(second) and first == second


def reason(error: Any) -> str:
    """All that an error says, and those that led to it: torch wraps them."""
    text = ""
    while error is not None:
        text += f"{error}\n"
        error = error.__cause__ or error.__context__
    return text


# ---- several ranks ----


def test_four_ranks_save_and_two_and_three_load_exactly(four_ranks: Path, tmp_path: Path) -> None:
    for count in (2, 3):
        on_ranks(count, tmp_path, "load", four_ranks, f"kinds={','.join(KINDS)}")


def test_every_rank_has_written_a_container_and_no_pickle(four_ranks: Path) -> None:
    for kind in ("mmh", "async-mmh"):
        names = sorted(path.name for path in (four_ranks / kind).iterdir())
        assert [name.split("-")[0] for name in names] == ["metadata.mmh", *(f"rank{rank:05}" for rank in range(4))]
        assert mmh.dcp.verify(four_ranks / kind) == ["metadata.mmh", *names[1:]]
        for name in names:
            with mmh.open(four_ranks / kind / name) as container:
                inside = {file.name: container.read(file.index) for file in container.files}
            assert set(inside) <= {"metadata.json", "shard.safetensors", "values.json"}
            for file, content in inside.items():
                header = content[8 : 8 + int.from_bytes(content[:8], "little")] if "shard" in file else content
                json.loads(header)
                with pytest.raises(Exception):  # noqa: B017  # whatever a text is to a reader of pickles
                    list(pickletools.genops(header))
    assert pickletools.dis((four_ranks / "plain" / ".metadata").read_bytes(), out=io.StringIO()) is None  # beside it


def test_one_process_loads_what_four_ranks_have_saved(four_ranks: Path) -> None:
    from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys

    loaded = _load_state_dict_from_keys(
        {"extra"}, storage_reader=mmh.dcp.StorageReader(four_ranks / "mmh")
    )  # the state is made from the metadata alone
    plain = _load_state_dict_from_keys({"extra"}, storage_reader=dcp.FileSystemReader(four_ranks / "plain"))
    assert loaded["extra"].keys() == plain["extra"].keys()
    assert torch.equal(loaded["extra"]["columns"], plain["extra"]["columns"])
    assert loaded["extra"]["step"] == 7


# ---- damage ----


def positions(size: int, count: int) -> list[int]:
    return sorted({size * number // count for number in range(count)} | {size - 1})


def damaged_loads(folder: Path, reader: Any, verify: Any, count: int = 25) -> tuple[int, int]:
    """(loads refused, loads exact although damaged) with one bit flipped, in every file at so many places."""
    refused = exact = 0
    for path in sorted(folder.iterdir()):
        for position in positions(path.stat().st_size, count):
            flip(path, position, position % 8)
            try:
                loaded = load(BLANK, reader())
            except FAILURE as error:
                text = reason(error)
                assert path.name in text, (path.name, position, text)
                refused += 1
            else:
                assert equal(loaded, STATE), (path.name, position)  # of a spare copy, or what nothing needs
                exact += 1
            with pytest.raises(mmh.Error, match=path.name.replace(".", r"\.")):
                verify()
            flip(path, position, position % 8)
    assert equal(load(BLANK, reader()), STATE)
    return refused, exact


@pytest.mark.filterwarnings("ignore::mmh.MendedWarning")
def test_a_flipped_bit_in_any_file_is_detected(tmp_path: Path) -> None:
    save(STATE, mmh.dcp.StorageWriter(tmp_path))
    refused, _ = damaged_loads(tmp_path, lambda: mmh.dcp.StorageReader(tmp_path), lambda: mmh.dcp.verify(tmp_path))
    assert refused > 10


def test_damage_names_the_tensor_of_the_checkpoint(tmp_path: Path) -> None:
    state = {"layers": {"3": {"weight": torch.randn(2000, 300)}}}
    save(state, mmh.dcp.StorageWriter(tmp_path))
    (shard,) = tmp_path.glob("rank*")
    flip(shard, shard.stat().st_size // 2)
    with pytest.raises(FAILURE, match=r"CheckpointException|damaged") as caught:
        load({"layers": {"3": {"weight": torch.zeros(2000, 300)}}}, mmh.dcp.StorageReader(tmp_path))
    assert shard.name in reason(caught.value) and "layers.3.weight" in reason(caught.value)
    with pytest.raises(mmh.CorruptError, match=r"layers\.3\.weight"):
        mmh.dcp.verify(tmp_path)


def test_plain_checkpoints_load_flipped_bits_in_silence(tmp_path: Path) -> None:
    """Beside the test above: what this guards against."""
    save(STATE, dcp.FileSystemWriter(tmp_path))
    content = (tmp_path / "__0_0.distcp").read_bytes()
    where = content.index(STATE["model"]["weight"].numpy().tobytes()[4000:4400])
    flip(tmp_path / "__0_0.distcp", where + 200)
    loaded = load(BLANK, dcp.FileSystemReader(tmp_path))
    assert not equal(loaded["model"], STATE["model"])


def test_slices_decode_alone(tmp_path: Path) -> None:
    weight = torch.randn(4096, 512)  # eight chunks
    save({"w": weight}, mmh.dcp.StorageWriter(tmp_path))
    (shard,) = tmp_path.glob("rank*")
    flip(shard, shard.stat().st_size * 3 // 4)

    class Rows(DefaultLoadPlanner):
        rows = slice(0, 0)

        def create_local_plan(self) -> Any:
            plan = super().create_local_plan()
            start, length = self.rows.start, self.rows.stop - self.rows.start
            (item,) = plan.items
            return dcp.LoadPlan([_part(item, start, length)])

    for rows, good in ((slice(10, 600), True), (slice(3000, 3500), False)):
        planner, state = Rows(), {"w": torch.zeros(4096, 512)}
        planner.rows = rows
        if good:
            dcp.load(state, storage_reader=mmh.dcp.StorageReader(tmp_path), planner=planner, no_dist=True)
            assert torch.equal(state["w"][rows], weight[rows]) and not state["w"][rows.stop :].any()
        else:
            with pytest.raises(FAILURE, match="w") as caught:
                dcp.load(state, storage_reader=mmh.dcp.StorageReader(tmp_path), planner=planner, no_dist=True)
            assert "damaged" in reason(caught.value) or "hash" in reason(caught.value)


def _part(item: Any, start: int, length: int) -> Any:
    import dataclasses

    return dataclasses.replace(
        item,
        dest_offsets=torch.Size([start, 0]),
        storage_offsets=torch.Size([start, 0]),
        lengths=torch.Size([length, item.lengths[1]]),
    )


def test_files_of_another_save_are_found_out(tmp_path: Path) -> None:
    save(STATE, mmh.dcp.StorageWriter(tmp_path / "a"))
    save({**STATE, "step": 8}, mmh.dcp.StorageWriter(tmp_path / "b"))
    (first,), (second,) = (tmp_path / "a").glob("rank*"), (tmp_path / "b").glob("rank*")
    first.write_bytes(second.read_bytes())
    with pytest.raises(FAILURE, match="rank") as caught:
        load(BLANK, mmh.dcp.StorageReader(tmp_path / "a"))
    assert "not the file" in reason(caught.value)
    with pytest.raises(mmh.CorruptError, match="not the file"):
        mmh.dcp.verify(tmp_path / "a")
    first.unlink()
    with pytest.raises(FAILURE, match="rank") as caught:
        load(BLANK, mmh.dcp.StorageReader(tmp_path / "a"))
    assert first.name in reason(caught.value)


# ---- replacing ----


def test_a_save_that_fails_leaves_the_old_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(STATE, mmh.dcp.StorageWriter(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FAILURE, match=r"Odd|cannot store"):
        save({**STATE, "model": {}, "bad": _Odd()}, mmh.dcp.StorageWriter(tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with monkeypatch.context() as patch:
        patch.setattr(_dcp_metadata, "encode", _fail)
        with pytest.raises(FAILURE, match="the power is gone"):
            save({**STATE, "step": 9}, mmh.dcp.StorageWriter(tmp_path))
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())
    assert equal(load(BLANK, mmh.dcp.StorageReader(tmp_path)), STATE)


def _fail(*_: Any) -> Any:
    raise OSError("the power is gone")


class _Odd:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Odd)

    __hash__ = None  # type: ignore[assignment]


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path: Path) -> None:
    writer = mmh.dcp.StorageWriter(tmp_path)
    for step in (1, 2, 3):  # of one writer, without a reset between
        save({**STATE, "step": step}, writer)
        assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["metadata.mmh", "rank00000"]
        assert load(BLANK, mmh.dcp.StorageReader(tmp_path))["step"] == step
    with pytest.raises(FAILURE, match="there already"):
        save(STATE, mmh.dcp.StorageWriter(tmp_path, overwrite=False))
    other = tmp_path / "other.mmh"
    other.write_bytes(b"not ours")
    save(STATE, writer)
    assert other.read_bytes() == b"not ours"


def test_cached_plans_save_what_is_new(tmp_path: Path) -> None:
    writer = mmh.dcp.StorageWriter(tmp_path)
    state = copy.deepcopy(STATE)
    for step in (1, 2, 3):
        state["step"] = step
        state["model"]["weight"].add_(1)
        save(state, writer, planner=DefaultSavePlanner(enable_plan_caching=True))
        assert equal(load(BLANK, mmh.dcp.StorageReader(tmp_path)), state)


def test_a_checkpoint_of_ranks_apart_loads(tmp_path: Path) -> None:
    save(STATE, mmh.dcp.StorageWriter(tmp_path / "other"))
    with pytest.raises(FAILURE, match="use_collectives"):
        save(STATE, mmh.dcp.StorageWriter(tmp_path / "other"), use_collectives=False)
    mmh.dcp.verify(tmp_path / "other")
    tmp_path = tmp_path / "apart"
    save(STATE, mmh.dcp.StorageWriter(tmp_path), use_collectives=False)
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["rank00000", "rank00000.metadata.mmh"]
    assert equal(load(BLANK, mmh.dcp.StorageReader(tmp_path)), STATE)
    assert len(mmh.dcp.verify(tmp_path)) == 2


def test_async_save_saves_what_was_there_when_it_was_called(tmp_path: Path) -> None:
    state = copy.deepcopy(STATE)
    future = dcp.async_save(state, storage_writer=mmh.dcp.StorageWriter(tmp_path), no_dist=True)
    state["model"]["weight"].zero_()
    future.result()
    assert equal(load(BLANK, mmh.dcp.StorageReader(tmp_path)), STATE)


def test_writers_go_to_other_processes(tmp_path: Path) -> None:
    writer = pickle.loads(pickle.dumps(mmh.dcp.StorageWriter(tmp_path, level=3)))
    save(STATE, writer)
    assert equal(load(BLANK, pickle.loads(pickle.dumps(mmh.dcp.StorageReader(tmp_path)))), STATE)


# ---- planners, targets, options ----


def test_planners_may_transform_what_is_saved(tmp_path: Path) -> None:
    class Doubled(DefaultSavePlanner):
        calls = 0

        def transform_object(self, write_item: Any, object: Any) -> Any:
            if isinstance(object, torch.Tensor):
                Doubled.calls += 1
                return object * 2
            return super().transform_object(write_item, object)

    save(STATE, mmh.dcp.StorageWriter(tmp_path), planner=Doubled())
    loaded = load(BLANK, mmh.dcp.StorageReader(tmp_path))
    assert torch.equal(loaded["model"]["weight"], STATE["model"]["weight"] * 2)
    assert loaded["step"] == 7 and Doubled.calls >= 2


def test_a_planner_that_gives_another_tensor_is_refused(tmp_path: Path) -> None:
    class Narrowed(DefaultSavePlanner):
        def transform_object(self, write_item: Any, object: Any) -> Any:
            return object.half() if isinstance(object, torch.Tensor) else super().transform_object(write_item, object)

    with pytest.raises(FAILURE, match=r"weight|half"):
        save(STATE, mmh.dcp.StorageWriter(tmp_path), planner=Narrowed())
    assert list(tmp_path.iterdir()) == []


def test_targets_of_another_type_and_layout_are_filled(tmp_path: Path) -> None:
    weight = torch.randn(30, 20)
    save({"w": weight, "v": weight}, mmh.dcp.StorageWriter(tmp_path))
    loaded = load({"w": torch.zeros(30, 20).bfloat16(), "v": torch.zeros(20, 30).t()}, mmh.dcp.StorageReader(tmp_path))
    assert torch.equal(loaded["w"], weight.bfloat16()) and torch.equal(loaded["v"], weight)


def planned(dtype: Any) -> bool:
    """Whether torch.distributed.checkpoint can plan tensors of a type: it asks for the bytes of an element."""
    try:
        torch._utils._element_size(dtype)
        torch.zeros(dtype.itemsize, dtype=torch.uint8).view(dtype).view(1, 1)
    except (RuntimeError, TypeError):
        return False
    return True


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128", "float4_e2m1fn_x2", "float8_e5m2", "bool"])
def test_rows_of_every_kind_of_storing_are_loaded(dtype: str, tmp_path: Path) -> None:
    kind = _dcp_metadata.named_dtypes()[dtype]
    count = 24 * torch.empty(0, dtype=kind).element_size()
    data = torch.randint(0, 2 if dtype == "bool" else 256, (count,), dtype=torch.uint8)
    tensor = data.view(kind).view(4, 6)
    save({"t": tensor}, mmh.dcp.StorageWriter(tmp_path))

    class Rows(DefaultLoadPlanner):
        def create_local_plan(self) -> Any:
            (item,) = super().create_local_plan().items
            return dcp.LoadPlan([_part(item, 1, 2)])

    state = {"t": torch.zeros(count, dtype=torch.uint8).view(kind).view(4, 6)}
    dcp.load(state, storage_reader=mmh.dcp.StorageReader(tmp_path), planner=Rows(), no_dist=True)
    found = state["t"].view(torch.uint8).view(4, -1)
    assert torch.equal(found[1:3], tensor.view(torch.uint8).view(4, -1)[1:3])
    assert not found[0].any() and not found[3].any()


def test_a_pickle_beside_is_not_taken_for_a_shard(tmp_path: Path) -> None:
    """mmh finds the tensors of pickles too: they have names, which may be those of the state."""
    state = {"0": torch.ones(5), "odd": (torch.full((5,), 9.0), _Odd())}
    save(state, mmh.dcp.StorageWriter(tmp_path, allow_pickle=True))
    with mmh.open(next(tmp_path.glob("rank*"))) as container:
        assert container.keys() == ["0", "shard.safetensors:0"]
    into = {"0": torch.zeros(5), "odd": None}
    loaded = load(into, mmh.dcp.StorageReader(tmp_path, allow_pickle=True))
    assert torch.equal(loaded["0"], torch.ones(5)) and torch.equal(loaded["odd"][0], torch.full((5,), 9.0))


@pytest.mark.parametrize("dtype", sorted(name for name, kind in _dcp_metadata.named_dtypes().items() if planned(kind)))
def test_tensors_of_every_dtype_are_saved(dtype: str, tmp_path: Path) -> None:
    kind = _dcp_metadata.named_dtypes()[dtype]
    count = 24 * torch.empty(0, dtype=kind).element_size()
    data = torch.randint(0, 2 if dtype == "bool" else 256, (count,), dtype=torch.uint8)
    tensor, blank = data.view(kind).view(4, 6), torch.zeros(count, dtype=torch.uint8).view(kind).view(4, 6)
    save({"t": tensor}, mmh.dcp.StorageWriter(tmp_path))
    state = {"t": blank}
    dcp.load(state, storage_reader=mmh.dcp.StorageReader(tmp_path), no_dist=True)
    assert torch.equal(state["t"].view(torch.uint8), tensor.view(torch.uint8))


def test_values_that_need_a_pickle_are_named_and_asked_about(tmp_path: Path) -> None:
    shared = [1, torch.ones(2)]
    state = {"model": torch.zeros(3), "odd": {"one": (shared, _Odd()), "two": (shared, 2)}}
    with pytest.raises(FAILURE, match=r"odd\.one|Odd"):
        save(state, mmh.dcp.StorageWriter(tmp_path))
    assert list(tmp_path.iterdir()) == []
    save(state, mmh.dcp.StorageWriter(tmp_path, allow_pickle=True))
    with pytest.raises(FAILURE, match="odd") as caught:
        load(state, mmh.dcp.StorageReader(tmp_path))
    assert "allow_pickle" in reason(caught.value)
    into = {"model": torch.ones(3), "odd": {"one": None, "two": None}}
    loaded = load(into, mmh.dcp.StorageReader(tmp_path, allow_pickle=True))
    assert loaded["odd"]["one"][1] == _Odd() and not loaded["model"].any()
    assert loaded["odd"]["two"][0][0] == 1 and torch.equal(loaded["odd"]["two"][0][1], torch.ones(2))
    with mmh.open(next(tmp_path.glob("rank*"))) as container:
        counts = {file.name: file.tensor_count for file in container.files}
        assert counts["shard.safetensors"] == 2  # of the value that is a pickle no tensor is stored
    with torch.serialization.safe_globals([_Odd]):  # what the user believes, weights_only takes
        save(state, mmh.dcp.StorageWriter(tmp_path))
        assert load(into, mmh.dcp.StorageReader(tmp_path))["odd"]["one"][1] == _Odd()


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_a_pickled_trap_is_not_sprung(tmp_path: Path) -> None:
    state = {"trap": _Trap(tmp_path / "sprung")}
    save(state, mmh.dcp.StorageWriter(tmp_path / "c", allow_pickle=True))
    with pytest.raises(FAILURE, match="trap"):
        dcp.load({"trap": None}, storage_reader=mmh.dcp.StorageReader(tmp_path / "c"), no_dist=True)
    assert not (tmp_path / "sprung").exists()
    dcp.load({"trap": None}, storage_reader=mmh.dcp.StorageReader(tmp_path / "c", allow_pickle=True), no_dist=True)
    assert (tmp_path / "sprung").exists()  # it is one


def test_checkpoints_are_encrypted_signed_and_have_parity(tmp_path: Path) -> None:
    key, stranger = mmh.Key.generate(), mmh.Key.generate()
    save(STATE, mmh.dcp.StorageWriter(tmp_path, recipients=key, sign_with=key, parity=5.0))
    with pytest.raises(FAILURE, match=r"key|recipient"):
        load(BLANK, mmh.dcp.StorageReader(tmp_path))
    with pytest.raises(FAILURE, match="sign"):
        load(BLANK, mmh.dcp.StorageReader(tmp_path, keys=key, signers=stranger))
    assert equal(load(BLANK, mmh.dcp.StorageReader(tmp_path, keys=key, signers=key)), STATE)
    assert b"a value" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    mmh.dcp.verify(tmp_path, keys=key, signers=key)
    save(STATE, mmh.dcp.StorageWriter(tmp_path, recipients=key, sign_with=key))
    assert len(list(tmp_path.iterdir())) == 2  # the old one could be read, and is gone


@need_fsspec
def test_checkpoints_live_where_fsspec_reaches(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}/step"
    for step in (1, 2):
        save({**STATE, "step": step}, mmh.dcp.StorageWriter(url))
        assert load(BLANK, mmh.dcp.StorageReader(url))["step"] == step
    names = fsspec.filesystem("memory").ls(url, detail=False)
    assert sorted(name.rsplit("/", 1)[1].split("-")[0] for name in names) == ["metadata.mmh", "rank00000"]


# ---- mmh:// ----


@need_fsspec
def test_urls_just_work_and_keep_metadata_as_json(tmp_path: Path) -> None:
    dcp.save(STATE, checkpoint_id=f"mmh://{tmp_path}/c", no_dist=True)
    into = copy.deepcopy(BLANK)
    dcp.load(into, checkpoint_id=f"mmh://{tmp_path}/c", no_dist=True)
    assert equal(into, STATE)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [".metadata.mmh", "__0_0.distcp.mmh"]
    with mmh.open(tmp_path / "c" / ".metadata.mmh") as container:
        assert [file.name for file in container.files] == ["metadata.json"]
        json.loads(container.read(0))
    with mmh.open(tmp_path / "c" / "__0_0.distcp.mmh") as container:
        assert container.files[0].format == "torch shard" and len(container) == 2  # its tensors are found
    assert mmh.dcp.verify(tmp_path / "c") == [".metadata.mmh", "__0_0.distcp.mmh"]
    with pytest.raises(mmh.UsageError, match="the folder itself"):
        mmh.dcp.StorageReader(f"mmh://{tmp_path}/c")
    dcp.save({**STATE, "step": 8}, checkpoint_id=f"mmh://{tmp_path}/c", no_dist=True)
    dcp.load(into, checkpoint_id=f"mmh://{tmp_path}/c", no_dist=True)
    assert into["step"] == 8


class _NamesMembers(pickle.Pickler):
    """Writes members of enumerations as Python 3.11 before 3.11.4 does: by getattr."""

    def reducer_override(self, obj: Any) -> Any:
        return (getattr, (type(obj), obj.name)) if isinstance(obj, enum.Enum) else NotImplemented


def test_metadata_of_an_older_python_is_understood_and_no_other_attribute(tmp_path: Path) -> None:
    dcp.save(STATE, checkpoint_id=tmp_path, no_dist=True)
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())
    metadata.storage_meta = None  # it has the path
    spool = io.BytesIO()
    _NamesMembers(spool).dump(metadata)
    assert b"getattr" in spool.getvalue()
    again, _ = _dcp_metadata.from_pickle(spool.getvalue(), "older")
    assert again.state_dict_metadata == metadata.state_dict_metadata
    with pytest.raises(TypeError, match="getattr"):
        _dcp_metadata.from_pickle(pickle.dumps(_Reaches()), "hostile")


class _Reaches:
    def __reduce__(self) -> Any:
        return getattr, (torch.Size, "__init__")


@need_fsspec
@pytest.mark.filterwarnings("ignore::mmh.MendedWarning")
def test_a_flipped_bit_in_any_file_of_a_url_is_detected(tmp_path: Path) -> None:
    dcp.save(STATE, checkpoint_id=f"mmh://{tmp_path}", no_dist=True)
    from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader

    refused, _ = damaged_loads(tmp_path, lambda: FsspecReader(f"mmh://{tmp_path}"), lambda: mmh.dcp.verify(tmp_path))
    assert refused > 10


@need_fsspec
def test_a_mix_of_two_saves_is_found_out_by_url(tmp_path: Path) -> None:
    for name, step in (("a", 1), ("b", 2)):
        dcp.save({**STATE, "step": step}, checkpoint_id=f"mmh://{tmp_path}/{name}", no_dist=True)
    (tmp_path / "a" / "__0_0.distcp.mmh").write_bytes((tmp_path / "b" / "__0_0.distcp.mmh").read_bytes())
    with pytest.raises(FAILURE, match="not the file"):
        dcp.load(copy.deepcopy(BLANK), checkpoint_id=f"mmh://{tmp_path}/a", no_dist=True)


@need_fsspec
def test_a_pickled_trap_is_not_sprung_by_url(tmp_path: Path) -> None:
    from torch.distributed.checkpoint._extension import ZStandard
    from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter

    writers = [FsspecWriter(f"mmh://{tmp_path}/c0")]
    if ZStandard.is_available():
        writers.append(FsspecWriter(f"mmh://{tmp_path}/c1", _extensions=[ZStandard()]))
    for number, writer in enumerate(writers):
        sprung = tmp_path / f"sprung{number}"
        save({"trap": _Trap(sprung), "fine": 1}, writer)
        with pytest.raises(FAILURE, match="trap"):
            dcp.load({"trap": None}, checkpoint_id=f"mmh://{tmp_path}/c{number}", no_dist=True)
        assert not sprung.exists()
        reader = FsspecReader(f"mmh://{tmp_path}/c{number}", allow_pickle=True)
        dcp.load({"trap": None}, storage_reader=reader, no_dist=True)
        assert sprung.exists()


@need_fsspec
def test_checkpoints_of_urls_are_encrypted(tmp_path: Path) -> None:
    from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter

    secret = {"passphrase": "correct horse"}
    save(STATE, FsspecWriter(f"mmh://{tmp_path}", packing=secret, opening=secret))
    with pytest.raises(FAILURE, match="encrypted"):
        load(BLANK, FsspecReader(f"mmh://{tmp_path}"))
    assert equal(load(BLANK, FsspecReader(f"mmh://{tmp_path}", opening=secret)), STATE)
    assert b"a value" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


@need_fsspec
def test_foreign_metadata_is_not_unpickled(tmp_path: Path) -> None:
    filesystem = fsspec.filesystem("mmh")
    for content in (pickle.dumps(_Trap(tmp_path / "sprung")), b"", b"text", pickle.dumps([1])):
        with pytest.raises(TypeError, match="JSON"), filesystem.open(f"{tmp_path}/.metadata", "wb") as file:
            file.write(content)
        assert not list(tmp_path.iterdir())


@need_fsspec
@pytest.mark.parametrize("beneath", ["mmh://{path}", "mmh::memory://{name}"])
def test_any_file_goes_through_the_url(beneath: str, tmp_path: Path) -> None:
    base = beneath.format(path=tmp_path, name=uuid.uuid4().hex)
    filesystem, _ = fsspec.core.url_to_fs(base)
    content = os.urandom(3000) + bytes(3_000_000)
    filesystem.makedirs(f"{base}/sub", exist_ok=True)
    with filesystem.open(f"{base}/sub/a.bin", "wb") as file:
        file.write(content[:1000])
        file.write(memoryview(content)[1000:])
        assert file.tell() == len(content)
    with filesystem.open(f"{base}/sub/a.bin", "rb") as file:
        assert file.read(10) == content[:10]
        assert file.seek(2990) == 2990 and file.read(20) == content[2990:3010]
        assert file.read() == content[3010:]
    assert filesystem.cat_file(f"{base}/sub/a.bin", 2995, 3005) == content[2995:3005]
    assert filesystem.size(f"{base}/sub/a.bin") == len(content)
    assert filesystem.info(f"{base}/sub/a.bin")["stored_size"] < 20_000
    assert [name.rsplit("/", 1)[1] for name in filesystem.ls(f"{base}/sub", detail=False)] == ["a.bin"]
    assert filesystem.ls(f"{base}/sub")[0]["type"] == "file"
    filesystem.mv(f"{base}/sub/a.bin", f"{base}/sub/b.bin")
    assert filesystem.exists(f"{base}/sub/b.bin") and not filesystem.exists(f"{base}/sub/a.bin")
    filesystem.cp_file(f"{base}/sub/b.bin", f"{base}/sub/c.bin")
    assert filesystem.cat_file(f"{base}/sub/c.bin") == content
    filesystem.rm_file(f"{base}/sub/b.bin")
    assert filesystem.isfile(f"{base}/sub/c.bin") and not filesystem.isfile(f"{base}/sub/b.bin")
    with pytest.raises(FileNotFoundError):
        filesystem.open(f"{base}/sub/b.bin", "rb")
    with pytest.raises(ValueError, match="anew"):
        filesystem.open(f"{base}/sub/c.bin", "ab")
    with pytest.raises(RuntimeError, match="stop"), filesystem.open(f"{base}/sub/d.bin", "wb") as file:
        file.write(b"half")
        raise RuntimeError("stop")
    assert not filesystem.exists(f"{base}/sub/d.bin")


# ---- hostile metadata ----


@pytest.fixture
def metadata_text(tmp_path: Path) -> Any:
    save(STATE, mmh.dcp.StorageWriter(tmp_path / "good"))
    with mmh.open(tmp_path / "good" / "metadata.mmh") as container:
        return json.loads(container.read("metadata.json"))


def test_hostile_metadata_is_refused(metadata_text: Any) -> None:
    weight = next(number for number, entry in enumerate(metadata_text["state"]) if entry["name"] == "model.weight")
    item = next(number for number, entry in enumerate(metadata_text["items"]) if entry["name"] == "model.weight")
    assert _dcp_metadata.decode(json.dumps(metadata_text).encode(), "good").state_dict_metadata

    def changed(change: Any) -> bytes:
        text = copy.deepcopy(metadata_text)
        change(text)
        return json.dumps(text).encode()

    def put(*keys: Any) -> Any:
        *path, last, value = keys

        def change(text: Any) -> None:
            for key in path:
                text = text[key]
            text[last] = value

        return change

    for change in (
        put("format", "other"),
        put("version", 2),
        put("version", 1.0),
        put("more", 1),
        lambda text: text.pop("items"),
        put("files", [{"name": "../../etc/passwd", "root": ""}]),
        put("files", [{"name": "a/b.mmh", "root": ""}]),
        put("files", [{"name": ".hidden", "root": ""}]),
        put("files", []),
        put("items", item, "file", 99),
        put("items", item, "file", -1),
        put("items", item, "file", True),
        put("items", item, "kind", "exec"),
        put("items", item, "name", "nowhere"),
        put("items", item, "offset", [-1, 0]),
        put("items", item, "offset", "0"),
        put("items", item, "extra", 1),
        lambda text: text["items"].append(text["items"][item]),
        lambda text: text["state"].append(text["state"][weight]),
        put("state", weight, "dtype", "nn.Module"),
        put("state", weight, "layout", "sparse_coo"),
        put("state", weight, "shape", [300]),
        put("state", weight, "shape", [1 << 70, 200]),
        put("state", weight, "chunks", [[[0, 0], [301, 200]]]),
        put("state", weight, "chunks", [[[0], [300]]]),
        put("state", weight, "chunks", [[0, 1]]),
        put("state", weight, "requires_grad", 1),
        put("state", 3),
        put("planner", {}),
        put("planner", "tree", {"kind": "module"}),
        put("planner", "tree", {"kind": "bytes", "storage": "x"}),
        put("modules", [1]),
        put("save_id", None),
    ):
        with pytest.raises(StructureError, match="hostile"):
            _dcp_metadata.decode(changed(change), "hostile")
    for text in (b"", b"[]", b"null", b"{", b"\x80\x04N.", b"[" * 100_000):
        with pytest.raises(StructureError, match="hostile"):
            _dcp_metadata.decode(text, "hostile")


def test_any_metadata_is_decoded_or_refused(metadata_text: Any) -> None:
    refused = 0
    for seed in range(1000):
        try:
            _dcp_metadata.decode(json.dumps(mutated(metadata_text, seed)).encode(), "mutated")
        except StructureError:
            refused += 1
    assert 500 < refused < 1000


def test_too_much_metadata_is_refused_unread(tmp_path: Path) -> None:
    save(STATE, mmh.dcp.StorageWriter(tmp_path))
    with pytest.raises(FAILURE, match="more than 100"):
        load(BLANK, mmh.dcp.StorageReader(tmp_path, metadata_bytes=100))


def test_metadata_that_disagrees_with_its_files_is_refused(tmp_path: Path, metadata_text: Any) -> None:
    for key, value in (("shape", [300, 100]), ("dtype", "int32")):
        text = copy.deepcopy(metadata_text)
        entry = next(entry for entry in text["state"] if entry["name"] == "model.weight")
        entry[key] = value
        if key == "shape":
            entry["chunks"] = [[[0, 0], value]]
        mmh.pack_files({"metadata.json": json.dumps(text).encode()}, tmp_path / "good" / "metadata.mmh", overwrite=True)
        state = copy.deepcopy(BLANK)
        state["model"]["weight"] = torch.zeros(300, 100) if key == "shape" else torch.zeros(300, 200).int()
        with pytest.raises(FAILURE, match=r"model\.weight") as caught:
            load(state, mmh.dcp.StorageReader(tmp_path / "good"))
        assert "metadata says" in reason(caught.value)
