# SPDX-License-Identifier: Apache-2.0
"""What each framework's own loader says a model file holds: names, element types, shapes, bytes.

Each loader takes the path of a unit and yields Entry objects. Loaders that run what a file says
(whole-module pickles) are for files that are trusted; here unknown classes become empty ones.
"""

import hashlib
import importlib
import importlib.metadata
import io
import json
import math
import pickle
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np

DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "complex128": "C128",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float4_e2m1fn": "F4",
    "float4_e2m1fn_x2": "F4",
    "int4": "I4",
    "uint4": "U4",
    "int2": "I2",
    "uint2": "U2",
}


class MissingPackage(Exception):
    """A loader's package is not installed here."""


class NotAModel(Exception):
    """Nothing here knows this file as a model."""


def package(name):
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise MissingPackage(f"{name.split('.')[0]} ({problem})") from problem


class Entry:
    """One tensor: `names` the loader's own first, then others that say the same; `dtypes` alike."""

    def __init__(self, names, dtypes, shape, data):
        self.names = [names] if isinstance(names, str) else list(names)
        self.dtypes = [dtypes] if isinstance(dtypes, str) else list(dtypes)
        self.shape, self.bytes = [int(n) for n in shape], len(data)
        self.varints = False  # a list of numbers of differing length: no array that could be pointed at
        self.digest = hashlib.sha256(data).hexdigest()

    @property
    def name(self):
        return self.names[0]


def of_array(names, array, dtypes=None, shape=None):
    """An Entry of a NumPy array: its bytes little-endian and in C order."""
    array = np.asarray(array)
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    name = array.dtype.name
    if dtypes is None:
        dtypes = ["BF16"] if array.dtype.str.endswith("V2") else [DTYPES.get(name, name)]
    return Entry(names, dtypes, array.shape if shape is None else shape, array.tobytes())


def is_numeric(array):
    return array.dtype.kind in "biufc" or array.dtype.name in DTYPES or array.dtype.str.endswith("V2")


# ---- torch ----


def of_torch(name, tensor):
    torch = package("torch")
    tensor = tensor.detach()
    if tensor.is_sparse:
        yield from of_torch(f"{name}.indices", tensor._indices())
        yield from of_torch(f"{name}.values", tensor._values())
        return
    if tensor.layout in (torch.sparse_csr, torch.sparse_csc):
        yield from of_torch(f"{name}.values", tensor.values())
        return
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    shape = tuple(tensor.shape)
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    flat = tensor.contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    dtype = str(tensor.dtype).replace("torch.", "")
    yield Entry(name, DTYPES.get(dtype, dtype), shape, data)


def torch_tensors(item, name=""):
    """Tensors of what torch.load gave, named by the path to them, parts divided by dots."""
    torch = package("torch")

    def inside(key):
        return f"{name}.{key}" if name else str(key)

    if isinstance(item, torch.Tensor):
        yield from of_torch(name, item)
    elif isinstance(item, torch.nn.Module):
        yield from torch_tensors(module_tensors(item), name)
    elif isinstance(item, dict):
        for key, value in item.items():
            yield from torch_tensors(value, inside(key))
    elif isinstance(item, (list, tuple)):
        for key, value in enumerate(item):
            yield from torch_tensors(value, inside(key))


def module_tensors(module, prefix=""):
    """state_dict() of a module, for those pickled by versions whose attributes have since changed."""
    found = {}
    state = module.__dict__
    for kind in ("_parameters", "_buffers"):
        for key, value in (state.get(kind) or {}).items():
            if value is not None:
                found[prefix + key] = value
    for key, child in (state.get("_modules") or {}).items():
        if child is not None:
            found |= module_tensors(child, f"{prefix}{key}.")
    return found


class StubPickle:
    """What torch.load takes as pickle_module: classes that are not torch's become empty modules."""

    __name__ = "stub_pickle"
    load, dumps, dump, Pickler = pickle.load, pickle.dumps, pickle.dump, pickle.Pickler

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if module.split(".")[0] in ("torch", "collections", "numpy", "_codecs"):
                return super().find_class(module, name)
            torch = package("torch")
            return type(name, (torch.nn.Module,), {"__module__": module, "forward": None})


