# SPDX-License-Identifier: Apache-2.0
"""mmh.tensorflow: tensors, SavedModels and checkpoints are bit for bit what TensorFlow's own loaders give."""

import gc
import io
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src" / "python"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

np = pytest.importorskip("numpy")
ml_dtypes = pytest.importorskip("ml_dtypes")
tf = pytest.importorskip("tensorflow", reason="TensorFlow is in .venv-formats")
mmh = pytest.importorskip("mmh")

import mmh.tensorflow as mmh_tensorflow  # noqa: E402

CORPUS = Path(os.environ.get("MMH_SHARED") or ROOT.parent / "shared") / "corpus"
corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"there is no {CORPUS}: set MMH_SHARED")

PLAIN = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64 complex64".split()
EXTENDED = "bfloat16 float8_e4m3fn float8_e5m2".split()


def random_array(dtype, shape, seed=1):
    """Any bits at all: NaNs with payloads, denormals, negative zeros; of bools only 0 and 1."""
    kind = np.dtype(getattr(ml_dtypes, dtype)) if dtype in EXTENDED else np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    data = np.random.default_rng(seed).integers(0, 256, count * kind.itemsize, np.uint8)
    return (data & 1 if dtype == "bool" else data).view(kind).reshape(shape)


def bits(tensor):
    return np.asarray(tensor.numpy()).tobytes()


def in_memory():
    """What TensorFlow's file system in memory has of mmh's."""
    return set(tf.io.gfile.listdir("ram://mmh")) if tf.io.gfile.exists("ram://mmh") else set()


@pytest.mark.parametrize("dtype", PLAIN + EXTENDED)
def test_every_type_comes_back_bit_for_bit(tmp_path, dtype):
    arrays = {f"t{n}": random_array(dtype, shape, n) for n, shape in enumerate([(3, 5), (), (0, 4), (70000,)])}
    kind = next((getattr(place, dtype) for place in (tf, tf.dtypes.experimental) if hasattr(place, dtype)), None)
    if kind is None:
        pytest.skip(f"this TensorFlow has no {dtype}")
    own = kind.as_numpy_dtype  # before TensorFlow 2.14 not that of ml_dtypes
    tensors = {name: tf.constant(array.view(own)) for name, array in arrays.items()}
    path = tmp_path / "t.mmh"
    mmh_tensorflow.save_file(tensors, path, {"key": "value"})
    for loaded in (mmh_tensorflow.load_file(path), mmh_tensorflow.load(path.read_bytes())):
        assert set(loaded) == set(arrays)
        for name, array in arrays.items():
            assert loaded[name].dtype == tensors[name].dtype and tuple(loaded[name].shape) == array.shape
            assert bits(loaded[name]) == array.tobytes(), name
    assert mmh_tensorflow.load(mmh_tensorflow.save(tensors)).keys() == arrays.keys()


def test_they_are_what_safetensors_gives(tmp_path):
    safetensors = pytest.importorskip("safetensors.tensorflow")
    tensors = {
        "a": tf.random.normal((33, 7)),
        "b": tf.constant([True, False]),
        "c": tf.Variable([1, 2, 3]).read_value(),
    }
    safetensors.save_file(dict(tensors), tmp_path / "t.safetensors", {"key": "value"})
    mmh_tensorflow.save_file(tensors, tmp_path / "t.mmh", {"key": "value"})
    mmh.unpack(tmp_path / "t.mmh", tmp_path / "out")
    assert (tmp_path / "out" / "t.safetensors").read_bytes() == (tmp_path / "t.safetensors").read_bytes()
    theirs = safetensors.load_file(tmp_path / "t.safetensors")
    ours = mmh_tensorflow.load_file(tmp_path / "t.mmh")
    assert theirs.keys() == ours.keys() and all(bits(theirs[name]) == bits(ours[name]) for name in theirs)


@pytest.mark.parametrize("dtype", [*PLAIN, "bfloat16"])
def test_tensors_share_the_memory_they_were_decoded_into(dtype):
    from mmh import _arrays

    memory = _arrays.aligned(4096)
    memory[:] = 0
    tensor = mmh_tensorflow._tensor_of(memory.view(random_array(dtype, (1,)).dtype))
    memory[:] = 1
    assert bits(tensor) == memory.tobytes()


