# SPDX-License-Identifier: Apache-2.0
"""mmh.torch: dicts of tensors as safetensors has them, and whole checkpoints without a pickle."""

from __future__ import annotations

import collections
import io
import json
import math
import os
import pickletools
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from json_mutation import mutated
from python_support import flip, need_mmh

torch = pytest.importorskip("torch")
mmh = need_mmh("torch")

import mmh.torch as mt  # noqa: E402
from mmh import _torch_memory, _torch_tree  # noqa: E402

DTYPES = sorted(_torch_memory.DTYPES)


def sample(name: str, shape: tuple[int, ...] = (6, 8)) -> Any:
    """A tensor of a type, of random bits: NaNs, infinities, denormals and all."""
    dtype = _torch_memory.DTYPES[name]
    count = math.prod(shape) * torch.empty(0, dtype=dtype).element_size()
    data = torch.randint(0, 2 if name == "BOOL" else 256, (count,), dtype=torch.uint8)
    return data.view(dtype).view(shape)


def bits(tensor: Any) -> bytes:
    """The bytes of a tensor's elements in row-major order."""
    tensor = tensor.detach().contiguous()
    return bytes(tensor.view(-1).view(torch.uint8).tolist()) if tensor.numel() else b""


def same(first: Any, second: Any) -> bool:
    return first.dtype == second.dtype and tuple(first.shape) == tuple(second.shape) and bits(first) == bits(second)


def through(value: Any, tmp_path: Path, **options: Any) -> Any:
    """What comes back of a value that is saved and loaded."""
    path = tmp_path / "checkpoint.mmh"
    mt.save(value, path, **options)
    return mt.load(path)


# ---- dicts of tensors ----


@pytest.mark.parametrize("name", [name for name in DTYPES if name != "C128"])
def test_every_dtype_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    tensors = {"matrix": sample(name), "vector": sample(name, (300,)), "empty": sample(name, (0, 4))}
    if name != "F4":
        tensors["scalar"] = sample(name, ())
    mt.save_file(tensors, tmp_path / "m.mmh", level=1)
    loaded = mt.load_file(tmp_path / "m.mmh")
    assert loaded.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert same(loaded[key], tensor), key
        assert loaded[key].untyped_storage().nbytes() == tensor.numel() * tensor.element_size()  # a storage of its own


