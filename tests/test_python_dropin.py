# SPDX-License-Identifier: Apache-2.0
"""What the safetensors package documents holds for mmh: the same assertions run against both.

Written from safetensors' documentation. Where the two differ, the difference is a test of its own that
says what each does, marked with `differs`; docs/python.md lists these and no others.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from python_support import DOCUMENT, need_mmh, optional

np = pytest.importorskip("numpy")
pytest.importorskip("safetensors")
ml_dtypes = optional("ml_dtypes")
torch = optional("torch")
mmh = need_mmh()

DIFFERENCES: list[str] = []


def differs(title: str) -> Callable[[Any], Any]:
    """Mark a test of a difference; docs/python.md has its title."""
    DIFFERENCES.append(title)
    return lambda test: test


# ---- the two libraries, the frameworks ----


class Library:
    """One of the two: what a program would import of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.package = __import__(name)
        self.suffix = ".safetensors" if name == "safetensors" else ".safetensors.mmh"
        self.error = self.package.SafetensorError if name == "safetensors" else mmh.Error
        self.safe_open = self.package.safe_open

    def __getattr__(self, framework: str) -> Any:
        """safetensors.numpy, mmh.torch, ..."""
        if framework == "jax" and self.name == "safetensors":
            framework = "flax"
        return __import__(f"{self.name}.{framework}", fromlist=["load_file"])


