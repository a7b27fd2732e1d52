# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md out of the last results of each part: every table with its command, machine and commit."""

import json

import bench_common as common
import weights

TOP = """# Benchmarks

Made by `bench/bench.py tables` from the last run of each part on one machine; each table names the
command that repeats it, the machine, the compiler and the commit (a + behind it: with changes that
were not committed yet). Sizes are exact and the same on every machine. Speeds are medians on a
shared machine: read the shares of memcpy or cp, which were measured in the same run. Peers run
through their public packages, on the same tensors.
"""


def table(heading, rows):
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def percent(part, whole, digits=2):
    return f"{100 * part / whole:.{digits}f}" if part and whole else ""


def number(value, digits=2):
    return "" if value is None else f"{value:.{digits}f}"


def sizes(rows):
    heading = ["model", "cast", "MB", "-1", "-3", "-4", "-5", "-9", "floor", "ZipNN", "ZipNN, best setting"]
    out = []
    for row in rows:
        levels = [percent(row["levels"].get(level), row["file_bytes"]) for level in "13459"]
        out.append(
            [
                row["model"],
                row["cast"],
                f"{row['file_bytes'] / 1e6:.2f}",
                *levels,
                *(number(row.get(key)) for key in ("floor_percent", "zipnn_percent", "zipnn_best_percent")),
            ]
        )
    return [
        "Whole containers in % of the file. floor: entropy under row and column classes, the rest raw.",
        "",
        *table(heading, out),
    ]


def classes(rows):
    out = [
        [
            r["model"],
            r["cast"],
            r["tensors"],
            percent(r["floor"], r["bytes"]),
            percent(r["in_model"], r["bytes"]),
            f"{100 * (r['in_model'] - r['floor']) / r['bytes']:+.2f}",
        ]
        for r in rows
    ]
    return [
        "Level 9 over tensors of 64 Ki weights and more, beside the entropy under classes; in % and points.",
        "",
        *table(["model", "cast", "tensors", "floor", "-9", "points"], out),
    ]


def byte_types(rows):
    out = [
        [
            r["model"],
            r["cast"],
            r["dtype"],
            f"{r['bytes'] / 1e6:.2f}",
            percent(r["entropy"], r["bytes"]),
            percent(r["in_model"], r["bytes"]),
            f"{100 * (r['in_model'] / r['entropy'] - 1):+.2f} %",
        ]
        for r in rows
    ]
    return [
        "Level 5 on element types of one byte (and fp64), beside the order-0 entropy of their bytes.",
        "",
        *table(["model", "cast", "type", "MB", "entropy %", "-5 %", "above"], out),
    ]


def growth(rows):
    out = [[r["file"], r["level"], r["bytes"], r["container"], f"{r['container'] - r['bytes']:+}"] for r in rows]
    return ["What random bytes grow by.", "", *table(["content", "level", "bytes", "container", "more"], out)]


def formats(rows):
    out = []
    for part, title in (("formats", "**all**"), ("quantised", "**all quantised**")):
        group = [r for r in rows if r["set"] == part]
        if group:
            total = {key: sum(r[key] for r in group) for key in ("bytes", "weights", "found", "zstd", "xz")}
            levels = {level: sum(r["levels"].get(level, 0) for r in group) for level in "159"}
            group = [*group, {"unit": title, "levels": levels, **total}]
        out += [
            [
                r["unit"],
                f"{r['bytes']:,}",
                percent(r["weights"], r["bytes"], 1),
                percent(r["found"], r["bytes"], 1),
                *(percent(r["levels"].get(level), r["bytes"]) for level in "159"),
                percent(r["zstd"], r["bytes"]),
                percent(r["xz"], r["bytes"]),
            ]
            for r in group
        ]
    heading = ["model", "bytes", "weights", "found", "-1", "-5", "-9", "zstd -19", "xz -9e"]
    return [
        "Whole containers of real models in % of their files; of several files the sum of each. weights: bytes that are"
        " weights and not deflated already; found: bytes of the tensors that mmh lists.",
        "",
        *table(heading, out),
    ]