def is_torchscript(path):
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in f"/{name}" for name in archive.namelist())


def load_torch(path):
    torch = package("torch")
    if is_torchscript(path):
        module = torch.jit.load(str(path), map_location="cpu")
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            yield from of_torch(name, tensor)
        return
    try:
        loaded = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception:
        loaded = torch.load(str(path), map_location="cpu", weights_only=False, pickle_module=StubPickle)
    yield from torch_tensors(loaded)


def load_torch_tar(path):
    """torch.load, or for one that it refuses, having no list of views: what its pickles say."""
    try:
        yield from list(load_torch(path))
        return
    except EOFError:
        pass
    torch = package("torch")

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                return lambda place, offset, shape, stride, *_: torch.as_strided(
                    storages[place[2]], shape, stride, offset
                )
            if (module, name) == ("collections", "OrderedDict") or module == "torch":
                return super().find_class(module, name)
            raise pickle.UnpicklingError(f"{module}.{name} is not for this reader")

    with tarfile.open(path) as archive:
        file, storages = archive.extractfile("storages"), {}
        for _ in range(Reader(file).load()):
            key, _, kind = Reader(file).load()
            values = np.frombuffer(file.read(4 * struct.unpack("<q", file.read(8))[0]), "<f4")
            assert kind is torch.FloatStorage, kind
            storages[key] = torch.from_numpy(values.copy())
        yield from torch_tensors(Reader(archive.extractfile("pickle")).load())


def load_nested_torch(path):
    torch = package("torch")
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if not member.endswith((".pth", ".pt")):
                continue
            data = archive.read(member)
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            for entry in torch_tensors(loaded):
                bare = entry.name
                entry.names = [f"{member}{mark}{bare}" for mark in ("/", ":", "!", ".")] + [bare]
                yield entry


# ---- numpy, safetensors, HDF5, Keras ----


def load_safetensors(path):
    open_file = package("safetensors").safe_open
    package("torch")
    with open_file(str(path), "pt") as file:
        for name in file.keys():  # noqa: SIM118 (no mapping)
            yield from of_torch(name, file.get_tensor(name))


def load_npy(path):
    array = np.load(path, allow_pickle=False)
    yield of_array([Path(path).name, Path(path).stem, "array", "", "data"], array)


def load_npz(path):
    with np.load(path, allow_pickle=True) as archive:
        for name in archive.files:
            if archive[name].dtype == object:  # a pickle
                for key, array in archive[name].item().items():
                    yield of_array([f"{name}.npy.{key}", f"{name}.{key}", f"{name}.npy/{key}", key], array)
                continue
            entry = of_array([name, f"{name}.npy"], archive[name])
            if archive[name].dtype.str[1:] == "V2":
                entry.dtypes = ["BF16", "U16", "OPAQUE"]
            yield entry


def h5_entries(source, prefixes=("",)):
    h5py = package("h5py")
    found = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biufc" and item.shape is not None:
            names = [prefix + mark + name for prefix in prefixes for mark in ("", "/")]
            found.append(of_array(names, item[()]))

    with h5py.File(source) as file:
        file.visititems(visit)
    yield from found


def load_h5(path):
    yield from h5_entries(path)


def load_keras(path):
    with zipfile.ZipFile(path) as archive:
        data = archive.read("model.weights.h5")
    inside = [f"model.weights.h5{mark}" for mark in ("/", ":", "!", ".")]
    yield from h5_entries(io.BytesIO(data), [*inside, ""])


# ---- ONNX ----


def onnx_entry(names, tensor, folder):
    onnx = package("onnx")
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind == "STRING":
        return None
    dtype = {
        "FLOAT": "F32",
        "DOUBLE": "F64",
        "FLOAT16": "F16",
        "BFLOAT16": "BF16",
        "FLOAT8E4M3FN": "F8_E4M3",
        "FLOAT8E5M2": "F8_E5M2",
        "COMPLEX64": "C64",
        "COMPLEX128": "C128",
        "FLOAT4E2M1": "F4",
    }.get(kind) or kind.replace("UINT", "U").replace("INT", "I")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        package("onnx.external_data_helper").load_external_data_for_tensor(tensor, str(folder))
    if tensor.HasField("raw_data"):
        return Entry(names, dtype, tensor.dims, tensor.raw_data)
    entry = of_array(names, onnx.numpy_helper.to_array(tensor), [dtype], tensor.dims)
    entry.varints = not (tensor.float_data or tensor.double_data)
    return entry


