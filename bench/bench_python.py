# SPDX-License-Identifier: Apache-2.0
"""Loading in Python beside safetensors and ZipNN: each load in a process of its own, into new memory."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bench_common as common
import generate
import numpy as np
import weights
from bench_common import show_spread, spread, verdict

LOAD_BAR = 0.7  # level 1 from the page cache, of safetensors' load_file and a copy
DISK_BAR = 1.3  # from a disk of 2 GB/s or slower, of safetensors'
ZIPNN_BAR = 2.0
OPEN_BAR = 0.100  # seconds until the first tensor of a 20 GB model is there
EXTRA_BAR = 256e6  # bytes of memory beyond the tensors
DISK_RATE = 2e9
PACKAGE = weights.ROOT / "src" / "python"


def child(method, path, *arguments, room=0):
    """What a load in a new process tells; `room` bytes of memory are at hand then, see python_load.py."""
    environment = {**os.environ, "PYTHONPATH": f"{PACKAGE}:{os.environ.get('PYTHONPATH', '')}"}
    program = Path(__file__).with_name("python_load.py")
    result = subprocess.run(
        [sys.executable, str(program), str(room), method, str(path), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(result.stdout.splitlines()[-1])


def warm(path):
    with open(path, "rb") as file:
        while file.read(16 << 20):
            pass


def cool(path):
    """Out of the page cache: written back, then dropped."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def disk_rate(path):
    """Bytes a second that a cold sequential read gives."""
    cool(path)
    memory = bytearray(8 << 20)
    start, total = time.perf_counter(), 0
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(memory):
            total += got
    return total / (time.perf_counter() - start)


def write_zipnn(source, target):
    """A safetensors file whose tensors are compressed as ZipNN's own loader wants them."""
    from safetensors.torch import load_file, save_file
    from zipnn import ZipNN
    from zipnn.util_safetensors import build_compressed_tensor_info, set_compressed_tensors_metadata

    import torch

    tensors, told = {}, {}
    for name, tensor in load_file(source).items():
        packer = ZipNN(input_format="torch", bytearray_dtype=str(tensor.dtype).split(".")[1], method="HUFFMAN")
        packed = packer.compress(tensor)
        tensors[name] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
        told[name] = build_compressed_tensor_info(tensor)
    metadata = {"format": "pt"}
    set_compressed_tensors_metadata(told, metadata)
    save_file(tensors, target, metadata)


def table(rows, size):
    print(f"  {'loader':28} {'file MB':>9} {'GB/s':>22} {'beyond tensors MB':>18}")
    for name, path, times, extra in rows:
        speed = spread([size / seconds / 1e9 for seconds in times])
        file_size = f"{path.stat().st_size / 1e6:9.1f}" if path else " " * 9
        print(f"  {name:28} {file_size} {show_spread(speed):>22} {max(extra) / 1e6:18.1f}")


