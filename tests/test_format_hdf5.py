#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HDF5 files that h5py makes: mmh finds the datasets that h5py reads, with its types, shapes and bytes.

`python3 tests/test_format_hdf5.py [NAME...]`, or pytest. The oracle is h5py; without it nothing is tested.
"""

import io
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import OK, main, mmh, skip

try:
    import h5py
    import numpy as np
except ImportError:
    h5py = np = None

# mmh's names of numpy's types
DTYPES = {
    "bool": "BOOL", "int8": "I8", "uint8": "U8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
    "int64": "I64", "uint64": "U64", "float16": "F16", "float32": "F32", "float64": "F64", "complex64": "C64",
    "complex128": "C128",
}  # fmt: skip
BOUNDS = ["earliest", "v108", "v110", "v112", "v114", "v200", "latest"]
SLICES = re.compile(r"(.*)\[([0-9:,]+)\]")


def needs_h5py():
    if not h5py:
        skip("h5py is not installed: its files are not looked at")


def values(*shape, dtype="float32"):
    count = int(np.prod(shape))
    return ((np.arange(count) * 2654435761 % 65521) % 251 - 0.5 * (dtype[0] in "fc")).astype(dtype).reshape(shape)


def create(file, name, dtype, shape, shape_max, prepare):
    """A dataset by h5py's low-level functions: prepare(list of creation properties)."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    prepare(properties)
    space = h5py.h5s.create_simple(shape, shape_max)
    made = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(np.dtype(dtype)), space, properties))
    made[...] = values(*shape, dtype=dtype)


def fill_groups(file):
    file["a/b/c"] = values(5, 7)
    file["again"] = file["a/b/c"]
    file["again_group"] = file["a/b"]
    file["a/b/loop"] = file["a"]
    file["soft"] = h5py.SoftLink("/a/b/c")
    file["external"] = h5py.ExternalLink("other.h5", "/x")
    file["gone"] = values(100)
    del file["gone"]
    group = file
    for depth in range(30):
        group = group.create_group(f"deep{depth}")
    group["end"] = values(4)
    for number in range(300):
        file[f"many/of a longer name {number}"] = values(3)
    for number in range(0, 300, 7):
        del file[f"many/of a longer name {number}"]
    ordered = file.create_group("ordered", track_order=True)
    for number in range(40):
        ordered[f"t{number * 7 % 40}"] = values(2)
        ordered.attrs[f"attribute {number}"] = np.arange(30)


def fill_types(file):
    for dtype in DTYPES:
        file[f"types/{dtype}"] = values(3, 2, dtype=dtype)
    for dtype in ">f2", ">f4", ">f8", ">i2", ">u4", ">i8", ">c8":
        file[f"types/{dtype}"] = values(3, 2).astype(dtype)
    file["scalar"] = np.float64(3.5)
    file["empty"] = values(0, 4)
    file["null"] = h5py.Empty("f4")
    file["text"] = "hello"
    file["texts"] = np.array([b"ab", b"c"])
    file["pair"] = np.zeros(3, dtype=[("a", "f4"), ("b", "i4")])
    file["committed"] = np.dtype("f4")
    file.create_dataset("of committed", (6,), dtype=file["committed"])[...] = values(6)
    file.create_dataset("never written", (10,), dtype="f4")
    create(file, "compact", "<f4", (5, 3), None, lambda p: p.set_layout(h5py.h5d.COMPACT))


