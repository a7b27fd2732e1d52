# SPDX-License-Identifier: Apache-2.0
"""Measure peer codecs, through their public Python packages, on the tensors mmh is measured on.

What is counted: the bytes of a model's float tensors (no file header, no integer tensors), in file
order. `whole` hands them over as one buffer; `per tensor` makes one call a tensor, a tensor that
grew counted at its raw size. A ratio is compressed bytes / those bytes. `best` is the smallest
figure over all settings tried, whole or per tensor: the one a size bar has to be held against.
Speeds: one thread, one buffer, the output memory that the package allocates afresh at every call.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import weights

RESULTS = weights.CACHE / "bench" / "peers.json"
CASTS = ("bf16", "fp16", "fp32")
LARGE = 64 * 1024  # weights; ZipNN's figures over these tensors alone are kept too


class ZipNN:
    """ZipNN with its default settings, or with another chunk size and threshold."""

    name, dtypes = "zipnn", ("BF16", "F16", "F32", "F8_E4M3", "F8_E5M2")
    settings = [
        {},
        {"compression_chunk": 1 << 17},
        {"compression_threshold": 1.0},
        {"compression_threshold": 1.0, "compression_chunk": 1 << 17},
    ]
    writes_to_input = True

    def __init__(self, dtype, **setting):
        from zipnn import ZipNN as Codec

        names = {
            "BF16": "bfloat16",
            "F16": "float16",
            "F32": "float32",
            "F8_E4M3": "float8_e4m3fn",
            "F8_E5M2": "float8_e5m2",
        }
        self.make = lambda: Codec(input_format="byte", bytearray_dtype=names[dtype], threads=1, **setting)

    def compress(self, data):
        return self.make().compress(data)

    def decompress(self, packed):
        return self.make().decompress(packed)


class OpenZL:
    """OpenZL: the exponents split off and entropy-coded, the rest byte plane by byte plane."""

    name, dtypes, settings = "openzl split+fse", ("BF16", "F16", "F32", "I8", "U8"), [{}]

    def __init__(self, dtype):
        import openzl.ext as zl

        self.zl, self.numeric = zl, dtype not in ("I8", "U8")
        self.width = np.dtype(weights.STORAGE[dtype]).itemsize
        compressor = zl.Compressor()
        compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        entropy = zl.graphs.Fse()(compressor)
        if self.numeric:
            planes = zl.nodes.TransposeSplit()(compressor, zl.graphs.Entropy()(compressor))
            split = {
                "BF16": zl.nodes.BFloat16Deconstruct,
                "F16": zl.nodes.Float16Deconstruct,
                "F32": zl.nodes.Float32Deconstruct,
            }[dtype]()
            entropy = split(compressor, sign_frac=planes, exponent=entropy)
        compressor.select_starting_graph(entropy)
        self.compressor = compressor

    def compress(self, data):
        zl = self.zl
        context = zl.CCtx()
        context.ref_compressor(self.compressor)
        context.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        if self.numeric:
            array = np.frombuffer(data, {2: np.uint16, 4: np.uint32}[self.width])
            return context.compress([zl.Input(zl.Type.Numeric, array)])
        return context.compress([zl.Input(zl.Type.Serial, np.frombuffer(data, np.uint8))])

    def decompress(self, packed):
        return self.zl.DCtx().decompress(packed)[0].content.as_nparray()


class Pcodec:
    """pcodec at its default level; bf16 goes in as the 16-bit integers it is stored in."""

    name, settings = "pcodec", [{}]
    dtypes = ("BF16", "F16", "F32", "F64")

    def __init__(self, dtype):
        from pcodec import ChunkConfig, standalone

        self.codec, self.config = standalone, ChunkConfig()
        self.storage = weights.STORAGE[dtype]

    def compress(self, data):
        return self.codec.simple_compress(np.frombuffer(data, self.storage), self.config)

    def decompress(self, packed):
        return self.codec.simple_decompress(packed)


class Zstd:
    """zstd at one level, as it is used on model files: no transform in front."""

    dtypes, settings, level = tuple(weights.STORAGE), [{}], 3

    def __init__(self, _dtype):
        import zstandard

        self.codec = zstandard

    def compress(self, data):
        return self.codec.ZstdCompressor(level=self.level).compress(data)

    def decompress(self, packed):
        return self.codec.ZstdDecompressor().decompress(packed)


class Zstd3(Zstd):
    name = "zstd -3"


class Zstd19(Zstd):
    name, level, most_runs = "zstd -19", 19, 1


class Blosc2:
    """blosc2: bitshuffle and lz4, at its highest level (the fastest to read as well)."""

    name, dtypes, settings = "blosc2 bitshuffle+lz4", tuple(weights.STORAGE), [{}]

    def __init__(self, dtype):
        import blosc2

        self.codec = blosc2
        self.width = np.dtype(weights.STORAGE[dtype]).itemsize

    def compress(self, data):
        codec = self.codec
        return codec.compress2(
            data,
            typesize=self.width,
            clevel=9,
            nthreads=1,
            codec=codec.Codec.LZ4,
            filters=[codec.Filter.BITSHUFFLE],
            filters_meta=[0],
        )

    def decompress(self, packed):
        return self.codec.decompress2(packed, nthreads=1)


PEERS = [ZipNN, OpenZL, Pcodec, Zstd3, Zstd19, Blosc2]


def timed(function, argument):
    start = time.perf_counter()
    result = function(argument)
    return result, time.perf_counter() - start


def model_buffers(path):
    """[(dtype, bytes of a tensor), …]: a model's floats, or the 8-bit integers if they are more."""
    tensors = list(weights.read_safetensors(path).values())
    wanted = [t for t in tensors if t.is_float]
    small_ints = [t for t in tensors if t.dtype in ("I8", "U8")]
    if sum(t.data.size for t in small_ints) > sum(t.data.size for t in wanted):
        wanted = small_ints
    return [(t.dtype, t.bytes().tobytes()) for t in wanted if t.data.size]