def load_onnx(path):
    onnx = package("onnx")
    package("onnx.numpy_helper")
    path = Path(path)
    if path.is_dir():
        for model in sorted(path.rglob("*.onnx")):
            yield from load_onnx(model)
        return
    model = onnx.load(str(path), load_external_data=False)

    def graph_entries(graph, prefix):
        for tensor in graph.initializer:
            yield onnx_entry([tensor.name, prefix + tensor.name], tensor, path.parent)
        yield from node_entries(graph.node, prefix)

    def node_entries(nodes, prefix):
        for number, node in enumerate(nodes):
            for attribute in node.attribute:
                step = f"{prefix}{node.name or number}"
                names = [*node.output[:1]] if node.op_type == "Constant" else []
                names += [f"{output}.{attribute.name}" for output in node.output[:1]]
                names += [f"{step}.{attribute.name}", f"{step}/{attribute.name}", node.name]
                if attribute.type == onnx.AttributeProto.TENSOR:
                    if attribute.t.name:
                        names.append(attribute.t.name)
                    yield onnx_entry([n for n in names if n], attribute.t, path.parent)
                for graph in [attribute.g, *attribute.graphs]:
                    yield from graph_entries(graph, f"{step}.{attribute.name}.")

    entries = list(graph_entries(model.graph, ""))
    for function in model.functions:
        entries += node_entries(function.node, f"{function.name}.")
    yield from (entry for entry in entries if entry)


# ---- TensorFlow ----


def bundle_entries(prefix):
    tensorflow = package("tensorflow")
    reader = tensorflow.train.load_checkpoint(str(prefix))
    for name, dtype in sorted(reader.get_variable_to_dtype_map().items()):
        if dtype.name in DTYPES:
            yield of_array(name, reader.get_tensor(name))


VALUE_LISTS = ("half_val", "float_val", "double_val", "int_val", "int64_val", "bool_val", "uint32_val", "uint64_val")


def graph_entries(path):
    """Const nodes whose values the file holds one by one: a single value that is repeated is no array of the file."""
    package("tensorflow")
    saved_model_pb2 = package("tensorflow.core.protobuf.saved_model_pb2")
    util = package("tensorflow.python.framework.tensor_util")
    model = saved_model_pb2.SavedModel.FromString(Path(path).read_bytes())
    for meta in model.meta_graphs:
        places = [("", meta.graph_def.node)]
        places += [(f.signature.name, f.node_def) for f in meta.graph_def.library.function]
        for function, nodes in places:
            for node in nodes:
                if node.op != "Const" or "value" not in node.attr:
                    continue
                tensor = node.attr["value"].tensor
                array = util.MakeNdarray(tensor)
                listed = sum(len(getattr(tensor, name)) for name in VALUE_LISTS)
                if not is_numeric(array) or not (tensor.tensor_content or listed == array.size):
                    continue
                names = [f"{function}{mark}{node.name}" for mark in ("/", ":", ".")] if function else []
                entry = of_array([*names, node.name], array)
                entry.varints = not (tensor.tensor_content or tensor.float_val or tensor.double_val)
                yield entry


def load_saved_model(path):
    path = Path(path)
    yield from bundle_entries(path / "variables" / "variables")
    yield from graph_entries(path / "saved_model.pb")


def load_tf_checkpoint(path):
    for index in sorted(Path(path).glob("*.index")):
        yield from bundle_entries(index.with_suffix(""))


TFLITE_DTYPES = {
    "FLOAT32": "F32",
    "FLOAT16": "F16",
    "FLOAT64": "F64",
    "BFLOAT16": "BF16",
    "COMPLEX64": "C64",
    "COMPLEX128": "C128",
}


