#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files that belong together: a model and the files that it tells of are packed, listed and read as one."""

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import OK, USAGE, floats, main, mmh, npy, tree

FLOAT, EXTERNAL = 1, 1


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    data = value if isinstance(value, bytes) else value.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data


def entry(key, value):
    return text(13, text(1, key) + text(2, value))


def external(name, shape, location, offset=None, length=None):
    """A TensorProto (onnx.proto) of floats that lie in another file."""
    out = b"".join(number(1, size) for size in shape) + number(2, FLOAT) + text(8, name) + number(14, EXTERNAL)
    out += entry("location", location)
    out += entry("offset", str(offset)) if offset is not None else b""
    return out + (entry("length", str(length)) if length is not None else b"")


def onnx(*tensors):
    """A ModelProto with these initializers."""
    graph = text(2, "graph") + b"".join(text(5, tensor) for tensor in tensors)
    return number(1, 8) + text(2, "test") + text(7, graph) + text(8, number(2, 17))


def two_tensors(folder, location="w.data"):
    """model.onnx and its data: "a" [64, 32], then "b" [128]."""
    data = floats(64 * 32 + 128, dtype="F32")
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    (folder / location).write_bytes(data)
    (folder / "model.onnx").write_bytes(
        onnx(external("a", (64, 32), location, 0, 8192), external("b", (128,), location, 8192, 512))
    )
    return data


def tensors(path, *options):
    listing = mmh("ls", "--json", *options, path, code=OK).json()
    return {(listing["files"][t["file"]]["name"], t["name"]): t for t in listing["tensors"]}


def test_a_model_brings_the_data_that_it_tells_of(tmp_path):
    data = two_tensors(tmp_path)
    before = tree(tmp_path)
    pack = mmh("pack", "-k", tmp_path / "model.onnx", code=OK)
    assert "packed with the 1 file that it refers to" in pack.err
    packed = tmp_path / "model.onnx.mmh"
    found = tensors(packed)
    assert found["w.data", "a"]["shape"] == [64, 32] and found["w.data", "b"]["dtype"] == "F32"
    assert mmh("cat", packed, "a", code=OK).raw == data[:8192]
    assert mmh("cat", packed, "b", code=OK).raw == data[8192:]
    mmh("unpack", packed, "-o", tmp_path / "out", code=OK)
    assert tree(tmp_path / "out") == before


def test_its_tensors_are_listed_and_read_without_packing(tmp_path):
    data = two_tensors(tmp_path, "weights/w.data")
    assert set(tensors(tmp_path / "model.onnx")) == {("weights/w.data", "a"), ("weights/w.data", "b")}
    assert mmh("cat", tmp_path / "model.onnx", "b", code=OK).raw == data[8192:]
    assert mmh("cat", tmp_path, "a[3:5]", code=OK).raw == data[3 * 128 : 5 * 128]


def test_data_that_is_not_there_is_an_error_and_alone_goes_without(tmp_path):
    two_tensors(tmp_path)
    (tmp_path / "w.data").unlink()
    refused = mmh("pack", tmp_path / "model.onnx", code=USAGE)
    assert "w.data" in refused.err and not (tmp_path / "model.onnx.mmh").exists()
    mmh("pack", "--alone", tmp_path / "model.onnx", code=OK)
    assert mmh("ls", "--json", tmp_path / "model.onnx.mmh", code=OK).json()["tensors"] == []


def test_a_folder_is_packed_with_whatever_is_there(tmp_path):
    model = tmp_path / "m"
    model.mkdir()
    two_tensors(model)
    mmh("pack", model, "-o", tmp_path / "full.mmh", code=OK)
    assert len(tensors(tmp_path / "full.mmh")) == 2
    (model / "w.data").unlink()
    mmh("pack", model, "-o", tmp_path / "empty.mmh", code=OK)
    assert len(tensors(tmp_path / "empty.mmh")) == 0


def test_two_models_share_their_data(tmp_path):
    model = tmp_path / "m"
    model.mkdir()
    data = two_tensors(model)
    (model / "other.onnx").write_bytes(
        onnx(external("tied", (64, 32), "w.data", 0), external("part", (16,), "w.data", 64, 64))
    )
    mmh("pack", model, "-o", tmp_path / "x.mmh", code=OK)
    found = tensors(tmp_path / "x.mmh")
    assert ("w.data", "a") in found and ("w.data", "tied") in found
    assert mmh("cat", tmp_path / "x.mmh", "tied", code=OK).raw == data[:8192]
    mmh("unpack", tmp_path / "x.mmh", "-o", tmp_path / "out", code=OK)
    assert tree(tmp_path / "out") == tree(model)


