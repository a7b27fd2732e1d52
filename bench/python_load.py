# SPDX-License-Identifier: Apache-2.0
"""One load by one loader, in a process of its own: memory is new, as where a program starts.

python_load.py ROOM METHOD PATH [RATE]    prints seconds, bytes of tensors, and peak memory beyond them, as JSON

ROOM is how many bytes of memory the process has used and given back before, so that the machine has them at hand: a
virtual machine may have given its free memory back to its host, and to get it again takes longer than any load.
"""

import json
import mmap
import os
import sys
import threading
import time

POPULATE_WRITE = 23  # of Linux 5.14; Python's mmap has no name for it
REPORTING_SECONDS = 4  # some 2 after memory is freed Linux begins to give it to the host, if there is one
QUICK_RATE = 10e9  # bytes a second of pages that the machine has; 16e9 to 40e9 by huge pages


def resident(what):
    """Bytes in memory: "VmRSS" now, "VmHWM" at most since `forget_peak`."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))


def forget_peak():
    """From now on the peak is counted anew."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def have_at_hand(count, tries=10):
    """Use `count` bytes of memory and give them back, until they are quickly had: then the machine has them."""
    if os.path.exists("/sys/module/page_reporting"):
        time.sleep(REPORTING_SECONDS)
    for _ in range(tries):
        start = time.perf_counter()
        with mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            memory.madvise(POPULATE_WRITE)
        if time.perf_counter() - start < count / QUICK_RATE:
            break


def load_mmh(path):
    import mmh.torch

    return lambda: mmh.torch.load_file(path)


def load_mmh_numpy(path):
    import mmh.numpy

    return lambda: mmh.numpy.load_file(path)


class Throttled:
    """A file that is read at so many bytes a second, however many threads read it."""

    def __init__(self, path, rate):
        self.descriptor, self.rate, self.at = os.open(path, os.O_RDONLY), rate, 0
        self.lock, self.free = threading.Lock(), 0.0

    def seek(self, offset, whence=0):
        self.at = offset + (os.fstat(self.descriptor).st_size if whence == 2 else 0)
        return self.at

    def readinto(self, memory):
        begin = time.perf_counter()
        got = os.preadv(self.descriptor, [memory], self.at)
        self.at += got
        self.free = max(self.free, begin) + got / self.rate  # the copy is part of the reading
        wait = self.free - time.perf_counter()
        if wait > 0.0005:  # shorter ones come with the next
            time.sleep(wait)
        return got


def load_mmh_throttled(path, rate):
    import mmh.torch

    return lambda: mmh.torch.load_file(Throttled(path, float(rate)))


def load_safetensors_copy(path):
    from safetensors.torch import load_file

    return lambda: {name: tensor.clone() for name, tensor in load_file(path).items()}


def load_safetensors_mapped(path):
    from safetensors.torch import load_file

    return lambda: load_file(path)


def load_safetensors_touched(path):
    import torch
    from safetensors.torch import load_file

    def load():
        tensors = load_file(path)
        for tensor in tensors.values():
            tensor.view(-1).view(torch.uint8)[::4096].sum()
        return tensors

    return load


def load_zipnn(path):
    """By ZipNN's own face of safe_open: its patch of load_file does not know the arguments of safetensors 0.8."""
    from zipnn.zipnn import SafeOpen

    def load():
        with SafeOpen(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    return load


def load_first_mmh(path):
    import mmh.torch

    def load():
        with mmh.safe_open(path, framework="pt") as file:
            return {"first": file.get_tensor(file.offset_keys()[0])}

    return load


def load_each_mmh(path):
    """One tensor after the other: the largest is in memory, and none of the others."""
    import mmh.torch

    def load():
        biggest = {}
        with mmh.safe_open(path, framework="pt") as file:
            for name in file.offset_keys():
                tensor = file.get_tensor(name)
                if not biggest or tensor.nbytes > biggest["tensor"].nbytes:
                    biggest = {"tensor": tensor}
        return biggest

    return load


METHODS = {
    name.removeprefix("load_"): function for name, function in list(globals().items()) if name.startswith("load_")
}


def main():
    room, method, *arguments = sys.argv[1:]
    import torch  # noqa: F401  what both need is no part of the time

    load = METHODS[method](*arguments)
    if int(room):
        have_at_hand(int(room))
    forget_peak()
    before = resident("VmRSS")
    start = time.perf_counter()
    tensors = load()
    seconds = time.perf_counter() - start
    held = sum(tensor.nbytes for tensor in tensors.values())
    print(json.dumps({"seconds": seconds, "bytes": held, "extra": resident("VmHWM") - before - held}))


if __name__ == "__main__":
    main()