def test_nothing_is_converted_by_a_copy(tmp_path, monkeypatch):
    mmh_tensorflow.save_file(
        {"a": tf.random.normal((64, 64)), "b": tf.cast(tf.ones(9), tf.bfloat16)}, tmp_path / "t.mmh"
    )

    def copies(*_arguments, **_options):
        raise AssertionError("tf.convert_to_tensor copies")

    monkeypatch.setattr(tf, "convert_to_tensor", copies)
    assert set(mmh_tensorflow.load_file(tmp_path / "t.mmh")) == {"a", "b"}


def test_safe_open_gives_tensors_and_slices(tmp_path):
    array = random_array("float32", (40, 30))
    data = mmh_tensorflow.save({"a": tf.constant(array)})
    with mmh.safe_open(io.BytesIO(data), framework="tf") as file:
        assert bits(file.get_tensor("a")) == array.tobytes()
        assert bits(file.get_slice("a")[3:9, 5:]) == array[3:9, 5:].tobytes()
        assert bits(file.get_tensors()["a"]) == array.tobytes()
        with pytest.raises(KeyError, match="nothing"):
            file.get_tensor("nothing")


def test_what_cannot_be_is_told_by_name(tmp_path):
    with pytest.raises(TypeError, match=r'"a".*ndarray'):
        mmh_tensorflow.save_file({"a": np.zeros(3)}, tmp_path / "t.mmh")
    with pytest.raises(mmh.UnsupportedError, match='"s"'):
        mmh_tensorflow.save_file({"s": tf.constant(["text"])}, tmp_path / "t.mmh")
    mmh.pack_tensors({"f": ("F4", (4,), b"ab"), "g": ("F8_E8M0", (2,), b"ab")}, tmp_path / "t.mmh")
    with pytest.raises(mmh.UnsupportedError, match=r'"f".*F4'):
        mmh_tensorflow.load_file(tmp_path / "t.mmh", names=["f"])
    with pytest.raises(mmh.UnsupportedError, match=r'"g".*TensorFlow'):
        mmh_tensorflow.load_file(tmp_path / "t.mmh", names=["g"])
    with pytest.raises(mmh.MissingTensorError, match="h"):
        mmh_tensorflow.load_file(tmp_path / "t.mmh", names=["h"])


def test_damage_is_an_error(tmp_path):
    mmh_tensorflow.save_file({"a": tf.random.normal((400, 400))}, tmp_path / "t.mmh")
    data = bytearray((tmp_path / "t.mmh").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "t.mmh").write_bytes(data)
    with pytest.raises(mmh.CorruptError):
        mmh_tensorflow.load_file(tmp_path / "t.mmh")


# ---- SavedModel ----


class Plain(tf.Module):
    def __init__(self):
        super().__init__()
        self.layers = [tf.Variable(tf.random.normal((300, 40), seed=n)) for n in range(3)]
        self.more = {"bf16": tf.Variable(tf.cast(tf.random.normal((7,)), tf.bfloat16))}
        self.again = self.layers[1]

    @tf.function(input_signature=[tf.TensorSpec((None, 300))])
    def __call__(self, x):
        return x @ self.layers[0] + tf.reduce_sum(self.again) + tf.cast(self.more["bf16"][0], tf.float32)


def saved(tmp_path, module, name="model"):
    tf.saved_model.save(module, str(tmp_path / name))
    mmh.pack(tmp_path / name, tmp_path / f"{name}.mmh", level=1)
    return tmp_path / f"{name}.mmh"


@pytest.fixture
def no_whole_copy(monkeypatch):
    """TensorFlow restoring from a copy of the weights fails the test."""

    def whole(*_arguments):
        raise AssertionError("the weights were copied")

    monkeypatch.setattr(mmh_tensorflow, "_load_from_memory", whole)


