# SPDX-License-Identifier: Apache-2.0
"""mmh.onnx: models and sessions from a container are what onnx and ONNX Runtime make of the original."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src" / "python"))

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx", reason="onnx is in .venv-formats")
mmh = pytest.importorskip("mmh")

import mmh.onnx as mmh_onnx  # noqa: E402

CORPUS = Path(os.environ.get("MMH_SHARED") or ROOT.parent / "shared") / "corpus"
corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"there is no {CORPUS}: set MMH_SHARED")
REAL = sorted([*CORPUS.glob("onnx/*.onnx"), *CORPUS.glob("onnx_external/*/model.onnx")])


def packed(tmp_path, model):
    """The model's container; a folder's, if it has external data."""
    unit = model if model.parent.name == "onnx" else model.parent
    mmh.pack(unit, tmp_path / "m.mmh", level=1)
    return tmp_path / "m.mmh"


def sessions(original, container):
    runtime = pytest.importorskip("onnxruntime")

    def options():
        chosen = runtime.SessionOptions()
        chosen.intra_op_num_threads, chosen.log_severity_level = 1, 4
        return chosen

    theirs = runtime.InferenceSession(str(original), options(), providers=["CPUExecutionProvider"])
    return theirs, mmh_onnx.session(container, options())


def feeds(session):
    kinds = {"float": "f4", "float16": "f2", "int64": "i8", "int32": "i4", "double": "f8", "bool": "?"}
    found = {}
    for given in session.get_inputs():
        shape = [n if isinstance(n, int) and n > 0 else 1 for n in given.shape]
        if given.name == "sr":
            found[given.name] = np.array(16000)
        else:
            shape = [1, 576] if shape == [1, 1] and len(session.get_inputs()) > 1 else shape
            found[given.name] = (np.random.default_rng(7).standard_normal(shape) * 0.1).astype(kinds[given.type[7:-1]])
    return found


def assert_same_outputs(original, container):
    theirs, ours = sessions(original, container)
    given = feeds(theirs)
    for expected, got in zip(theirs.run(None, given), ours.run(None, given), strict=True):
        assert expected.dtype == got.dtype and expected.tobytes() == got.tobytes()
    return ours


@corpus
@pytest.mark.parametrize("model", REAL, ids=lambda path: path.parent.name + "-" + path.stem)
def test_real_models_are_the_same(tmp_path, model):
    container = packed(tmp_path, model)
    assert mmh_onnx.load(container) == onnx.load(str(model))
    assert mmh_onnx.load(model if model.parent.name == "onnx" else model.parent) == onnx.load(str(model))
    assert_same_outputs(model, container)


def made(weights, *, nodes=None, inputs=(("x", [1, 4]),), initializers=None, functions=()):
    """x @ w for each weight, summed."""
    helper, tensors = onnx.helper, initializers
    if tensors is None:
        tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    if nodes is None:
        nodes = [helper.make_node("MatMul", ["x", name], [f"{name}_out"]) for name in weights]
        nodes.append(helper.make_node("Sum", [f"{name}_out" for name in weights], ["y"]))
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.functions.extend(functions)
    return model


def weight(rows, columns, seed=1):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype("f4")


def test_the_session_gets_a_model_without_its_weights(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model = made({"a": weight(4, 5000), "b": weight(4, 5000, 2)})
    onnx.save(model, tmp_path / "m.onnx")
    mmh.pack(tmp_path / "m.onnx", tmp_path / "m.mmh")
    given = []
    real = runtime.InferenceSession

    class Spy(real):
        def __init__(self, path_or_bytes, *arguments, **options):
            given.append(path_or_bytes)
            super().__init__(path_or_bytes, *arguments, **options)

    runtime.InferenceSession = Spy
    try:
        session = mmh_onnx.session(tmp_path / "m.mmh")
    finally:
        runtime.InferenceSession = real
    assert isinstance(given[0], bytes) and len(given[0]) < 1000
    x = np.ones((1, 4), "f4")
    expected = real(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert session.run(None, {"x": x})[0].tobytes() == expected.tobytes()


def test_kernels_use_the_memory_that_was_decoded_into(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    onnx.save(made({"a": weight(4, 500), "b": weight(4, 500, 2)}), tmp_path / "m.onnx")
    mmh.pack(tmp_path / "m.onnx", tmp_path / "m.mmh")
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = mmh_onnx.session(tmp_path / "m.mmh", options)
    x = np.ones((1, 4), "f4")
    before = session.run(None, {"x": x})[0]
    for memory in session._mmh_memory[0]:
        assert memory.ctypes.data % 64 == 0
        memory.view("f4")[:] *= 2
    assert np.array_equal(session.run(None, {"x": x})[0], before * 2)


def test_external_data_is_found_beside_the_model_and_deeper(tmp_path):
    folder = tmp_path / "folder"
    (folder / "inner" / "data").mkdir(parents=True)
    model = made({"a": weight(4, 500), "b": weight(4, 500, 2), "c": weight(4, 500, 3)})
    offset = 0
    with open(folder / "inner" / "data" / "weights.bin", "wb") as file:
        for number, tensor in enumerate(model.graph.initializer):
            data, name = tensor.raw_data, "data/weights.bin" if number < 2 else "c.bin"
            if number < 2:
                file.write(data + bytes(96))
                onnx.external_data_helper.set_external_data(tensor, name, offset, len(data))
                offset += len(data) + 96
            else:
                (folder / "inner" / name).write_bytes(data)
                onnx.external_data_helper.set_external_data(tensor, name)
            tensor.ClearField("raw_data")
    (folder / "inner" / "m.onnx").write_bytes(model.SerializeToString())
    mmh.pack(folder, tmp_path / "m.mmh")
    for source in (tmp_path / "m.mmh", folder):
        assert mmh_onnx.load(source) == onnx.load(str(folder / "inner" / "m.onnx"))
        assert_same_outputs(folder / "inner" / "m.onnx", source)
    kept = mmh_onnx.load(tmp_path / "m.mmh", load_external_data=False)
    assert kept == onnx.load(str(folder / "inner" / "m.onnx"), load_external_data=False)


def test_external_data_of_graphs_inside_nodes_is_brought_along(tmp_path):
    helper = onnx.helper
    inner = onnx.numpy_helper.from_array(weight(1, 600), "inner")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.bin").write_bytes(inner.raw_data)
    onnx.external_data_helper.set_external_data(inner, "inner.bin")
    inner.ClearField("raw_data")
    output = helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Identity", ["inner"], ["o"])], "b", [], [output], [inner])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["o"])], "o", [], [output])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["c"], to=onnx.TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=other),
    ]
    (tmp_path / "folder" / "m.onnx").write_bytes(made({}, nodes=nodes).SerializeToString())
    mmh.pack(tmp_path / "folder", tmp_path / "m.mmh")
    assert_same_outputs(tmp_path / "folder" / "m.onnx", tmp_path / "m.mmh")
    assert mmh_onnx.load(tmp_path / "m.mmh") == onnx.load(str(tmp_path / "folder" / "m.onnx"))


def test_types_that_numpy_lacks_are_taken_as_they_are(tmp_path):
    runtime, helper = pytest.importorskip("onnxruntime"), onnx.helper
    if not hasattr(runtime.OrtValue, "ortvalue_from_numpy_with_onnx_type"):
        pytest.skip("this ONNX Runtime has no OrtValues of such types")
    raw = np.random.default_rng(3).integers(0, 0x3F80, 4 * 500).astype("<u2").tobytes()
    values = [helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [4, 500], raw, raw=True)]
    nodes = [
        helper.make_node("Cast", ["w"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "f"], ["y"]),
    ]
    onnx.save(made({}, nodes=nodes, initializers=values), tmp_path / "m.onnx")
    mmh.pack(tmp_path / "m.onnx", tmp_path / "m.mmh")
    assert_same_outputs(tmp_path / "m.onnx", tmp_path / "m.mmh")
    with mmh.open(tmp_path / "m.mmh") as container:
        slim = mmh_onnx._Slim(container, container.files[0], {**mmh_onnx._NUMPY, **mmh_onnx._BY_NUMBER})
    assert [entry.size for entry in slim.moved] == [len(raw)]


def test_a_model_says_nothing_about_files_outside_of_its_folder(tmp_path):
    for location in ("../secret", "/etc/passwd", "a/../../secret", "..\\secret", "absent"):
        model = made({"a": weight(4, 500)})
        tensor = model.graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, location, 0, len(tensor.raw_data))
        tensor.ClearField("raw_data")
        with mmh_container(tmp_path, {"in/m.onnx": model.SerializeToString(), "secret": bytes(9000)}) as container:
            for load in (mmh_onnx.load, mmh_onnx.session):
                pytest.importorskip("onnxruntime")
                with pytest.raises(mmh.UsageError, match=r'"a"'):
                    load(container)


@pytest.mark.parametrize("place", [(0, 1 << 40), (1 << 62, 8), (-8, 8), (0, -1)])
def test_data_beyond_a_files_end_is_refused(tmp_path, place):
    pytest.importorskip("onnxruntime")
    model = made({"a": weight(4, 500)})
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "data", *place)
    tensor.ClearField("raw_data")
    with mmh_container(tmp_path, {"m.onnx": model.SerializeToString(), "data": bytes(8000)}) as container:
        for load in (mmh_onnx.load, mmh_onnx.session):
            with pytest.raises(mmh.UsageError, match=r'"a"'):
                load(container)


@pytest.mark.parametrize(("data_type", "count", "size"), [("FLOAT", 500, 2000), ("FLOAT16", 9, 18), ("INT4", 9, 5)])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_external_data_is_of_the_size_of_its_tensor(tmp_path, data_type, count, size, more):
    tensor = onnx.TensorProto(name="a", data_type=getattr(onnx.TensorProto, data_type), dims=[count])
    tensor.raw_data = bytes(size + more)
    onnx.external_data_helper.set_external_data(tensor, "data", 0, size + more)
    tensor.ClearField("raw_data")
    model = made({})
    model.graph.initializer.append(tensor)
    with mmh_container(tmp_path, {"m.onnx": model.SerializeToString(), "data": bytes(8000)}) as container:
        if more:
            with pytest.raises(mmh.UsageError, match=rf'"a" has {size + more} bytes .* take {size}'):
                mmh_onnx.load(container)
        else:
            assert len(mmh_onnx.load(container).graph.initializer[-1].raw_data) == size


def mmh_container(tmp_path, files):
    mmh.pack_files(files, tmp_path / "made.mmh", overwrite=True)
    return mmh.open(tmp_path / "made.mmh")


def test_what_is_no_model_is_an_error_and_no_more(tmp_path):
    pytest.importorskip("onnxruntime")
    good = made({"a": weight(4, 50)}).SerializeToString()
    for number in range(0, len(good), 7):
        with mmh_container(tmp_path, {"m.onnx": good[:number] + b"\xff\xff" + good[number + 2 :]}) as container:
            try:
                mmh_onnx.session(container)
            except (mmh.Error, UnicodeDecodeError):  # ONNX Runtime's messages quote names as they are
                pass
            except Exception as problem:
                assert type(problem).__module__.startswith("onnxruntime"), problem
    with mmh_container(tmp_path, {"other.txt": b"text"}) as container, pytest.raises(mmh.UsageError, match="ONNX"):
        mmh_onnx.load(container)


def test_of_several_models_one_is_named(tmp_path):
    pytest.importorskip("onnxruntime")
    files = {f"{name}.onnx": made({"a": weight(4, 500, n)}).SerializeToString() for n, name in enumerate("pq")}
    with mmh_container(tmp_path, files) as container:
        with pytest.raises(mmh.UsageError, match="model="):
            mmh_onnx.session(container)
        assert mmh_onnx.load(container, model="q.onnx").SerializeToString() == files["q.onnx"]
