# SPDX-License-Identifier: Apache-2.0
"""One framework's part of mmh.frameworks, in a process of its own.

Reads a job as JSON from standard input. Writes {"stage": ...} when it begins with mmh's loader, and {"check":
...} for each model, a line each. What a framework prints goes to standard error.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import pathlib
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import mmh
from mmh._container import Container
from mmh.frameworks import SEED, Check, Model, open_options

SIZES = (1, 4, 16, 64, 256, 512, 576)
"""What is tried, one after the other, for dimensions that a model leaves open."""

Arrays = list[tuple[str, Any]]


class RefusedError(Exception):
    """To load it would run code that it brings."""


@dataclass
class Loaded:
    """What a loader gave.

    tensors   {name: function that gives it}: NumPy arrays, or what _plain makes one of
    run       a seeded forward pass: takes the size of open dimensions, gives [(name, array)]; None: why_not
    """

    tensors: Mapping[str, Callable[[], Any]]
    run: Callable[[int], Arrays] | None = None
    why_not: str = ""


@dataclass
class Job:
    """A model, where its original is, and the container."""

    model: Model
    original: pathlib.Path
    container: Container
    run_code: bool
    keys: dict[str, str] = field(default_factory=dict)  # names in the model's file -> the container's

    @property
    def path(self) -> pathlib.Path:
        return self.original / self.model.file

    @property
    def index(self) -> int:
        """Number of the model's file in the container."""
        return next(file.index for file in self.container.files if file.name == self.model.file)

    def by_module(self, module: Any) -> dict[str, Callable[[], Any]]:
        """The file's tensors as mmh.torch, mmh.numpy, ... give them."""
        index = self.index
        infos = {info.name: key for key, info in self.container.items() if info.file == index}
        if len(infos) == len(self.container):  # the only one: by the loader that users call
            return {name: _given(tensor) for name, tensor in module.load_all(self.container).items()}
        return {name: _later(module.get, self.container, key) for name, key in infos.items()}


