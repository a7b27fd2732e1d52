# SPDX-License-Identifier: Apache-2.0
"""The models of the shared corpus as units: a file by itself, or a folder whose files belong together."""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import weights

CORPUS = Path(os.environ.get("MMH_SHARED") or weights.ROOT.parent / "shared") / "corpus"
LEFT_OUT = ("traps", "eval")

PLUGIN = weights.ROOT / "examples" / "format-plugin" / "ggml_bin.c"


def is_unit_folder(folder):
    """Whether what lies in a folder is one model: names alone decide."""
    names = [path.name for path in folder.iterdir()]

    def has(*ends):
        return any(name.endswith(ends) for name in names)

    return (
        "saved_model.pb" in names
        or folder.suffix == ".mlpackage"
        or (has(".index") and any(".data-" in name for name in names))  # TensorFlow checkpoint
        or (has(".onnx") and has(".onnx_data", ".onnx.data"))
        or has("weights_manifest.json")  # TensorFlow.js and its shards
        or has(".safetensors.index.json", ".bin.index.json")
    )


def units(corpus=None):
    """Paths of all models, sorted; manifests about the corpus itself and the eval and trap folders left out."""
    corpus = Path(corpus or CORPUS)

    def below(folder):
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                if is_unit_folder(path):
                    yield path
                else:
                    yield from below(path)
            elif path.suffix != ".json":
                yield path

    for folder in sorted(path for path in corpus.iterdir() if path.is_dir() and path.name not in LEFT_OUT):
        if is_unit_folder(folder):
            yield folder
        else:
            yield from below(folder)


def files(unit):
    """The regular files of a unit, sorted."""
    unit = Path(unit)
    return [unit] if unit.is_file() else sorted(path for path in unit.rglob("*") if path.is_file())


def known_options():
    """Long options that pack has in this build."""
    binary = Path(os.environ.get("MMH_BIN") or Path(os.environ.get("MMH_BUILD") or weights.ROOT / "build") / "mmh")
    told = subprocess.run([str(binary), "help", "--json"], capture_output=True, check=False).stdout
    verbs = json.loads(told)["verbs"] if told else []
    return {option["name"] for verb in verbs if verb["name"] == "pack" for option in verb["options"]}


def plugin(folder):
    """The example plug-in, compiled as its user would; None without a compiler."""
    target, compiler = Path(folder) / "ggml_bin.so", shutil.which(os.environ.get("CC") or "cc")
    if not target.exists():
        if not (compiler and PLUGIN.exists()):
            return None
        words = [compiler, "-std=c11", "-O2", "-I", weights.ROOT / "include", "-shared", "-fPIC", "-o", target, PLUGIN]
        subprocess.run(list(map(str, words)), check=True)
    return target


def browser_layout(unit, folder):
    """A layout file of a TensorFlow.js manifest whose shard was renamed in the corpus: one tensor behind the other."""
    manifest = next(iter(unit.glob("*weights_manifest.json")))
    group = json.loads(manifest.read_text())[0]
    shard = next(path.name for path in unit.iterdir() if path.name.endswith(group["paths"][0]))
    tensors, at = [], 0
    for weight in group["weights"]:
        dtype = weight.get("quantization", {}).get("dtype", weight["dtype"])
        tensors.append({"name": weight["name"], "dtype": dtype, "shape": weight["shape"], "offset": at})
        at += math.prod(weight["shape"]) * np.dtype(dtype).itemsize
    target = Path(folder) / "layout.json"
    target.write_text(json.dumps({"file": shard, "tensors": tensors}))
    return target


def options(unit, folder):
    """What pack and ls need besides the path of a unit whose files say nothing about themselves; what
    that takes (a plug-in, a layout file) is made in a folder."""
    unit, known = Path(unit), known_options()
    if unit.suffix == ".bin" and unit.parent.name == "custom_raw":
        return ["--dtype=f32", "--shape=510,1,256"]
    if unit.suffix == ".bin" and unit.parent.name == "custom_ggml" and "format-plugin" in known:
        made = plugin(folder)
        return [f"--format-plugin={made}"] if made else []
    if unit.name == "custom_tfjs" and "layout" in known:
        return [f"--layout={browser_layout(unit, folder)}"]
    return []