def bench_python(args):
    """load_file of mmh, safetensors and ZipNN: warm, cold, throttled; into new memory of a new process.

    Memory is at hand, that is, the machine has it; then once more without that.
    """
    size, rows = generate.parse_size(args.size or "1G"), []
    with common.work_folder("disk", args.dir) as name:
        folder = Path(name)
        source = folder / "model.safetensors"
        print(f"bench: generating {size / 1e9:.1f} GB of bf16", file=sys.stderr)
        generate.write_model(source, size)
        packed = {level: folder / f"model.{level}.mmh" for level in (1, 5)}
        for level, path in packed.items():
            common.mmh("pack", f"-{level}", "-o", path, source)
        zipped = folder / "model.zipnn.safetensors"
        write_zipnn(source, zipped)
        loaders = {
            "mmh -1": ("mmh", packed[1]),
            "mmh -5": ("mmh", packed[5]),
            "mmh -1 to NumPy": ("mmh_numpy", packed[1]),
            "safetensors, copied": ("safetensors_copy", source),
            "safetensors, mapped": ("safetensors_mapped", source),
            "safetensors, pages touched": ("safetensors_touched", source),
            "ZipNN": ("zipnn", zipped),
        }
        check_equal(source, packed, zipped)
        room = int(size * 1.3) + (64 << 20)
        for state in ("warm", "cold", "warm, memory as it comes"):
            times = {loader: [] for loader in loaders}
            extra = {loader: [0] for loader in loaders}
            wanted = [loader for loader in loaders if state != "cold" or "mapped" not in loader]
            for run in range(args.runs + (state == "warm")):
                turn = run % len(wanted)  # nobody always comes after the same one: it leaves memory behind
                for loader in wanted[turn:] + wanted[:turn]:
                    method, path = loaders[loader]
                    (cool if state == "cold" else warm)(path)
                    told = child(method, path, room=0 if "as it comes" in state else room)
                    if run or state != "warm":
                        times[loader].append(told["seconds"])
                        extra[loader].append(told["extra"])
            bytes_in = told["bytes"]
            print(f"\n  {state}: {bytes_in / 1e9:.2f} GB of bf16 tensors, {os.cpu_count()} threads")
            table([(loader, loaders[loader][1], times[loader], extra[loader]) for loader in wanted], bytes_in)
            middle = {loader: spread(times[loader])["median"] for loader in wanted}
            rows += [
                {
                    "state": state,
                    "loader": loader,
                    "file_bytes": loaders[loader][1].stat().st_size,
                    "bytes": bytes_in,
                    "seconds": spread(times[loader]),
                    "extra_bytes": max(extra[loader]),
                }
                for loader in wanted
            ]
            if state == "warm":
                share = middle["safetensors, copied"] / middle["mmh -1"]
                verdict(
                    "load_file level 1, of safetensors and a copy", f"{share:.2f}", f">= {LOAD_BAR}", share >= LOAD_BAR
                )
                share = middle["ZipNN"] / middle["mmh -1"]
                verdict("load_file level 1, of ZipNN's loader", f"{share:.2f}", f">= {ZIPNN_BAR}", share >= ZIPNN_BAR)
                most = max(extra["mmh -1"] + extra["mmh -5"])
                verdict("memory beyond the tensors", f"{most / 1e6:.0f} MB", "<= 256 MB", most <= EXTRA_BAR)
            elif state == "cold":
                rate = disk_rate(source)
                share = middle["safetensors, copied"] / middle["mmh -1"]
                print(f"  this disk reads {rate / 1e9:.2f} GB/s")
                if rate <= DISK_RATE:
                    label = f"load_file level 1 from this disk ({rate / 1e9:.2f} GB/s), of safetensors"
                    verdict(label, f"{share:.2f}", f">= {DISK_BAR}", share >= DISK_BAR)
            else:
                shares = [middle[loader] / middle["mmh -1"] for loader in ("safetensors, copied", "ZipNN")]
                print(f"  load_file level 1: {shares[0]:.2f} of safetensors and a copy, {shares[1]:.2f} of ZipNN's")
                print("  (this machine's free memory may be its host's: see python_load.py)")
        warm(packed[1])
        throttled = spread(
            [child("mmh_throttled", packed[1], DISK_RATE, room=room)["seconds"] for _ in range(args.runs)]
        )
        ideal = source.stat().st_size / DISK_RATE  # nothing but the reading
        share = ideal / throttled["median"]
        print(
            f"\n  throttled to 2 GB/s: mmh -1 {show_spread(throttled, 3)} s; reading the original alone {ideal:.3f} s"
        )
        verdict(
            "load_file level 1 at 2 GB/s, of reading the original", f"{share:.2f}", f">= {DISK_BAR}", share >= DISK_BAR
        )
        sizes = {"file_bytes": packed[1].stat().st_size, "bytes": bytes_in}
        rows.append({"state": "read at 2 GB/s", "loader": "mmh -1", **sizes, "seconds": throttled})
    common.save("python", rows)


def check_equal(source, packed, zipped):
    """All loaders give the same bits, or the times mean nothing."""
    sys.path.insert(0, str(PACKAGE))
    import mmh.torch
    import torch
    from safetensors.torch import load_file
    from python_load import METHODS

    right = load_file(source)
    for path in packed.values():
        ours = mmh.torch.load_file(path)
        assert ours.keys() == right.keys() and all(torch.equal(ours[k], right[k]) for k in right), path
    theirs = METHODS["zipnn"](zipped)()
    assert all(torch.equal(theirs[k], right[k]) for k in right), zipped