class Framework:
    """Arrays of NumPy as tensors of a framework and back."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.module = pytest.importorskip({"numpy": "numpy", "jax": "jax"}.get(name, name))
        self.code = {"numpy": "np", "torch": "pt", "tensorflow": "tf", "jax": "jax"}[name]

    def tensor(self, array: Any) -> Any:
        if self.name == "torch":
            return self.module.from_numpy(array.copy())
        if self.name == "tensorflow":
            return self.module.constant(array)
        return self.module.numpy.asarray(array) if self.name == "jax" else array.copy()

    def expected(self) -> dict[str, Any]:
        """arrays(), of what both libraries can save."""
        return {name: value for name, value in arrays().items() if self.name != "tensorflow" or value.shape}

    def array(self, tensor: Any) -> Any:
        kind = {"numpy": "ndarray", "torch": "Tensor", "tensorflow": "EagerTensor", "jax": "ArrayImpl"}[self.name]
        assert type(tensor).__name__ == kind
        return np.asarray(tensor)


@pytest.fixture(params=["safetensors", "mmh"])
def library(request: pytest.FixtureRequest) -> Library:
    return Library(request.param)


@pytest.fixture(params=["numpy", "torch", "tensorflow", "jax"])
def framework(request: pytest.FixtureRequest) -> Framework:
    return Framework(request.param)


@pytest.fixture
def path(library: Library, tmp_path: Path) -> Path:
    return tmp_path / f"model{library.suffix}"


def arrays() -> dict[str, Any]:
    random = np.random.default_rng(7)
    return {
        "weight": random.normal(size=(3, 4, 5)).astype(np.float32),
        "long": random.integers(-9, 9, size=(700, 11)).astype(np.int32),
        "half": random.normal(size=(64, 8)).astype(np.float16),
        "flags": random.integers(0, 2, size=13).astype(bool),
        "scalar": np.array(3.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "bytes": random.integers(0, 256, size=(2, 9)).astype(np.uint8),
    }


def same(left: Any, right: Any) -> bool:
    """Equal to the bit, with type and shape."""
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def write(library: Library, path: Path, tensors: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    tensors = arrays() if tensors is None else tensors
    library.numpy.save_file(tensors, path, **more)
    return tensors


# ---- files and bytes ----


def test_what_is_saved_is_loaded(library: Library, framework: Framework, path: Path) -> None:
    expected = framework.expected()
    module = getattr(library, framework.name)
    module.save_file({name: framework.tensor(value) for name, value in expected.items()}, path)
    loaded = module.load_file(path)
    assert type(loaded) is dict and set(loaded) == set(expected)
    for name, value in expected.items():
        assert same(framework.array(loaded[name]), value), name


def test_bytes_are_saved_and_loaded(library: Library, framework: Framework) -> None:
    expected = framework.expected()
    module = getattr(library, framework.name)
    data = module.save({name: framework.tensor(value) for name, value in expected.items()})
    assert type(data) is bytes
    loaded = module.load(data)
    assert set(loaded) == set(expected)
    for name, value in expected.items():
        assert same(framework.array(loaded[name]), value), name


def test_bytes_are_those_of_the_file(library: Library, path: Path) -> None:
    tensors = write(library, path, metadata={"format": "np"})
    assert library.numpy.save(tensors, metadata={"format": "np"}) == path.read_bytes()


def test_bytes_do_not_depend_on_the_order_of_names(library: Library) -> None:
    tensors = arrays()
    assert library.numpy.save(tensors) == library.numpy.save(dict(reversed(tensors.items())))


def test_names_of_files_are_text_or_paths(library: Library, path: Path) -> None:
    for name in (str(path), path):
        write(library, name)
        assert set(library.numpy.load_file(name)) == set(arrays())
        with library.safe_open(name, framework="np") as file:
            assert set(file.keys()) == set(arrays())


def test_saving_replaces_a_file(library: Library, path: Path) -> None:
    write(library, path)
    write(library, path, {"only": np.ones(3)})
    assert set(library.numpy.load_file(path)) == {"only"}


def test_nothing_can_be_saved(library: Library, framework: Framework, path: Path) -> None:
    module = getattr(library, framework.name)
    module.save_file({}, path)
    assert module.load_file(path) == {}
    assert module.load(module.save({})) == {}
    with library.safe_open(path, framework=framework.code) as file:
        assert file.keys() == [] and file.offset_keys() == []


def test_names_of_tensors_are_any_text(library: Library, path: Path) -> None:
    names = ["", "a.b/c", "é\n\"'\\", "x" * 300, "0", "weight:0", "file:name"]
    write(library, path, {name: np.full(3, i, np.int64) for i, name in enumerate(names)})
    with library.safe_open(path, framework="np") as file:
        assert file.keys() == sorted(names)
        for i, name in enumerate(names):
            assert file.get_tensor(name).tolist() == [i] * 3


def test_loaded_arrays_can_be_written(library: Library, path: Path) -> None:
    write(library, path)
    loaded = library.numpy.load_file(path)
    loaded["weight"][0, 0, 0] = 42
    assert loaded["weight"][0, 0, 0] == 42
    assert library.numpy.load_file(path)["weight"][0, 0, 0] != 42


def test_load_file_names_tensors_in_the_order_of_the_file(library: Library, path: Path) -> None:
    write(library, path)
    with library.safe_open(path, framework="np") as file:
        assert list(library.numpy.load_file(path)) == file.offset_keys()


NUMPY_TYPES = "BOOL=? I8=i1 U8=u1 I16=i2 U16=u2 I32=i4 U32=u4 I64=i8 U64=u8 F16=f2 F32=f4 F64=f8 C64=c8"


@pytest.mark.parametrize("name", NUMPY_TYPES.split())
def test_types_of_numpy_keep_every_bit(library: Library, path: Path, name: str) -> None:
    code, kind = name.split("=")
    bits = np.random.default_rng(1).integers(0, 2 if kind == "?" else 256, size=960).astype(np.uint8)
    expected = bits.view(kind).reshape(3, 2, -1)
    write(library, path, {"x": expected})
    assert same(library.numpy.load_file(path)["x"], expected)
    with library.safe_open(path, framework="np") as file:
        part = file.get_slice("x")
        assert part.get_dtype() == code and part.get_shape() == list(expected.shape)
        assert same(file.get_tensor("x"), expected) and same(part[1:, 1], expected[1:, 1])


def test_bfloat16_of_numpy_keeps_every_bit(library: Library, path: Path) -> None:
    pytest.importorskip("ml_dtypes")
    expected = np.random.default_rng(2).integers(0, 65536, size=(30, 7)).astype(np.uint16).view(ml_dtypes.bfloat16)
    write(library, path, {"x": expected})
    with library.safe_open(path, framework="np") as file:
        assert file.get_slice("x").get_dtype() == "BF16"
        assert same(file.get_tensor("x"), expected) and same(file.get_slice("x")[3:5], expected[3:5])


def test_big_endian_arrays_keep_their_values(library: Library, path: Path) -> None:
    write(library, path, {"x": np.arange(300, dtype=">f4")})
    assert same(library.numpy.load_file(path)["x"], np.arange(300, dtype="<f4"))


@pytest.mark.parametrize("kind", ["c16", "S4", "U3", "O", "M8[s]", "m8[s]"])
def test_types_without_a_name_are_refused(library: Library, path: Path, kind: str) -> None:
    with pytest.raises((library.error, TypeError)):
        library.numpy.save_file({"x": np.zeros(3, dtype=kind)}, path)
    assert not path.exists()


@pytest.mark.parametrize("tensors", [{1: np.zeros(2)}, {None: np.zeros(2)}, {b"x": np.zeros(2)}])
def test_names_that_are_no_text_are_refused(library: Library, path: Path, tensors: Any) -> None:
    with pytest.raises(TypeError):
        library.numpy.save_file(tensors, path)
    assert not path.exists()


# ---- metadata ----


@pytest.mark.parametrize("metadata", [{"format": "pt"}, {"a": "", "é": '€\n"', "": "x"}, {"long": "y" * 70000}])
def test_metadata_comes_back(library: Library, path: Path, metadata: dict[str, str]) -> None:
    write(library, path, metadata=metadata)
    with library.safe_open(path, framework="np") as file:
        assert file.metadata() == metadata
        assert file.keys() == sorted(arrays())


def test_without_metadata_there_is_none(library: Library, path: Path) -> None:
    write(library, path)
    with library.safe_open(path, framework="np") as file:
        assert not file.metadata()


@pytest.mark.parametrize(
    "metadata", [{"a": 1}, {1: "a"}, {"a": None}, {"a": b"x"}, {"a": {"b": "c"}}, "x", [("a", "b")]]
)
def test_metadata_is_text_for_text(library: Library, path: Path, metadata: Any) -> None:
    with pytest.raises(TypeError):
        write(library, path, metadata=metadata)
    assert not path.exists()
    with pytest.raises(TypeError):
        library.numpy.save(arrays(), metadata=metadata)


# ---- safe_open ----


def test_safe_open_tells_names(library: Library, framework: Framework, path: Path) -> None:
    expected = write(library, path)
    with library.safe_open(path, framework=framework.code) as file:
        names = file.keys()
        assert type(names) is list and names == sorted(expected)
        assert sorted(file.offset_keys()) == names


def test_offset_keys_are_in_the_order_of_the_file(library: Library, path: Path) -> None:
    write(library, path, {"a": np.ones(5, np.uint8), "b": np.ones(5, np.float32), "c": np.ones(5, np.float64)})
    with library.safe_open(path, framework="np") as file:
        assert file.keys() == ["a", "b", "c"] and file.offset_keys() == ["c", "b", "a"]


def test_safe_open_gives_tensors(library: Library, framework: Framework, path: Path) -> None:
    expected = write(library, path)
    with library.safe_open(path, framework=framework.code) as file:
        for name in sorted(expected):
            assert same(framework.array(file.get_tensor(name)), expected[name]), name
        everything = file.get_tensors()
        assert list(everything) == file.offset_keys()
        for name, tensor in everything.items():
            assert same(framework.array(tensor), expected[name]), name


def test_tensors_outlive_the_file(library: Library, framework: Framework, path: Path) -> None:
    expected = write(library, path)
    with library.safe_open(path, framework=framework.code) as file:
        tensor, part = file.get_tensor("weight"), file.get_slice("long")[5:9]
    assert same(framework.array(tensor), expected["weight"]) and same(framework.array(part), expected["long"][5:9])


def test_a_file_can_be_open_without_with(library: Library, path: Path) -> None:
    expected = write(library, path)
    file = library.safe_open(path, "np", "cpu")
    assert same(file.get_tensor("weight"), expected["weight"])


def test_a_closed_file_says_so(library: Library, path: Path) -> None:
    write(library, path)
    with library.safe_open(path, framework="np") as file:
        pass
    for use in (file.keys, file.offset_keys, file.metadata, file.get_tensors):
        with pytest.raises(library.error, match="closed"):
            use()
    for use in (file.get_tensor, file.get_slice):
        with pytest.raises(library.error, match="closed"):
            use("weight")


def test_an_exception_passes_through_with(library: Library, path: Path) -> None:
    write(library, path)
    with pytest.raises(ZeroDivisionError), library.safe_open(path, framework="np"):
        _ = 1 // 0


@pytest.mark.parametrize("code", ["np", "numpy", "pt", "torch", "pytorch", "tf", "tensorflow", "jax", "flax"])
def test_frameworks_have_these_names(library: Library, path: Path, code: str) -> None:
    name = {"n": "numpy", "p": "torch", "t": "torch" if code == "torch" else "tensorflow", "j": "jax", "f": "jax"}[
        code[0]
    ]
    framework = Framework(name)
    expected = write(library, path)
    with library.safe_open(path, framework=code) as file:
        assert same(framework.array(file.get_tensor("weight")), expected["weight"])


@pytest.mark.parametrize("code", ["PT", "xx", ""])
def test_unknown_frameworks_are_refused(library: Library, path: Path, code: str) -> None:
    write(library, path)
    with pytest.raises(library.error, match=rf"framework {code}|framework.*'{code}'|{code!r}"):
        library.safe_open(path, framework=code)


def test_the_framework_has_to_be_said(library: Library, path: Path) -> None:
    write(library, path)
    with pytest.raises(TypeError):
        library.safe_open(path)
    with pytest.raises(TypeError):
        library.safe_open(path, framework=None)


@pytest.mark.parametrize("code", ["np", "pt"])
def test_unknown_devices_are_refused(library: Library, path: Path, code: str) -> None:
    if code == "pt":
        pytest.importorskip("torch")
    write(library, path)
    for device in ("xx", "cpux", -1):
        with pytest.raises(library.error, match="device"):
            library.safe_open(path, framework=code, device=device)


def test_numpy_is_on_the_cpu(library: Library, path: Path) -> None:
    write(library, path)
    with pytest.raises(library.error, match=r"[Dd]evice"):
        library.safe_open(path, framework="np", device="cuda")


def test_missing_tensors_are_named(library: Library, path: Path) -> None:
    write(library, path)
    with library.safe_open(path, framework="np") as file:
        for use in (file.get_tensor, file.get_slice):
            with pytest.raises(library.error, match=r"no\.such\.tensor"):
                use("no.such.tensor")
        assert file.get_tensor("weight").shape == (3, 4, 5)


# ---- slices ----

ROW_COLUMN = [
    "0", "2", "-1", "-3", "np.int64(1)", "0:2", "1:", ":2", ":", "...", "::2", "0:3:2", "1:3:5",
    "(0, 1)", "(0, 1, 2)", "(-1, -1, -1)", "(0, ...)", "(..., 0)", "(..., slice(1, 3))", "(1, ..., 2)", "(..., 1, 2)",
    "(slice(None), 1)", "(slice(None), slice(1, 3), slice(0, 5, 2))", "(slice(1, 2), 0)", "(0, slice(1, 3))",
    "(slice(None), slice(None), 4)", "(slice(None), slice(None), slice(None))", "()", "(..., slice(None))",
]  # fmt: skip


def index(text: str) -> Any:
    """`1:3, ...` as x[1:3, ...] gets it."""
    return eval(
        f"keep[{text}]", {"keep": type("Keep", (), {"__getitem__": lambda self, key: key})(), "np": np, "slice": slice}
    )


@pytest.mark.parametrize("text", ROW_COLUMN)
def test_slices_are_those_of_numpy(library: Library, framework: Framework, path: Path, text: str) -> None:
    expected = write(library, path)["weight"][index(text)]
    with library.safe_open(path, framework=framework.code) as file:
        part = framework.array(file.get_slice("weight")[index(text)])
    assert part.dtype == expected.dtype and part.shape == expected.shape and np.array_equal(part, expected)


def test_slices_tell_shape_and_type(library: Library, framework: Framework, path: Path) -> None:
    expected = write(library, path)
    types = {"float32": "F32", "int32": "I32", "float16": "F16", "bool": "BOOL", "uint8": "U8"}
    with library.safe_open(path, framework=framework.code) as file:
        for name, value in expected.items():
            part = file.get_slice(name)
            assert part.get_shape() == list(value.shape) and type(part.get_shape()) is list
            assert part.get_dtype() == types[str(value.dtype)]


def test_a_scalar_is_a_slice_of_itself(library: Library, framework: Framework, path: Path) -> None:
    write(library, path)
    with library.safe_open(path, framework=framework.code) as file:
        part = file.get_slice("scalar")
        for whole in (part[...], part[()]):
            value = framework.array(whole)
            assert value.shape == () and value == np.float32(3.5)


def test_slices_of_many_chunks(library: Library, path: Path) -> None:
    wide = np.random.default_rng(3).normal(size=(1500, 701)).astype(np.float32)
    write(library, path, {"x": wide, "y": wide[:3] * 2})
    with library.safe_open(path, framework="np") as file:
        part = file.get_slice("x")
        for text in (
            "700:705",
            "(slice(None), 350)",
            "(slice(10, 1400, 97), slice(3, 700, 50))",
            "-1",
            "(..., slice(690, 701))",
        ):
            assert same(np.ascontiguousarray(part[index(text)]), np.ascontiguousarray(wide[index(text)])), text


@pytest.mark.parametrize("text", ["3", "-4", "(0, 4)", "(0, 0, 5)", "(..., -6)"])
def test_indices_beyond_the_end_are_refused(library: Library, path: Path, text: str) -> None:
    write(library, path)
    with library.safe_open(path, framework="np") as file, pytest.raises((library.error, IndexError)):
        _ = file.get_slice("weight")[index(text)]


@pytest.mark.parametrize("text", ["(0, 0, 0, 0)", "(..., ...)", "1.5", "'a'", "0:3:0"])
def test_indices_that_mean_nothing_are_refused(library: Library, path: Path, text: str) -> None:
    write(library, path)
    with (
        library.safe_open(path, framework="np") as file,
        pytest.raises((library.error, IndexError, TypeError, ValueError)),
    ):
        _ = file.get_slice("weight")[index(text)]


# ---- what is no such file ----


def test_a_missing_file_is_file_not_found(library: Library, path: Path) -> None:
    for use in (library.numpy.load_file, lambda name: library.safe_open(name, framework="np")):
        with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
            use(path)


def test_a_folder_is_no_file(library: Library, tmp_path: Path) -> None:
    for use in (library.numpy.load_file, lambda name: library.safe_open(name, framework="np")):
        with pytest.raises((OSError, library.error)):
            use(tmp_path)


@pytest.mark.parametrize("data", [b"", b"x", b"hello, this is no model", bytes(100), b"\xff" * 5000])
def test_other_bytes_are_refused(library: Library, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    for use in (library.numpy.load_file, lambda name: library.safe_open(name, framework="np")):
        with pytest.raises(library.error):
            use(path)
    with pytest.raises(library.error):
        library.numpy.load(data)


def test_a_file_cut_short_is_refused(library: Library, path: Path) -> None:
    write(library, path, {"x": np.random.default_rng(5).normal(size=9000)})
    data = path.read_bytes()
    for size in (1, 30, 2000, len(data) // 2, len(data) - 5000):
        path.write_bytes(data[:size])
        with pytest.raises(library.error):
            library.numpy.load_file(path)


def test_saving_where_nothing_can_be_written_fails(library: Library, tmp_path: Path) -> None:
    for target in (tmp_path / "missing" / "model", tmp_path):
        with pytest.raises((library.error, OSError)):
            write(library, target)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_dictionary_of_arrays_is_refused(library: Library, path: Path) -> None:
    for tensors in ({"x": 3}, {"x": [1, 2]}, {"x": None}, [np.zeros(2)]):
        with pytest.raises((library.error, TypeError, AttributeError, ValueError)):
            library.numpy.save_file(tensors, path)
    assert not path.exists()


def test_threads_may_share_an_open_file(library: Library, path: Path) -> None:
    expected = write(library, path)
    wrong: list[str] = []
    with library.safe_open(path, framework="np") as file:

        def work() -> None:
            for _ in range(20):
                wrong.extend(name for name in expected if not same(file.get_tensor(name), expected[name]))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


# ---- PyTorch ----

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")

TORCH_TYPES = (
    "bool=BOOL uint8=U8 int8=I8 int16=I16 uint16=U16 int32=I32 uint32=U32 int64=I64 uint64=U64 float16=F16 "
    "bfloat16=BF16 float32=F32 float64=F64 complex64=C64 float8_e4m3fn=F8_E4M3 float8_e5m2=F8_E5M2 "
    "float8_e8m0fnu=F8_E8M0 float8_e4m3fnuz=F8_E4M3FNUZ float8_e5m2fnuz=F8_E5M2FNUZ"
)


def torch_bytes(tensor: Any) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


@needs_torch
@pytest.mark.parametrize("name", TORCH_TYPES.split())
def test_types_of_torch_keep_every_bit(library: Library, path: Path, name: str) -> None:
    kind, code = name.split("=")
    if not hasattr(torch, kind):
        pytest.skip(f"this PyTorch has no {kind}")
    bits = np.random.default_rng(4).integers(0, 2 if kind == "bool" else 256, size=(8, 96)).astype(np.uint8)
    expected = torch.from_numpy(bits).view(getattr(torch, kind))
    library.torch.save_file({"x": expected}, path)
    loaded = library.torch.load_file(path)["x"]
    assert loaded.dtype == expected.dtype and loaded.shape == expected.shape
    assert torch_bytes(loaded) == torch_bytes(expected)
    with library.safe_open(path, framework="pt") as file:
        part = file.get_slice("x")
        assert part.get_dtype() == code and part.get_shape() == list(expected.shape)
        assert torch_bytes(part[2:5]) == torch_bytes(expected[2:5])


@needs_torch
def test_elements_of_half_a_byte_have_the_shape_of_their_values(library: Library, path: Path) -> None:
    if not hasattr(torch, "float4_e2m1fn_x2"):
        pytest.skip("this PyTorch has no float4_e2m1fn_x2")
    expected = torch.arange(48, dtype=torch.uint8).reshape(4, 12).view(torch.float4_e2m1fn_x2)
    library.torch.save_file({"x": expected}, path)
    with library.safe_open(path, framework="pt") as file:
        assert file.get_slice("x").get_dtype() == "F4" and file.get_slice("x").get_shape() == [4, 24]
    loaded = library.torch.load_file(path)["x"]
    assert loaded.dtype == expected.dtype and loaded.shape == expected.shape
    assert torch.equal(loaded.view(torch.uint8), expected.view(torch.uint8))


@needs_torch
def test_scalars_and_empty_tensors_of_torch(library: Library, path: Path) -> None:
    tensors = {"scalar": torch.tensor(2.5), "empty": torch.zeros(0), "flat": torch.zeros(3, 0, 2)}
    library.torch.save_file(tensors, path)
    for name, loaded in library.torch.load_file(path).items():
        assert loaded.shape == tensors[name].shape and torch.equal(loaded, tensors[name]), name


@needs_torch
def test_gradients_and_parameters_become_plain_tensors(library: Library, path: Path) -> None:
    library.torch.save_file({"x": torch.nn.Parameter(torch.ones(3)), "y": torch.ones(2, requires_grad=True)}, path)
    for tensor in library.torch.load_file(path).values():
        assert type(tensor) is torch.Tensor and not tensor.requires_grad and bool((tensor == 1).all())


@needs_torch
def test_tensors_that_are_not_contiguous_are_refused(library: Library, path: Path) -> None:
    for use in (library.torch.save, lambda tensors: library.torch.save_file(tensors, path)):
        with pytest.raises(ValueError, match="wide"):
            use({"wide": torch.arange(12.0).reshape(3, 4).t()})
    assert not path.exists()


@needs_torch
def test_tensors_that_share_memory_are_refused(library: Library, path: Path) -> None:
    memory = torch.zeros(4, 4)
    for second in (memory, memory[:2], memory.view(-1)):
        for use in (library.torch.save, lambda tensors: library.torch.save_file(tensors, path)):
            with pytest.raises(RuntimeError, match="share memory"):
                use({"first": memory, "second": second})
    assert not path.exists()


@needs_torch
def test_parts_of_one_memory_that_do_not_meet_are_saved(library: Library, path: Path) -> None:
    memory = torch.arange(16.0).reshape(4, 4)
    library.torch.save_file({"first": memory[:2], "second": memory[2:]}, path)
    loaded = library.torch.load_file(path)
    assert torch.equal(loaded["first"], memory[:2]) and torch.equal(loaded["second"], memory[2:])


@needs_torch
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensors_are_refused(library: Library, path: Path) -> None:
    for tensor in (torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr()):
        with pytest.raises(ValueError, match="sparse"):
            library.torch.save_file({"holes": tensor}, path)
    assert not path.exists()


@needs_torch
@pytest.mark.parametrize("tensors", [{"x": 3}, {"x": np.zeros(2)}, {"x": None}, ["x"]])
def test_what_is_no_tensor_is_refused(library: Library, path: Path, tensors: Any) -> None:
    with pytest.raises(ValueError):
        library.torch.save_file(tensors, path)
    assert not path.exists()


@needs_torch
@pytest.mark.parametrize("device", ["xx", -1])
def test_load_file_refuses_unknown_devices(library: Library, path: Path, device: Any) -> None:
    library.torch.save_file({"x": torch.ones(2)}, path)
    assert library.torch.load_file(path, device="cpu")["x"].device.type == "cpu"
    with pytest.raises(library.error, match="device"):
        library.torch.load_file(path, device=device)


def tied() -> Any:
    """A model whose first layer is also its second, and whose head has the first one's weight."""
    model = torch.nn.Module()
    torch.manual_seed(1)
    model.first = torch.nn.Linear(6, 6)
    model.second = model.first
    model.head = torch.nn.Linear(6, 6, bias=False)
    model.head.weight = model.first.weight
    return model


