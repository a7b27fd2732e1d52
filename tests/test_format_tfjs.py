#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow.js models: a manifest brings its shards, weights have the bytes that its loader takes, all is restored.

`python3 tests/test_format_tfjs.py [NAME...]`, or pytest.
"""

import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import OK, floats, main, mmh, shared, skip

SIZES = {"float32": 4, "int32": 4, "bool": 1, "uint8": 1, "uint16": 2, "float16": 2, "complex64": 8}


def expected(manifest, folder):
    """[(name, bytes)] of the weights that lie in one file, by the format's definition."""
    found = []
    for group in manifest:
        shards = [(folder / path).read_bytes() for path in group["paths"]]
        ends = [sum(map(len, shards[: i + 1])) for i in range(len(shards))]
        data, at = b"".join(shards), 0
        for weight in group["weights"]:
            size = SIZES[weight.get("quantization", weight)["dtype"]] * math.prod(weight["shape"])
            if not any(at < end < at + size for end in ends):
                found.append((weight["name"], data[at : at + size]))
            at += size
    return found


def check(folder, name, manifest):
    """Packing the manifest alone packs its shards; every weight is there under its name, and every byte."""
    container = folder / "packed.mmh"
    mmh("pack", "-qf", folder / name, "-o", container, code=OK)
    mmh("verify", "-q", container, code=OK)
    listed = mmh("ls", "--json", container, code=OK).json()
    weights = expected(manifest, folder)
    assert sorted(one["name"] for one in listed["tensors"]) == sorted(name for name, _ in weights)
    for weight, data in weights:
        if data:
            assert mmh("cat", container, weight, code=OK).raw == data
    mmh("unpack", "-qf", container, "-o", f"{folder}/back/", code=OK)
    for one in listed["files"]:
        if one["kind"] == "file":
            back = [path for path in (folder / "back").rglob(Path(one["name"]).name) if path.is_file()]
            assert [path.read_bytes() for path in back] == [(folder / one["name"]).read_bytes()]
    assert len(listed["files"]) >= 1 + sum(len(group["paths"]) for group in manifest)


def test_manifest_brings_its_shards(tmp_path):
    data = floats(6000)
    for i, (begin, end) in enumerate([(0, 4096), (4096, 8192), (8192, 12000)]):
        (tmp_path / f"group1-shard{i + 1}of3.bin").write_bytes(data[begin:end])
    weights = [
        {"name": "dense/kernel", "shape": [100, 8], "dtype": "float32"},
        {
            "name": "dense/bias",
            "shape": [8],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "min": 0, "scale": 1},
        },
        {"name": "across", "shape": [500], "dtype": "float32", "quantization": {"dtype": "float16"}},
        {
            "name": "rest",
            "shape": [9, 200],
            "dtype": "float32",
            "quantization": {"dtype": "uint16", "min": 0, "scale": 1},
        },
        {"name": "last", "shape": [], "dtype": "int32"},
    ]
    manifest = [{"paths": [f"group1-shard{i}of3.bin" for i in (1, 2, 3)], "weights": weights}]
    (tmp_path / "weights_manifest.json").write_text(json.dumps(manifest))
    check(tmp_path, "weights_manifest.json", manifest)
    (tmp_path / "model.json").write_text(json.dumps({"format": "layers-model", "weightsManifest": manifest}))
    check(tmp_path, "model.json", manifest)


def test_real_models_have_their_weights(tmp_path):
    found = sorted((shared() / "corpus/custom_tfjs").glob("*weights_manifest.json"))
    if not found:
        skip("the corpus has no TensorFlow.js models")
    for path in found:
        manifest = json.loads(path.read_text())
        (tmp_path / path.name).write_bytes(path.read_bytes())
        for name in [name for group in manifest for name in group["paths"]]:
            (shard,) = path.parent.glob(f"*{name}")
            (tmp_path / name).write_bytes(shard.read_bytes())
        check(tmp_path, path.name, manifest)


if __name__ == "__main__":
    main(globals())
