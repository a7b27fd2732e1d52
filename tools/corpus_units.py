# SPDX-License-Identifier: Apache-2.0
"""The models of the shared corpus as units: a file by itself, or a folder whose files belong together."""

import os
from pathlib import Path

import weights

CORPUS = Path(os.environ.get("MMH_SHARED") or weights.ROOT.parent / "shared") / "corpus"
LEFT_OUT = ("traps", "eval")

# What mmh has to be told of files that say nothing about themselves.
TOLD = {
    "custom_raw/kokoro__zm_yunyang.bin": ["--dtype=f32", "--shape=510,1,256"],
}


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


def options(unit):
    """What pack and ls of a unit need besides its path."""
    return TOLD.get(Path(unit).relative_to(CORPUS).as_posix(), [])