@needs_torch
def test_models_with_tied_weights_are_saved_once_and_loaded(library: Library, path: Path) -> None:
    model = tied()
    library.torch.save_model(model, path, metadata={"step": "7"})
    with library.safe_open(path, framework="pt") as file:
        assert file.keys() == ["first.bias", "first.weight"]
        dropped = {"second.weight": "first.weight", "second.bias": "first.bias", "head.weight": "first.weight"}
        assert file.metadata() == {"step": "7"} | dropped
    other = tied()
    with torch.no_grad():
        other.first.weight.zero_()
    missing, unexpected = library.torch.load_model(other, path)
    assert list(missing) == [] and list(unexpected) == []
    assert torch.equal(other.head.weight, model.first.weight) and other.head.weight is other.first.weight


@needs_torch
def test_load_model_is_strict_unless_told(library: Library, path: Path) -> None:
    library.torch.save_model(tied(), path)
    model = torch.nn.Module()
    model.first, model.more = torch.nn.Linear(6, 6), torch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match=r"more\.bias.*more\.weight"):
        library.torch.load_model(model, path)
    missing, unexpected = library.torch.load_model(model, path, strict=False)
    assert sorted(missing) == ["more.bias", "more.weight"] and list(unexpected) == []
    nothing = torch.nn.Module()
    with pytest.raises(RuntimeError, match=r"first\.bias.*first\.weight"):
        library.torch.load_model(nothing, path)
    missing, unexpected = library.torch.load_model(nothing, path, strict=False)
    assert list(missing) == [] and sorted(unexpected) == ["first.bias", "first.weight"]


