# SPDX-License-Identifier: Apache-2.0
"""mmh.keras: models and weights from a container are what Keras loads from the original."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src" / "python"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

np = pytest.importorskip("numpy")
keras = pytest.importorskip("keras", reason="Keras is in .venv-formats")
mmh = pytest.importorskip("mmh")

import mmh.keras as mmh_keras  # noqa: E402

CORPUS = Path(os.environ.get("MMH_SHARED") or ROOT.parent / "shared") / "corpus"
corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"there is no {CORPUS}: set MMH_SHARED")


def same_weights(a, b):
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in pairs)


def made():
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(3)])
    model.compile("adam", keras.losses.MeanSquaredError())
    model.fit(np.ones((4, 8)), np.ones((4, 3)), verbose=0)
    return model


def forbid_temporary_files(monkeypatch):
    if mmh_keras._loader_of_archives() is None:
        pytest.skip("this Keras loads no open files")

    def temporary(*_arguments, **_options):
        raise AssertionError("a temporary file was made")

    for name in ("mkdtemp", "mkstemp", "NamedTemporaryFile", "TemporaryDirectory"):
        monkeypatch.setattr(tempfile, name, temporary)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_model_its_optimizer_and_outputs_come_back(tmp_path, ending, monkeypatch):
    model = made()
    model.save(tmp_path / f"m{ending}")
    mmh.pack(tmp_path / f"m{ending}", tmp_path / "m.mmh")
    forbid_temporary_files(monkeypatch)
    for source in (tmp_path / "m.mmh", tmp_path / f"m{ending}"):
        loaded = mmh_keras.load_model(source)
        assert same_weights(model, loaded) and loaded.optimizer.iterations.numpy() == model.optimizer.iterations.numpy()
        x = np.random.default_rng(7).standard_normal((5, 8)).astype("f4")
        assert np.asarray(loaded(x)).tobytes() == np.asarray(model(x)).tobytes()


@corpus
@pytest.mark.parametrize(
    "name",
    [
        "keras/ad01.keras",
        "keras_h5/tiny__pretrainedResnet.h5",
        "keras_h5/face_classification__fer2013_big_XCEPTION.54-0.66.hdf5",
    ],
)
def test_real_models_are_the_same(tmp_path, name):
    mmh.pack(CORPUS / name, tmp_path / "m.mmh")
    theirs = keras.saving.load_model(CORPUS / name, compile=False)
    assert same_weights(theirs, mmh_keras.load_model(tmp_path / "m.mmh", compile=False))


def test_weights_are_loaded_into_a_model(tmp_path):
    model, other = made(), made()
    model.save_weights(tmp_path / "m.weights.h5")
    mmh.pack(tmp_path / "m.weights.h5", tmp_path / "w.mmh")
    other.set_weights([np.zeros_like(array) for array in other.get_weights()])
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    mmh_keras.load_weights(other, tmp_path / "w.mmh")
    assert same_weights(model, other)
    left = set(os.listdir("/dev/shm")) - before if os.path.isdir("/dev/shm") else set()
    assert not [name for name in left if name.startswith("mmh-")]


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_code_in_a_model_is_not_run(tmp_path, ending):
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / f"m{ending}")
    mmh.pack(tmp_path / f"m{ending}", tmp_path / "m.mmh")
    with pytest.raises(Exception, match=r"(?i)lambda"):
        mmh_keras.load_model(tmp_path / "m.mmh")


def test_damage_is_an_error(tmp_path):
    made().save(tmp_path / "m.keras")
    mmh.pack(tmp_path / "m.keras", tmp_path / "m.mmh")
    data = bytearray((tmp_path / "m.mmh").read_bytes())
    for at in range(len(data) // 4, 3 * len(data) // 4, 50):
        data[at] ^= 1
    (tmp_path / "m.mmh").write_bytes(data)
    with pytest.raises(mmh.Error):
        mmh_keras.load_model(tmp_path / "m.mmh")


def test_what_is_no_model_is_told(tmp_path):
    mmh.pack_files({"other.txt": b"text"}, tmp_path / "m.mmh")
    with pytest.raises(mmh.UsageError, match="Keras"):
        mmh_keras.load_model(tmp_path / "m.mmh")
