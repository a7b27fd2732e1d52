# SPDX-License-Identifier: Apache-2.0
"""The ratio-speed picture, drawn from the last results."""

import os
import sys

import bench_common as common
import numpy as np
import peers
import weights
from bench_common import load

PICTURE = weights.ROOT / "docs" / "pictures" / "ratio-speed.svg"
LEVELS = tuple(range(1, 10))


def picture_points():
    """[(label, family, decoded GB/s on one thread, size %)] of bf16 MiniLM, as measured last."""
    points, codec = [], load("codec")
    sizes = {row["cast"]: row for row in load("sizes") if row["model"] == "minilm"}
    files = {row["level"]: row for row in load("files") if (row["corpus"], row["threads"]) == ("minilm bf16", 1)}
    for level in LEVELS:
        decoded = [
            r
            for r in codec
            if (r["level"], r["op"], r["threads"]) == (level, "decode", 1) and r["dtype"].lower() == "bf16"
        ]
        fresh = [r for r in decoded if r.get("memory") == "fresh"]  # as the peers decode
        speeds = [r["gbps"]["median"] for r in fresh or decoded]
        if level in files and not speeds:
            speeds = [files[level]["unpack_gbps"]["median"]]
        percent = None
        if "bf16" in sizes and str(level) in sizes["bf16"]["levels"]:
            percent = 100 * sizes["bf16"]["levels"][str(level)] / sizes["bf16"]["file_bytes"]
        elif level in files:
            percent = files[level]["percent"]
        if speeds and percent:
            points.append((f"mmh -{level}", "mmh", max(speeds), percent))
    for row in peers.load_results().values():
        if (row["model"], row["cast"]) == ("minilm", "bf16") and "decompress_gbps" in row:
            points.append((row["peer"], "peer", row["decompress_gbps"], row["best_percent"]))
    return points


def svg_picture(points, source, ours_note):
    """The ratio-speed picture as SVG text; it follows the reader's light or dark scheme."""
    width, height, left, right, top, bottom = 760, 450, 64, 24, 62, 58
    speeds, sizes = [p[2] for p in points], [p[3] for p in points]
    low_x, high_x = np.log10(min(speeds) / 1.35), np.log10(max(speeds) * 1.9)
    low_y, high_y = np.floor(min(sizes)) - 1, np.ceil(max(sizes)) + 1

    def at_x(value):
        return left + (np.log10(value) - low_x) / (high_x - low_x) * (width - left - right)

    def at_y(value):
        return top + (value - low_y) / (high_y - low_y) * (height - top - bottom)

    out = [
        (
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-labelledby="title about">'
        ),
        '<title id="title">Size and decoding speed of mmh and other codecs</title>',
        f'<desc id="about">{source} Up is smaller, right is faster.</desc>',
        (
            "<style>text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;"
            "fill:#57606a}"
            ".head{font-size:15px;font-weight:600;fill:#24292f}.name{fill:#24292f}"
            ".mmhname{fill:#0550ae;font-weight:600}"
            ".grid{stroke:#8c959f;stroke-opacity:.28}"
            ".link{stroke:#0969da;stroke-width:2;fill:none;stroke-opacity:.55}"
            ".mmh{fill:#0969da}.peer{fill:#8c959f}"
            "@media(prefers-color-scheme:dark){text{fill:#8b949e}.head,.name{fill:#e6edf3}"
            ".mmhname{fill:#79c0ff}"
            ".mmh{fill:#58a6ff}.link{stroke:#58a6ff}.peer{fill:#8b949e}}</style>"
        ),
        (f'<text class="head" x="{left}" y="22">MiniLM in bf16, one thread: smaller is up, faster is right</text>'),
        (f'<text x="{left}" y="40">peers into memory that their packages allocate; {ours_note}</text>'),
    ]
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50):
        if low_x <= np.log10(step) <= high_x:
            x = at_x(step)
            out.append(
                f'<path class="grid" d="M{x:.1f} {top}V{height - bottom}"/>'
                f'<text x="{x:.1f}" y="{height - bottom + 20}" text-anchor="middle">{step:g}</text>'
            )
    stride = 2 if high_y - low_y < 16 else 5
    for percent in range(int(np.ceil(low_y / stride) * stride), int(high_y) + 1, stride):
        y = at_y(percent)
        out.append(
            f'<path class="grid" d="M{left} {y:.1f}H{width - right}"/>'
            f'<text x="{left - 10}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>'
        )
    out.append(
        f'<text x="{(left + width - right) / 2}" y="{height - 14}" text-anchor="middle">'
        "decoded GB/s (logarithmic)</text>"
    )
    ours = sorted((p for p in points if p[1] == "mmh"), key=lambda p: p[0])
    if len(ours) > 1:
        out.append('<path class="link" d="M' + "L".join(f"{at_x(p[2]):.1f} {at_y(p[3]):.1f}" for p in ours) + '"/>')
    taken = [(at_x(s) - 6, at_y(v) - 6, at_x(s) + 6, at_y(v) + 6) for _, _, s, v in points]
    for label, family, speed, percent in points:
        x, y, wide = at_x(speed), at_y(percent), 7.4 * len(label)
        spots = [
            (x + 10, y + 4),
            (x - 10 - wide, y + 4),
            (x - wide / 2, y - 11),
            (x - wide / 2, y + 21),
        ]
        spots += [(sx, sy + shift) for shift in (14, -14, 28, -28, 42, -42) for sx, sy in spots[:2]]
        clear = (
            s
            for s in spots
            if s[0] >= left
            and s[0] + wide <= width
            and top - 16 < s[1] < height - bottom + 4
            and all(s[0] + wide < b[0] or s[0] > b[2] or s[1] + 3 < b[1] or s[1] - 11 > b[3] for b in taken)
        )
        sx, sy = next(clear, spots[0])
        taken.append((sx, sy - 11, sx + wide, sy + 3))
        out.append(
            f'<circle class="{family}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
            f'<text class="{"mmhname" if family == "mmh" else "name"}" '
            f'x="{sx:.1f}" y="{sy:.1f}">{label}</text>'
        )
    return "\n".join(out) + "\n</svg>\n"


def bench_picture(_args):
    """Draw docs/pictures/ratio-speed.svg from the last results."""
    points = picture_points()
    if not any(p[1] == "peer" for p in points) or not any(p[1] == "mmh" for p in points):
        print("bench: no picture yet: run sizes, codec (or files) and peers first", file=sys.stderr)
        return
    about = common.environment()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    codec = [r for r in load("codec") if r["op"] == "decode"]
    note = (
        "mmh likewise"
        if any(r.get("memory") == "fresh" for r in codec)
        else "mmh into memory that is there"
        if codec
        else "mmh as a command"
    )
    PICTURE.write_text(
        svg_picture(points, f"Measured on {about['machine']}, {about['compiler']}, {about['date']}.", note)
    )
    print(f"bench: drew {os.path.relpath(PICTURE)}", file=sys.stderr)
