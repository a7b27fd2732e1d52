# SPDX-License-Identifier: Apache-2.0
"""Real models of every format, whole: containers beside zstd -19 and xz -9e of the same files."""

import concurrent.futures
import json
import lzma
import os
import tempfile
import zipfile
from pathlib import Path

import bench_common as common
import corpus_units
import weights
import zstandard
from bench_common import mmh, mmh_json, verdict

LEVELS = (1, 5, 9)
SMALL = 50_000  # bytes: below, no bar
WEIGHTS_SHARE = 0.5  # of a unit that are weights and not deflated, for the bars to hold
TOTAL_BAR = 0.93  # all at level 5 by all with zstd -19
PEERS = common.RESULTS / "format-peers.json"
COVERAGE = common.RESULTS / "format-coverage.json"


def zstd19(data):
    return len(zstandard.ZstdCompressor(level=19).compress(data))


def xz9e(data):
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def peer_sizes(path):
    data = Path(path).read_bytes()
    return {"zstd": zstd19(data), "xz": xz9e(data)}


def peers_of(files, again):
    """{path: {"zstd": bytes, "xz": bytes}}, kept by the files' digests."""
    kept = json.loads(PEERS.read_text()) if PEERS.exists() and not again else {}
    digests = {path: weights.file_digest(path) for path in files}
    missing = [path for path in files if digests[path] not in kept]
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for path, sizes in zip(missing, pool.map(peer_sizes, missing)):
            kept[digests[path]] = sizes
    if missing:
        PEERS.parent.mkdir(parents=True, exist_ok=True)
        PEERS.write_text(json.dumps(kept, indent=1))
    return {path: kept[digests[path]] for path in files}


def deflated_bytes(path):
    """Bytes of a file that are compressed already: members of a zip, chunks of an HDF5 file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(info.compress_size for info in archive.infolist() if info.compress_type)
    with open(path, "rb") as file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n":
            return 0
    import h5py

    found = []

    def visit(_, item):
        if isinstance(item, h5py.Dataset) and (item.compression or item._filters):
            found.append(item.id.get_storage_size())

    with h5py.File(path) as file:
        file.visititems(visit)
    return sum(found)


def covered_bytes(listing):
    """Bytes that belong to some tensor, those of several (tied ones, views) once."""
    covered, last = 0, (None, 0)
    for file, begin, end in sorted((t["file"], t["offset"], t["offset"] + t["bytes"]) for t in listing["tensors"]):
        reached = last[1] if last[0] == file else 0
        covered += max(0, end - max(begin, reached))
        last = (file, max(end, reached))
    return covered


def measure(name, unit, options, levels, folder, peers, coverage):
    files = corpus_units.files(unit)
    size = sum(path.stat().st_size for path in files)
    deflated = sum(map(deflated_bytes, files))
    found = covered_bytes(mmh_json("ls", *options, unit))
    known = 0 if deflated else min(size, coverage.get(name, {}).get("bytes", 0))
    row = {
        "unit": name,
        "path": str(unit),
        "options": list(map(str, options)),
        "files": len(files),
        "bytes": size,
        "deflated": deflated,
        "found": found,
        "weights": max(found, known),
        "levels": {},
        "zstd": sum(peers[path]["zstd"] for path in files),
        "xz": sum(peers[path]["xz"] for path in files),
    }
    packed = Path(folder) / "x.mmh"
    for level in levels:
        mmh("pack", f"-{level}", f"-T{os.cpu_count()}", "-f", *options, "-o", packed, unit)
        row["levels"][str(level)] = packed.stat().st_size
    return row


PACKERS = {"zstd": zstd19, "xz": xz9e}


def reason(row, level, peer, folder):
    """Where the bytes went: tensors that the peer makes smaller by themselves, and what is no tensor."""
    unit = Path(row["path"])
    packed = folder / "x.mmh"
    mmh("pack", f"-{level}", "-f", *row["options"], "-o", packed, unit)
    listing = mmh_json("ls", packed)
    root = unit if unit.is_dir() else unit.parent
    losses, inside, inside_peer, seen = [], 0, 0, set()
    for tensor in listing["tensors"]:
        file = listing["files"][tensor["file"]]["name"]
        place = (file, tensor["offset"], tensor["bytes"])
        if place in seen or not tensor["bytes"]:
            continue
        seen.add(place)
        with open(root / file, "rb") as data:
            data.seek(tensor["offset"])
            alone = PACKERS[peer](data.read(tensor["bytes"]))
        inside, inside_peer = inside + tensor["stored_bytes"], inside_peer + alone
        losses.append((tensor["stored_bytes"] - alone, tensor["name"], tensor["dtype"]))
    size = packed.stat().st_size
    words = [
        f"tensors {inside} B, each alone {inside_peer} B; the rest {size - inside} B against"
        f" {row[peer] - inside_peer} B; {100 * row['found'] / row['bytes']:.1f} % of the bytes are found tensors"
    ]
    losses.sort(reverse=True)
    words += [f"{dtype} {name[-60:]} {loss} B more than alone" for loss, name, dtype in losses[:3] if loss > 100]
    return "; ".join(words)


def judge(rows, levels, folder, total):
    for row in rows:
        if row["bytes"] <= SMALL or row["weights"] < WEIGHTS_SHARE * row["bytes"]:
            continue
        for level, peer, label in ((5, "zstd", "zstd -19"), (9, "xz", "xz -9e")):
            packed = row["levels"].get(str(level))
            if packed and not verdict(
                f"{row['unit']} -{level}",
                f"{packed} B",
                f"{row[peer]} B of {label}",
                packed < row[peer],
                quiet=True,
            ):
                row.setdefault("losses", {})[str(level)] = reason(row, level, peer, folder)
                print(f"          {row['losses'][str(level)]}")
    if total and 5 in levels:
        ours, theirs = (sum(values) for values in zip(*((r["levels"]["5"], r["zstd"]) for r in rows)))
        verdict(
            "all models together, -5",
            f"{ours / theirs:.4f} x zstd -19",
            f"{TOTAL_BAR:.2f} x",
            ours <= TOTAL_BAR * theirs,
        )


def show(rows, levels):
    for row in rows:
        cells = [row["levels"][str(level)] for level in levels] + [row["zstd"], row["xz"]]
        print(
            f"{row['unit'][-52:]:52} {row['bytes']:>9} {100 * row['weights'] / row['bytes']:6.1f}"
            f" {100 * row['found'] / row['bytes']:6.1f} "
            + " ".join(f"{100 * cell / row['bytes']:6.2f}" for cell in cells)
        )


def quantised_units():
    """(name, path) of MiniLM's layers in packed quantised layouts, made once."""
    import quantised

    folder = weights.CACHE / "quantised"
    return [(f"minilm {layout}", quantised.write(layout, folder)) for layout in quantised.LAYOUTS]