def test_a_saved_model_is_loaded_without_a_copy_of_its_weights(tmp_path, no_whole_copy, monkeypatch):
    module = Plain()
    path, before, written = saved(tmp_path, module), in_memory(), []
    create = mmh_tensorflow._MemoryFolder._create

    class Counted:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *why):
            return self.file.__exit__(*why)

        def write(self, data):
            written.append(len(data))
            return self.file.write(data)

    monkeypatch.setattr(mmh_tensorflow._MemoryFolder, "_create", lambda self, name: Counted(create(self, name)))
    loaded = mmh_tensorflow.load_saved_model(path)
    x = tf.random.normal((2, 300))
    assert bits(loaded(x)) == bits(module(x))
    assert loaded.again is loaded.layers[1] and bits(loaded.more["bf16"]) == bits(module.more["bf16"])
    assert 0 < sum(written) < 300 * 40 * 4, "what is in memory of its files is without the weights"
    assert in_memory() == before


def test_variables_of_a_loaded_model_can_be_trained(tmp_path):
    loaded = mmh_tensorflow.load_saved_model(saved(tmp_path, Plain()))
    variable = loaded.layers[0]
    was = variable.numpy().copy()
    variable.assign_add(tf.ones_like(variable))
    assert np.array_equal(variable.numpy(), was + 1)
    with tf.GradientTape() as tape:
        out = tf.reduce_sum(loaded(tf.ones((1, 300))))
    assert tape.gradient(out, variable).shape == variable.shape