def tflite_schema():
    for name in ("ai_edge_litert.schema_py_generated", "tensorflow.lite.python.schema_py_generated"):
        try:
            return package(name)
        except MissingPackage as problem:
            missing = problem
    raise missing


def load_tflite(path):
    schema = tflite_schema()
    model = schema.ModelT.InitFromPackedBuf(Path(path).read_bytes(), 0)
    kinds = {value: key for key, value in vars(schema.TensorType).items() if key.isupper()}
    several = len(model.subgraphs) > 1
    for number, graph in enumerate(model.subgraphs):
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data) or tensor.buffer == 0:
                continue
            kind = kinds[tensor.type]
            if kind == "STRING":
                continue
            dtype = TFLITE_DTYPES.get(kind) or kind.replace("UINT", "U").replace("INT", "I")
            name = tensor.name.decode()
            names = [name, f"subgraph {number}/{name}"] if several else [name]
            shape = [] if tensor.shape is None else list(tensor.shape)
            yield Entry(names, dtype, shape, bytes(bytearray(data)))


# ---- GGUF, Core ML, others ----


def load_gguf(path):
    gguf = package("gguf")
    for tensor in gguf.GGUFReader(str(path)).tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        data = np.ascontiguousarray(tensor.data).tobytes()
        yield Entry(tensor.name, tensor.tensor_type.name, shape, data)