def fill_chunks(file):
    def early(properties):
        properties.set_chunk((4, 3))
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)

    for name, shape, chunks, shape_max in [
        ("single", (10, 8), (10, 8), None),
        ("single larger", (10, 8), (16, 8), (None, 8)),
        ("fixed", (50, 8), (10, 4), None),
        ("fixed in a row", (50, 8), (10, 8), None),
        ("fixed with edges", (51, 9), (10, 4), None),
        ("fixed with room", (30, 8), (10, 4), (80, 30)),
        ("fixed in pages", (2500,), (2,), None),
        ("extensible", (300, 4), (2, 4), (None, 4)),
        ("extensible second", (9, 100, 3), (4, 2, 3), (9, None, 3)),
        ("extensible last", (9, 10, 7), (4, 2, 3), (20, 40, None)),
        ("tree", (30, 35), (3, 4), (None, None)),
        ("tree of levels", (100, 100), (2, 5), (None, None)),
        ("ones", (4, 3, 5), (1, 3, 5), None),
        ("ones and parts", (4, 6, 5), (1, 2, 5), None),
        ("ones and edges", (4, 5, 5), (1, 2, 5), None),
    ]:
        file.create_dataset(name, data=values(*shape), chunks=chunks, maxshape=shape_max)
    create(file, "implicit", "<f4", (10, 7), None, early)
    create(file, "implicit with room", "<f4", (10, 7), (13, 9), early)
    sparse = file.create_dataset("sparse", (3000,), dtype="u1", chunks=(2,))
    sparse[2400:2410] = 7
    sparse[2998:] = 1
    resized = file.create_dataset("resized", data=values(40, 6), chunks=(8, 3), maxshape=(None, 6))
    resized.resize((21, 6))
    resized.resize((30, 6))