def test_tables_in_a_checkpoint_are_restored(tmp_path):
    class Table(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
            self.table.insert(["a", "b"], [1, 2])
            self.variable = tf.Variable(3.0)

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def __call__(self, x):
            return self.table.lookup(x)

    before = in_memory()
    loaded = mmh_tensorflow.load_saved_model(saved(tmp_path, Table()))
    assert loaded(tf.constant(["a", "b", "c"])).numpy().tolist() == [1, 2, -1] and loaded.variable.numpy() == 3
    assert in_memory() == before


def test_assets_are_there_as_long_as_the_object(tmp_path, no_whole_copy):
    (tmp_path / "words.txt").write_text("x\ny\nz\n")

    class Words(tf.Module):
        def __init__(self):
            super().__init__()
            self.asset = tf.saved_model.Asset(str(tmp_path / "words.txt"))
            whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
            words = tf.lookup.TextFileInitializer(self.asset, tf.string, whole, tf.int64, number)
            self.table = tf.lookup.StaticHashTable(words, -1)

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def __call__(self, x):
            return self.table.lookup(x)

        @tf.function(input_signature=[])
        def text(self):
            return tf.io.read_file(self.asset.asset_path)

    path, before = saved(tmp_path, Words()), in_memory()
    (tmp_path / "words.txt").unlink()
    loaded = mmh_tensorflow.load_saved_model(path)
    assert loaded(tf.constant(["z", "b"])).numpy().tolist() == [2, -1]
    assert loaded.text().numpy() == b"x\ny\nz\n"
    assert len(in_memory() - before) == 1
    del loaded
    gc.collect()
    assert in_memory() == before


def test_load_options_and_names_reach_tensorflow(tmp_path):
    path = saved(tmp_path, Plain())
    options = tf.saved_model.LoadOptions(allow_partial_checkpoint=True)
    assert len(mmh_tensorflow.load_saved_model(path, options=options).layers) == 3
    with pytest.raises(ValueError, match="tags"):
        mmh_tensorflow.load_saved_model(path, tags=["no such tag"])
    with pytest.raises(mmh.UsageError, match="SavedModel"):
        mmh_tensorflow.load_saved_model(path, model="no such folder")


def test_of_several_saved_models_one_is_named(tmp_path):
    both = tmp_path / "both"
    for name in ("one", "two"):
        tf.saved_model.save(Plain(), str(both / name))
    mmh.pack(both, tmp_path / "both.mmh", level=1)
    with pytest.raises(mmh.UsageError, match="model="):
        mmh_tensorflow.load_saved_model(tmp_path / "both.mmh")
    loaded = mmh_tensorflow.load_saved_model(tmp_path / "both.mmh", model="two")
    assert bits(loaded.layers[2]) == bits(tf.saved_model.load(str(both / "two")).layers[2])


def test_a_damaged_saved_model_leaves_nothing_in_memory(tmp_path):
    path, before = saved(tmp_path, Plain()), in_memory()
    with mmh.open(path) as container:
        shard = next(file for file in container.files if ".data-" in file.name)
        places = [info for _, info in container.items() if info.file == shard.index]
    data = bytearray(path.read_bytes())
    whole = len(data)
    assert places
    for at in range(whole // 4, 3 * whole // 4, 64):
        data[at] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(mmh.Error):
        mmh_tensorflow.load_saved_model(path)
    assert in_memory() == before


@corpus
@pytest.mark.parametrize("name", ["resnet_keras3_export", "dtln_norm_500h"])
def test_real_saved_models_compute_the_same(tmp_path, name, no_whole_copy):
    mmh.pack(CORPUS / "savedmodel" / name, tmp_path / "m.mmh")
    for source in (tmp_path / "m.mmh", CORPUS / "savedmodel" / name):
        theirs = tf.saved_model.load(str(CORPUS / "savedmodel" / name))  # anew: it may have a state
        ours = mmh_tensorflow.load_saved_model(source)
        assert [(v.name, bits(v)) for v in ours.variables] == [(v.name, bits(v)) for v in theirs.variables]
        for signature, function in theirs.signatures.items():
            feeds = {
                key: tf.constant(np.random.default_rng(7).standard_normal([n or 1 for n in spec.shape]).astype("f4"))
                for key, spec in function.structured_input_signature[1].items()
            }
            expected, got = function(**feeds), ours.signatures[signature](**feeds)
            assert {key: bits(value) for key, value in got.items()} == {k: bits(v) for k, v in expected.items()}


# ---- checkpoints ----


@corpus
def test_a_real_checkpoint_reads_as_by_tensorflow(tmp_path):
    mmh.pack(CORPUS / "tf_checkpoint", tmp_path / "c.mmh")
    theirs = tf.train.load_checkpoint(str(CORPUS / "tf_checkpoint" / "m3gnet"))
    with mmh_tensorflow.load_checkpoint(tmp_path / "c.mmh") as ours:
        assert ours.get_variable_to_dtype_map() == theirs.get_variable_to_dtype_map()
        assert ours.get_variable_to_shape_map() == theirs.get_variable_to_shape_map()
        for name in theirs.get_variable_to_dtype_map():
            expected = theirs.get_tensor(name)
            assert ours.get_tensor(name) == expected if isinstance(expected, bytes) else True
            assert np.asarray(ours.get_tensor(name)).tobytes() == np.asarray(expected).tobytes(), name
        assert ours.has_tensor(name) and not ours.has_tensor("nothing")
        with pytest.raises(mmh.MissingTensorError, match="nothing"):
            ours.get_tensor("nothing")


class Pair(tf.Module):
    def __init__(self, value):
        super().__init__()
        self.first = tf.Variable(tf.fill((50, 60), value))
        self.second = tf.Variable([value, value])
        self.text = tf.Variable("text")


def test_a_checkpoint_is_restored_and_strings_with_it(tmp_path):
    tf.train.Checkpoint(pair=Pair(5.0)).write(str(tmp_path / "ckpt" / "c"))
    mmh.pack(tmp_path / "ckpt", tmp_path / "c.mmh")
    fresh = Pair(0.0)
    fresh.text.assign("other")
    restored = mmh_tensorflow.restore(tf.train.Checkpoint(pair=fresh), tmp_path / "c.mmh")
    assert restored.in_memory, "strings are TensorFlow's own"
    assert fresh.first.numpy()[3, 4] == 5 and fresh.text.numpy() == b"text"


def test_a_keras_model_and_its_optimizer_are_restored_straight(tmp_path):
    keras = pytest.importorskip("keras")
    if not keras.__version__.startswith("3") or keras.backend.backend() != "tensorflow":
        pytest.skip("Keras 3 on TensorFlow")

    def made():
        model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(64), keras.layers.Dense(3)])
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    model, fresh = made(), made()
    model.fit(np.ones((4, 8)), np.ones((4, 3)), verbose=0)
    tf.train.Checkpoint(model=model).save(str(tmp_path / "ckpt" / "c"))
    mmh.pack(tmp_path / "ckpt", tmp_path / "c.mmh")
    target = tf.train.Checkpoint(model=fresh)
    assert target.save_counter is not None
    restored = mmh_tensorflow.restore(target, tmp_path / "c.mmh")
    assert not restored.in_memory and restored.variables == 15
    pairs = [*zip(model.weights, fresh.weights, strict=True)]
    pairs += zip(model.optimizer.variables, fresh.optimizer.variables, strict=True)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)