def test_the_container_holds_the_file_that_safetensors_writes(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    names = [name for name in ("BF16", "F32", "I64", "BOOL", "F16", "C64", "F4") if name in DTYPES]
    tensors = {f"layer.{n}": sample(name) for n, name in enumerate(names)}
    metadata = {"format": "pt", "a": "b"}
    safetensors.save_file(tensors, tmp_path / "plain.safetensors", {"format": "pt"})
    mt.save_file(tensors, tmp_path / "model.safetensors.mmh", {"format": "pt"})
    with mmh.open(tmp_path / "model.safetensors.mmh") as container:
        assert [file.name for file in container.files] == ["model.safetensors"]
        assert container.read(0) == (tmp_path / "plain.safetensors").read_bytes()
    mt.save_file(tensors, tmp_path / "model.safetensors.mmh", metadata)  # replaced, as safetensors does
    mmh.unpack(tmp_path / "model.safetensors.mmh", tmp_path / "out")
    loaded = safetensors.load_file(tmp_path / "out" / "model.safetensors")
    assert all(same(loaded[key], tensor) for key, tensor in tensors.items())
    with mmh.open(tmp_path / "model.safetensors.mmh") as container:
        assert container.metadata() == metadata


def test_bytes_are_a_container_too(tmp_path: Path) -> None:
    tensors = {"a": sample("BF16"), "b": sample("F32")}
    data = mt.save(tensors, {"key": "value"})
    assert type(data) is bytes
    loaded = mt.load(data)
    assert all(same(loaded[key], tensors[key]) for key in tensors)
    (tmp_path / "m.mmh").write_bytes(data)
    with mmh.open(tmp_path / "m.mmh") as container:
        assert container.metadata() == {"key": "value"}


def test_what_safetensors_refuses_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.mmh"
    base = torch.zeros(4, 4)
    for tensors, error, word in [
        ({"a": base, "b": base}, RuntimeError, "share memory"),
        ({"a": base[:2], "b": base[1:]}, RuntimeError, "share memory"),
        ({"a": base.t()[:, :3]}, ValueError, "a: not contiguous"),
        ({"a": torch.eye(3).to_sparse()}, ValueError, "a: .*dense"),
        ({"a": [1, 2]}, ValueError, "a: a list"),
        ({1: base}, ValueError, "key 1"),
        ([base], ValueError, "a dict of tensors"),
        ({"a": torch.zeros(2, dtype=torch.complex128)}, ValueError, "a: .*complex128"),
        ({"a": torch.zeros(2, device="meta")}, ValueError, "a: .*meta"),
    ]:
        with pytest.raises(error, match=word):
            mt.save_file(tensors, path)
        with pytest.raises(error, match=word):
            mt.save(tensors)
        assert not path.exists()
    with pytest.raises(TypeError, match="metadata"):
        mt.save_file({"a": base}, path, {"step": 3})
    mt.save_file({"a": base[:2], "b": base[2:]}, path)  # of one storage, but apart
    assert same(mt.load_file(path)["b"], base[2:])


def test_models_with_tied_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    def tied() -> Any:
        model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(5, 4), "head": torch.nn.Linear(4, 5, bias=False)})
        model["head"].weight = model["embed"].weight
        return model

    torch.manual_seed(0)
    model, other = tied(), tied()
    mt.save_model(model, tmp_path / "m.mmh", {"format": "pt"})
    with mmh.open(tmp_path / "m.mmh") as container:
        assert container.keys() == ["embed.weight"]
        assert container.metadata() == {"format": "pt", "head.weight": "embed.weight"}
    assert mt.load_model(other, tmp_path / "m.mmh") == ([], [])
    assert same(other["head"].weight, model["embed"].weight)
    assert other["head"].weight is other["embed"].weight
    with pytest.raises(RuntimeError, match=r'Missing key.*\s.*"weight"'):
        mt.load_model(torch.nn.Linear(4, 5), tmp_path / "m.mmh")
    missing, unexpected = mt.load_model(torch.nn.Linear(4, 5), tmp_path / "m.mmh", strict=False)
    assert missing == ["bias", "weight"] and unexpected == ["embed.weight"]
    model.part = torch.nn.Parameter(torch.zeros(9)[:4])
    model.other = torch.nn.Parameter(model.part.data[1:3])
    with pytest.raises(RuntimeError, match="covers all of the storage"):
        mt.save_model(model, tmp_path / "m.mmh")


def test_tensors_of_packed_checkpoints_come_with_their_layout(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    torch.save({"whole": base, "turned": base.t(), "part": base[1:3, 2:]}, tmp_path / "m.pt")
    mmh.pack(tmp_path / "m.pt", tmp_path / "m.pt.mmh")
    loaded = mt.load_file(tmp_path / "m.pt.mmh")
    assert torch.equal(loaded["whole"], base)
    assert torch.equal(loaded["turned"], base.t())
    assert torch.equal(loaded["part"], base[1:3, 2:])
    whole = mt.load(tmp_path / "m.pt.mmh")  # by torch.load(weights_only=True)
    assert torch.equal(whole["turned"], base.t()) and whole["turned"].data_ptr() == whole["whole"].data_ptr()


def test_a_packed_pickle_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"a": torch.zeros(2), "trap": Trap()}, tmp_path / "m.pt")
    mmh.pack(tmp_path / "m.pt", tmp_path / "m.pt.mmh")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        mt.load(tmp_path / "m.pt.mmh")
    assert not (tmp_path / "sprung").exists()


def test_a_type_that_torch_lacks_is_named(tmp_path: Path) -> None:
    header = json.dumps({"odd": {"dtype": "F6_E2M3", "shape": [8], "data_offsets": [0, 6]}}).encode()
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    mmh.pack(tmp_path / "m.safetensors", tmp_path / "m.mmh")
    with pytest.raises(mmh.UnsupportedError, match="odd"):
        mt.load_file(tmp_path / "m.mmh")