def bench_formats(args):
    """Whole containers of real models of every format, beside zstd -19 and xz -9e."""
    if not corpus_units.CORPUS.is_dir():
        raise SystemExit(f"bench: there is no {corpus_units.CORPUS}: set MMH_SHARED")
    levels = common.listed(args.levels, LEVELS, int)
    wanted = common.listed(args.models)
    coverage = json.loads(COVERAGE.read_text()) if COVERAGE.exists() else {}
    if not coverage:
        print("bench: no figures of make coverage-formats: weights are those that mmh itself finds")
    with common.work_folder("memory") as folder, tempfile.TemporaryDirectory() as options_folder:
        units = [
            (unit.relative_to(corpus_units.CORPUS).as_posix(), unit, corpus_units.options(unit, options_folder))
            for unit in corpus_units.units()
        ]
        made = [(name, unit, []) for name, unit in quantised_units()]
        if wanted:
            units, made = ([u for u in group if any(part in u[0] for part in wanted)] for group in (units, made))
        files = [path for _, unit, _ in units + made for path in corpus_units.files(unit)]
        peers = peers_of(files, args.again)
        heads = [*(f"-{level}" for level in levels), "zstd", "xz"]
        print(
            f"{'model':52} {'bytes':>9} {'wts %':>6} {'found':>6} "
            + " ".join(f"{head:>6}" for head in heads)
            + "   % of the files"
        )
        results = {}
        for part, group in (("formats", units), ("quantised", made)):
            rows = [measure(*unit, levels, folder, peers, coverage) for unit in group]
            results[part] = rows
            show(rows, levels)
            if rows:
                whole = {key: sum(row[key] for row in rows) for key in ("bytes", "weights", "found", "zstd", "xz")}
                whole |= {
                    "unit": f"all of {part}",
                    "levels": {str(level): sum(row["levels"][str(level)] for row in rows) for level in levels},
                }
                show([whole], levels)
                judge(rows, levels, Path(folder), total=part == "formats" and not wanted)
        if not wanted:
            common.save(
                "formats",
                [
                    {k: v for k, v in row.items() if k not in ("path", "options")} | {"set": part}
                    for part, rows in results.items()
                    for row in rows
                ],
                files,
            )