@needs_torch
def test_load_model_refuses_other_shapes(library: Library, path: Path) -> None:
    library.torch.save_model(tied(), path)
    model = torch.nn.Module()
    model.first = torch.nn.Linear(6, 5)
    with pytest.raises(RuntimeError, match=r"first\.weight"):
        library.torch.load_model(model, path)


@needs_torch
def test_save_model_makes_tensors_contiguous(library: Library, path: Path) -> None:
    model = torch.nn.Linear(4, 3)
    model.weight = torch.nn.Parameter(torch.arange(12.0).reshape(4, 3).t())
    library.torch.save_model(model, path)
    assert torch.equal(library.torch.load_file(path)["weight"], model.weight)
    assert not model.weight.is_contiguous()
    with pytest.raises(ValueError, match="weight"):
        library.torch.save_model(model, path, force_contiguous=False)


# ---- differences ----


@differs("What save_file returns")
def test_what_save_file_returns(library: Library, path: Path) -> None:
    """safetensors returns None, mmh a report of sizes."""
    answer = library.numpy.save_file({"x": np.zeros(9000)}, path)
    if library.name == "mmh":
        assert isinstance(answer, mmh.PackReport) and answer.stored_bytes == path.stat().st_size
    else:
        assert answer is None


@differs("The last bytes of a file")
def test_the_last_bytes_of_a_file(library: Library, path: Path) -> None:
    """safetensors refuses a file that lacks them; mmh has a second copy of what they say, uses it and warns."""
    expected = np.random.default_rng(5).normal(size=9000)
    write(library, path, {"x": expected})
    path.write_bytes(path.read_bytes()[:-1])
    if library.name == "mmh":
        with pytest.warns(mmh.MendedWarning, match="mmh repair"):
            assert same(library.numpy.load_file(path)["x"], expected)
    else:
        with pytest.raises(library.error):
            library.numpy.load_file(path)


