# SPDX-License-Identifier: Apache-2.0
"""Large models in the formats that people have them in: time, memory, and what finding tensors costs."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import bench_common as common
import generate
import numpy as np
import weights
from bench_common import mmh, spread, verdict

RSS_MB_BAR = 400
FINDING_BAR = 0.03  # time of ls by that of pack -5
FORMATS_PYTHON = weights.ROOT / ".venv-formats" / "bin" / "python"


class LeftOut(Exception):
    """What a format needs is not here."""


def shapes_of(bytes_wanted, element_bytes):
    """(name, shape) of a transformer of about so many bytes, in layers small enough for 100 MB."""
    width = 2048 if bytes_wanted > 1 << 30 else 512
    return list(
        generate.transformer_shapes(bytes_wanted // element_bytes, width, hidden=11 * width // 4, vocabulary=4 * width)
    )


def blocks(shape, seed, dtype):
    """Bytes of one tensor, piece by piece."""
    for part in generate.values(shape, seed):
        yield np.ascontiguousarray(generate.as_bits(part, dtype)).tobytes()


def write_data(path, shapes, dtype, align=1, seed=0):
    """One tensor behind the other; {name: (offset, bytes)}."""
    places = {}
    with open(path, "wb") as file:
        for number, (name, shape) in enumerate(shapes, seed):
            file.write(bytes(-file.tell() % align))
            begin = file.tell()
            file.writelines(blocks(shape, number, dtype))
            places[name] = (begin, file.tell() - begin)
    return places


def write_onnx(folder, size):
    """A model whose initializers all lie in one file beside it, each at a page of its own."""
    import onnx

    shapes = shapes_of(size, 4)
    places = write_data(folder / "model.onnx_data", shapes, "F32", align=4096)
    model = onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(name="generated"))
    model.opset_import.add(domain="", version=17)
    for name, shape in shapes:
        tensor = model.graph.initializer.add(name=name, data_type=onnx.TensorProto.FLOAT, dims=shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entries = zip(("location", "offset", "length"), ("model.onnx_data", *places[name]))
        for key, value in entries:
            tensor.external_data.add(key=key, value=str(value))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def write_torch(folder, size):
    """torch.save of a state dict of bf16 and fp32; the tensors are maps of a file, not memory."""
    import torch

    shapes = shapes_of(size, 3)
    half = len(shapes) // 2
    state = {}
    for dtype, kind, group in (
        ("BF16", torch.bfloat16, shapes[:half]),
        ("F32", torch.float32, shapes[half:]),
    ):
        for number, (name, shape) in enumerate(group):
            path = folder / f"{dtype}-{number}.raw"
            write_data(path, [(name, shape)], dtype, seed=number + (dtype == "F32") * half)
            state[name] = torch.from_file(str(path), shared=False, size=int(np.prod(shape)), dtype=kind).reshape(shape)
    path = folder / "model.pt"
    torch.save(state, path)
    del state
    for raw in folder.glob("*.raw"):
        raw.unlink()
    return path


def write_safetensors(folder, size):
    path = folder / "model.safetensors"
    generate.write(path, shapes_of(size, 2), ["BF16"])
    return path


def write_shards(folder, size):
    """Three safetensors files and their index."""
    weight_map = {}
    for shard in range(3):
        name = f"model-{shard + 1:05}-of-00003.safetensors"
        shapes = [(f"part.{shard}.{n}", shape) for n, shape in shapes_of(size // 3, 2)]
        generate.write(folder / name, shapes, ["BF16"], seed=shard)
        weight_map |= {tensor: name for tensor, _ in shapes}
    index = {"metadata": {}, "weight_map": weight_map}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


def write_gguf(folder, size):
    import gguf

    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    for number, (name, shape) in enumerate(shapes_of(size, 2)):
        data = b"".join(blocks(shape, number, "F16"))
        writer.add_tensor(name, np.frombuffer(data, "<f2").reshape(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_h5(folder, size):
    import h5py

    path = folder / "model.h5"
    with h5py.File(path, "w") as file:
        for number, (name, shape) in enumerate(shapes_of(size, 4)):
            data = b"".join(blocks(shape, number, "F32"))
            file.create_dataset(name.replace(".", "/"), data=np.frombuffer(data, "<f4").reshape(shape))
    return path


BUNDLE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
shapes = eval(sys.argv[2])
data = np.memmap(sys.argv[1] + "/data", "<f4", "r")
module, at = tf.Module(), 0
module.weights = []
for name, shape in shapes:
    count = int(np.prod(shape))
    module.weights.append(tf.Variable(np.array(data[at : at + count]).reshape(shape), name=name))
    at += count
tf.saved_model.save(module, sys.argv[1] + "/model")
"""