FILTERS = {
    "fletcher": {"fletcher32": True},
    "shuffle": {"shuffle": True},
    "both": {"shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
    "gzip": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "scale": {"scaleoffset": 3},
}


def fill_filters(file):
    for name, options in FILTERS.items():
        for index, chunks, shape_max in [
            ("fixed", (8, 4), None),
            ("extensible", (8, 4), (None, 16)),
            ("tree", (8, 4), (None, None)),
            ("single", (33, 16), None),
        ]:
            file.create_dataset(f"{name}/{index}", data=values(33, 16), chunks=chunks, maxshape=shape_max, **options)


def each_file(folder, fill, users=(0, 2048)):
    """Files of every version and user block: (path, h5py's file, mmh's tensors by name)."""
    needs_h5py()
    for bound in BOUNDS:
        for user_bytes in users:
            path = Path(folder) / f"{bound}-{user_bytes}.h5"
            try:
                file = h5py.File(path, "w", libver=bound if bound == "earliest" else (bound, bound),
                                 userblock_size=user_bytes)  # fmt: skip
            except ValueError:  # an older library
                continue
            with file:
                fill(file)
            tensors = mmh("ls", "--json", path, code=OK).json()["tensors"]
            with h5py.File(path) as file:
                yield path, file, {tensor["name"]: tensor for tensor in tensors}


def datasets(file):
    """All names of datasets: (name, dataset). Groups are entered once."""
    seen = {h5py.h5o.get_info(file["/"].id).addr}

    def walk(group, prefix):
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            found = group[name]
            if isinstance(found, h5py.Dataset):
                yield prefix + name, found
            elif isinstance(found, h5py.Group):
                address = h5py.h5o.get_info(found.id).addr
                if address not in seen:
                    seen.add(address)
                    yield from walk(found, prefix + name + "/")

    return dict(walk(file, ""))


def assert_tensor(data, tensor, array):
    """A tensor has the type and the elements of an array, which may be cut at the edges."""
    assert tensor["dtype"] == DTYPES[array.dtype.name], tensor
    assert tensor["big_endian"] == (array.dtype.byteorder == ">"), tensor
    found = np.frombuffer(data, array.dtype, int(np.prod(tensor["shape"])), tensor["offset"] if array.size else 0)
    found = found.reshape(tensor["shape"])[tuple(slice(size) for size in array.shape)]
    assert found.tobytes() == array.tobytes(), tensor


def assert_found(path, dataset, name, tensors):
    """A dataset is there in one piece or in all of its chunks; gives how many tensors it is."""
    data = path.read_bytes()
    if name in tensors:
        assert tuple(tensors[name]["shape"]) == dataset.shape, name
        assert_tensor(data, tensors[name], dataset[...])
        return 1
    pieces = [(tensor, SLICES.fullmatch(piece)) for piece, tensor in tensors.items()]
    pieces = [(tensor, found[2]) for tensor, found in pieces if found and found[1] == name]
    for tensor, slices in pieces:
        assert tuple(tensor["shape"]) == dataset.chunks, tensor
        assert_tensor(data, tensor, dataset[tuple(slice(*map(int, part.split(":"))) for part in slices.split(","))])
    assert dataset.chunks and len(pieces) == dataset.id.get_num_chunks(), (name, len(pieces))
    return len(pieces)


def test_short_strings_of_the_root_are_metadata(tmp_path):
    def fill(file):
        file.attrs["keras_version"] = np.bytes_("3.4.1")
        file.attrs["backend"] = "torch"
        file.attrs["model_config"] = np.bytes_("x" * 1000)
        file.attrs["several"] = np.array([b"a", b"b"])
        file.attrs["number"] = 5
        file["w"] = values(3)
        file["w"].attrs["other"] = "x"

    for path, _, tensors in each_file(tmp_path, fill):
        assert list(tensors) == ["w"], path
        found = mmh("ls", "--json", path, code=OK).json()["files"][0]["metadata"]
        assert sorted(found) == [["backend", "torch"], ["keras_version", "3.4.1"]], path


def test_groups_are_walked_as_h5py_does(tmp_path):
    for path, file, tensors in each_file(tmp_path, fill_groups):
        names = datasets(file)
        assert set(names) == set(tensors), (path, set(names) ^ set(tensors))
        for name, dataset in names.items():
            assert_found(path, dataset, name, tensors)


def test_types_are_those_of_numpy(tmp_path):
    for path, file, tensors in each_file(tmp_path, fill_types):
        names = datasets(file)
        others = {"null", "text", "texts", "pair", "never written"}
        assert set(names) - others == set(tensors), path
        for name in set(names) - others:
            assert_found(path, names[name], name, tensors)


def test_every_chunk_is_found(tmp_path):
    whole = set()
    for path, file, tensors in each_file(tmp_path, fill_chunks):
        names = datasets(file)
        counts = [assert_found(path, dataset, name, tensors) for name, dataset in names.items()]
        assert sum(counts) == len(tensors), path
        assert {"single", "single larger"} <= set(tensors), path
        whole |= set(names) & set(tensors)
    # where the library happened to write the chunks one after another, they are one tensor
    assert {"fixed in a row", "ones", "ones and parts"} <= whole
    assert whole.isdisjoint({"fixed", "tree", "ones and edges", "sparse"})


def test_filters_are_looked_through_or_left_alone(tmp_path):
    for path, file, tensors in each_file(tmp_path, fill_filters):
        for index in "fixed", "extensible", "tree", "single":
            assert_found(path, file[f"fletcher/{index}"], f"fletcher/{index}", tensors)
        for name, tensor in tensors.items():  # lzf leaves what does not become smaller
            assert name.split("/")[0] in ("fletcher", "lzf"), name
            assert tensor["bytes"] in (33 * 16 * 4, 8 * 4 * 4), name


def test_tensors_of_packed_files_are_those_of_h5py(tmp_path):
    for path, file, tensors in each_file(tmp_path, fill_types, users=(512,)):
        packed = path.with_suffix(".mmh")
        mmh("pack", "-q", "-k", path, "-o", packed, code=OK)
        mmh("unpack", "-q", packed, "-o", tmp_path / "back", "-f", code=OK)
        assert (tmp_path / "back").read_bytes() == path.read_bytes()
        for name in tensors:
            if name.startswith("types/"):
                found = np.load(io.BytesIO(mmh("cat", packed, name, "--npy", code=OK).raw))
                assert np.array_equal(found, file[name][...]), name
                assert found.dtype == file[name].dtype.newbyteorder("="), name


if __name__ == "__main__":
    main(globals())