def _later(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def _given(value: Any) -> Callable[[], Any]:
    return lambda: value


def _random(shape: Any, dtype: Any) -> Any:
    """Seeded input: small normal numbers, or zeros and ones."""
    kind, generator = np.dtype(dtype), np.random.default_rng(SEED)
    if kind.kind == "f" or kind.name == "bfloat16":
        return (generator.standard_normal(shape) * 0.1).astype(kind)
    return generator.integers(0, 2, shape).astype(kind)


def _plain(value: Any) -> np.ndarray[Any, Any]:
    """An array of NumPy with the same bits."""
    if type(value).__module__.split(".")[0] == "torch":
        return _of_torch(value)
    array: np.ndarray[Any, Any] = np.asarray(value)
    return array


def _of_torch(tensor: Any) -> np.ndarray[Any, Any]:
    torch: Any = importlib.import_module("torch")

    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    tensor = tensor.resolve_conj().resolve_neg().contiguous()
    try:
        array: np.ndarray[Any, Any] = tensor.numpy()
        return array
    except TypeError:  # bfloat16 and 8-bit floats
        shape = tuple(tensor.shape)
        flat: np.ndarray[Any, Any] = tensor.reshape(-1).view(torch.uint8).numpy()
        return flat.reshape(*shape, -1)


def _difference(name: str, theirs: Any, ours: Any) -> str | None:
    """What differs; None: not a bit."""
    a, b = _plain(theirs), _plain(ours)
    if a.dtype != b.dtype or a.shape != b.shape:
        return f'"{name}" is {b.dtype} {list(b.shape)}, and {a.dtype} {list(a.shape)} in the original'
    if a.dtype == object:
        return None if a.tolist() == b.tolist() else f'"{name}" has other values'
    if a.tobytes() != b.tobytes():
        return f'"{name}" has other bits'
    return None


# ---- safetensors, numpy, h5py, gguf ----


def _safetensors(job: Job, module: str, framework: str) -> tuple[Callable[[], Loaded], Callable[[], Loaded]]:
    def theirs() -> Loaded:
        safetensors: Any = importlib.import_module("safetensors")

        file = safetensors.safe_open(str(job.path), framework)
        return Loaded({name: _later(file.get_tensor, name) for name in file.keys()})  # noqa: SIM118

    return theirs, lambda: Loaded(job.by_module(importlib.import_module(f"mmh.{module}")))


def check_safetensors(job: Job) -> Any:
    from mmh import numpy as mmh_numpy

    def theirs() -> Loaded:
        safetensors: Any = importlib.import_module("safetensors")

        found = {}
        for name, entry in safetensors.deserialize(job.path.read_bytes()):
            found[name] = _given(np.frombuffer(entry["data"], np.uint8))
        return Loaded(found)

    def ours() -> Loaded:
        tensors = job.by_module(mmh_numpy)
        index = job.index
        packed = {info.name: key for key, info in job.container.items() if info.file == index}
        return Loaded({name: _later(_raw, job.container, packed[name]) for name in tensors})

    return theirs, ours


def _raw(container: Container, key: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(container.load_bytes(key), np.uint8)


def check_numpy(job: Job) -> Any:
    if job.model.kind == "safetensors":
        return _safetensors(job, "numpy", "np")

    def load(file: Any) -> Loaded:
        found = np.load(file, allow_pickle=job.run_code)
        if isinstance(found, np.ndarray):
            return Loaded({"": _given(found)})
        return Loaded({name: _later(member, found, name) for name in found.files})

    def member(archive: Any, name: str) -> Any:
        try:
            return archive[name]
        except ValueError as problem:
            if "allow_pickle" in str(problem):
                raise RefusedError(f'"{name}" is a pickle') from None
            raise

    return lambda: load(job.path), lambda: load(job.container.open_file(job.index))


def _h5(source: Any) -> Loaded:
    h5py: Any = importlib.import_module("h5py")

    file, found = h5py.File(source, "r"), {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = _later(item.__getitem__, ())

    file.visititems(visit)
    return Loaded(found)


def check_h5py(job: Job) -> Any:
    return lambda: _h5(job.path), lambda: _h5(job.container.open_file(job.index))


def check_gguf(job: Job) -> Any:
    def theirs() -> Loaded:
        gguf: Any = importlib.import_module("gguf")

        reader = gguf.GGUFReader(str(job.path))
        return Loaded({t.name: _given(np.ascontiguousarray(t.data).reshape(-1).view(np.uint8)) for t in reader.tensors})

    def ours() -> Loaded:
        index = job.index
        infos = {info.name: key for key, info in job.container.items() if info.file == index}
        return Loaded({name: _later(_raw, job.container, key) for name, key in infos.items()})

    return theirs, ours


# ---- torch ----

# Operations by which TorchScript reaches outside: files, and libraries of operations that were loaded.
_TORCHSCRIPT_OUTSIDE = re.compile(
    r"\b(?:torch\.(?:from_file|save|load|_load_for_lite_interpreter)|ops\.(?!prim\b|aten\b|quantized\b)\w+\.\w+"
    r"|torch\.classes|__torch__\.torch\.classes)"
)


def _refuse_torchscript(path: pathlib.Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if "/code/" in f"/{name}" and name.endswith(".py"):
                found = _TORCHSCRIPT_OUTSIDE.search(archive.read(name).decode("utf-8", "replace"))
                if found:
                    raise RefusedError(f"its code has {found[0]}, which reaches outside of the model")


def _state(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors of what torch.load gave, named by the path to them."""
    torch: Any = importlib.import_module("torch")

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _state(inner, f"{name}/{key}")
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _state(inner, f"{name}/{number}")


def check_torch(job: Job) -> Any:
    torch: Any = importlib.import_module("torch")

    torch.set_num_threads(1)
    if job.model.kind == "safetensors":
        return _safetensors(job, "torch", "pt")
    if job.model.kind == "torchscript":
        return _torchscript(job)

    def load(file: Any) -> Loaded:
        import pickle

        try:
            value = torch.load(file, map_location="cpu", weights_only=not job.run_code)
        except pickle.UnpicklingError as problem:
            why = str(problem).split("WeightsUnpickler error: ")[-1].splitlines()[0]
            raise RefusedError(f"torch.load(weights_only=True) refuses it: {why[:200]}") from None
        return Loaded({name: _given(tensor) for name, tensor in _state(value)})

    return lambda: load(job.path), lambda: load(job.container.open_file(job.index))


def _torchscript(job: Job) -> Any:
    torch: Any = importlib.import_module("torch")

    def load(file: Any) -> Loaded:
        if not job.run_code:
            _refuse_torchscript(job.path)
        module = torch.jit.load(file, map_location="cpu")
        module.eval()
        tensors = [*module.named_parameters(), *module.named_buffers()]
        kinds = [str(argument.type) for argument in module.forward.schema.arguments[1:]]

        def run(size: int) -> Arrays:
            generator = torch.Generator().manual_seed(SEED)
            feeds: list[Any] = []
            for kind in kinds:
                if kind == "Tensor":
                    feeds.append(torch.rand((1, size), generator=generator) * 0.1)
                elif kind == "int":
                    feeds.append(16000)
                else:
                    raise RefusedError(f"no input is known for its argument of type {kind}")
            with torch.inference_mode():
                return list(_state(module(*feeds), "output"))

        return Loaded({name: _given(tensor) for name, tensor in tensors}, run)

    return lambda: load(str(job.path)), lambda: load(job.container.open_file(job.index))


# ---- tensorflow ----

# Operations that read or write files, or run Python or native code that was registered.
_TENSORFLOW_OUTSIDE = {
    "DebugIdentityV2", "EagerPyFunc", "FixedLengthRecordReader", "FixedLengthRecordReaderV2", "MatchingFiles",
    "PrintV2", "PyFunc", "PyFuncStateless", "ReadFile", "Save", "SaveSlices", "SaveV2", "TextLineReader",
    "TextLineReaderV2", "TFRecordReader", "TFRecordReaderV2", "WholeFileReader", "WholeFileReaderV2", "WriteFile",
    "MergeV2Checkpoints", "DeleteFile", "WriteSummary", "CreateSummaryFileWriter", "SummaryWriter",
}  # fmt: skip
_OF_SAVER = re.compile(r"__inference__traced_(?:save|restore)_\d+$")


def _refuse_saved_model(path: pathlib.Path) -> None:
    """Refuse a SavedModel with operations that reach outside of it, but for those that save and restore itself."""
    saved_model_pb2: Any = importlib.import_module("tensorflow.core.protobuf.saved_model_pb2")
    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for meta in model.meta_graphs:
        library = meta.graph_def.library.function
        of_saver = {f.signature.name for f in library if _OF_SAVER.match(f.signature.name)}
        for function in library:
            if function.signature.name in of_saver:
                continue
            for node in function.node_def:
                called = {value.func.name for value in node.attr.values() if value.HasField("func")}
                if node.op in _TENSORFLOW_OUTSIDE or called & of_saver or node.op in of_saver:
                    raise RefusedError(f"its function {function.signature.name} has {node.op}, which reaches outside")
        for node in meta.graph_def.node:
            if node.op in _TENSORFLOW_OUTSIDE - {"SaveV2", "MergeV2Checkpoints"}:
                raise RefusedError(f"its graph has {node.op}, which reaches outside")


def check_tensorflow(job: Job) -> Any:
    tf: Any = importlib.import_module("tensorflow")

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if job.model.kind == "safetensors":
        return _safetensors(job, "tensorflow", "tf")
    if job.model.kind == "tf-checkpoint":
        return _checkpoint(job)
    if job.model.kind == "tflite":
        return _tflite(job)

    def of(model: Any) -> Loaded:
        variables = {f"{number} {v.name}": _later(v.numpy) for number, v in enumerate(getattr(model, "variables", []))}
        if not model.signatures:
            return Loaded(variables, None, "it has no signature")

        def run(size: int) -> Arrays:
            outputs: Arrays = []
            for name, function in sorted(model.signatures.items()):
                feeds = {}
                for key, spec in sorted(function.structured_input_signature[1].items()):
                    shape = [size if extent is None else extent for extent in spec.shape.as_list()]
                    if spec.dtype == tf.string:
                        feeds[key] = tf.fill(shape, "mmh")
                    else:
                        feeds[key] = tf.constant(_random(shape, spec.dtype.as_numpy_dtype))
                for key, value in sorted(function(**feeds).items()):
                    outputs.append((f"{name}/{key}", value.numpy()))
            return outputs

        return Loaded(variables, run)

    top = "" if job.model.file == "." else f"{job.model.file}/"
    prefix = f"{top}variables/variables"
    by_name = ""  # why its variables alone are compared

    def theirs() -> Loaded:
        nonlocal by_name
        if not job.run_code:
            _refuse_saved_model(job.path)
        try:
            return of(tf.saved_model.load(str(job.path)))
        except AttributeError as problem:  # optimizers of older versions
            by_name = f"tf.saved_model.load: {_line(problem)}; its variables by name"
            return _by_reader("tensorflow.train", by_name, str(job.original / prefix))

    def ours() -> Loaded:
        from mmh import tensorflow as mmh_tensorflow

        if by_name:
            return _by_reader("mmh.tensorflow", by_name, job.container, prefix)
        return of(mmh_tensorflow.load_saved_model(job.container, model=top.rstrip("/") or None))

    return theirs, ours


def _by_reader(module: str, why_not: str, *where: Any) -> Loaded:
    names = module.split(".")
    package: Any = importlib.import_module(names[0] if names[0] != "mmh" else module)
    reader = (package.train if names[0] == "tensorflow" else package).load_checkpoint(*where)
    values = {name: _later(reader.get_tensor, name) for name in reader.get_variable_to_dtype_map()}
    return Loaded(values, None, why_not)


def _checkpoint(job: Job) -> Any:
    return (
        lambda: _by_reader("tensorflow.train", "", str(job.path)),
        lambda: _by_reader("mmh.tensorflow", "", job.container, job.model.file),
    )


def _tflite(job: Job) -> Any:
    tf: Any = importlib.import_module("tensorflow")

    def of(**source: Any) -> Loaded:
        interpreter = tf.lite.Interpreter(num_threads=1, **source)
        interpreter.allocate_tensors()

        def run(size: int) -> Arrays:
            for entry in interpreter.get_input_details():
                interpreter.set_tensor(entry["index"], _random(tuple(entry["shape"]), entry["dtype"]))
            interpreter.invoke()
            return [
                (entry["name"], interpreter.get_tensor(entry["index"])) for entry in interpreter.get_output_details()
            ]

        return Loaded({}, run)

    return lambda: of(model_path=str(job.path)), lambda: of(model_content=job.container.read(job.index))


# ---- keras ----


def _refuse_lambda(config: str) -> None:
    """Of HDF5 files: whatever this version of Keras does about Lambda layers in them."""
    if re.search(r'"class_name":\s*"(?:Lambda|__lambda__|TFOpLambda)"', config) and '"__lambda__"' in config:
        raise RefusedError("it has a Lambda layer: Python's bytecode")
    if re.search(r'"class_name":\s*"Lambda"', config):
        raise RefusedError("it has a Lambda layer: Python's bytecode")


def check_keras(job: Job) -> Any:
    keras: Any = importlib.import_module("keras")

    def load(loader: Callable[..., Any], source: Any, **more: Any) -> Loaded:
        safe = {} if not job.run_code else {"safe_mode": False}
        try:
            model = loader(source, compile=False, **more, **safe)
        except ValueError as problem:
            if "safe_mode" in str(problem) or "unsafe" in str(problem).lower():
                raise RefusedError(_line(problem)) from None
            raise

        def run(size: int) -> Arrays:
            feeds = []
            for spec in model.inputs:
                feeds.append(_random([size if extent is None else extent for extent in spec.shape], str(spec.dtype)))
            outputs = model(feeds if len(feeds) > 1 else feeds[0], training=False)
            flat = keras.tree.flatten(outputs) if hasattr(keras, "tree") else [outputs]
            return [(f"output {number}", keras.ops.convert_to_numpy(value)) for number, value in enumerate(flat)]

        weights = {f"{n} {w.path}": _later(keras.ops.convert_to_numpy, w) for n, w in enumerate(model.weights)}
        return Loaded(weights, run)

    def theirs() -> Loaded:
        if job.model.kind == "hdf5":
            h5py: Any = importlib.import_module("h5py")

            with h5py.File(job.path, "r") as file:
                config = file.attrs.get("model_config")
            if config is None:
                raise ValueError("it has weights and no model")
            if not job.run_code:
                _refuse_lambda(config if isinstance(config, str) else config.decode("utf-8", "replace"))
        return load(keras.saving.load_model, str(job.path))

    def ours() -> Loaded:
        from mmh import keras as mmh_keras

        return load(mmh_keras.load_model, job.container, model=job.model.file)

    return theirs, ours


# ---- jax, onnx ----


def check_jax(job: Job) -> Any:
    jax: Any = importlib.import_module("jax")

    jax.config.update("jax_enable_x64", True)
    return _safetensors(job, "jax", "flax")


def check_onnx(job: Job) -> Any:
    onnx: Any = importlib.import_module("onnx")

    from mmh import onnx as mmh_onnx

    def of(proto: Any) -> Loaded:
        found = {f"{number} {t.name}": _later(_onnx_array, t) for number, t in enumerate(mmh_onnx._tensors(proto))}
        skeleton = onnx.ModelProto()
        skeleton.CopyFrom(proto)
        for tensor in mmh_onnx._tensors(skeleton):
            tensor.ClearField("raw_data")
        graph = np.frombuffer(skeleton.SerializeToString(deterministic=True), np.uint8)
        return Loaded(found | {"(the graph)": _given(graph)})

    return (
        lambda: of(onnx.load(str(job.path))),
        lambda: of(mmh_onnx.load(job.container, model=job.model.file)),
    )


def _onnx_array(tensor: Any) -> np.ndarray[Any, Any]:
    if tensor.HasField("raw_data"):
        return np.frombuffer(tensor.raw_data, np.uint8)
    return np.frombuffer(tensor.SerializeToString(deterministic=True), np.uint8)


_ORT_TYPES = {
    "float": "f4", "float16": "f2", "double": "f8", "bool": "?", "int64": "i8", "int32": "i4", "int16": "i2",
    "int8": "i1", "uint64": "u8", "uint32": "u4", "uint16": "u2", "uint8": "u1",
}  # fmt: skip


def check_onnxruntime(job: Job) -> Any:
    onnxruntime: Any = importlib.import_module("onnxruntime")

    def options() -> Any:
        chosen = onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = chosen.inter_op_num_threads = 1
        chosen.log_severity_level = 4
        return chosen

    def of(session: Any) -> Loaded:
        def run(size: int) -> Arrays:
            feeds = {}
            for given in session.get_inputs():
                kind = given.type.removeprefix("tensor(").removesuffix(")")
                if kind not in _ORT_TYPES:
                    raise RefusedError(f"no input is known for {given.name} of type {given.type}")
                shape = [extent if isinstance(extent, int) and extent > 0 else size for extent in given.shape]
                feeds[given.name] = _random(shape, _ORT_TYPES[kind])
            names = [output.name for output in session.get_outputs()]
            return list(zip(names, session.run(None, feeds), strict=True))

        return Loaded({}, run)

    def theirs() -> Loaded:
        return of(onnxruntime.InferenceSession(str(job.path), options(), providers=["CPUExecutionProvider"]))

    def ours() -> Loaded:
        from mmh import onnx as mmh_onnx

        return of(mmh_onnx.session(job.container, options(), model=job.model.file))

    return theirs, ours


# ---- transformers ----


def check_transformers(job: Job) -> Any:
    """A folder: transformers makes the model from the folder, and from tensors that mmh.torch gives it."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")

    torch.set_num_threads(1)

    def of(model: Any) -> Loaded:
        # Into memory of its own: sums of matrices depend on how their elements are aligned, and in a mapped
        # safetensors file they are at any multiple of their size.
        model = copy.deepcopy(model).eval()

        def run(size: int) -> Arrays:
            limit = getattr(model.config, "vocab_size", None)
            if not isinstance(limit, int) or model.main_input_name != "input_ids":
                raise RefusedError(f"no input is known for {model.main_input_name}")
            tokens = torch.from_numpy(np.random.default_rng(SEED).integers(0, limit, (1, size)))
            with torch.inference_mode():
                outputs = model(input_ids=tokens)
            return [(name, value) for name, value in outputs.items() if isinstance(value, torch.Tensor)]

        return Loaded({name: _given(tensor) for name, tensor in model.state_dict().items()}, run)

    def theirs() -> Loaded:
        return of(transformers.AutoModel.from_pretrained(str(job.path), local_files_only=True, use_safetensors=True))

    def ours() -> Loaded:
        from mmh import torch as mmh_torch

        top = "" if job.model.file == "." else f"{job.model.file}/"
        numbers = {file.index: file.name for file in job.container.files}
        keys = [
            (key, info.name)
            for key, info in job.container.items()
            if numbers[info.file] in job.model.parts and numbers[info.file].endswith(".safetensors")
        ]
        state = {name: mmh_torch.get(job.container, key) for key, name in keys}
        config = json.loads(job.container.read(f"{top}config.json"))
        made = transformers.AutoConfig.for_model(**config)
        with torch.device("meta"):
            kind = type(transformers.AutoModel.from_config(made))
        return of(kind.from_pretrained(None, config=made, state_dict=state))

    return theirs, ours


# ---- comparing ----


def _line(problem: BaseException) -> str:
    """An exception in one line."""
    words = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {words[:200]}" if words else type(problem).__name__


def _run(loaded: Loaded, sizes: tuple[int, ...]) -> tuple[Arrays, int, str]:
    """Outputs, the size that open dimensions had, and why there are none."""
    if loaded.run is None:
        return [], 0, loaded.why_not
    why = ""
    for size in sizes:
        try:
            return loaded.run(size), size, ""
        except RefusedError as problem:
            return [], 0, str(problem)
        except Exception as problem:
            why = why or _line(problem)
    return [], 0, f"not run: {why}"


def _outputs_differ(theirs: Arrays, ours: Arrays) -> str | None:
    if [name for name, _ in theirs] != [name for name, _ in ours]:
        return "it has other outputs"
    for (name, first), (_, second) in zip(theirs, ours, strict=True):
        if problem := _difference(name, first, second):
            return f"output {problem}"
    return None


def check(job: Job, checker: Callable[[Job], Any], tell: Callable[[dict[str, Any]], None]) -> Check:
    """One model: by the framework's own loader, by mmh's, compared."""
    file, kind = job.model.file, job.model.kind
    try:
        load_theirs, load_ours = checker(job)
        theirs = load_theirs()
        expected, size, why = _run(theirs, SIZES)
    except RefusedError as problem:
        return Check(file, kind, "refused", text=str(problem))
    except Exception as problem:
        return Check(file, kind, "unloadable", text=_line(problem))
    tell({"stage": "ours"})
    try:
        ours = load_ours()
    except Exception as problem:
        return Check(file, kind, "failed", text=_line(problem))
    if set(theirs.tensors) != set(ours.tensors):
        odd = sorted(set(theirs.tensors) ^ set(ours.tensors))
        return Check(file, kind, "differs", text=f'{len(odd)} tensors are in one alone, as "{odd[0]}"')
    total, refused = 0, []
    for name, give in theirs.tensors.items():
        try:
            value = give()
        except RefusedError as problem:
            refused.append(str(problem))
            continue
        except Exception as problem:
            return Check(file, kind, "unloadable", text=f'"{name}": {_line(problem)}')
        try:
            problem_text = _difference(name, value, ours.tensors[name]())
        except Exception as problem:
            return Check(file, kind, "failed", text=f'"{name}": {_line(problem)}')
        if problem_text:
            return Check(file, kind, "differs", len(theirs.tensors), total, text=problem_text)
        total += _plain(value).nbytes
    count = len(theirs.tensors) - len(refused)
    if not size:
        if not count:
            text = why or (refused[0] if refused else "there is no tensor in it")
            return Check(file, kind, "refused" if refused else "unloadable", text=text)
        text = "; ".join(part for part in (why, refused[0] if refused else "") if part)
        return Check(file, kind, "equal", count, total, text=text)
    got, _, why = _run(ours, (size,))
    differing = why or _outputs_differ(expected, got)
    if differing:
        again, _, _ = _run(load_theirs(), (size,))
        if not why and _outputs_differ(expected, again):
            text = "the original's outputs are not the same twice"
            return Check(file, kind, "equal" if theirs.tensors else "unloadable", len(theirs.tensors), total, text=text)
        return Check(file, kind, "differs", len(theirs.tensors), total, len(expected), differing)
    return Check(file, kind, "equal", len(theirs.tensors), total, len(expected))


def main() -> None:
    """Read the job, do it."""
    job = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    checker = globals()[f"check_{job['framework']}"]
    with mmh.open(job["container"], **open_options(job["secrets"])) as container:
        for model in job["models"]:
            one = Job(Model(**model), pathlib.Path(job["original"]), container, job["run_code"])
            tell({"check": asdict(check(one, checker, tell))})
