# SPDX-License-Identifier: Apache-2.0
"""One rank of the programs that tests/test_python_dcp.py and bench/bench_dcp.py run on several gloo ranks.

`python_dcp_ranks.py RANK RANKS STORE ACTION FOLDER [KEY=VALUE...]`: it builds a transformer with AdamW, sharded by
FSDP2, and beside it tensors of other shardings and types; saves them in each of the given `kinds`, or loads and
compares them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

warnings.filterwarnings("ignore")
logging.getLogger().setLevel(logging.ERROR)


def build(mesh: Any, width: int, layers: int) -> tuple[Any, Any]:
    """A transformer whose blocks are sharded over all ranks, with its optimizer."""
    torch.manual_seed(3)
    blocks = [
        torch.nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True, dropout=0.0) for _ in range(layers)
    ]
    model = torch.nn.Sequential(torch.nn.Embedding(2003, width), *blocks, torch.nn.Linear(width, 2003))
    for part in model:
        fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


def train(model: Any, optimizer: Any, steps: int) -> None:
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        tokens = torch.randint(0, 2003, (4, 16), generator=generator)
        model(tokens).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def extra(mesh: Any, filled: bool) -> dict[str, Any]:
    """Tensors of other shardings, types and sizes; and values."""
    generator = torch.Generator().manual_seed(7)

    def tensor(*shape: int, dtype: Any = torch.float32) -> Any:
        full = torch.randn(*shape, generator=generator).to(dtype)
        return full if filled else torch.zeros_like(full)

    return {
        "columns": distribute_tensor(tensor(6, 50), mesh, [Shard(1)]),
        "uneven": distribute_tensor(tensor(3, 5), mesh, [Shard(0)]),  # of four ranks one has none of it
        "everywhere": distribute_tensor(tensor(7, 3), mesh, [Replicate()]),
        "bf16": distribute_tensor(tensor(9, 4, dtype=torch.bfloat16), mesh, [Shard(0)]),
        "complex": distribute_tensor(tensor(8, 3, dtype=torch.complex64), mesh, [Shard(0)]),
        "double complex": distribute_tensor(tensor(8, 3, dtype=torch.complex128), mesh, [Shard(0)]),
        "fp8": tensor(40, dtype=torch.float8_e4m3fn),
        "scalar": torch.tensor(2.5 if filled else 0.0),
        "step": 7 if filled else 0,
        "values": [1, 2.5, None, "text", (1, torch.ones(3) * filled)] if filled else [0, 0.0, 1, "", (0, 0)],
        "nan": float("nan") if filled else 0.0,
    }


def whole(value: Any) -> Any:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def digest(value: Any) -> Any:
    """What a nested value is, exactly, in JSON; tensors as digests of all their shards together."""
    if isinstance(value, torch.Tensor):
        full = whole(value.detach()).contiguous()
        data = full.reshape(-1).view(torch.uint8).numpy().tobytes() if full.numel() else b""
        return [str(full.dtype), list(full.shape), hashlib.sha256(data).hexdigest()]
    if isinstance(value, dict):
        return {str(key): digest(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, (list, tuple)):
        return [digest(item) for item in value]
    return repr(value)


def writer(kind: str, folder: str) -> dict[str, Any]:
    """Arguments of dcp.save that say where and how: plain, zstd, url, mmh, mmh-LEVEL."""
    if kind == "plain":
        return {"storage_writer": dcp.FileSystemWriter(folder)}
    if kind == "zstd":
        from torch.distributed.checkpoint._extension import ZStandard

        return {"storage_writer": dcp.FileSystemWriter(folder, _extensions=[ZStandard()])}
    import mmh.dcp

    if kind == "url":
        return {"checkpoint_id": f"mmh://{folder}"}
    level = int(kind.partition("-")[2] or 1)
    return {"storage_writer": mmh.dcp.StorageWriter(folder, level=level)}


def reader(kind: str, folder: str) -> dict[str, Any]:
    """Arguments of dcp.load that say where and how."""
    if kind in ("plain", "zstd"):
        return {"storage_reader": dcp.FileSystemReader(folder)}
    import mmh.dcp

    if kind == "url":
        return {"checkpoint_id": f"mmh://{folder}"}
    return {"storage_reader": mmh.dcp.StorageReader(folder)}


def local(values: Any) -> list[Any]:
    """What this rank has of some tensors."""
    return [value.to_local() if hasattr(value, "to_local") else value for value in values]


def save(kind: str, folder: str, saved: dict[str, Any]) -> dict[str, float]:
    """Save once; seconds by what was waited for."""
    weights = local(saved["model"].values())
    where = writer(kind.removeprefix("async-"), folder)
    dist.barrier()
    start = time.perf_counter()
    if not kind.startswith("async-"):
        dcp.save(saved, **where)
        dist.barrier()
        return {kind: time.perf_counter() - start}
    future = dcp.async_save(saved, **where)
    staged = time.perf_counter() - start
    kept = [value.detach().clone() for value in weights]
    with torch.no_grad():
        for value in weights:
            value.add_(1)  # what changes after staging is not saved
        future.result()
        dist.barrier()
        seconds = time.perf_counter() - start
        for value, before in zip(weights, kept, strict=True):
            value.copy_(before)
    return {kind: seconds, f"{kind}, until training goes on": staged}


def load(kind: str, folder: str, blank: dict[str, Any]) -> float:
    """Load once into what is overwritten before; seconds."""
    for value in local(blank["model"].values()):
        value.zero_()
    dist.barrier()
    start = time.perf_counter()
    dcp.load(blank, **reader(kind.removeprefix("async-"), folder))
    dist.barrier()
    return time.perf_counter() - start


def main() -> None:
    rank, ranks, store, action, folder, *given = sys.argv[1:]
    options = dict(text.split("=", 1) for text in given)
    repeats = int(options.get("repeats", 1))
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(ranks))
    mesh = init_device_mesh("cpu", (int(ranks),))
    model, optimizer = build(mesh, int(options.get("width", 128)), int(options.get("layers", 2)))
    told: dict[str, Any] = {}
    if action == "save":
        train(model, optimizer, 2)
        weights, state = get_state_dict(model, optimizer)
        saved = {"model": weights, "optimizer": state, "extra": extra(mesh, True)}
        expected = digest(saved)
        for kind in options["kinds"].split(",") * repeats:
            for what, seconds in save(kind, f"{folder}/{kind}", saved).items():
                told.setdefault(what, []).append(seconds)
        if rank == "0":
            Path(folder, "expected.json").write_text(json.dumps(expected))
            told["bytes"] = sum(
                value.numel() * value.element_size() for value in weights.values() if isinstance(value, torch.Tensor)
            )
    for kind in options["kinds"].split(",") * (repeats if action == "load" else 0):
        weights, state = get_state_dict(model, optimizer)
        loaded = {"model": weights, "optimizer": state, "extra": extra(mesh, False)}
        try:
            told.setdefault(kind, []).append(load(kind, f"{folder}/{kind}", loaded))
        except BaseException as error:
            if "damaged" not in options:
                raise
            told[kind] = f"refused: {str(error).strip().splitlines()[-1]}"
            continue
        set_state_dict(model, optimizer, model_state_dict=loaded["model"], optim_state_dict=loaded["optimizer"])
        exact = digest(loaded) == json.loads(Path(folder, "expected.json").read_text())
        if "damaged" in options:
            told[kind] = "exact" if exact else "another state, in silence"
        elif not exact:
            raise SystemExit(f"{kind}: on {ranks} ranks another state was loaded than was saved")
    if rank == "0":
        print(json.dumps(told), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