class Endless(io.RawIOBase):
    """A decoder's safetensors file of any size, made as it is read: no two layers have a chunk in common."""

    def __init__(self, size):
        super().__init__()
        entries, layer = [], []
        shapes = list(generate.transformer_shapes(size // 2))
        random = np.random.Generator(np.random.Philox(1))
        for number, (name, shape) in enumerate(shapes):
            entries.append((name, "BF16", shape))
            if name.startswith("model.layers.0."):
                layer += list(generate.values(shape, number))
        flat = np.concatenate([weights.bf16_bits(part).reshape(-1) for part in layer])
        self.tile = np.concatenate([flat, flat])
        self.period = len(flat)
        low = np.arange(1, 128, dtype=np.uint16)  # bits of the mantissa, and of these with the sign, each once
        self.salt = random.permutation(np.concatenate([low, low | 0x8000]))
        self.header = weights.safetensors_header(entries)
        self.bytes = len(self.header) + sum(2 * int(np.prod(shape)) for _, shape in shapes)
        self.at = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.bytes)[whence]
        return self.at

    def readinto(self, memory):
        view = memoryview(memory).cast("B")
        head = len(self.header)
        if self.at < head:
            part = self.header[self.at : self.at + len(view)]
            view[: len(part)] = part
            self.at += len(part)
            return len(part)
        first = (self.at - head) // 2
        count = min((len(view) + 1) // 2 + 1, self.period)
        turn, place = divmod(first, self.period)
        count = min(count, self.period - place)  # of one turn: one salt
        values = self.tile[place : place + count] ^ self.salt[turn % len(self.salt)]
        data = values.view(np.uint8)[(self.at - head) & 1 :]
        done = min(len(view), len(data), self.bytes - self.at)
        view[:done] = data[:done].data
        self.at += done
        return done


def bench_python_large(args):
    """Open a generated 20 GB model and load its first tensor; one tensor after the other in bounded memory."""
    size = generate.parse_size(args.size or "20G")
    with common.work_folder("disk", args.dir) as name:
        path = Path(name) / "large.mmh"
        room = shutil.disk_usage(name).free
        if room < size * 0.75:
            print(f"  skipped: {size * 0.75 / 1e9:.0f} GB of disk are wanted, and {room / 1e9:.0f} are free")
            return
        sys.path.insert(0, str(PACKAGE))
        import mmh

        start = time.perf_counter()
        report = mmh.pack_files({"model.safetensors": Endless(size)}, path, level=1)
        print(
            f"  {report.original_bytes / 1e9:.1f} GB, {report.tensor_count} tensors, packed"
            f" to {report.stored_bytes / 1e9:.1f} GB in {time.perf_counter() - start:.0f} s"
        )
        rows = []
        for state in ("cold", "warm"):
            times = []
            for _ in range(args.runs):
                if state == "cold":
                    cool(path)
                else:
                    child("first_mmh", path)
                told = child("first_mmh", path)
                times.append(told["seconds"])
            figure = spread(times)
            text = f"{figure['median'] * 1e3:.0f} ms"
            print(f"  open + first tensor ({told['bytes'] / 1e6:.0f} MB), {state}: {show_spread(figure, 3)} s")
            rows.append({"what": f"open, first tensor, {state}", "bytes": told["bytes"], "seconds": figure})
            if state == "warm":
                verdict("open + first tensor of a 20 GB model", text, "< 100 ms", figure["median"] < OPEN_BAR)
        told = child("each_mmh", path)
        print(f"  each tensor in turn: {told['seconds']:.1f} s, {told['extra'] / 1e6:.0f} MB beyond the largest")
        verdict(
            "memory beyond the largest tensor", f"{told['extra'] / 1e6:.0f} MB", "<= 256 MB", told["extra"] <= EXTRA_BAR
        )
        rows.append({"what": "each tensor in turn", "bytes": size, "seconds": spread([told["seconds"]])})
        rows[-1]["extra_bytes"] = told["extra"]
    common.save("python-large", rows)