def speeds(rows):
    out = []
    for r in rows:
        peer, share = r.get("memcpy_gbps"), r.get("share")
        spread = f"{share['least']:.3f} to {share['most']:.3f}" if share else ""
        what = [r.get("dtype", r.get("corpus")), *(r.get(k, "") for k in ("level", "cpu", "op", "threads"))]
        out.append(
            [
                *what,
                number(r["gbps"]["median"]),
                number(peer and peer["median"], 1),
                number(share and share["median"], 3),
                spread,
            ]
        )
    heading = ["of", "level", "kernels", "what", "threads", "GB/s", "memcpy", "share", "spread"]
    return [
        "GB/s of weights, and the share of memcpy over the same buffers in the same run.",
        "",
        *table(heading, out),
    ]


def end_to_end(rows):
    out = [
        [
            r["where"],
            r["op"],
            r["level"],
            r["threads"],
            number(r["gbps"]["median"]),
            number(r["cp_gbps"]["median"]),
            number(r["share"]["median"]),
        ]
        for r in rows
    ]
    return [
        "The command on 1.5 GB of bf16 with every check, beside cp.",
        "",
        *table(["where", "what", "level", "threads", "GB/s", "cp", "share"], out),
    ]


def large(rows):
    out = [
        [r["op"], f"{r['bytes'] / 1e9:.1f}", number(r["seconds"], 1), number(r["gbps"]), f"{r['peak_bytes'] / 1e6:.0f}"]
        for r in rows
    ]
    return [
        "A generated model, and the most memory that was used.",
        "",
        *table(["what", "GB", "seconds", "GB/s", "peak MB"], out),
    ]


def large_formats(rows):
    out = [
        [
            r["format"],
            r["op"],
            f"{r['bytes'] / 1e9:.2f}",
            r["tensors"],
            number(r["found_percent"], 1),
            number(r["percent"]),
            number(r["seconds"], 1),
            number(r["gbps"]),
            f"{r['peak_bytes'] / 1e6:.0f}",
        ]
        for r in rows
    ]
    heading = ["format", "what", "GB", "tensors", "found %", "-5 %", "seconds", "GB/s", "peak MB"]
    return ["Generated models; every byte came back.", "", *table(heading, out)]


def finding(rows):
    out = [
        [
            r["format"],
            f"{r['bytes'] / 1e6:.0f}",
            r["tensors"],
            number(r["found_percent"], 1),
            number(r["ls_ms"], 1),
            number(r["pack_ms"], 0),
            number(100 * r["share"]),
        ]
        for r in rows
    ]
    heading = ["format", "MB", "tensors", "found %", "ls, ms", "pack -5, ms", "share %"]
    return ["`mmh ls` of a model beside packing it: what finding the tensors costs.", "", *table(heading, out)]


def opening(rows):
    out = []
    for r in rows:
        opened = r.get("open_ms") or r["ms"]["median"]
        out.append(
            [
                r["what"],
                r.get("cache", "warm"),
                r.get("chunks", ""),
                number(opened, 1),
                number(r.get("open_and_load_ms"), 1),
            ]
        )
    heading = ["what", "cache", "chunks", "open, ms", "and one tensor, ms"]
    return ["Open, and load one named tensor.", "", *table(heading, out)]


def security(rows):
    """Security: a row for each profile and operation."""
    out = [
        [
            f"-{r['level']}",
            r["mode"],
            r["op"],
            number(r["seconds"]["median"]),
            f"{r['seconds']['least']:.2f}-{r['seconds']['most']:.2f}",
            number(r["over_plain"]["median"], 3),
            number(r["over_classical"]["median"], 3) if "over_classical" in r else "",
        ]
        for r in rows
    ]
    heading = ["level", "profile", "op", "seconds", "spread", "over plain", "over classical"]
    return [
        f"{rows[0]['bytes'] / 1e9:.1f} GB of bf16, file to file on disk, every core: pack that encrypts and",
        "signs, unpack that verifies and decrypts, beside the same without; ratios are medians of runs in turn.",
        "",
        *table(heading, out),
    ]


def parity(rows):
    out = [
        [
            r["damage"],
            r["tool"],
            r["step"],
            number(r["seconds"]["median"]),
            number(r["bytes"] / r["seconds"]["median"] / 1e9),
            percent(r["extra_bytes"], r["bytes"]),
        ]
        for r in rows
    ]
    heading = ["damage", "tool", "step", "seconds", "GB/s", "parity %"]
    return [
        "5 % of parity for a container of random bytes; 1 % of it is damaged, or 100 bytes.",
        "",
        *table(heading, out),
    ]


