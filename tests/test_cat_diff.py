#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mmh cat and mmh diff: what is printed of tensors, and what is said of two models.

`python3 tests/test_cat_diff.py [NAME...]`, or pytest. Oracles are numpy, where it is installed, and the
numbers that the files were made of.
"""

import io
import itertools
import json
import os
import random
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import LIMIT, LOST, OK, UNSUPPORTED, USAGE, binary, floats, main, mmh, model, safetensors, skip


def numpy():
    try:
        import numpy
    except ImportError:
        skip("numpy is not installed: arrays are not compared")
    return numpy


def packed(folder, name, data, *options):
    """A file, and its container: (original, container)."""
    original = Path(folder) / name
    original.write_bytes(data)
    container = Path(folder) / (name + ".mmh")
    mmh("pack", "-q", "-f", *options, original, "-o", container, code=OK)
    return original, container


def wide_model():
    """Tensors of several chunks, with values that tell where they stand."""
    big = struct.pack("<700000f", *(i % 65536 for i in range(700000)))
    return safetensors(
        {
            "w": ("F32", (700, 1000), big),
            "odd [name]": ("I32", (2, 3), struct.pack("<6i", *range(6))),
            "scalar": ("F64", (), struct.pack("<d", 0.1)),
            "empty": ("F32", (0, 4), b""),
            "ids": ("I64", (3,), struct.pack("<3q", -1, 2**62 + 1, 5)),
            "flags": ("BOOL", (2,), b"\x01\x00"),
            "half": ("BF16", (300, 40), floats(12000)),
        }
    )


def torch_archive(tensors, storage):
    """A file of torch.save: {name: (first, shape, strides)} of float32 on one storage."""

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def integers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    pickle = b"\x80\x02}("
    for name, (first, shape, strides) in tensors.items():
        pickle += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        pickle += text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
        pickle += b"J" + struct.pack("<i", len(storage) // 4) + b"tQJ" + struct.pack("<i", first)
        pickle += integers(shape) + integers(strides) + b"\x89NtR"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("m/data.pkl", pickle + b"u.")
        archive.writestr("m/data/0", storage)
    return out.getvalue()


# ---- cat ----


def test_cat_gives_the_bytes_of_a_tensor(tmp_path):
    original, container = packed(tmp_path, "m.safetensors", wide_model())
    data = original.read_bytes()
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for source in original, container:
        for name, tensor in json.loads(data[8:header]).items():
            begin, end = tensor["data_offsets"]
            assert mmh("cat", source, name, code=OK).raw == data[header + begin : header + end], name
        both = mmh("cat", source, "ids", "flags", code=OK).raw
        assert both == struct.pack("<3q", -1, 2**62 + 1, 5) + b"\x01\x00"


def test_cat_slices_as_numpy_does(tmp_path):
    np = numpy()
    original, container = packed(tmp_path, "m.safetensors", wide_model())
    array = (np.arange(700000) % 65536).astype("<f4").reshape(700, 1000)
    for text in (
        "0:16, :",
        "0:16",
        ":",
        "5",
        "5,:",
        "-1",
        "-3:",
        ":,7",
        ":, -5:",
        "...,3",
        "2,...",
        "...",
        "1:1",
        "3:2",
        "650:9999",
        "10:20, 30:40",
        " 7 , 8 ",
        "600:700, 999",
        "1:3:1",
        "::1",
    ):
        wanted = eval(f"array[{text}]", {"array": array})
        for source in original, container:
            got = np.load(io.BytesIO(mmh("cat", source, f"w[{text}]", "--npy", code=OK).raw))
            assert got.shape == np.shape(wanted) and (got == wanted).all(), text
            assert mmh("cat", source, f"w[{text}]", code=OK).raw == np.ascontiguousarray(wanted).tobytes()


def test_cat_follows_strides_as_numpy_does(tmp_path):
    np = numpy()
    base = np.arange(720 * 100, dtype="<f4")
    strided = np.lib.stride_tricks.as_strided
    layouts = {
        "flat": (0, (72000,), (1,)),
        "third": (5, (100, 8), (24, 3)),
        "turned": (0, (10, 100, 72), (72, 720, 1)),
        "columns": (0, (720, 100), (1, 720)),
        "repeated": (7, (5, 6), (0, 2)),
        "folded": (1, (40, 10), (3, 2)),
        "one": (71999, (), ()),
        "none": (3, (0, 4), (4, 1)),
    }
    original, container = packed(tmp_path, "m.pt", torch_archive(layouts, base.tobytes()))
    for name, (first, shape, strides) in layouts.items():
        array = strided(base[first:], shape, [4 * stride for stride in strides]).copy()
        for part in ("", "[1:3]", "[-1]", "[...,1:5]", "[2:4,3:5]", "[1,-2]"):
            dimensions = 1 + part.count(",") - part.count("...")
            if part and (array.ndim < dimensions or not array.size):
                continue
            wanted = eval(f"array{part}", {"array": array})
            for source in original, container:
                got = np.load(io.BytesIO(mmh("cat", source, name + part, "--npy", code=OK).raw))
                assert got.shape == np.shape(wanted) and (got == wanted).all(), name + part
                printed = mmh("cat", source, name + part, "--text", code=OK).out.split("\n", 1)[1]
                numbers = [float(number) for number in re.findall(r"\d+", printed)]
                assert numbers == np.ravel(wanted).tolist(), name + part
                if name != "columns":  # stored with its first dimension fastest, and written so
                    raw = mmh("cat", source, name + part, code=OK).raw
                    assert raw == np.ascontiguousarray(wanted).tobytes(), name + part


def test_cat_refuses_parts_that_there_are_not(tmp_path):
    _, container = packed(tmp_path, "m.safetensors", wide_model())
    for text in (
        "700",
        "-701",
        "1,2,3",
        "a",
        "1;2",
        "::2",
        "",
        "1,,2",
        "...,...",
        "1:2:-1",
        "0:1 2",
        "-",
        "0x10",
        "1,2,...,3",
        "99999999999999999999999",
        "1][",
    ):
        result = mmh("cat", container, f"w[{text}]", code=USAGE)
        assert result.raw == b"" and "mmh: error: " in result.err, text
    assert mmh("cat", container, "w[-0]", code=OK).raw == mmh("cat", container, "w[0]", code=OK).raw
    near = mmh("cat", container, "scaler", code=USAGE).err
    assert 'did you mean "scalar"?' in near
    assert mmh("cat", container, "odd [name]", code=OK).raw == struct.pack("<6i", *range(6))
    assert mmh("cat", container, "odd [name][1]", code=OK).raw == struct.pack("<3i", 3, 4, 5)


def test_cat_reads_only_the_chunks_it_needs(tmp_path):
    """The chunk of the last rows is destroyed: the first rows still come, the last do not."""
    source = random.Random(9)
    data = safetensors({"w": ("BF16", (1024, 1024), source.randbytes(2 << 20))})
    original, container = packed(tmp_path, "m.safetensors", data, "-1")
    whole = bytearray(container.read_bytes())
    at = whole.rindex(original.read_bytes()[-4096:-3000])  # noise is stored as it is
    whole[at] ^= 1
    container.write_bytes(whole)
    header = 8 + struct.unpack("<Q", data[:8])[0]
    assert mmh("cat", container, "w[0:16]", code=OK).raw == data[header : header + 16 * 2048]
    result = mmh("cat", container, "w[-1]", code=LOST)
    assert result.raw == b"" and "w" in result.err
    out = tmp_path / "rows.bin"
    mmh("cat", container, "w", "-o", out, code=LOST)
    assert not out.exists() and sorted(p.name for p in tmp_path.iterdir()) == ["m.safetensors", "m.safetensors.mmh"]


def test_cat_widens_what_numpy_lacks_exactly(tmp_path):
    np = numpy()
    every = {"F8_E4M3": 256, "F8_E5M2": 256, "F8_E8M0": 256}
    tensors = {name: (name, (16, 16), bytes(range(256))) for name in every}
    tensors["BF16"] = ("BF16", (256, 256), struct.pack("<65536H", *range(65536)))
    tensors["F16"] = ("F16", (256, 256), struct.pack("<65536H", *range(65536)))
    _, container = packed(tmp_path, "m.safetensors", safetensors(tensors))

    def small(bits, exponent_bits, mantissa_bits, bias, ieee):
        sign = -1 if bits >> (exponent_bits + mantissa_bits) & 1 else 1
        exponent, mantissa = bits >> mantissa_bits & (1 << exponent_bits) - 1, bits & (1 << mantissa_bits) - 1
        top = (1 << exponent_bits) - 1
        if ieee and exponent == top:
            return np.nan if mantissa else sign * np.inf
        if not ieee and exponent == top and mantissa == (1 << mantissa_bits) - 1:
            return np.nan
        scale = 2.0 ** (max(exponent, 1) - bias - mantissa_bits)
        return sign * (mantissa + (bool(exponent) << mantissa_bits)) * scale

    wanted = {
        "F8_E4M3": [small(b, 4, 3, 7, False) for b in range(256)],
        "F8_E5M2": [small(b, 5, 2, 15, True) for b in range(256)],
        "F8_E8M0": [2.0 ** (b - 127) for b in range(255)] + [np.nan],
        "BF16": (np.arange(65536, dtype="<u4") << 16).view("<f4"),
        "F16": np.arange(65536, dtype="<u2").view("<f2"),
    }
    for name, values in wanted.items():
        result = mmh("cat", container, name, "--npy", code=OK)
        got = np.load(io.BytesIO(result.raw))
        with np.errstate(invalid="ignore"):  # signalling NaNs
            same = np.array_equal(got.reshape(-1).astype("f8"), np.asarray(values, "f8"), equal_nan=True)
        assert same, name
        assert (got.dtype == "<f2") == (name == "F16") and ("numpy has no" in result.err) == (name != "F16")


def test_cat_keeps_fortran_order_for_numpy(tmp_path):
    np = numpy()
    array = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
    for dtype in ">f8", "<f8":
        buffer = io.BytesIO()
        np.save(buffer, array.astype(dtype))
        original, container = packed(tmp_path, "a.npy", buffer.getvalue())
        for source in original, container:
            name = mmh("ls", "--json", source, code=OK).json()["tensors"][0]["name"]
            for text in "1", ":,1:3", "...,2", ":":
                got = np.load(io.BytesIO(mmh("cat", source, f"{name}[{text}]", "--npy", code=OK).raw))
                assert (got == eval(f"array[{text}]", {"array": array})).all()
        assert "first dimension fastest" in mmh("cat", container, name, code=OK).err


def test_cat_prints_numbers(tmp_path):
    _, container = packed(tmp_path, "m.safetensors", wide_model())
    assert (
        mmh("cat", container, "w[0:2, 0:3]", "--text", code=OK).out
        == "w[0:2, 0:3]: F32 [2, 3]\n[[0, 1, 2],\n [1000, 1001, 1002]]\n"
    )
    assert (
        mmh("cat", container, "scalar", "ids", "flags", "empty", "--text", code=OK).out
        == "scalar: F64 []\n0.1\nids: I64 [3]\n[-1, 4611686018427387905, 5]\nflags: BOOL [2]\n[true, false]\n"
        "empty: F32 [0, 4]\n[]\n"
    )
    assert len(mmh("cat", container, "w[0]", "--text", code=OK).out.split(",")) == 1000
    assert mmh("cat", container, "w", "--text", "--npy").code == USAGE


def test_cat_prints_files(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes(b"{}\n")
    (folder / "m.safetensors").write_bytes(model())
    mmh("pack", "-q", folder, "-o", tmp_path / "model.mmh", code=OK)
    for source in folder, tmp_path / "model.mmh":
        assert mmh("cat", source, "config.json", code=OK).raw == b"{}\n"
        assert mmh("cat", source, "config.json", "ids", code=OK).raw == b"{}\n" + struct.pack("<16q", *range(16))
        assert mmh("cat", source, code=USAGE).raw == b""
        assert mmh("cat", source, "m.safetensors:ids", code=OK).raw == struct.pack("<16q", *range(16))
        assert "it has no parts" in mmh("cat", source, "config.json[0]", code=USAGE).err
    (folder / "n.safetensors").write_bytes(model())
    refused = mmh("cat", folder, "ids[0]", code=USAGE)
    assert "several files" in refused.err and "m.safetensors:ids[0]" in refused.err and refused.raw == b""
    _, one = packed(tmp_path, "notes.txt", b"hello\n" * 100)
    assert mmh("cat", one, code=OK).raw == b"hello\n" * 100
    assert mmh("cat", "-", code=OK, stdin=one.read_bytes()).raw == b"hello\n" * 100


def test_cat_writes_files_whole_or_not_at_all(tmp_path):
    _, container = packed(tmp_path, "m.safetensors", wide_model())
    out = tmp_path / "out.npy"
    result = mmh("cat", container, "ids", "--npy", "--json", "-o", out, code=OK)
    assert result.json()["output"] == str(out) and out.read_bytes()[:6] == b"\x93NUMPY"
    before = out.read_bytes()
    assert "-f replaces" in mmh("cat", container, "w", "-o", out, code=USAGE).err and out.read_bytes() == before
    mmh("cat", container, "ids", "-f", "-o", out, code=OK)
    assert out.read_bytes() == struct.pack("<3q", -1, 2**62 + 1, 5)
    assert mmh("cat", container, "nothing", "-f", "-o", out, code=USAGE).raw == b""
    assert out.read_bytes() == struct.pack("<3q", -1, 2**62 + 1, 5)
    assert mmh("cat", container, "ids", "--json", code=USAGE).out.count("\n") == 1
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_cat_never_writes_over_what_it_reads(tmp_path):
    original, container = packed(tmp_path, "m.safetensors", wide_model())
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "m.safetensors").write_bytes(wide_model())
    (tmp_path / "link").symlink_to(container)
    for source, out in (
        (original, original),
        (container, container),
        (container, tmp_path / "link"),
        (folder, folder / "m.safetensors"),
    ):
        before = out.read_bytes()
        assert "input and output" in mmh("cat", "-f", source, "ids", "-o", out, code=USAGE).err
        assert out.read_bytes() == before
    assert "device or a pipe" in mmh("cat", "-f", container, "ids", "-o", "/dev/null", code=USAGE).err
    assert not os.path.isfile("/dev/null")


def test_cat_of_short_rows_and_scalars(tmp_path):
    tensors = {
        "rows": ("F32", (60000, 2), struct.pack("<120000f", *range(120000))),
        "f4": ("F4", (), b"\x05"),
        "one": ("F4", (1,), b"\x02"),
        "f6": ("F6_E3M2", (3, 4), bytes(range(9))),
    }
    original, container = packed(tmp_path, "m.safetensors", safetensors(tensors), "-1")
    for source in original, container:
        result = mmh("cat", source, "rows", "--text", code=OK)
        assert result.out.endswith("[119998, 119999]]\n") and result.seconds < 60
        assert mmh("cat", source, "f4", "one", "--text", code=OK).out == "f4: F4 []\n3\none: F4 [1]\n[1]\n"
        assert mmh("cat", source, "f6[1, 1:]", "--text", code=OK).out == mmh(
            "cat", container, "f6[1, 1:4]", "--text", code=OK
        ).out.replace("1:4", "1:")
        assert len(mmh("cat", source, "f4", "--npy", code=OK).raw) == 128 + 4


def test_the_last_element_of_a_packed_type_is_compared(tmp_path):
    """Three elements of six bits: the last one lies across the second and the third byte."""
    first, second = (
        packed(tmp_path, f"{i}.safetensors", safetensors({"f6": ("F6_E2M3", (3,), bytes([9, 9, 2 * i]))}))
        for i in range(2)
    )
    assert mmh("diff", "--json", *first, code=OK).json()["identical"]
    for a, b in itertools.product(first, second):
        (tensor,) = mmh("diff", "--json", a, b, code=OK).json()["tensors"]
        assert tensor["differing"] == 1, (a, b, tensor)


def test_one_element_of_a_packed_type_takes_no_more_memory(tmp_path):
    """6 GB of F4 in a sparse file: the first and the last element, with little memory."""
    count = 12 << 30
    header = json.dumps({"w": {"dtype": "F4", "shape": [count], "data_offsets": [0, count // 2]}}).encode()
    path = tmp_path / "sparse.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + count // 2)
    result = mmh("cat", path, "w[0]", "w[-1]", "--text", code=OK, peak=True)
    assert result.out == "w[0]: F4 []\n0\nw[-1]: F4 []\n0\n" and result.peak < 200 << 20


def test_cat_stops_at_max_size(tmp_path):
    _, container = packed(tmp_path, "m.safetensors", wide_model())
    assert mmh("cat", "--max-size=1K", container, "w", code=LIMIT).raw == b""
    assert len(mmh("cat", "--max-size=24", container, "ids", code=OK).raw) == 24
    mmh("cat", "--max-size=24", container, "ids", "flags", "-o", tmp_path / "out", code=LIMIT)
    assert not (tmp_path / "out").exists()


def test_cat_takes_elements_that_share_bytes(tmp_path):
    np = numpy()
    nibbles = bytes(range(256))
    _, container = packed(tmp_path, "m.safetensors", safetensors({"f4": ("F4", (16, 32), nibbles)}))
    table = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6]
    array = np.array([table[v] for b in nibbles for v in (b & 15, b >> 4)]).reshape(16, 32)
    for text in ":", "3", "2:4, 5:9", "...,7":
        got = np.load(io.BytesIO(mmh("cat", container, f"f4[{text}]", "--npy", code=OK).raw))
        assert (got == eval(f"array[{text}]", {"array": array})).all(), text
    assert mmh("cat", container, "f4[0, 1:4]", "--text", code=OK).out == "f4[0, 1:4]: F4 [3]\n[0, 0.5, 0]\n"
    assert mmh("cat", container, "f4", code=OK).raw == nibbles
    mmh("cat", container, "f4[0]", code=UNSUPPORTED)


def test_the_example_reads_what_cat_prints(tmp_path):
    example = Path(binary()).parent / "examples" / "print_rows"
    if not example.exists():
        skip("the examples are not built")
    _, container = packed(tmp_path, "m.safetensors", wide_model())
    done = subprocess.run([example, container, "half"], capture_output=True, text=True, check=True)
    wanted = mmh("cat", container, "half[0]", "--text", code=OK).out.splitlines()[1]
    pairs = list(zip(map(float, done.stdout.split()), json.loads(wanted), strict=True))
    assert len(pairs) == 40 and all(abs(a - b) <= abs(b) * 2**-9 for a, b in pairs)  # printed to BF16's digits
    gone = subprocess.run(check=False, args=[example, container, "nothing"], capture_output=True, text=True)
    assert gone.returncode == 1 and "nothing" in gone.stderr


# ---- ls of originals ----


def test_ls_shows_originals_as_their_containers(tmp_path):
    original, container = packed(tmp_path, "m.safetensors", model())
    a, b = (mmh("ls", "--json", source, code=OK).json() for source in (original, container))
    keys = "name", "dtype", "shape", "offset", "bytes", "big_endian", "column_major"
    assert [[t[k] for k in keys] for t in a["tensors"]] == [[t[k] for k in keys] for t in b["tensors"]]
    assert a["files"][0]["metadata"] == b["files"][0]["metadata"]
    raw = tmp_path / "w.bin"
    raw.write_bytes(bytes(64))
    listed = mmh("ls", "--json", "--dtype=bf16", "--shape=4,8", raw, code=OK).json()
    assert listed["tensors"][0]["shape"] == [4, 8] and listed["tensors"][0]["dtype"] == "BF16"


# ---- diff ----


def changed_model(metadata=None):
    """wide_model with known changes."""
    values = [i % 65536 for i in range(700000)]
    values[123456] += 3
    values[0] = 1
    return safetensors(
        {
            "w": ("F32", (700, 1000), struct.pack("<700000f", *values)),
            "odd [name]": ("I32", (3, 2), struct.pack("<6i", *range(6))),
            "scalar": ("F32", (), struct.pack("<f", 0.1)),
            "ids": ("I64", (3,), struct.pack("<3q", -1, 2**62 + 1, 5)),
            "flags": ("BOOL", (2,), b"\x01\x01"),
            "new": ("U8", (1,), b"\x07"),
            "half": ("BF16", (300, 40), floats(12000)),
        },
        metadata,
    )


def test_diff_says_what_differs_and_by_how_much(tmp_path):
    a = packed(tmp_path, "a.safetensors", wide_model())
    b = packed(tmp_path, "b.safetensors", changed_model())
    for first in a:
        for second in b:
            result = mmh("diff", "--json", first, second, code=OK).json()
            found = {t["name"]: t for t in result["tensors"]}
            assert not result["identical"] and result["same_tensors"] == 2
            assert {n: t["change"] for n, t in found.items()} == {
                "w": "values",
                "odd [name]": "shape",
                "scalar": "type",
                "flags": "values",
                "new": "only_b",
                "empty": "only_a",
            }
            w = found["w"]
            assert (w["elements"], w["differing"], w["unmeasured"]) == (700000, 2, 0)
            assert (w["max_absolute"], w["max_element"]) == (3, 123456)
            assert w["max_relative"] is None  # 0 became 1
            assert abs(w["difference_norm"] - 10**0.5) < 1e-12
            norm = sum((i % 65536) ** 2 for i in range(700000)) ** 0.5
            assert abs(w["a_norm"] / norm - 1) < 1e-12
            assert found["scalar"]["differing"] == 1 and 0 < found["scalar"]["max_absolute"] < 1e-8
            assert found["odd [name]"]["b"]["shape"] == [3, 2] and found["new"]["a"] is None
            text = mmh("diff", first, second, code=OK).out
            assert "2 tensors the same, 4 differ, 1 only in A (-), 1 only in B (+)" in text
            mmh("diff", "--exit-code", first, second, code=1)
            assert mmh("diff", "-q", "--exit-code", first, second, code=1).out == ""


def test_diff_of_the_same_says_so(tmp_path):
    original, container = packed(tmp_path, "a.safetensors", wide_model())
    _, other = packed(tmp_path, "b.safetensors", wide_model(), "-9", "--hash=sha256")
    for first in original, container, other:
        for second in original, container, other:
            assert mmh("diff", "--exit-code", first, second, code=OK).out == "no difference: 7 tensors, 1 file\n"


def test_diff_looks_at_bits_and_at_what_is_no_number(tmp_path):
    nan, inf = float("nan"), float("inf")
    a = struct.pack("<6f", 0.0, nan, inf, 1, 1, -2)
    b = struct.pack("<6f", -0.0, 1, inf, -inf, 1, -1)
    first, _ = packed(tmp_path, "a.safetensors", safetensors({"x": ("F32", (6,), a)}))
    second, _ = packed(tmp_path, "b.safetensors", safetensors({"x": ("F32", (6,), b)}))
    x = mmh("diff", "--json", first, second, code=OK).json()["tensors"][0]
    assert (x["differing"], x["unmeasured"], x["max_absolute"], x["max_element"]) == (4, 2, 1, 5)
    assert x["max_relative"] == 0.5


def test_diff_measures_what_doubles_cannot(tmp_path):
    a, _ = packed(
        tmp_path,
        "a.safetensors",
        safetensors(
            {
                "i": ("I64", (2,), struct.pack("<2q", 2**53, -(2**63))),
                "u": ("U64", (1,), struct.pack("<Q", 2**64 - 1)),
                "small": ("F64", (2,), struct.pack("<2d", 1e-200, 0)),
                "large": ("F64", (2,), struct.pack("<2d", 1e200, 3)),
            }
        ),
    )
    b, _ = packed(
        tmp_path,
        "b.safetensors",
        safetensors(
            {
                "i": ("I64", (2,), struct.pack("<2q", 2**53 + 1, -(2**63))),
                "u": ("U64", (1,), struct.pack("<Q", 2**64 - 2)),
                "small": ("F64", (2,), struct.pack("<2d", 3e-200, 0)),
                "large": ("F64", (2,), struct.pack("<2d", 3e200, 3)),
            }
        ),
    )
    found = {t["name"]: t for t in mmh("diff", "--json", a, b, code=OK).json()["tensors"]}
    assert found["i"]["differing"] == 1 and found["i"]["max_absolute"] == 1 == found["i"]["difference_norm"]
    assert found["u"]["max_absolute"] == 1
    for name, size in ("small", 1e-200), ("large", 1e200):
        assert abs(found[name]["difference_norm"] / (2 * size) - 1) < 1e-12, found[name]
        assert abs(found[name]["a_norm"] / size - 1) < 1e-12 and abs(found[name]["max_relative"] - 2) < 1e-12


def test_diff_of_types_compares_values(tmp_path):
    weights = floats(5000)
    wide = b"".join(b"\0\0" + weights[i : i + 2] for i in range(0, len(weights), 2))
    a, _ = packed(tmp_path, "a.safetensors", safetensors({"x": ("BF16", (50, 100), weights)}))
    _, b = packed(tmp_path, "b.safetensors", safetensors({"x": ("F32", (50, 100), wide)}))
    x = mmh("diff", "--json", a, b, code=OK).json()["tensors"][0]
    assert (x["change"], x["differing"], x["max_absolute"]) == ("type", 0, 0)


def test_diff_of_folders_names_the_files(tmp_path):
    for name, config in ("a", b"{}"), ("b", b"{ }"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_bytes(config)
        (folder / "model.safetensors").write_bytes(wide_model() if name == "a" else changed_model({"by": "me"}))
        (folder / name).write_bytes(b"")
        (folder / "link").symlink_to(name)
        mmh("pack", "-q", folder, "-o", tmp_path / f"{name}.mmh", code=OK)
    for first in "a", "a.mmh":
        for second in "b", "b.mmh":
            files = mmh("diff", "--json", first, second, cwd=tmp_path, code=OK).json()["files"]
            assert {f["name"]: f["change"] for f in files} == {
                "config.json": "content differs",
                "model.safetensors": "metadata differs",
                "a": "only_a",
                "b": "only_b",
                "link": "target differs",
            }
            assert [f["offset"] for f in files if f["name"] == "config.json"] == [1]


def test_diff_finds_tensors_in_other_shards(tmp_path):
    tensors = {f"t{i}": ("BF16", (64, 64), floats(4096, i)) for i in range(4)}
    one = tmp_path / "one"
    two = tmp_path / "two"
    one.mkdir(), two.mkdir()
    (one / "m.safetensors").write_bytes(safetensors(tensors))
    for i in range(2):
        names = list(tensors)[2 * i : 2 * i + 2]
        (two / f"m-{i}.safetensors").write_bytes(safetensors({n: tensors[n] for n in names}))
    index = {"weight_map": {n: f"m-{i // 2}.safetensors" for i, n in enumerate(tensors)}}
    (two / "m.safetensors.index.json").write_text(json.dumps(index))
    result = mmh("diff", "--json", one, two / "m.safetensors.index.json", code=OK).json()
    assert result["same_tensors"] == 4 and result["tensors"] == []


def test_diff_refuses_what_it_cannot_compare(tmp_path):
    original, container = packed(tmp_path, "a.safetensors", model())
    assert "compares two" in mmh("diff", original, code=USAGE).err
    assert "standard input" in mmh("diff", original, "-", code=USAGE).err
    mmh("diff", original, tmp_path / "nothing", code=1)
    mmh("diff", "--exit-code", original, tmp_path / "nothing", code=2)
    damaged = bytearray(container.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    container.write_bytes(damaged)
    assert mmh("diff", original, container).code in (LOST, OK)  # OK: what was hit means nothing


if __name__ == "__main__":
    main(globals())