@differs("A missing tensor is also a KeyError")
def test_missing_tensors_are_key_errors(library: Library, path: Path) -> None:
    write(library, path)
    with library.safe_open(path, framework="np") as file:
        with pytest.raises(library.error) as caught:
            file.get_tensor("no.such.tensor")
        assert isinstance(caught.value, KeyError) == (library.name == "mmh")


@differs("NumPy arrays that are not contiguous")
def test_arrays_that_are_not_contiguous(library: Library, path: Path) -> None:
    """safetensors writes their memory as it lies, which are other values; mmh writes the values."""
    expected = np.arange(24, dtype=np.float32).reshape(4, 6)
    for name, array in {
        "turned": expected.T,
        "every second": expected[:, ::2],
        "fortran": np.asfortranarray(expected),
    }.items():
        write(library, path, {name: array})
        loaded = library.numpy.load_file(path)[name]
        assert loaded.shape == array.shape
        assert np.array_equal(loaded, array) == (library.name == "mmh"), name


@differs("Slices of NumPy arrays with bounds beyond the end, negative bounds, and nothing in them")
@pytest.mark.parametrize("text", ["0:100", "10:20", "-2:", ":-1", "2:1", "(slice(None), slice(-1, None))", "3:3"])
def test_slices_with_other_bounds(library: Library, path: Path, text: str) -> None:
    expected = write(library, path)["weight"][index(text)]
    with library.safe_open(path, framework="np") as file:
        if library.name == "mmh":
            part = file.get_slice("weight")[index(text)]
            assert part.shape == expected.shape and np.array_equal(part, expected)
        else:
            with pytest.raises((library.error, OverflowError, SystemError)):
                _ = file.get_slice("weight")[index(text)]