def write_saved_model(folder, size):
    """A SavedModel with its variables, by TensorFlow itself."""
    if not FORMATS_PYTHON.exists():
        raise LeftOut("no .venv-formats with TensorFlow (tools/deps.sh formats)")
    shapes = shapes_of(size, 4)
    write_data(folder / "data", shapes, "F32")
    result = subprocess.run(
        [str(FORMATS_PYTHON), "-c", BUNDLE, str(folder), repr(shapes)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise LeftOut(f"TensorFlow failed: {result.stderr.strip().splitlines()[-1:]}")
    (folder / "data").unlink()
    return folder / "model"


# What is made, and how large.
LARGE = {
    "onnx, external data": (write_onnx, 2 << 30),
    "torch zip": (write_torch, int(4.3 * (1 << 30))),  # beyond 4 GB a zip needs its 64-bit fields
    "safetensors, 3 shards": (write_shards, 6 << 30),
}
FINDING = {
    "safetensors": write_safetensors,
    "torch zip": write_torch,
    "onnx, external data": write_onnx,
    "gguf": write_gguf,
    "hdf5": write_h5,
    "SavedModel": write_saved_model,
}
FINDING_BYTES = 120_000_000


def files_of(path):
    """The regular files of what is packed when a path is named."""
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    return sorted(path.parent.iterdir()) if path.name.endswith(".index.json") else [path]


def same(one, other):
    return subprocess.run(["cmp", "-s", str(one), str(other)], check=False).returncode == 0


def assert_restored(source, restored):
    """Every byte came back, of a file or of all files of a unit."""
    pairs = (
        [(source, restored)]
        if restored.is_file()
        else [
            (path, restored / path.relative_to(source if source.is_dir() else source.parent))
            for path in files_of(source)
        ]
    )
    for was, now in pairs:
        if not now.is_file() or not same(was, now):
            raise SystemExit(f"bench: {was.name} did not come back as it was")


def listed_bytes(source):
    """(tensors, bytes that they claim) of an original."""
    tensors = common.mmh_json("ls", source)["tensors"]
    return len(tensors), sum(tensor["bytes"] for tensor in tensors)


def measure_large(name, write, size, folder):
    source = write(folder, size)
    bytes_in = sum(path.stat().st_size for path in files_of(source))
    tensors, claimed = listed_bytes(source)
    outside = folder.parent
    packed, restored = outside / "x.mmh", outside / "restored"
    rows = []
    for step, words in (
        ("pack", ("pack", "-5", "-f", "-o", packed, source)),
        ("unpack", ("unpack", "-f", "-o", restored, packed)),
    ):
        seconds, peak, _ = mmh(*words)
        rows.append(
            {
                "format": name,
                "op": step,
                "bytes": bytes_in,
                "tensors": tensors,
                "found_percent": 100 * claimed / bytes_in,
                "percent": 100 * packed.stat().st_size / bytes_in,
                "seconds": seconds,
                "gbps": bytes_in / seconds / 1e9,
                "peak_bytes": peak,
            }
        )
        row = rows[-1]
        print(
            f"{name:22} {step:7} {bytes_in / 1e9:6.2f} GB  {tensors:5} tensors, {row['found_percent']:6.2f} %"
            f"  {row['percent']:6.2f} %  {seconds:7.1f} s  {row['gbps']:5.2f} GB/s  peak {peak / 1e6:7.1f} MB",
            flush=True,
        )
        verdict(
            f"{step} of {name}, peak memory",
            f"{peak / 1e6:.0f} MB",
            f"{RSS_MB_BAR} MB",
            peak <= RSS_MB_BAR * 1e6,
        )
    assert_restored(source, restored)
    packed.unlink()
    shutil.rmtree(restored) if restored.is_dir() else restored.unlink()
    return rows


def bench_large_formats(args):
    """2 GB of ONNX, 4 GB of torch and 6 GB of shards on disk: pack and unpack, seconds and memory."""
    rows = []
    factor = generate.parse_size(args.size) / (2 << 30) if args.size else 1
    for name, (write, size) in LARGE.items():
        size = int(size * factor)
        with common.work_folder("disk", args.dir) as work:
            free = shutil.disk_usage(work).free
            if free < 3.2 * size:
                print(f"bench: {name} left out: {3.2 * size / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} free")
                continue
            folder = Path(work) / "model"
            folder.mkdir()
            try:
                rows += measure_large(name, write, size, folder)
            except (LeftOut, ImportError) as problem:
                print(f"bench: {name} left out: {problem}")
    common.save("large-formats", rows)


def bench_finding(args):
    """What finding the tensors of 120 MB costs, by the time of packing them."""
    rows = []
    size = generate.parse_size(args.size) if args.size else FINDING_BYTES
    for name, write in FINDING.items():
        with common.work_folder("disk", args.dir) as work:
            folder = Path(work) / "model"
            folder.mkdir()
            try:
                source = write(folder, size)
            except (LeftOut, ImportError) as problem:
                print(f"bench: {name} left out: {problem}")
                continue
            tensors, claimed = listed_bytes(source)
            bytes_in = sum(path.stat().st_size for path in files_of(source))
            packed = Path(work) / "x.mmh"
            finding = spread([mmh("ls", "-q", source)[0] for _ in range(args.runs)])
            packing = spread(
                [mmh("pack", "-5", f"-T{os.cpu_count()}", "-f", "-o", packed, source)[0] for _ in range(args.runs)]
            )
            row = {
                "format": name,
                "bytes": bytes_in,
                "tensors": tensors,
                "found_percent": 100 * claimed / bytes_in,
                "percent": 100 * packed.stat().st_size / bytes_in,
                "ls_ms": 1000 * finding["median"],
                "pack_ms": 1000 * packing["median"],
                "share": finding["median"] / packing["median"],
            }
            rows.append(row)
            print(
                f"{name:22} {bytes_in / 1e6:6.1f} MB  {tensors:5} tensors, {row['found_percent']:6.2f} %"
                f"  packed {row['percent']:6.2f} %  ls {row['ls_ms']:7.1f} ms  pack -5 {row['pack_ms']:8.1f} ms",
                flush=True,
            )
            verdict(
                f"finding tensors of {name}",
                f"{100 * row['share']:.2f} % of packing" + ("" if claimed else ", and none is found"),
                f"{100 * FINDING_BAR:.0f} %",
                row["share"] < FINDING_BAR and claimed > 0,
            )
    common.save("finding", rows)