def sizes(peer, buffers):
    """{setting: {"whole": bytes, "per_tensor": bytes}}; all is decompressed and compared."""
    out, whole = {}, {}
    for dtype, data in buffers:
        whole.setdefault(dtype, []).append(data)
    for setting in peer.settings:
        codecs = {dtype: peer(dtype, **setting) for dtype in whole}

        def packed_bytes(dtype, data, codecs=codecs):
            packed = codecs[dtype].compress(bytearray(data))
            if bytes(memoryview(codecs[dtype].decompress(packed)).cast("B")) != data:
                raise SystemExit(f"peers: {peer.name} did not return {len(data)} bytes of {dtype}")
            return len(packed)

        label = " ".join(f"{k}={v}" for k, v in setting.items()) or "default"
        out[label] = {
            "whole": sum(packed_bytes(dtype, b"".join(parts)) for dtype, parts in whole.items()),
            "per_tensor": sum(min(packed_bytes(dtype, data), len(data)) for dtype, data in buffers),
        }
    return out


def speeds(peer, dtype, data, runs):
    """Median and spread of compress and decompress GB/s (10^9 bytes of raw data a second)."""
    codec, pack, unpack = peer(dtype), [], []
    codec.compress(bytearray(data[: 1 << 20]))
    for _ in range(min(runs, getattr(peer, "most_runs", runs))):
        source = bytearray(data) if getattr(peer, "writes_to_input", False) else data
        packed, seconds = timed(codec.compress, source)
        pack.append(len(data) / seconds / 1e9)
        _, seconds = timed(codec.decompress, packed)
        unpack.append(len(data) / seconds / 1e9)
    return {
        "compress_gbps": statistics.median(pack),
        "compress_spread": [min(pack), max(pack)],
        "decompress_gbps": statistics.median(unpack),
        "decompress_spread": [min(unpack), max(unpack)],
    }


def best_of(found):
    return min(value for setting in found.values() for value in setting.values())


