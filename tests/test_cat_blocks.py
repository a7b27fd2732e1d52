#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mmh ls, cat and diff of tensors whose elements come in blocks: GGUF files, made here by hand.

`python3 tests/test_cat_blocks.py [NAME...]`, or pytest. Arrays are looked at where numpy is installed.
"""

import io
import random
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import OK, UNSUPPORTED, USAGE, main, mmh, safetensors, skip

F32, Q4_0, Q8_0, Q4_K = 0, 2, 8, 12
BLOCKS = {F32: (1, 4), Q4_0: (32, 18), Q8_0: (32, 34), Q4_K: (256, 144)}


def numpy():
    try:
        import numpy
    except ImportError:
        skip("numpy is not installed: arrays are not compared")
    return numpy


def text(string):
    return struct.pack("<Q", len(string)) + string.encode()


def row_bytes(kind, columns):
    elements, size = BLOCKS[kind]
    return columns // elements * size


def gguf(tensors):
    """A GGUF file of {name: (type, shape, bytes)}, shapes as numpy has them."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1)
    head += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    data = b""
    for name, (kind, shape, content) in tensors.items():
        head += text(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}QIQ", *reversed(shape), kind, len(data))
        data += content + bytes(-len(content) % 32)
    return head + bytes(-len(head) % 32) + data


def content(kind, *shape):
    rows = 1
    for length in shape[:-1]:
        rows *= length
    return random.Random(len(shape) + kind).randbytes(rows * row_bytes(kind, shape[-1]))


def blocks_model():
    return {
        "k": (Q4_K, (6, 5, 512), content(Q4_K, 6, 5, 512)),
        "q": (Q4_0, (40, 64), content(Q4_0, 40, 64)),
        "flat": (Q8_0, (96,), content(Q8_0, 96)),
        "empty": (Q4_0, (0, 64), b""),
        "norm": (F32, (3,), struct.pack("<3f", 1, 2, 3)),
    }


def written(folder, name, data):
    """A file and its container."""
    original = Path(folder) / name
    original.write_bytes(data)
    container = Path(folder) / (name + ".mmh")
    mmh("pack", "-q", "-f", original, "-o", container, code=OK)
    return original, container


def test_ls_names_block_types(tmp_path):
    for source in written(tmp_path, "m.gguf", gguf(blocks_model())):
        listed = {t["name"]: (t["dtype"], t["shape"]) for t in mmh("ls", "--json", source, code=OK).json()["tensors"]}
        assert listed == {
            "k": ("Q4_K", [6, 5, 512]),
            "q": ("Q4_0", [40, 64]),
            "flat": ("Q8_0", [96]),
            "empty": ("Q4_0", [0, 64]),
            "norm": ("F32", [3]),
        }
        assert "Q4_K" in mmh("ls", source, code=OK).out


def test_cat_gives_blocks_as_they_are(tmp_path):
    model = blocks_model()
    for source in written(tmp_path, "m.gguf", gguf(model)):
        for name, (_, _, data) in model.items():
            assert mmh("cat", source, name, code=OK).raw == data, name


def test_cat_slices_whole_rows_of_blocks(tmp_path):
    model = blocks_model()
    row, plane = row_bytes(Q4_K, 512), 5 * row_bytes(Q4_K, 512)
    k, q = model["k"][2], model["q"][2]
    for source in written(tmp_path, "m.gguf", gguf(model)):
        for part, wanted in (
            ("k[1:3]", k[plane : 3 * plane]),
            ("k[1:3, :, :]", k[plane : 3 * plane]),
            ("k[4]", k[4 * plane : 5 * plane]),
            ("k[4, 2]", k[4 * plane + 2 * row : 4 * plane + 3 * row]),
            ("k[2:4, 1:3]", k[2 * plane + row :][: 2 * row] + k[3 * plane + row :][: 2 * row]),
            ("k[..., 0:512]", k),
            ("k[3:3]", b""),
            ("q[-1]", q[-36:]),
            ("flat[:]", model["flat"][2]),
            ("empty[:]", b""),
        ):
            assert mmh("cat", source, part, code=OK).raw == wanted, part