@differs("Slices of empty arrays")
def test_slices_of_empty_arrays(library: Library, path: Path) -> None:
    write(library, path)
    with library.safe_open(path, framework="np") as file:
        for text, shape in {":": (0, 3), "(slice(None), slice(1, 2))": (0, 1), "...": (0, 3)}.items():
            if library.name == "mmh":
                assert file.get_slice("empty")[index(text)].shape == shape
            elif text != "...":
                with pytest.raises(library.error):
                    _ = file.get_slice("empty")[index(text)]


@differs("Lists, masks, booleans and None as indices")
@pytest.mark.parametrize("text", ["[0, 2]", "None", "True", "np.array([0, 2])", "(0, None)", "(slice(None), [1, 2])"])
def test_indices_that_gather(library: Library, path: Path, text: str) -> None:
    """safetensors' PyTorch tensors take them (they are PyTorch's own), its NumPy arrays do not, but
    count True as 1. mmh refuses them all: such elements are in no slice."""
    write(library, path)
    for code in ["np", "pt"] if torch else ["np"]:
        with library.safe_open(path, framework=code) as file:
            part = file.get_slice("weight")
            if library.name == "safetensors" and (code == "pt" or text == "True"):
                assert part[index(text)].numel() if code == "pt" else part[index(text)].shape == (4, 5)
            else:
                with pytest.raises((library.error, TypeError)):
                    _ = part[index(text)]