def python_loads(rows):
    out = [
        [
            r["state"],
            r["loader"],
            number(r["file_bytes"] / 1e6, 1),
            number(r["seconds"]["median"], 3),
            f"{r['seconds']['least']:.3f}-{r['seconds']['most']:.3f}",
            number(r["bytes"] / r["seconds"]["median"] / 1e9),
            number(r["extra_bytes"] / 1e6, 1) if "extra_bytes" in r else "",
        ]
        for r in rows
    ]
    return [
        "All tensors of a bf16 model, each load in a process of its own; memory beyond them counts mapped pages.",
        "",
        *table(["file is", "loader", "file MB", "seconds", "of all runs", "GB/s", "memory beyond MB"], out),
    ]


def python_large(rows):
    out = [
        [
            r["what"],
            number(r["bytes"] / 1e6, 1),
            number(r["seconds"]["median"], 3),
            number(r["extra_bytes"] / 1e6, 1) if "extra_bytes" in r else "",
        ]
        for r in rows
    ]
    return [
        "A generated model of 20 GB, level 1.",
        "",
        *table(["what", "MB of tensors", "seconds", "memory beyond the largest MB"], out),
    ]


def checkpoints(rows):
    out = []
    for r in rows:
        loads = r.get("load_seconds") or {}
        out.append(
            [
                r["kind"],
                number(r["bytes"] / 1e6, 1) if "bytes" in r else "",
                number(r["save_seconds"]["median"]),
                number(loads["4"]["median"]) if "4" in loads else "",
                number(loads["2"]["median"]) if "2" in loads else "",
                r.get("flipped_bit") or "",
            ]
        )
    heading = ["checkpoint", "MB", "save s", "load on 4 ranks s", "on 2 ranks s", "a flipped bit"]
    return ["A model and its AdamW state, saved by 4 ranks.", "", *table(heading, out)]


def bars(rows):
    parts = {}
    for r in rows:
        parts.setdefault(r["part"], []).append(r)
    counts = [
        [name, sum(r["met"] for r in of_part), len(of_part), of_part[0]["commit"], of_part[0]["date"]]
        for name, of_part in parts.items()
    ]
    missed = [[r["part"], r["bar"], r["figure"], r["against"]] for r in rows if not r["met"]]
    lines = [*table(["part", "met", "of", "commit", "date"], counts), ""]
    return [*lines, "Not met:", "", *table(["part", "bar", "reached", "bar is"], missed)] if missed else lines[:-1]


PARTS = {
    "sizes": ("Sizes", sizes),
    "classes": ("Against the entropy of the weights", classes),
    "bytes": ("Element types of one byte", byte_types),
    "growth": ("Random bytes", growth),
    "formats": ("Real models of every format", formats),
    "codec": ("Codecs in memory", speeds),
    "load": ("Loads", speeds),
    "fresh": ("Into new memory", speeds),
    "end-to-end": ("The command", end_to_end),
    "open": ("Opening", opening),
    "large": ("A large model", large),
    "large-formats": ("Large models of other formats", large_formats),
    "finding": ("Finding tensors", finding),
    "security": ("Encryption and signatures", security),
    "parity": ("Parity", parity),
    "python": ("Loads in Python", python_loads),
    "python-large": ("A large model in Python", python_large),
    "dcp": ("Distributed checkpoints", checkpoints),
    "bars": ("Bars", bars),
}


def bench_tables(args):
    """docs/benchmarks.md, from the last results of all parts."""
    lines = [TOP.rstrip()]
    for name, (title, show) in PARTS.items():
        path = common.RESULTS / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text())
        where = result["environment"]
        about = [where["machine"], where["compiler"], f"commit {where['commit']}", where["date"]]
        run = f"{', '.join([f'`bench/bench.py {name}`', *about])}."
        lines += ["", f"## {title}", "", "Of each part's last run." if name == "bars" else run, ""]
        lines += show(result["rows"])
    target = weights.ROOT / "docs/benchmarks.md"
    target.write_text("\n".join(lines) + "\n")
    print(f"bench: {target.relative_to(weights.ROOT)}")
