"""The second reader against the golden containers, the program's own, and damage of every kind."""
# SPDX-License-Identifier: Apache-2.0

import hashlib
import json
import os
import random
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import mmh_reference as reference  # noqa: E402
import mmh_reference_crypto as crypto  # noqa: E402
import mmh_reference_parity as parity  # noqa: E402

GOLDEN = Path(os.environ.get("MMH_GOLDEN", HERE / "../golden/draft-4"))
MMH = Path(os.environ["MMH_BUILD"]) / "mmh" if os.environ.get("MMH_BUILD") else None
LISTED = (
    json.loads((GOLDEN / "golden.json").read_text())
    if (GOLDEN / "golden.json").exists()
    else {"good": {}, "hostile": {}}
)
# The golden containers that are sealed: whose key opens them, and who signed them.
GUARDED = {
    "sealed-folder-5": ("default", "default"),
    "sealed-pairs-3": ("agency", "agency"),
    "sealed-text-1": ("classical", "hashes"),
}
REFUSALS = (reference.Corrupt, reference.Unsupported, reference.Limit)

needs_mmh = pytest.mark.skipif(MMH is None or not MMH.exists(), reason="MMH_BUILD names no mmh")

# safetensors' name of an element type, and its bits.
DTYPES = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "F16": 16,
    "BF16": 16,
    "F32": 32,
    "F64": 64,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "C64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}


def test_golden_folder_is_there():
    assert LISTED["good"] and LISTED["hostile"]


# --------------------------------------------------------------------------------------------------
# Golden containers
# --------------------------------------------------------------------------------------------------


def check_entry(entry, listed):
    kind, mode, content = entry
    if "link" in listed:
        assert (kind, content) == ("link", listed["link"])
    elif "folder" in listed:
        assert (kind, mode) == ("folder", listed["mode"])
    else:
        digest = hashlib.sha256(content).hexdigest()
        assert (kind, mode, len(content), digest) == ("file", listed["mode"], listed["bytes"], listed["sha256"])


def open_golden(name):
    """A golden container, opened with its key if it is sealed."""
    keys = crypto.private_keys((GOLDEN / (GUARDED[name][0] + ".key")).read_bytes()) if name in GUARDED else ()
    return reference.open_container(GOLDEN / (name + ".mmh"), keys)


@pytest.mark.parametrize("name", sorted(GUARDED))
def test_sealed(name):
    """Closed without a key, and signed."""
    with pytest.raises(reference.NoKey):
        reference.open_container(GOLDEN / (name + ".mmh")).restore()
    container = open_golden(name)
    container.require_signatures(crypto.public_keys((GOLDEN / (GUARDED[name][1] + ".pub")).read_bytes()))
    if container.section(reference.SECTION_PARITY):
        damaged = bytearray(container.data)
        damaged[3000] ^= 1
        assert parity.repair(bytes(damaged)) == container.data


def test_signed():
    container = open_golden("signed-raw-9")
    container.require_signatures(crypto.public_keys((GOLDEN / "classical.pub").read_bytes()))
    with pytest.raises(reference.Untrusted):
        container.require_signatures(crypto.public_keys((GOLDEN / "default.pub").read_bytes()))


@pytest.mark.parametrize("name", sorted(LISTED["good"]))
def test_good(name):
    container = open_golden(name)
    restored = container.restore()
    assert not container.mended and not container.verify()
    assert set(restored) - {"."} == set(LISTED["good"][name])
    for file, listed in LISTED["good"][name].items():
        check_entry(restored[file], listed)


@pytest.mark.parametrize("name", sorted(LISTED["good"]))
def test_good_by_command(name, tmp_path):
    options = []
    if name in GUARDED:
        options = ["--key", str(GOLDEN / (GUARDED[name][0] + ".key"))]
        options += ["--signer", str(GOLDEN / (GUARDED[name][1] + ".pub"))]
    assert reference.main([str(GOLDEN / (name + ".mmh")), "-o", str(tmp_path / "out"), *options]) == 0
    for file, listed in LISTED["good"][name].items():
        path = tmp_path / "out" / file
        if "link" in listed:
            assert os.readlink(path) == listed["link"]
            continue
        assert stat.S_IMODE(path.stat().st_mode) == listed["mode"]
        if "sha256" in listed:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == listed["sha256"]