@differs("Steps below zero")
def test_steps_below_zero(library: Library, path: Path) -> None:
    """NumPy has them, PyTorch and safetensors do not; mmh neither."""
    write(library, path)
    for code in ["np", "pt"] if torch else ["np"]:
        with library.safe_open(path, framework=code) as file, pytest.raises((library.error, ValueError, IndexError)):
            _ = file.get_slice("weight")[::-1]


@differs("fp8 of NumPy (ml_dtypes)")
@pytest.mark.parametrize(
    "kind", ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz"]
)
def test_fp8_of_numpy(library: Library, path: Path, kind: str) -> None:
    """safetensors 0.8 saves them and cannot load them; mmh can."""
    pytest.importorskip("ml_dtypes")
    expected = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, kind)).reshape(16, 16)
    write(library, path, {"x": expected})
    if library.name == "mmh":
        assert same(library.numpy.load_file(path)["x"], expected)
        with library.safe_open(path, framework="np") as file:
            assert same(file.get_tensor("x"), expected) and same(file.get_slice("x")[2:4, 1], expected[2:4, 1])
    else:
        with pytest.raises(AttributeError):
            library.numpy.load_file(path)


@differs("Scalars of TensorFlow")
def test_scalars_of_tensorflow(library: Library, path: Path) -> None:
    """safetensors 0.8 cannot save them."""
    framework = Framework("tensorflow")
    tensors = {"x": framework.tensor(np.array(2.5, np.float32))}
    if library.name == "mmh":
        library.tensorflow.save_file(tensors, path)
        assert same(framework.array(library.tensorflow.load_file(path)["x"]), np.array(2.5, np.float32))
    else:
        with pytest.raises(AttributeError):
            library.tensorflow.save_file(tensors, path)