def measure(peer, model, cast, path, runs):
    """One row; `runs` 0 leaves the speeds out."""
    buffers = model_buffers(path)
    if not buffers or any(dtype not in peer.dtypes for dtype, _ in buffers):
        return None
    raw = sum(len(data) for _, data in buffers)
    found = sizes(peer, buffers)
    row = {
        "model": model,
        "cast": cast,
        "peer": peer.name,
        "raw_bytes": raw,
        "sizes": found,
        "whole_percent": 100 * found["default"]["whole"] / raw,
        "per_tensor_percent": 100 * found["default"]["per_tensor"] / raw,
        "best_percent": 100 * best_of(found) / raw,
    }
    large = [(d, b) for d, b in buffers if len(b) >= LARGE * np.dtype(weights.STORAGE[d]).itemsize]
    if large and peer is ZipNN:
        row["large_raw_bytes"] = sum(len(b) for _, b in large)
        row["large_best_percent"] = 100 * best_of(sizes(peer, large)) / row["large_raw_bytes"]
    if runs:
        dtype = max({d for d, _ in buffers}, key=lambda d: sum(len(b) for e, b in buffers if e == d))
        row |= speeds(peer, dtype, b"".join(b for d, b in buffers if d == dtype), runs)
        row["runs"] = runs
    return row


def model_files(models=None, casts=CASTS):
    """(model, cast, path) of MiniLM and every corpus model in each cast, smallest index first."""
    import corpus_tensors
    import minilm

    if not models or "minilm" in models:
        for cast in casts:
            if cast in ("fp32", *minilm.CASTS):
                yield "minilm", cast, minilm.cast(cast)
    if models == ["minilm"]:
        return
    for model in corpus_tensors.extract()["models"]:
        if not models or model["name"] in models:
            for cast, entry in model["files"].items():
                if cast in casts:
                    yield model["name"], cast, weights.MODELS / entry["file"]


def load_results():
    """{(model, cast, peer): row} of what was measured before."""
    if not RESULTS.exists():
        return {}
    return {(r["model"], r["cast"], r["peer"]): r for r in json.loads(RESULTS.read_text())["rows"]}


def save_results(rows):
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"counted": __doc__, "rows": list(rows.values())}, indent=1))


def print_rows(rows):
    print(
        f"{'model':20} {'cast':8} {'codec':22} {'raw MB':>7} {'whole %':>8} {'tensor %':>8}"
        f" {'best %':>7} {'>=64Ki':>7}"
        f" {'pack GB/s':>18} {'unpack GB/s':>18}"
    )
    for row in rows:
        speed = ""
        if "compress_gbps" in row:
            cells = (
                f"{row[k + '_gbps']:.3f} ({row[k + '_spread'][0]:.2f}-{row[k + '_spread'][1]:.2f})"
                for k in ("compress", "decompress")
            )
            speed = " ".join(f"{cell:>18}" for cell in cells)
        print(
            f"{row['model']:20} {row['cast']:8} {row['peer']:22} {row['raw_bytes'] / 1e6:7.2f}"
            f" {row['whole_percent']:8.2f} {row['per_tensor_percent']:8.2f}"
            f" {row['best_percent']:7.2f}"
            f" {row.get('large_best_percent', math.nan):7.2f} {speed}"
        )


def run(models=None, casts=CASTS, peers=None, runs=0, again=False):
    """Measure what the cache lacks (all of it, with `again`); return the rows asked for."""
    rows, asked = load_results(), []
    for model, cast, path in model_files(models, casts):
        for peer in PEERS:
            if peers and not any(peer.name.startswith(p) for p in peers):
                continue
            key = (model, cast, peer.name)
            if again or key not in rows or (runs and "compress_gbps" not in rows[key]):
                print(f"peers: {model} {cast} {peer.name}", file=sys.stderr)
                row = measure(peer, model, cast, path, runs)
                if row is None:
                    continue
                rows = load_results() | {key: row}
                save_results(rows)
            asked.append(rows[key])
    return asked


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", help="names, comma-separated (default: minilm and the corpus)")
    parser.add_argument("--casts", default=",".join(CASTS), help="default: %(default)s; also int8, native, …")
    parser.add_argument("--peers", help="beginnings of names, comma-separated (default: all)")
    parser.add_argument("--runs", type=int, default=0, help="timed runs of each; 0, the default: sizes only")
    parser.add_argument("--again", action="store_true", help="measure what the cache already has")
    args = parser.parse_args()
    listed = lambda text: text.split(",") if text else None  # noqa: E731
    print_rows(run(listed(args.models), listed(args.casts), listed(args.peers), args.runs, args.again))
    print(f"peers: rows are in {RESULTS}", file=sys.stderr)


if __name__ == "__main__":
    main()