@pytest.mark.parametrize("name", sorted(LISTED["hostile"]))
def test_hostile(name, tmp_path):
    listed = LISTED["hostile"][name]
    path = str(GOLDEN / "hostile" / (name + ".mmh"))
    out = tmp_path / "out"
    assert reference.main([path, "-o", str(out)]) == listed["unpack"]
    assert reference.main([path, "--verify"]) == listed["verify"]
    files = [file for file in out.rglob("*") if file.is_file()] if out.exists() else []
    if "sha256" in listed:
        assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == [listed["sha256"]]
    else:
        assert not files


def test_command(tmp_path, capsys):
    """The command as a command: statuses, a list, and a folder that is not empty."""
    script = str(HERE / "mmh_reference.py")
    sound = str(GOLDEN / "hostile/sound.mmh")
    flipped = str(GOLDEN / "hostile/header-flipped.mmh")
    for path, status in ((sound, 0), (flipped, 4)):
        out = str(tmp_path / str(status))
        assert subprocess.run(check=False, args=[sys.executable, script, path, "-o", out]).returncode == status
    assert reference.main([str(GOLDEN / "floats-5.mmh"), "--list"]) == 0
    assert "tensor" in capsys.readouterr().out
    assert reference.main([sound, "-o", str(tmp_path / "0")]) == 1
    assert reference.main([str(tmp_path / "none.mmh"), "--list"]) == 1


def test_limit(monkeypatch):
    container = reference.open_container(GOLDEN / "text-9.mmh")
    monkeypatch.setattr(reference, "RESTORE_LIMIT", 100)
    with pytest.raises(reference.Limit):
        container.restore()


# --------------------------------------------------------------------------------------------------
# Containers of the program
# --------------------------------------------------------------------------------------------------


def pack(source, out, *options):
    subprocess.run([str(MMH), "pack", "-q", "-f", *options, str(source), "-o", str(out)], check=True)
    return reference.open_container(out)


def elements(rng, dtype, count):
    """Values that look like weights, as bytes."""
    values = [rng.gauss(0, 0.02) for _ in range(count)]
    if dtype == "F64":
        return struct.pack("<%dd" % count, *values)
    if dtype == "F16":
        return struct.pack("<%de" % count, *values)
    if dtype == "C64":
        return b"".join(struct.pack("<ff", value, -value / 3) for value in values)
    wide = struct.pack("<%df" % count, *values)
    if dtype == "F32":
        return wide
    if dtype == "BF16":
        return b"".join(wide[i + 2 : i + 4] for i in range(0, len(wide), 4))
    if dtype in ("F8_E4M3", "F8_E5M2"):
        return struct.pack("<%de" % count, *values)[1::2]
    if dtype == "BOOL":
        return bytes(value > 0.02 for value in values)
    if dtype[0] in "IU":
        width = DTYPES[dtype] // 8
        numbers = [round(value * 1000) for value in values]
        numbers = [abs(number) for number in numbers] if dtype[0] == "U" else numbers
        return b"".join(number.to_bytes(width, "little", signed=True) for number in numbers)
    return rng.randbytes(ceil_bytes(dtype, count))


def ceil_bytes(dtype, count):
    return -(-count * DTYPES[dtype] // 8)


def sparse(rng, data, width):
    """Nine of ten elements are zero."""
    return b"".join(data[i : i + width] if rng.random() < 0.1 else bytes(width) for i in range(0, len(data), width))


def safetensors(tensors):
    """A safetensors file of (name, dtype, shape, bytes)."""
    header = {}
    at = 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in tensors)