def test_what_a_model_tells_is_checked_against_what_is_there(tmp_path):
    """Tensors past the end, of sizes that are not their shapes', of files that are something else."""
    model = tmp_path / "m"
    model.mkdir()
    (model / "w.data").write_bytes(floats(100, dtype="F32"))
    (model / "x.npy").write_bytes(npy("<f4", (100,), floats(100, dtype="F32")))
    (model / "model.onnx").write_bytes(
        onnx(
            external("fits", (100,), "w.data", 0),
            external("past", (100,), "w.data", 4),
            external("huge", (1 << 62,), "w.data", 0),
            external("sized", (10,), "w.data", 0, 44),
            external("far", (1,), "w.data", (1 << 64) - 4),
            external("npy", (100,), "x.npy", 128),
        )
    )
    mmh("pack", model, "-o", tmp_path / "x.mmh", code=OK)
    assert set(tensors(tmp_path / "x.mmh")) == {("w.data", "fits"), ("x.npy", "x")}
    mmh("unpack", tmp_path / "x.mmh", "-o", tmp_path / "out", code=OK)
    assert tree(tmp_path / "out") == tree(model)


def test_unsafe_places_are_not_looked_at(tmp_path):
    model = tmp_path / "m"
    model.mkdir()
    (tmp_path / "secret").write_bytes(b"secret" * 100)
    for location in ("../secret", str(tmp_path / "secret"), "a/../../secret", "..", "", "a\\b", "c:secret"):
        (model / "model.onnx").write_bytes(onnx(external("w", (10,), location, 0)))
        mmh("pack", "-f", model / "model.onnx", "-o", tmp_path / "x.mmh", code=OK)
        info = mmh("ls", "--json", tmp_path / "x.mmh", code=OK).json()
        assert info["tensors"] == [] and len(info["files"]) == 1, location


def test_links_that_a_model_tells_of_stay_links(tmp_path):
    model = tmp_path / "m"
    model.mkdir()
    data = two_tensors(model)
    (model / "w.data").rename(model / "blob")
    (model / "w.data").symlink_to("blob")
    mmh("pack", model, "-o", tmp_path / "x.mmh", code=OK)
    mmh("unpack", tmp_path / "x.mmh", "-o", tmp_path / "out", code=OK)
    assert (tmp_path / "out/w.data").is_symlink() and tree(tmp_path / "out") == tree(model)
    mmh("pack", model / "model.onnx", "-o", tmp_path / "y.mmh", code=OK)  # alone, a link is what it leads to
    assert mmh("cat", tmp_path / "y.mmh", "a", code=OK).raw == data[:8192]


def test_tensors_of_two_files_may_share_a_name(tmp_path):
    model = tmp_path / "m"
    model.mkdir()
    for i in range(2):
        (model / f"{i}.data").write_bytes(struct.pack("<f", i) * 600)
    (model / "model.onnx").write_bytes(onnx(external("w", (600,), "0.data"), external("w", (600,), "1.data")))
    mmh("pack", model, "-o", tmp_path / "x.mmh", code=OK)
    assert mmh("cat", tmp_path / "x.mmh", "1.data:w", code=OK).raw == struct.pack("<f", 1) * 600


def test_what_was_saved_over_again_is_stored_once(tmp_path):
    """ONNX's tools append to a data file that is there: the old tensors stay before the new ones."""
    model = tmp_path / "m"
    model.mkdir()
    data = two_tensors(model)
    once = mmh("pack", model, "-o", tmp_path / "once.mmh", code=OK)
    (model / "w.data").write_bytes(b"odd" + data + data)
    (model / "model.onnx").write_bytes(
        onnx(
            external("a", (64, 32), "w.data", 3 + len(data), 8192),
            external("b", (128,), "w.data", 3 + len(data) + 8192, 512),
        )
    )
    twice = mmh("pack", model, "-o", tmp_path / "twice.mmh", code=OK)
    assert once.code == twice.code == OK
    more = (tmp_path / "twice.mmh").stat().st_size - (tmp_path / "once.mmh").stat().st_size
    assert more < 1500, more
    mmh("unpack", tmp_path / "twice.mmh", "-o", tmp_path / "out", code=OK)
    assert tree(tmp_path / "out") == tree(model)


if __name__ == "__main__":
    main(globals())