def coreml_shape(layer, field):
    """The shape that a layer's other fields give its weights, by NeuralNetwork.proto; None: a plain list."""
    kind = layer.DESCRIPTOR.name
    if kind == "ConvolutionLayerParams" and field == "weights":
        kernel = list(layer.kernelSize) or [3, 3]
        if layer.isDeconvolution:
            return [layer.kernelChannels, layer.outputChannels // max(1, layer.nGroups), *kernel]
        return [layer.outputChannels, layer.kernelChannels, *kernel]
    if kind == "InnerProductLayerParams" and field == "weights":
        return [layer.outputChannels, layer.inputChannels]
    return None


def weight_params(message, path, owner=None):
    """(path, WeightParams, message that has it) anywhere inside a Core ML message."""
    if message.DESCRIPTOR.name == "WeightParams":
        yield path, message, owner
        return
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE or field.message_type.GetOptions().map_entry:
            continue
        for item in value if field.is_repeated else [value]:
            step = getattr(item, "name", "") if field.is_repeated else field.name
            yield from weight_params(item, [*path, step or field.name], message)


BLOB_DTYPES = {1: "F16", 2: "F32", 3: "U8", 4: "I8", 5: "BF16", 6: "I16", 7: "U16"}


def mil_constants(program):
    """(name, shape, file, offset) of all values that a program keeps in a blob file."""

    def walk(block):
        for operation in block.operations:
            values = [*operation.attributes.items()]
            for argument in operation.inputs.values():
                values += [("", binding.value) for binding in argument.arguments if binding.HasField("value")]
            for key, value in values:
                if value.WhichOneof("value") == "blobFileValue":
                    shape = [d.constant.size for d in value.type.tensorType.dimensions]
                    output = operation.outputs[0].name if operation.outputs else key
                    yield output, shape, value.blobFileValue.fileName, value.blobFileValue.offset
            for inner in operation.blocks:
                yield from walk(inner)

    for function in program.functions.values():
        for block in function.block_specializations.values():
            yield from walk(block)


def load_coreml(path):
    package("coremltools")
    proto = package("coremltools.proto.Model_pb2")
    path = Path(path)
    specs = [path] if path.is_file() else sorted(path.rglob("*.mlmodel"))
    for spec in specs:
        model = proto.Model.FromString(spec.read_bytes())
        if model.WhichOneof("Type") == "mlProgram":
            for name, shape, file, offset in mil_constants(model.mlProgram):
                blob = (spec.parent / file.removeprefix("@model_path/")).read_bytes()
                _, kind, size, start = struct.unpack_from("<IIQQ", blob, offset)
                yield Entry([name], BLOB_DTYPES[kind], shape, blob[start : start + size])
            continue
        for steps, params, owner in weight_params(model, []):
            shape = coreml_shape(owner, steps[-1])
            steps = [step for step in steps if step not in ("neuralNetwork", "layers")]
            names = [mark.join(steps) for mark in (".", "/")]
            names = [f"{steps[0]}.{steps[-1]}", f"{steps[0]}/{steps[-1]}", *names]
            if params.floatValue:
                array = np.array(params.floatValue, "<f4")
                yield of_array(names, array, shape=shape if shape and math.prod(shape) == array.size else None)
            elif params.float16Value:
                yield Entry(names, "F16", [len(params.float16Value) // 2], params.float16Value)
            elif params.rawValue:
                yield Entry(names, "U8", [len(params.rawValue)], params.rawValue)


def load_tfjs(path):
    path = Path(path)
    for manifest in sorted(path.glob("*weights_manifest.json")):
        for group in json.loads(manifest.read_text()):
            data, at = b"".join((path / shard_of(path, name)).read_bytes() for name in group["paths"]), 0
            for weight in group["weights"]:
                dtype = weight.get("quantization", {}).get("dtype", weight["dtype"])
                size = int(np.prod(weight["shape"], dtype=np.int64)) * np.dtype(dtype).itemsize
                yield Entry(weight["name"], DTYPES[dtype], weight["shape"], data[at : at + size])
                at += size


def shard_of(folder, name):
    """A shard's file: as the manifest names it, or that with something put before it."""
    if (folder / name).exists():
        return name
    return next(path.name for path in sorted(folder.iterdir()) if path.name.endswith(name))


def load_whisper_vad(path):
    """whisper.cpp's voice activity model, by what its convert-silero-vad-to-ggml.py writes."""
    data = Path(path).read_bytes()
    if data[:4] != b"lmgg":
        raise NotAModel("another magic number")
    at = 4 + 4 + struct.unpack_from("<i", data, 4)[0]
    layers = struct.unpack_from("<6i", data, at)[5]
    at += 4 * (6 + 3 * layers + 4)
    while at < len(data):
        dimensions, length, kind = struct.unpack_from("<3i", data, at)
        shape = struct.unpack_from(f"<{dimensions}i", data, at + 12)[::-1]
        at += 12 + 4 * dimensions
        name = data[at : at + length].decode()
        at += length
        size = int(np.prod(shape)) * (2 if kind == 1 else 4)
        yield Entry(name, "F16" if kind == 1 else "F32", shape, data[at : at + size])
        at += size


def load_raw(path):
    """A voice of kokoro.js: 510 lengths of 256 floats, by its README."""
    array = np.fromfile(path, "<f4").reshape(510, 1, 256)
    yield of_array([Path(path).name, Path(path).stem, "array", "raw", "data", ""], array)


LOADERS = {
    "coreml": (load_coreml, "coremltools"),
    "custom_ggml": (load_whisper_vad, "numpy"),
    "custom_raw": (load_raw, "numpy"),
    "custom_tfjs": (load_tfjs, "numpy"),
    "gguf": (load_gguf, "gguf"),
    "keras_h5": (load_h5, "h5py"),
    "nested_zip": (load_nested_torch, "torch"),
    "npy": (load_npy, "numpy"),
    "npz": (load_npz, "numpy"),
    "onnx": (load_onnx, "onnx"),
    "onnx_external": (load_onnx, "onnx"),
    "safetensors": (load_safetensors, "safetensors"),
    "savedmodel": (load_saved_model, "tensorflow"),
    "tf_checkpoint": (load_tf_checkpoint, "tensorflow"),
    "tflite": (load_tflite, "flatbuffers"),
    "torch": (load_torch, "torch"),
    "torch_tar": (load_torch_tar, "torch"),
    "torchscript": (load_torch, "torch"),
}


def loader_of(unit, corpus):
    """(loader, package) for a unit of the corpus: its folder says which, and of Keras files their ending."""
    folder = Path(unit).relative_to(corpus).parts[0]
    if folder == "keras":
        return (load_keras, "h5py") if zipfile.is_zipfile(unit) else (load_h5, "h5py")
    if folder not in LOADERS:
        raise NotAModel(f"no loader for {folder}")
    return LOADERS[folder]


def version(name):
    for distribution in (name, f"{name}-cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            pass
    return None
