# SPDX-License-Identifier: Apache-2.0
"""mmh.jax: arrays are bit for bit what was saved, in the memory they were decoded into."""

import io
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src" / "python"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

np = pytest.importorskip("numpy")
ml_dtypes = pytest.importorskip("ml_dtypes")
jax = pytest.importorskip("jax", reason="JAX is in .venv-formats")
mmh = pytest.importorskip("mmh")

import mmh.jax as mmh_jax  # noqa: E402

PLAIN = "bool uint8 int8 uint16 int16 uint32 int32 float16 float32 complex64".split()
WIDE = "uint64 int64 float64".split()
EXTENDED = "bfloat16 float8_e4m3fn float8_e5m2 float8_e8m0fnu float8_e4m3fnuz float8_e5m2fnuz".split()


@pytest.fixture
def wide():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def random_array(dtype, shape, seed=1):
    kind = np.dtype(getattr(ml_dtypes, dtype)) if dtype in EXTENDED else np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    data = np.random.default_rng(seed).integers(0, 256, count * kind.itemsize, np.uint8)
    return (data & 1 if dtype == "bool" else data).view(kind).reshape(shape)


def bits(array):
    return np.asarray(array).tobytes()


@pytest.mark.parametrize("dtype", PLAIN + WIDE + EXTENDED)
def test_every_type_comes_back_bit_for_bit(tmp_path, wide, dtype):
    arrays = {f"t{n}": random_array(dtype, shape, n) for n, shape in enumerate([(3, 5), (), (0, 4), (70000,)])}
    given = {name: jax.device_put(array) for name, array in arrays.items()}
    mmh_jax.save_file(given, tmp_path / "t.mmh", {"key": "value"})
    for loaded in (mmh_jax.load_file(tmp_path / "t.mmh"), mmh_jax.load((tmp_path / "t.mmh").read_bytes())):
        assert set(loaded) == set(arrays)
        for name, array in arrays.items():
            assert isinstance(loaded[name], jax.Array) and loaded[name].dtype == array.dtype
            assert loaded[name].shape == array.shape and bits(loaded[name]) == array.tobytes(), name


def test_they_are_what_safetensors_gives(tmp_path):
    flax = pytest.importorskip("safetensors.flax")
    given = {"a": jax.numpy.arange(33.0).reshape(3, 11), "b": jax.numpy.array([True, False])}
    flax.save_file(dict(given), tmp_path / "t.safetensors", {"key": "value"})
    mmh_jax.save_file(given, tmp_path / "t.mmh", {"key": "value"})
    mmh.unpack(tmp_path / "t.mmh", tmp_path / "out")
    assert (tmp_path / "out" / "t.safetensors").read_bytes() == (tmp_path / "t.safetensors").read_bytes()
    theirs, ours = flax.load_file(tmp_path / "t.safetensors"), mmh_jax.load_file(tmp_path / "t.mmh")
    assert theirs.keys() == ours.keys() and all(bits(theirs[name]) == bits(ours[name]) for name in theirs)


@pytest.mark.parametrize("dtype", PLAIN + EXTENDED)
def test_arrays_share_the_memory_they_were_decoded_into(dtype):
    from mmh import _arrays

    if not mmh_jax._SHARES:
        pytest.skip("this JAX has no device_put(may_alias=)")
    memory = _arrays.aligned(4096)
    memory[:] = 0
    array = mmh_jax._placed(memory.view(random_array(dtype, (1,)).dtype), None)
    memory[:] = 1
    assert bits(array) == memory.tobytes()


def test_safe_open_gives_arrays_and_slices():
    array = random_array("float32", (40, 30))
    data = mmh_jax.save({"a": jax.device_put(array)})
    for framework in ("jax", "flax"):
        with mmh.safe_open(io.BytesIO(data), framework=framework) as file:
            assert bits(file.get_tensor("a")) == array.tobytes()
            assert bits(file.get_slice("a")[3:9, 5:]) == array[3:9, 5:].tobytes()
            assert bits(file.get_tensors()["a"]) == array.tobytes()


def test_a_device_is_named(tmp_path):
    mmh_jax.save_file({"a": jax.numpy.ones(3)}, tmp_path / "t.mmh")
    for device in ("cpu", "cpu:0", jax.devices("cpu")[0]):
        assert mmh_jax.load_file(tmp_path / "t.mmh", device=device)["a"].devices() == {jax.devices("cpu")[0]}


def test_what_cannot_be_is_told_by_name(tmp_path):
    with pytest.raises(TypeError, match=r'"a".*ndarray'):
        mmh_jax.save_file({"a": np.zeros(3)}, tmp_path / "t.mmh")
    mmh.pack_tensors({"f": ("F4", (4,), b"ab")}, tmp_path / "t.mmh")
    with pytest.raises(mmh.UnsupportedError, match=r'"f".*F4'):
        mmh_jax.load_file(tmp_path / "t.mmh")
    with pytest.raises(mmh.MissingTensorError, match="h"):
        mmh_jax.load_file(tmp_path / "t.mmh", names=["h"])