def test_damage_names_the_tensor(tmp_path: Path) -> None:
    path = tmp_path / "m.mmh"
    mt.save_file({"the.weight": torch.randn(300, 300)}, path)
    flip(path, path.stat().st_size // 2)
    with pytest.raises(mmh.CorruptError, match=r"the\.weight"):
        mt.load_file(path)


# ---- whole checkpoints ----


def test_a_training_state_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.BatchNorm1d(30), torch.nn.Linear(30, 5).bfloat16())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5])
    for _ in range(3):
        model[1](model[0](torch.randn(8, 20))).square().sum().backward()
        optimizer.step()
        schedule.step()
    saved = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "random": torch.get_rng_state(),
        "step": 3,
    }
    loaded = through(saved, tmp_path)
    assert type(loaded["model"]) is collections.OrderedDict
    assert list(loaded["model"]) == list(saved["model"])
    assert all(same(loaded["model"][key], value) for key, value in saved["model"].items())
    for number, state in saved["optimizer"]["state"].items():
        assert all(same(loaded["optimizer"]["state"][number][key], value) for key, value in state.items())
    assert loaded["optimizer"]["param_groups"] == saved["optimizer"]["param_groups"]
    assert loaded["schedule"] == saved["schedule"]
    model.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    schedule.load_state_dict(loaded["schedule"])
    torch.set_rng_state(loaded["random"])


def not_a_number(text: str) -> float:
    return struct.unpack(">d", bytes.fromhex(text))[0]


VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**53,
    2**53 + 1,
    -(2**63),
    10**400,
    0.0,
    -0.0,
    0.1,
    5e-324,
    1.7976931348623157e308,
    float("inf"),
    float("-inf"),
    not_a_number("7ff8000000000000"),
    not_a_number("fff8000000000123"),
    1 + 2j,
    complex(-0.0, float("inf")),
    "",
    "text \u00e9 \U0001f600 \ud800 \x00",
    b"",
    b"\x00\xff",
    bytes(range(256)) * 20,
    bytearray(b"abc"),
    [],
    [1, [2, [3]]],
    (),
    (1, "a", (2.5,)),
    {},
    {1: "a", 1.5: "b", "x": "c", (1, 2): "d", None: "e", b"k": "f", float("inf"): "g"},
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.defaultdict(list, {"a": [1]}),
    collections.defaultdict(None, {"a": 1}),
    collections.Counter("abca"),
    {1, 2, "a"},
    set(),
    frozenset([1, (2, 3)]),
    range(2, 20, 3),
    slice(1, None, 2),
    torch.Size([2, 3]),
    torch.bfloat16,
    torch.float64,
    torch.device("cpu"),
    torch.device("cuda", 1),
]