def test_what_is_made_later_is_restored_later(tmp_path):
    root = tf.Module()
    root.late = tf.Variable([1.0, 2.0])
    tf.train.Checkpoint(root=root).write(str(tmp_path / "ckpt" / "c"))
    mmh.pack(tmp_path / "ckpt", tmp_path / "c.mmh")
    empty = tf.Module()
    target, before = tf.train.Checkpoint(root=empty), in_memory()
    assert mmh_tensorflow.restore(target, tmp_path / "c.mmh").in_memory
    empty.late = tf.Variable([0.0, 0.0])
    assert empty.late.numpy().tolist() == [1.0, 2.0]
    del target, empty
    gc.collect()
    assert in_memory() == before


def test_of_several_checkpoints_the_newest_is_taken(tmp_path):
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(pair=Pair(1.0)), str(tmp_path / "ckpt"), max_to_keep=3)
    manager.save()
    manager.checkpoint.pair.first.assign(tf.fill((50, 60), 2.0))
    manager.save()
    mmh.pack(tmp_path / "ckpt", tmp_path / "c.mmh")
    key = "pair/first/.ATTRIBUTES/VARIABLE_VALUE"
    with mmh_tensorflow.load_checkpoint(tmp_path / "c.mmh") as reader:
        assert reader.get_tensor(key)[0, 0] == 2
    with mmh_tensorflow.load_checkpoint(tmp_path / "c.mmh", "ckpt-1") as reader:
        assert reader.get_tensor(key)[0, 0] == 1
    with pytest.raises(mmh.UsageError, match="ckpt-7"):
        mmh_tensorflow.load_checkpoint(tmp_path / "c.mmh", "ckpt-7")


@corpus
def test_an_index_that_is_damaged_or_lies_is_told_and_no_more():
    from mmh import _bundle

    table = (CORPUS / "tf_checkpoint" / "m3gnet.index").read_bytes()
    name = "_CHECKPOINTABLE_OBJECT_GRAPH"
    entry = _bundle.find(table, name)
    assert entry is not None and entry.count == 1 and entry.size > 1000 and _bundle.find(table, "nothing") is None
    random, told = np.random.default_rng(5), 0
    for _ in range(3000):
        bad = bytearray(table)
        for at in random.integers(0, len(bad), random.integers(1, 6)):
            bad[at] = random.integers(0, 256)
        bad = bytes(bad[: random.integers(0, len(bad))] if random.integers(0, 2) else bad)
        try:
            found = _bundle.find(bad, name)
            told += found != entry
        except _bundle.TableError:
            told += 1
    assert told > 1000
    data = (CORPUS / "tf_checkpoint" / "m3gnet.data-00000-of-00001").read_bytes()[entry.offset :][: entry.size]
    assert len(_bundle.strings(data, 1)[0]) < entry.size
    for length, count in ((0, 1), (3, 1), (len(data) - 1, 1), (len(data), 2), (len(data), 1 << 40)):
        with pytest.raises(_bundle.TableError):
            _bundle.strings(data[:length], count)


def test_a_checkpoint_whose_index_lies_about_strings_is_refused(tmp_path):
    tf.train.Checkpoint(pair=Pair(5.0)).write(str(tmp_path / "ckpt" / "c"))
    shard = next((tmp_path / "ckpt").glob("*.data-*"))
    shard.write_bytes(shard.read_bytes()[:-2000])
    mmh.pack(tmp_path / "ckpt", tmp_path / "c.mmh")
    with (
        mmh_tensorflow.load_checkpoint(tmp_path / "c.mmh") as reader,
        pytest.raises(mmh.UnsupportedError, match="bytes"),
    ):
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