def test_cat_writes_rows_of_blocks_for_numpy_as_bytes(tmp_path):
    np = numpy()
    model = blocks_model()
    k = np.frombuffer(model["k"][2], np.uint8).reshape(6, 5, row_bytes(Q4_K, 512))
    for source in written(tmp_path, "m.gguf", gguf(model)):
        for part, wanted in (
            ("k", k),
            ("k[:]", k),
            ("k[2:5]", k[2:5]),
            ("k[3, 1:3]", k[3, 1:3]),
            ("flat", np.frombuffer(model["flat"][2], np.uint8)),
            ("empty", np.zeros((0, 36), np.uint8)),
        ):
            result = mmh("cat", source, part, "--npy", code=OK)
            got = np.load(io.BytesIO(result.raw))
            assert got.dtype == np.uint8 and got.shape == wanted.shape and (got == wanted).all(), part
            assert "numpy has no Q" in result.err and "as their bytes" in result.err, part


def test_cat_writes_rows_larger_than_its_buffer(tmp_path):
    np = numpy()
    columns = 17 << 20  # of Q8_0: more than 16 MB
    row = row_bytes(Q8_0, columns)
    data = bytes(row) + b"\x01" * row
    path = Path(tmp_path) / "m.gguf"
    path.write_bytes(gguf({"w": (Q8_0, (2, columns), data)}))
    got = np.load(io.BytesIO(mmh("cat", path, "w[1:2]", "--npy", code=OK).raw))
    assert got.shape == (1, row) and (got == 1).all()
    assert mmh("cat", path, "w[0]", code=OK).raw == data[:row]


def test_cat_refuses_parts_of_rows_and_text_of_blocks(tmp_path):
    for source in written(tmp_path, "m.gguf", gguf(blocks_model())):
        for part in "k[:, :, 0:256]", "k[0, 0, 5]", "q[0, 1:]", "flat[0:32]", "flat[0]", "q[:, 3:3]":
            for option in ([], ["--npy"]):
                result = mmh("cat", source, part, *option, code=UNSUPPORTED)
                assert result.raw == b"" and "no part of a row" in result.err and "rows whole" in result.err, part
        for name in "k", "k[0]", "flat":
            result = mmh("cat", source, name, "--text", code=UNSUPPORTED)
            assert result.raw == b"" and "it has no text" in result.err and "--npy" in result.err, name
        mmh("cat", source, "k[6]", code=USAGE)


def test_rows_that_are_no_whole_blocks_have_no_parts(tmp_path):
    """A safetensors file may say that two rows are one block: only the whole of it is given."""
    data = bytes(range(18))
    for source in written(tmp_path, "m.safetensors", safetensors({"w": ("Q4_0", (2, 16), data)})):
        assert mmh("cat", source, "w", code=OK).raw == data
        mmh("cat", source, "w[0]", code=UNSUPPORTED)
        mmh("cat", source, "w", "--npy", code=UNSUPPORTED)


def test_cat_widens_two_bits_for_numpy(tmp_path):
    np = numpy()
    data = bytes(range(256))
    wanted = np.array([byte >> 2 * i & 3 for byte in data for i in range(4)]).reshape(64, 16)
    model = safetensors({"u": ("U2", (64, 16), data), "i": ("I2", (64, 16), data)})
    for source in written(tmp_path, "m.safetensors", model):
        got = np.load(io.BytesIO(mmh("cat", source, "u", "--npy", code=OK).raw))
        assert got.dtype == np.uint8 and (got == wanted).all()
        got = np.load(io.BytesIO(mmh("cat", source, "i[3:9, 1:7]", "--npy", code=OK).raw))
        assert got.dtype == np.int8 and (got == ((wanted ^ 2) - 2)[3:9, 1:7]).all()


def test_diff_of_blocks_compares_bytes(tmp_path):
    model = blocks_model()
    changed = dict(model)
    kind, shape, data = model["k"]
    changed["k"] = (kind, shape, data[:150] + bytes([data[150] ^ 1]) + data[151:-1] + bytes([data[-1] ^ 1]))
    changed["q"] = (Q8_0, (40, 64), content(Q8_0, 40, 64))
    changed["flat"] = (F32, (96,), bytes(384))
    a = written(tmp_path, "a.gguf", gguf(model))
    b = written(tmp_path, "b.gguf", gguf(changed))
    for one in a:
        assert "no difference" in mmh("diff", one, a[0], code=OK).out
        for other in b:
            out = mmh("diff", one, other, code=OK).out
            assert "2 blocks" in out and "NaN" not in out
            said = {t["name"]: t for t in mmh("diff", one, other, "--json", code=OK).json()["tensors"]}
            assert said["k"]["change"] == "values" and said["k"]["differing"] == 2 and said["k"]["blocks"] == 60
            assert "max_absolute" not in said["k"]
            assert said["q"]["change"] == said["flat"]["change"] and "blocks" not in said["q"]
            assert set(said) == {"k", "q", "flat"}


if __name__ == "__main__":
    main(globals())