def exactly(value: Any) -> Any:
    """A value such that == tells types, signs of zero and bits of NaN apart, and order in dicts."""
    if isinstance(value, float):
        return float, struct.pack(">d", value)
    if isinstance(value, complex):
        return complex, struct.pack(">dd", value.real, value.imag)
    if isinstance(value, dict):
        factory = getattr(value, "default_factory", 0)
        return type(value), factory, [(exactly(key), exactly(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [exactly(item) for item in value]
    return type(value), value


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_values_come_back_exactly(number: int, tmp_path: Path) -> None:
    value = VALUES[number]
    assert exactly(through([value, {"again": value}], tmp_path)) == exactly([value, {"again": value}])


def test_numpy_comes_back_exactly(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    values = [
        np.float32(1.5),
        np.float64("nan"),
        np.int8(-3),
        np.bool_(True),
        np.complex128(1 - 2j),
        np.str_("name"),
        np.datetime64("2026-01-02"),
        base,
        base.T,
        base[:, ::2],
        np.zeros((0, 3), np.int16),
        np.array(7, np.uint64),
        base.astype(">f4"),
        np.array(["a", "long"]),
        np.array([b"a"]),
        np.array(["2026-01-02"], "datetime64[D]"),
        np.array([1 + 2j], np.complex128),
        np.dtype("float32"),
    ]
    for given, back in zip(values, through(values, tmp_path), strict=True):
        assert type(back) is type(given)
        if isinstance(given, np.dtype):
            assert back == given
            continue
        assert back.dtype == given.dtype and back.shape == given.shape and back.tobytes() == given.tobytes()
        if isinstance(given, np.ndarray):
            assert back.flags.writeable
            assert back.flags.f_contiguous == given.flags.f_contiguous or not given.flags.f_contiguous
    with pytest.raises(TypeError, match=r"\[0\]: cannot store numpy's"):
        mt.save([np.array([object()])], tmp_path / "no.mmh")


@pytest.mark.parametrize("name", DTYPES)
def test_tensors_of_every_dtype_come_back(name: str, tmp_path: Path) -> None:
    tensors = [sample(name), sample(name, (0, 2)), sample(name, (3, 2, 4)).permute(2, 0, 1)]
    for given, back in zip(tensors, through(tensors, tmp_path), strict=True):
        assert same(back, given) and back.stride() == given.stride()


@pytest.mark.parametrize("name", ["complex32", "uint4", "int3", "bits8", "uint1"])
def test_types_that_no_file_has_come_back_too(name: str, tmp_path: Path) -> None:
    dtype = getattr(torch, name, None)
    if dtype is None:
        pytest.skip(f"this PyTorch has no {name}")
    tensor = torch.arange(48, dtype=torch.uint8).view(dtype).view(2, -1)
    back = through([tensor, tensor[1]], tmp_path)
    assert back[0].dtype == dtype and torch.equal(back[0].view(torch.uint8), tensor.view(torch.uint8))
    assert back[1].data_ptr() == back[0][1].data_ptr()


def test_what_shares_memory_shares_it_again(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    parameter = torch.nn.Parameter(torch.zeros(3))
    values = {
        "base": base,
        "rows": base[1:3],
        "turned": base.t(),
        "column": base[:, 2],
        "bits": base.view(torch.int32),
        "wide": torch.ones(3, 1).expand(3, 1000),
        "same": base,
        "parameter": parameter,
        "its data": parameter.data,
        "frozen": torch.nn.Parameter(torch.zeros(1), requires_grad=False),
        "learning": torch.zeros(2, requires_grad=True),
    }
    back = through(values, tmp_path)
    assert back["same"] is back["base"]
    back["base"][1, 2] = -5.0
    assert back["rows"][0, 2] == back["turned"][2, 1] == back["column"][1] == -5.0
    assert back["bits"].untyped_storage().data_ptr() == back["base"].untyped_storage().data_ptr()
    for key, value in values.items():
        assert type(back[key]) is type(value) and back[key].requires_grad == value.requires_grad, key
        assert back[key].stride() == value.stride() and back[key].storage_offset() == value.storage_offset(), key
    assert back["wide"].untyped_storage().nbytes() == 12
    with torch.no_grad():
        back["parameter"][1] = 4.0
    assert back["its data"][1] == 4.0
    with mmh.open(tmp_path / "checkpoint.mmh") as container:
        assert sum(info.nbytes for _, info in container.items()) == 24 * 4 + 12 + 12 + 4 + 8  # each storage once


def test_conjugates_keep_their_values(tmp_path: Path) -> None:
    value = torch.tensor([1 + 2j, 3 - 1j])
    assert same(through({"a": value.conj()}, tmp_path)["a"], value.conj().resolve_conj())


def test_what_cannot_be_stored_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    class Odd:
        pass

    class Dictionary(dict):  # type: ignore[type-arg]
        pass

    knot: list[Any] = []
    knot.append({"knot": knot})
    deep: Any = 0
    for _ in range(100):
        deep = [deep]
    path = tmp_path / "checkpoint.mmh"
    for value, text in [
        ({"optimizer": {"state": {3: {"foo": Odd()}}}}, r"^optimizer\.state\[3\]\.foo: cannot store a .*Odd$"),
        ({"a": [1, Dictionary()]}, r"^a\[1\]: cannot store a .*Dictionary"),
        ({Odd(): 1}, "cannot store a .*Odd"),
        ([lambda: 0], r"^\[0\]: cannot store a builtins.function"),
        (knot, r"^\[0\]\.knot: cannot store what contains itself"),
        (deep, "nested deeper"),
        ({"a": {"b c": torch.eye(2).to_sparse()}}, r"^a\['b c'\]: .*layout"),
        ({"a": torch.zeros(1, device="meta")}, "^a: .*meta"),
        ({"q": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, "^q: .*qint8"),
        ({"d": collections.defaultdict(lambda: 0)}, "^d: .*defaultdict"),
    ]:
        with pytest.raises(TypeError, match=text):
            mt.save(value, path)
        assert list(tmp_path.iterdir()) == []
    mt.save({"good": 1}, path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        mt.save({"bad": Odd()}, path)
    assert path.read_bytes() == before


def test_no_pickle_is_in_a_checkpoint(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 3)
    mt.save({"model": model.state_dict(), "values": VALUES}, tmp_path / "c.mmh")
    with mmh.open(tmp_path / "c.mmh") as container:
        assert [file.name for file in container.files] == ["structure.json", "tensors.safetensors"]
        structure = container.read("structure.json")
        assert container.metadata("tensors.safetensors") == {}
    json.loads(structure)
    with pytest.raises(Exception):  # noqa: B017  # whatever a text is to a reader of pickles
        list(pickletools.genops(structure))
    assert not zipfile.is_zipfile(io.BytesIO(structure))


def test_file_objects_and_texts_beside(tmp_path: Path) -> None:
    with open(tmp_path / "c.mmh", "wb") as file:
        mt.save({"a": torch.ones(3)}, file, {"run": "7"})
    with open(tmp_path / "c.mmh", "rb") as file:
        assert torch.equal(mt.load(file)["a"], torch.ones(3))
    with mmh.open(tmp_path / "c.mmh") as container:
        assert container.metadata("tensors.safetensors") == {"run": "7"}


def test_checkpoints_go_where_fsspec_reaches(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    url = f"memory://{tmp_path.name}/c.mmh"
    for step in (1, 2):
        mt.save({"a": torch.ones(3), "step": step}, url)
        assert mt.load(url)["step"] == step
    with pytest.raises(mmh.UsageError, match="exists"):
        mt.save({"a": 1}, url, overwrite=False)
    report = mt.save_file({"a": torch.ones(3)}, f"memory://{tmp_path.name}/f.mmh")
    assert isinstance(report, mmh.PackReport) and report.tensor_count == 1
    assert mt.save_file({"a": torch.ones(3)}, tmp_path / "f.mmh").root == report.root
    mt.save({"step": 7}, f"memory://{tmp_path.name}.mmh")  # in no folder
    assert mt.load(f"memory://{tmp_path.name}.mmh") == {"step": 7}
    assert torch.equal(mt.load_file(f"memory://{tmp_path.name}/f.mmh")["a"], torch.ones(3))


def test_equal_objects_are_equal_bytes(tmp_path: Path) -> None:
    program = (
        "import sys, torch, mmh.torch\n"
        "torch.manual_seed(0)\n"
        "mmh.torch.save({'a': torch.randn(100), 's': {'x', 'y', 'z', 'w'}}, sys.argv[1])\n"
    )
    from python_support import environment

    for number in ("0", "1"):
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / f"{number}.mmh")],
            env=environment(PYTHONHASHSEED=number),
            check=True,
        )
    assert (tmp_path / "0.mmh").read_bytes() == (tmp_path / "1.mmh").read_bytes()


# ---- hostile structures ----


def structure(tree: Any, tensors: list[Any] | None = None, **more: Any) -> Any:
    return {"format": "mmh-torch", "version": 1, "tensors": tensors or [], "tree": tree, **more}


def container_of(path: Path, text: bytes) -> Path:
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(16)
    mmh.pack_files({"structure.json": text, "tensors.safetensors": content}, path, overwrite=True)
    return path


def deep_list(depth: int) -> str:
    return "[" * depth + "]" * depth


W = {"storage": "w", "dtype": "float32", "shape": [4]}
TENSOR = {"kind": "tensor", "tensor": 0}
HOSTILE: list[tuple[Any, str]] = [
    (b"", "structure.json"),
    (b"\xff\xfe", "structure.json"),
    (b"{", "structure.json"),
    (b"[1]", "instead of an object"),
    (b'{"format":"mmh-torch","format":"mmh-torch"}', "twice"),
    (b'{"format":"mmh-torch","version":1,"tensors":[],"tree":NaN}', "NaN"),
    (b'{"format":"mmh-torch","version":1,"tensors":[],"tree":' + b"9" * 5000 + b"}", "digits"),
    (deep_list(100_000).encode(), "deep"),
    (f'{{"format":"mmh-torch","version":1,"tensors":[],"tree":{deep_list(300)}}}'.encode(), "deep"),
    ({**structure(1), "format": "other"}, "format"),
    ({**structure(1), "version": 2}, "version 2"),
    ({**structure(1), "version": True}, "version"),
    ({**structure(1), "more": 1}, "unknown field"),
    (structure({"kind": "module"}), "unknown kind"),
    (structure({"kind": ["tuple"]}), "unknown kind"),
    (structure({}), "unknown kind"),
    (structure({"kind": "tuple", "items": 3}), "items"),
    (structure({"kind": "tuple"}), "no field"),
    (structure({"kind": "dict", "items": [[1]]}), "no pair"),
    (structure({"kind": "dict", "items": [[[], 1]]}), "as a key"),
    (structure({"kind": "dict", "items": [["a", 1], ["a", 2]]}), "twice"),
    (structure({"kind": "set", "items": [[1]]}), "as a key"),
    (structure({"kind": "default-dict", "factory": "exec", "items": []}), "factory"),
    (structure({"kind": "int", "hex": "__import__"}), "hexadecimal"),
    (structure({"kind": "int", "hex": "1_0"}), "hexadecimal"),
    (structure({"kind": "float", "bits": "00"}), "64 bits"),
    (structure({"kind": "bytes", "base64": "!"}), "base64"),
    (structure({"kind": "bytes", "storage": "nowhere"}), "nowhere"),
    (structure({"kind": "torch.dtype", "name": "nn"}), "element type"),
    (structure({"kind": "torch.device", "name": "toaster"}), "device"),
    (structure({"kind": "torch.Size", "items": [-1]}), "count"),
    (structure({"kind": "range", "items": [0, 1, 0]}), "range"),
    (structure(TENSOR), "no tensor 0"),
    (structure({"kind": "tensor", "tensor": -1}, [W]), "no tensor -1"),
    (structure(TENSOR, [{**W, "storage": "nowhere"}]), "nowhere"),
    (structure(TENSOR, [{**W, "dtype": "Linear"}]), "element type"),
    (structure(TENSOR, [{**W, "dtype": "qint8"}]), "element type"),
    (structure(TENSOR, [{**W, "shape": [5]}]), "outside"),
    (structure(TENSOR, [{**W, "offset": 1}]), "outside"),
    (structure(TENSOR, [{**W, "shape": [2], "strides": [4]}]), "outside"),
    (structure(TENSOR, [{**W, "strides": [-1]}]), "count"),
    (structure(TENSOR, [{**W, "strides": [1, 1]}]), "strides"),
    (structure(TENSOR, [{**W, "shape": [1 << 40, 1 << 40], "strides": [0, 0]}]), "too many"),
    (structure(TENSOR, [{**W, "shape": [2**62, 4]}]), "too many|outside"),
    (structure(TENSOR, [{**W, "shape": [True]}]), "count"),
    (structure(TENSOR, [{**W, "offset": 1 << 62, "shape": [0]}]), "outside"),
    (structure(TENSOR, [{**W, "dtype": "int32", "requires_grad": True}]), "tensor 0"),
    (structure({"kind": "numpy.array", "storage": "w", "dtype": "|O", "shape": [2]}), "type"),
    (structure({"kind": "numpy.array", "storage": "w", "dtype": "<f4", "shape": [5]}), "shape"),
    (structure({"kind": "numpy.scalar", "dtype": "<f4", "hex": "00"}), "bytes"),
    (structure({"kind": "numpy.dtype", "dtype": "f4,f4"}), "type"),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_structures_are_refused(number: int, tmp_path: Path) -> None:
    if isinstance(HOSTILE[number][0], dict) and "numpy" in str(HOSTILE[number][0]):
        pytest.importorskip("numpy")
    content, text = HOSTILE[number]
    path = container_of(tmp_path / "c.mmh", content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(mmh.CorruptError, match=text):
        mt.load(path)


def test_any_structure_is_decoded_or_refused() -> None:
    encoder = _torch_tree.Encoder()
    base = torch.arange(24.0).reshape(4, 6)
    tree = encoder.node([*VALUES, base, base.t(), torch.nn.Parameter(base[1])])
    text = json.loads(encoder.structure(tree))
    stored = {
        entry.name: torch.frombuffer(bytearray(memoryview(entry.read()[0])) or bytearray(1), dtype=torch.uint8)
        for entry in encoder.entries
    }
    refused = 0
    for seed in range(1000):
        try:
            parsed = _torch_tree.parse(json.dumps(mutated(text, seed)).encode(), "mutated")
            _torch_tree.Decoder(parsed, lambda names: {name: stored[name] for name in names}).object()
        except _torch_tree.StructureError:
            refused += 1
    assert 500 < refused < 1000


def test_the_hostile_frame_itself_is_good(tmp_path: Path) -> None:
    path = container_of(tmp_path / "c.mmh", json.dumps(structure(TENSOR, [W])).encode())
    assert torch.equal(mt.load(path), torch.zeros(4))


def test_a_structure_of_too_many_objects_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torch_tree, "MAX_NODES", 1000)
    path = container_of(tmp_path / "c.mmh", json.dumps(structure([0] * 1001)).encode())
    with pytest.raises(mmh.CorruptError, match="more than 1000"):
        mt.load(path)
    with pytest.raises(TypeError, match="more than 1000"):
        mt.save([0] * 1001, tmp_path / "d.mmh")


def test_a_structure_of_too_many_bytes_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torch_tree, "MAX_TEXT_BYTES", 1000)
    path = container_of(tmp_path / "c.mmh", json.dumps(structure("a" * 1000)).encode())
    with pytest.raises(mmh.CorruptError, match="more than 1000"):
        mt.load(path)


def test_a_file_that_fetches_its_tensors_reads_as_the_parts_do() -> None:
    tensors = {f"t{number}": torch.randn(50, 7 + number) for number in range(5)}
    entries = [_torch_memory.entry_of(name, tensor) for name, tensor in tensors.items()]
    whole = b"".join(
        part if isinstance(part, bytes) else bytes(part) for part in _torch_memory.safetensors_source(entries, None)
    )
    file = _torch_memory.EntryFile(entries, None)
    file.KEPT_BYTES = 2000  # so that they are fetched again
    assert file.seek(0, io.SEEK_END) == len(whole)
    for begin in (0, 7, 100, len(whole) - 3000, len(whole) - 1, len(whole)):
        file.seek(begin)
        assert file.read(2500) == whole[begin : begin + 2500]


def test_load_takes_the_words_of_torch_load(tmp_path: Path) -> None:
    """Scripts that call torch.load say map_location and weights_only; what would run a pickle is refused."""
    mmh.torch.save({"a": torch.ones(2), "step": 3}, tmp_path / "c.mmh")
    loaded = mmh.torch.load(tmp_path / "c.mmh", map_location="cpu", weights_only=True)
    assert loaded["step"] == 3 and torch.equal(loaded["a"], torch.ones(2))
    with pytest.raises(mmh.UsageError, match="weights_only"):
        mmh.torch.load(tmp_path / "c.mmh", weights_only=False)