@differs("Slices of elements of half a byte")
@needs_torch
def test_slices_of_elements_of_half_a_byte(library: Library, path: Path) -> None:
    """safetensors 0.8 has none; mmh has those of whole bytes, indexed by the shape that get_shape tells."""
    if not hasattr(torch, "float4_e2m1fn_x2"):
        pytest.skip("this PyTorch has no float4_e2m1fn_x2")
    expected = torch.arange(48, dtype=torch.uint8).reshape(4, 12)
    library.torch.save_file({"x": expected.view(torch.float4_e2m1fn_x2)}, path)
    with library.safe_open(path, framework="pt") as file:
        part = file.get_slice("x")
        if library.name == "mmh":
            assert torch.equal(part[1:3].view(torch.uint8), expected[1:3])
            assert torch.equal(part[2, 4:24].view(torch.uint8), expected[2, 2:])
            for text in ("(slice(None), slice(1, 3))", "(0, 3)", "(0, slice(0, 8, 2))", "(0, 2)"):
                with pytest.raises(mmh.UnsupportedError):
                    _ = part[index(text)]
        else:
            with pytest.raises(RuntimeError):
                _ = part[1:3]


@differs("Null characters in names and metadata")
def test_null_characters(library: Library, path: Path) -> None:
    """The library's interface is C's: such a tensor could be packed and never be found again."""
    for tensors, metadata in (({"a\0b": np.ones(2)}, None), ({"a": np.ones(2)}, {"b": "c\0d"})):
        if library.name == "mmh":
            with pytest.raises(mmh.UsageError, match="null"):
                write(library, path, tensors, metadata=metadata)
            assert not path.exists()
        else:
            write(library, path, tensors, metadata=metadata)
            with library.safe_open(path, framework="np") as file:
                assert file.keys() == list(tensors) and file.metadata() == metadata


@differs("load takes any bytes")
def test_load_takes_any_bytes(library: Library) -> None:
    """safetensors.numpy.load takes bytes alone."""
    data = library.numpy.save({"x": np.ones(5)})
    for other in (bytearray(data), memoryview(data)):
        if library.name == "mmh":
            assert same(library.numpy.load(other)["x"], np.ones(5))
        else:
            with pytest.raises(TypeError):
                library.numpy.load(other)


@differs("Devices as PyTorch's objects")
@needs_torch
def test_devices_as_objects(library: Library, path: Path) -> None:
    """safetensors 0.8 refuses torch.device("cpu") and "cpu:0"; mmh takes what PyTorch takes for the CPU."""
    library.torch.save_file({"x": torch.ones(2)}, path)
    for device in (torch.device("cpu"), "cpu:0"):
        if library.name == "mmh":
            assert library.torch.load_file(path, device=device)["x"].device.type == "cpu"
        else:
            with pytest.raises(library.error):
                library.torch.load_file(path, device=device)


@differs("The `backend` argument")
def test_the_backend_argument(library: Library, path: Path) -> None:
    """safetensors takes backend="mmap" or "pread"; there is no such choice in mmh, which takes threads."""
    write(library, path)
    if library.name == "mmh":
        assert set(library.numpy.load_file(path, threads=2)) == set(arrays())
        with pytest.raises(TypeError):
            library.numpy.load_file(path, backend="mmap")
    else:
        assert set(library.numpy.load_file(path, backend="pread")) == set(arrays())


@differs("A flipped bit is found")
def test_a_flipped_bit(library: Library, path: Path) -> None:
    """safetensors loads the damaged weights without a word."""
    expected = np.random.default_rng(8).normal(size=5000).astype(np.float32)
    write(library, path, {"x": expected})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    if library.name == "mmh":
        with pytest.raises(mmh.CorruptError, match="x"):
            library.numpy.load_file(path)
    else:
        assert not np.array_equal(library.numpy.load_file(path)["x"], expected)


@differs("The file inside")
def test_the_file_inside(library: Library, path: Path, tmp_path: Path) -> None:
    """What mmh saves is a container of a safetensors file, the very one that safetensors would have written,
    and mmh unpack gives it back (several metadata come in random order from safetensors, sorted from mmh).
    Such a file itself is no container: mmh.open_original reads it."""
    tensors = arrays() | {kind: np.ones(3, kind) for kind in ("u4", "i8", "u8", "f8", "c8", "i2", "u2", "i1")}
    write(library, path, tensors, metadata={"a": "€"})
    plain = tmp_path / "plain.safetensors"
    if library.name == "mmh":
        mmh.unpack(path, plain, as_file=True)
        other = Library("safetensors")
        assert plain.read_bytes() == other.numpy.save(tensors, metadata={"a": "€"})
        with pytest.raises(mmh.Error):
            library.numpy.load_file(plain)
        with mmh.open_original(plain) as file:
            assert file.metadata()["a"] == "€" and file.load_bytes("long") == tensors["long"].tobytes()
    else:
        assert path.read_bytes()[8:9] == b"{"


def test_every_difference_is_documented() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split("## Beside safetensors")[1].split("\n## ")[0]
    listed = re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)
    assert listed[0] == "difference" and sorted(listed[1:]) == sorted(DIFFERENCES)