def every_kind(dtype, count=3000):
    """A safetensors file with tensors like weights, sparse, constant, zero and random."""
    rng = random.Random(dtype)
    data = elements(rng, dtype, count)
    width = max(DTYPES[dtype] // 8, 1)
    count_bytes = len(data)
    kinds = {
        "weights": data,
        "sparse": sparse(rng, data, width)[:count_bytes],
        "constant": (data[:width] * (count_bytes // width + 1))[:count_bytes],
        "zero": bytes(count_bytes),
        "random": rng.randbytes(count_bytes),
    }
    return safetensors([(name, dtype, [count], kind) for name, kind in kinds.items()])


def npy(descr, shape, data, fortran=False):
    """A .npy file of version 1."""
    head = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def scaled_rows(rng, dtype, rows, columns):
    """A matrix whose rows and columns have their own scales, which models have classes for."""
    row_scale = [2.0 ** rng.randrange(-6, 6) for _ in range(rows)]
    column_scale = [2.0 ** rng.randrange(-3, 3) for _ in range(columns)]
    values = [rng.gauss(0, 1) * row * column for row in row_scale for column in column_scale]
    if dtype == "I8":
        return bytes(max(-127, min(127, round(value))) & 255 for value in values)
    if dtype == "F64":
        return struct.pack("<%dd" % len(values), *values)
    wide = struct.pack("<%df" % len(values), *values)
    if dtype == "F32":
        return wide
    return b"".join(wide[i + 2 : i + 4] for i in range(0, len(wide), 4))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A folder with one of everything."""
    folder = tmp_path_factory.mktemp("in") / "mixed"
    rng = random.Random(3)
    (folder / "deep/er").mkdir(parents=True)
    (folder / "void").mkdir()
    for dtype in ("BF16", "F16", "F32", "F64", "I8", "F8_E5M2"):
        (folder / (dtype + ".safetensors")).write_bytes(every_kind(dtype, 1500))
    doubles = [rng.gauss(0, 1) for _ in range(1000)]
    (folder / "big.npy").write_bytes(npy(">f8", (50, 20), struct.pack(">1000d", *doubles)))
    (folder / "ints.npy").write_bytes(npy(">i4", (1000,), struct.pack(">1000i", *range(1000))))
    (folder / "column.npy").write_bytes(npy("<f4", (50, 20), struct.pack("<1000f", *doubles), fortran=True))
    (folder / "empty").write_bytes(b"")
    (folder / "one").write_bytes(b"x")
    (folder / "deep/er/text.txt").write_text("\n".join("line %d" % i for i in range(2000)))
    (folder / "random.bin").write_bytes(rng.randbytes(20001))
    (folder / "constant.bin").write_bytes(b"abc" * 10000)
    hole = bytearray(300000)
    hole[150000:150010] = b"not a hole"
    (folder / "hole.bin").write_bytes(hole)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    (folder / "deep/link").symlink_to("er/text.txt")
    (folder / "up").symlink_to("deep")
    (folder / "deep/back").symlink_to("../one")
    return folder


def check_folder(restored, folder):
    """What was restored is what the folder holds."""
    paths = {str(path.relative_to(folder)): path for path in [folder, *folder.rglob("*")]}
    assert set(restored) == set(paths)
    for name, path in paths.items():
        kind, mode, content = restored[name]
        if path.is_symlink():
            assert (kind, content) == ("link", os.readlink(path))
            continue
        assert mode == stat.S_IMODE(path.stat().st_mode) & 0o777
        assert kind == ("folder" if path.is_dir() else "file")
        assert kind == "folder" or content == path.read_bytes()


@needs_mmh
@pytest.mark.parametrize("suite", ["blake3", "sha256", "sha384"])
@pytest.mark.parametrize("level", range(1, 10))
def test_levels(level, suite, mixed, tmp_path):
    container = pack(mixed, tmp_path / "x.mmh", "-%d" % level, "--hash=" + suite)
    check_folder(container.restore(), mixed)
    assert not container.mended and not container.verify()
    assert container.tensors


@needs_mmh
def test_folder_by_command(mixed, tmp_path):
    pack(mixed, tmp_path / "x.mmh", "--times")
    assert reference.main([str(tmp_path / "x.mmh"), "-o", str(tmp_path / "out")]) == 0
    for path in mixed.rglob("*"):
        other = tmp_path / "out" / path.relative_to(mixed)
        if path.is_symlink():
            assert os.readlink(other) == os.readlink(path)
        else:
            assert stat.S_IMODE(other.stat().st_mode) == stat.S_IMODE(path.stat().st_mode)
            assert int(other.stat().st_mtime) == int(path.stat().st_mtime)
            assert path.is_dir() or other.read_bytes() == path.read_bytes()


@needs_mmh
@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_types(dtype, tmp_path):
    source = tmp_path / "x.safetensors"
    source.write_bytes(every_kind(dtype, 3200))
    for level in (1, 3, 5, 9):
        container = pack(source, tmp_path / "x.mmh", "-%d" % level)
        assert container.restore()["x.safetensors"][2] == source.read_bytes()
        assert len(container.tensors) == 5


@needs_mmh
@pytest.mark.parametrize("dtype", ["BF16", "F32", "F64", "I8"])
def test_matrices(dtype, tmp_path):
    """Matrices with scales of their own, and more elements than the small alignment has."""
    rng = random.Random(dtype)
    source = tmp_path / "x.safetensors"
    source.write_bytes(
        safetensors(
            [
                ("a", dtype, [160, 250], scaled_rows(rng, dtype, 160, 250)),
                ("b", dtype, [9, 301], scaled_rows(rng, dtype, 9, 301)),
            ]
        )
    )
    for level in (1, 5, 9):
        container = pack(source, tmp_path / "x.mmh", "-%d" % level)
        assert container.restore()["x.safetensors"][2] == source.read_bytes()


@needs_mmh
def test_several_chunks(tmp_path):
    """More than 2^18 elements, sparse ones after them, and tails with zero bits."""
    rng = random.Random(9)
    weights = elements(rng, "BF16", 60000) * 5
    holes = sparse(rng, elements(rng, "F32", 400000), 4)
    tails = bytearray(elements(rng, "F32", 40000))
    tails[0::4] = bytes(40000)
    source = tmp_path / "x.safetensors"
    source.write_bytes(
        safetensors(
            [
                ("a", "BF16", [300, 1000], weights),
                ("b", "F32", [400, 1000], holes),
                ("c", "F32", [40, 1000], bytes(tails)),
            ]
        )
    )
    for level in (1, 5):
        container = pack(source, tmp_path / "x.mmh", "-%d" % level)
        assert max(len(block.chunks) for block in container.blocks) > 1
        assert container.restore()["x.safetensors"][2] == source.read_bytes()


@needs_mmh
@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32", "f64", "i8", "u16", "i64", "f8_e4m3"])
def test_raw(dtype, tmp_path):
    source = tmp_path / "x.bin"
    source.write_bytes(elements(random.Random(1), dtype.upper(), 4000))
    container = pack(source, tmp_path / "x.mmh", "--dtype=" + dtype, "--shape=40,100")
    assert container.restore()["x.bin"][2] == source.read_bytes()
    assert [(tensor.type, tensor.shape) for tensor in container.tensors] == [(dtype, (40, 100))]


# --------------------------------------------------------------------------------------------------
# Damage
# --------------------------------------------------------------------------------------------------


def restored_or_refused(data, right):
    """Exactly the right bytes, or a refusal: True or False."""
    try:
        container = reference.open_container(data)
        restored = container.restore()
    except REFUSALS:
        return False
    assert restored == right
    return True


@pytest.mark.parametrize("name, step", [("hostile/sound", 1), ("folder-5", 7), ("noise-5", 3)])
def test_truncation(name, step):
    data = (GOLDEN / (name + ".mmh")).read_bytes()
    right = reference.open_container(data).restore()
    whole = [restored_or_refused(data[:size], right) for size in range(0, len(data), step)]
    assert not whole[0] and whole[-1]
    assert whole == sorted(whole)


@pytest.mark.parametrize("name, step", [("hostile/sound", 1), ("folder-5", 11), ("chunks-5", 5), ("classes-9", 29)])
def test_single_byte_changes(name, step):
    data = (GOLDEN / (name + ".mmh")).read_bytes()
    container = reference.open_container(data)
    right = container.restore()
    footer = container.footer
    covered = set()
    for chunk in container.chunks:
        covered.update(range(chunk.at, chunk.at + chunk.stored_bytes))
    for at in range(0, len(data), step):
        for change in (0x01, 0x80):
            changed = bytearray(data)
            changed[at] ^= change
            # Everything but chunks is there twice, and padding is nothing.
            assert restored_or_refused(bytes(changed), right) == (at not in covered)
    assert footer.size == len(data)


def mutations(data, count, seed):
    """Copies of bytes with changes that no hash would find."""
    rng = random.Random(seed)
    for _ in range(count):
        copy = bytearray(data)
        way = rng.randrange(8)
        if way == 0:
            del copy[rng.randrange(len(copy) + 1) :]
        elif way == 1:
            copy += bytes(rng.choice((1, 2, 4, 8, 64)))
        elif copy:
            reach = min(len(copy), 64) if rng.random() < 0.6 else len(copy)
            copy[rng.randrange(reach)] = rng.choice((0, 1, 2, 3, 63, 64, 127, 128, 255, rng.randrange(256)))
        yield bytes(copy)


@pytest.mark.parametrize("name", sorted(LISTED["good"]))
def test_hostile_payloads(name):
    """A payload whose hash is right may still hold anything: its size, or a refusal, no more."""
    container = open_golden(name)
    for block in container.blocks:
        model = container.model_of(block)
        for i, number in enumerate(block.chunks):
            first = i * block.chunk_bytes
            size = min(block.chunk_bytes, block.bytes - first)
            codec = container.chunks[number].codec
            decoder = reference.Decoder(block.type, first, model, block_bytes=block.bytes)
            for payload in mutations(container.payload(number), 20, number):
                try:
                    data = reference.decode_payload(codec, payload, size, decoder)
                except REFUSALS:
                    continue
                assert len(data) == size


@pytest.mark.parametrize("name", sorted(LISTED["good"]))
def test_hostile_models(name):
    container = open_golden(name)
    for block in container.blocks:
        if block.model is None:
            continue
        for payload in mutations(container.payload(block.model), 60, block.model):
            try:
                reference.read_model(payload)
            except REFUSALS:
                continue


@pytest.mark.parametrize("name", sorted(LISTED["good"]))
def test_hostile_indexes(name):
    container = open_golden(name)
    right = container.restore()
    index = container.index.public_part()
    border = len(index)
    if container.cipher:
        index += container.index.private_part(container.secrets, container.header)
    for changed in mutations(index, 300, name):
        try:
            cursor = reference.Cursor(changed, "index")
            container._read_public(cursor)
            reference.need(not container.cipher or cursor.at == border, "parts that do not end at a page")
            container._read_private(cursor)
            restored = container.restore()
        except REFUSALS:
            continue
        # Names and modes are what the index says; no content is another.
        contents = [entry[2] for entry in right.values() if entry[0] == "file"]
        assert all(entry[2] in contents for entry in restored.values() if entry[0] == "file")


def test_random_bytes():
    rng = random.Random(5)
    magics = (b"", reference.HEADER_MAGIC, reference.FOOTER_MAGIC)
    for size in (0, 1, 127, 128, 384, 640, 5000):
        for magic in magics:
            for _ in range(20):
                with pytest.raises(REFUSALS):
                    reference.open_container(magic + rng.randbytes(size))
