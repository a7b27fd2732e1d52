#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mmh report: its numbers are numpy's, its page is inert, complete in itself and bounded, and a browser draws it.

`python3 tests/test_report.py [NAME...]`, or pytest. What needs numpy or a Chromium is skipped without them.
"""

import base64
import hashlib
import html
import html.parser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import (
    DAMAGED,
    INTERRUPTED,
    IO,
    KEY,
    LOST,
    OK,
    UNTRUSTED,
    USAGE,
    binary,
    floats,
    main,
    mmh,
    model,
    npy,
    put,
    safetensors,
    shared,
    skip,
    wait_for_output,
)

NODES_MAX, BINS_MAX, NAME_BYTES = 3000, 400000, 160
WHOLE_VALUES, SAMPLE_PIECES, PIECE_VALUES = 1 << 22, 16, 262128


def numpy():
    try:
        import numpy
    except ImportError:
        skip("numpy is not installed: counts are not compared")
    return numpy


def packed(folder, name, data, *options):
    """A file, and its container."""
    original = put(folder, name, data)
    container = Path(folder) / (name + ".mmh")
    mmh("pack", "-q", "-f", *options, original, "-o", container, code=OK)
    return original, container


def report(*arguments, code=OK):
    return mmh("report", "--json", *arguments, code=code).json()


def page(folder, *arguments, code=OK):
    """The text of a page."""
    path = Path(folder) / "page.html"
    mmh("report", "-q", "-f", "-o", path, *arguments, code=code)
    return path.read_text(encoding="utf-8")


class Elements(html.parser.HTMLParser):
    """The elements of a page, each with its attributes, and the text in each script and style."""

    def __init__(self, text):
        super().__init__()
        self.found, self.inside, self.texts = [], None, {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.inside = None
        if tag in ("script", "style", "title"):
            self.inside = dict(attributes).get("id") or tag
            assert self.inside not in self.texts
            self.texts[self.inside] = ""

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside] += data


def data_of(text):
    return json.loads(Elements(text).texts["data"])


def node_path(nodes, node):
    """A node's names from the model down, joined with '.'."""
    names = []
    while node["parent"] is not None:
        names.insert(0, node["name"])
        node = nodes[node["parent"]]
    return ".".join(names)


def full_names(content):
    """{path: node} of the nodes without children."""
    nodes = content["nodes"]
    parents = {node["parent"] for node in nodes}
    return {node_path(nodes, node): node for i, node in enumerate(nodes) if i not in parents}


def check_tree(content):
    """Parents come first and are the sums of their children; every value is in one node."""
    nodes = content["nodes"]
    assert len(nodes) <= NODES_MAX and nodes[0]["parent"] is None
    sums = [{"tensors": 0, "bytes": 0, "children": 0} for _ in nodes]
    for i, node in enumerate(nodes[1:], 1):
        assert 0 <= node["parent"] < i
        for key in ("tensors", "bytes"):
            sums[node["parent"]][key] += node[key]
        sums[node["parent"]]["children"] += 1
    for node, total in zip(nodes, sums):
        if total["children"]:
            assert "statistics" not in node
            assert {key: node[key] for key in ("tensors", "bytes")} == {key: total[key] for key in ("tensors", "bytes")}
        elif node["tensors"]:
            assert sum(one["tensors"] for one in node["statistics"]) == node["tensors"]
    assert nodes[0]["tensors"] == content["tensors"]
    statistics = [one for node in nodes for one in node.get("statistics", [])]
    for key in ("values", "counted"):
        assert sum(one[key] for one in statistics) == content[key]
    return nodes


# ---- values ----

# {dtype: (numpy's integer of a value, exponent bits, mantissa bits)}; of no float 0 and 0.
LAYOUTS = {
    "BF16": ("<u2", 8, 7),
    "F16": ("<u2", 5, 10),
    "F32": ("<u4", 8, 23),
    "F64": ("<u8", 11, 52),
    "F8_E4M3": ("<u1", 4, 3),
    "F8_E5M2": ("<u1", 5, 2),
    "I8": ("<u1", 0, 0),
    "U8": ("<u1", 0, 0),
    "BOOL": ("<u1", 0, 0),
    "I16": ("<u2", 0, 0),
    "I32": ("<u4", 0, 0),
    "I64": ("<u8", 0, 0),
}


def check_counts(one, dtype, words):
    """A node's statistics against numpy, which counts in another way: bit by bit, and by unique values."""
    np = numpy()
    code, exponent_bits, mantissa_bits = LAYOUTS[dtype]
    bits = 8 * np.dtype(code).itemsize
    assert one["dtype"] == dtype and one["values"] == one["counted"] == words.size
    assert one["ones"] == [int(np.count_nonzero(words >> np.uint64(b) & np.uint64(1))) for b in range(bits)]
    if exponent_bits:
        symbols = words >> np.uint64(mantissa_bits) & np.uint64((1 << exponent_bits) - 1)
    elif bits == 8:
        symbols = words
    else:
        assert "bins" not in one and "lowest" not in one
        assert one["floor_bytes"] == words.size * bits // 8
        return
    values, times = np.unique(symbols, return_counts=True)
    expected = {int(value): int(count) for value, count in zip(values, times)}
    said = {one["first_bin"] + i: count for i, count in enumerate(one["bins"]) if count}
    if exponent_bits:
        assert one["lowest"] == expected.pop(0, 0)
    assert said == expected and one["bins"][:1] != [0] and one["bins"][-1:] != [0]
    share = times / words.size
    symbol_bits = exponent_bits or 8
    floor = words.size / 8 * (bits - symbol_bits - float(np.sum(share * np.log2(share))))
    assert floor <= one["floor_bytes"] <= floor + 2


def words_of(dtype, data):
    np = numpy()
    return np.frombuffer(data, LAYOUTS[dtype][0]).astype(np.uint64)


def test_bits_exponents_and_floors_are_numpys(tmp_path):
    """Of every kind of element, few and many of them, in a container and in the original."""
    np = numpy()
    random = np.random.default_rng(7)
    tensors = {}
    for dtype, (code, exponent_bits, _) in LAYOUTS.items():
        size = np.dtype(code).itemsize
        for name, count in (("few", 999), ("many", 70001)):
            if dtype == "BOOL":
                data = random.integers(0, 2, count).astype("<u1").tobytes()
            elif exponent_bits == 8:
                data = (
                    (random.normal(0, 0.02, count).astype("<f4").view("<u4") >> (32 - 8 * size)).astype(code).tobytes()
                )
            elif exponent_bits:
                data = random.integers(0, 1 << 8 * size, count, np.uint64).astype(code).tobytes()
            else:
                data = random.normal(0, 20, count).astype(f"<i{size}").tobytes()
            tensors[f"{dtype}.{name}"] = (dtype, (count,), data)
    tensors["BF16.zeros"] = ("BF16", (300,), bytes(600))
    original, container = packed(tmp_path, "m.safetensors", safetensors(tensors))
    for path in (container, original):
        content = report(path)["content"]
        check_tree(content)
        found = full_names(content)
        for name, (dtype, _, data) in tensors.items():
            (one,) = found[name]["statistics"]
            check_counts(one, dtype, words_of(dtype, data))
        types = {one["name"]: one for one in content["types"]}
        assert set(types) == set(LAYOUTS)
        for name, (code, exponent_bits, mantissa_bits) in LAYOUTS.items():
            one = types[name]
            assert (one["bits"], one["exponent_bits"]) == (8 * np.dtype(code).itemsize, exponent_bits)
            assert not exponent_bits or (one["mantissa_bits"], one["sign"]) == (mantissa_bits, True)
        assert (types["BF16"]["bias"], types["F16"]["bias"], types["F64"]["bias"]) == (127, 15, 1023)


def test_byte_order_and_complex_numbers_are_seen_through(tmp_path):
    np = numpy()
    random = np.random.default_rng(3)
    for count in (500, 40000):
        values = random.normal(0, 1, (count, 2)).astype("<f4")
        expected = report(packed(tmp_path, "little.npy", npy("<f4", (count, 2), values.tobytes()))[1])
        for dtype, order in ((">f4", ">"), ("<c8", "<"), (">c8", ">")):
            shape = (count,) if "c" in dtype else (count, 2)
            data = npy(dtype, shape, values.astype(order + "f4").tobytes())
            said = report(packed(tmp_path, "other.npy", data)[1])
            (a,), (b,) = (
                [one for node in content["content"]["nodes"] for one in node.get("statistics", [])]
                for content in (expected, said)
            )
            assert {**a, "dtype": 0} == {**b, "dtype": 0}, dtype
            assert b["dtype"] == ("C64" if "c" in dtype else "F32")


def test_small_elements_and_blocks(tmp_path):
    """Two or four in a byte, six bits, and bytes of ggml's blocks."""
    np = numpy()
    data = bytes(np.random.default_rng(5).integers(0, 256, 30000).astype("u1"))
    array = np.frombuffer(data, "u1")
    stream = np.unpackbits(array, bitorder="little")
    for dtype, bits, exponent_bits, mantissa_bits in (
        ("u4", 4, 0, 0),
        ("f4", 4, 2, 1),
        ("i2", 2, 0, 0),
        ("f6_e3m2", 6, 3, 2),
    ):
        count = len(data) * 8 // bits
        original = tmp_path / "a.bin"
        original.write_bytes(data)
        content = report(f"--dtype={dtype}", f"--shape={count}", original)["content"]
        (one,) = (one for node in content["nodes"] for one in node.get("statistics", []))
        words = stream.reshape(count, bits)
        assert one["values"] == count and one["ones"] == [int(n) for n in words.sum(0)], dtype
        values = (words * (1 << np.arange(bits))).sum(1)
        symbols = values >> mantissa_bits & ((1 << exponent_bits) - 1) if exponent_bits else values
        times = [int(np.count_nonzero(symbols == i)) for i in range(1 << (exponent_bits or bits))]
        said = [0] * one["first_bin"] + one["bins"]
        if exponent_bits:
            said[0] = one["lowest"]
        assert said == times, dtype
    (gguf,) = (shared() / "corpus/gguf").glob("minilm*.gguf")
    content = report(gguf)["content"]
    check_tree(content)
    types = {one["name"]: one for one in content["types"]}
    blocks = [
        one for node in content["nodes"] for one in node.get("statistics", []) if types[one["dtype"]]["in_blocks"]
    ]
    assert blocks and all(len(one["ones"]) == 8 and sum(one["bins"]) == one["values"] for one in blocks)


def test_large_tensors_are_sampled_evenly_and_all_counts_all(tmp_path):
    np = numpy()
    count = 5_000_000
    array = (np.arange(count, dtype=np.uint64) * 16 // count).astype("u1")  # a value for each sixteenth
    _, container = packed(tmp_path, "m.safetensors", safetensors({"large": ("U8", (count,), array.tobytes())}), "-1")
    content = report(container)["content"]
    (one,) = full_names(content)["large"]["statistics"]
    assert not content["every_value"] and content["values"] == one["values"] == count > WHOLE_VALUES
    assert content["counted"] == one["counted"] == SAMPLE_PIECES * PIECE_VALUES
    assert one["first_bin"] == 0 and len(one["bins"]) == 16 and sum(one["bins"]) == one["counted"]
    assert all(abs(times - PIECE_VALUES) < PIECE_VALUES / 4 for times in one["bins"]), one["bins"]
    content = report("--all", container)["content"]
    (one,) = full_names(content)["large"]["statistics"]
    assert content["every_value"] and content["counted"] == count
    check_counts(one, "U8", array.astype(np.uint64))


# ---- sums ----


def test_sums_are_those_of_info_and_ls(tmp_path):
    folder = tmp_path / "llama"
    for i in (1, 2):
        tensors = {
            f"model.layers.{layer}.{name}.weight": ("BF16", (64, 32), floats(2048, layer))
            for layer in range(6 * i, 6 * i + 6)
            for name in ("up", "down")
        }
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        (folder / f"shards/m-{i}.safetensors").write_bytes(safetensors(tensors, {"format": "pt"}))
    (folder / "tokenizer.json").write_text("[1, 2, 3]" * 1000)
    (folder / "empty").write_bytes(b"")
    (folder / "link").symlink_to("tokenizer.json")
    container = tmp_path / "llama.mmh"
    mmh("pack", "-q", "--parity=2%", folder, "-o", container, code=OK)
    info, said = mmh("info", "--json", container, code=OK).json(), report(container)
    content, state = said["content"], said["container"]
    for key in ("by_dtype", "by_codec", "original_bytes", "floor_bytes", "files", "tensors"):
        assert content[key] == info[key], key
    for key in ("format", "writer", "level", "hash", "root", "index_bytes", "blocks", "chunks"):
        assert state[key] == info[key], key
    for key in ("encryption", "signatures", "parity"):
        assert said[key] == info[key], key
    assert state["stored_bytes"] == info["stored_bytes"] == container.stat().st_size
    nodes = check_tree(content)
    assert nodes[0]["bytes"] == info["original_bytes"]
    rest = next(node for node in nodes if node["kind"] == "rest" and node["parent"] == 0)
    opaque = next(one for one in info["by_dtype"] if one["name"] == "OPAQUE")
    assert (rest["bytes"], rest["stored_bytes"]) == (opaque["original_bytes"], opaque["stored_bytes"])
    assert {node["name"]: node["bytes"] for node in nodes if node["kind"] == "file"} == {"tokenizer.json": 9000}
    listed = {one["name"]: one for one in mmh("ls", "--json", container, code=OK).json()["tensors"]}
    tensors = {name: node for name, node in full_names(content).items() if node["kind"] == "tensor"}
    assert set(tensors) == set(listed)
    for name, node in tensors.items():
        assert {key: node[key] for key in ("dtype", "shape", "bytes", "stored_bytes")} == {
            key: listed[name][key] for key in ("dtype", "shape", "bytes", "stored_bytes")
        }
    layers = [node["name"] for node in nodes if re.fullmatch(r"\d+", node["name"])]
    assert layers == sorted(layers, key=int) and len(layers) == 12, "numbers stand in the order in which people count"


def test_names_that_several_files_have_are_shown_by_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / f"m/{name}.safetensors").write_bytes(
            safetensors({"w.x": ("U8", (9,), b"123456789"), "w.y": ("U8", (1,), b"0")})
        )
    nodes = check_tree(report(tmp_path / "m")["content"])
    assert {node["name"] for node in nodes if node["parent"] == 0 and node["kind"] == "group"} == {
        "a.safetensors",
        "b.safetensors",
    }


def test_names_that_are_odd_become_a_tree_all_the_same(tmp_path):
    names = [
        "",
        ".",
        "..",
        "a",
        "a.",
        "a..b",
        "a.b",
        "a/b",
        "a.b.c",
        "/",
        "a.1",
        "a.01",
        "a.10",
        "a.2",
        "." * 999,
        "ü.ñ",
    ]
    names += ["c./b.u", "c.d", "c/.b.v", "c..b.w", "x" * 5000]
    names += [f"d{one}b{other}c" for one in (".", "/", "..", "./", "/.") for other in ("/", ".")]
    tensors = {name: ("U8", (2,), bytes([i, i])) for i, name in enumerate(names)}
    _, container = packed(tmp_path, "m.safetensors", safetensors(tensors))
    content = report(container)["content"]
    nodes = check_tree(content)
    listed = [one["name"] for one in mmh("ls", "--json", container, code=OK).json()["tensors"]]
    shown = sorted(
        re.sub(r"\(itself\)|[./x]", "", node_path(nodes, node)) for node in nodes if node["kind"] == "tensor"
    )
    assert len(listed) == len(names) and shown == sorted(re.sub("[./x]", "", name) for name in listed)
    assert all(len(node["name"].encode()) <= NAME_BYTES for node in nodes)


def test_a_model_of_many_tensors_has_a_page_of_a_few_megabytes(tmp_path):
    """Tensors by the ten thousand, in groups and in none, names of any length: all are in the sums."""
    one = floats(8)
    for case in ("groups", "flat", "long"):
        count = 2000 if case == "long" else 30000
        names = {
            "groups": lambda i: f"layers.{i // 500}.experts.{i % 500 // 5}.w{i % 5}",
            "flat": lambda i: f"t{i}",
            "long": lambda i: f"{i}" + "\x01<" * 2000,
        }[case]
        tensors = {names(i): ("BF16", (8,), one) for i in range(count)}
        original = tmp_path / "m.safetensors"
        original.write_bytes(safetensors(tensors))
        text = page(tmp_path, original)
        content = data_of(text)["content"]
        check_tree(content)
        assert content["tensors"] == count and content["values"] == content["counted"] == 8 * count
        assert len(text) < 6 << 20, (case, len(text))
        shown = sum(node["kind"] == "tensor" for node in content["nodes"])
        assert content["tensors_together"] == count - shown and (case == "long" or content["tensors_together"] > 0)


def test_histograms_are_bounded(tmp_path):
    np = numpy()
    data = np.random.default_rng(1).integers(0, 1 << 64, 1500 * 1200, np.uint64).tobytes()
    tensors = {f"t{i}": ("F64", (1500,), data[12000 * i : 12000 * (i + 1)]) for i in range(390)}
    original = tmp_path / "m.safetensors"
    original.write_bytes(safetensors(tensors))
    content = report(original)["content"]
    statistics = [one for node in content["nodes"] for one in node.get("statistics", [])]
    assert sum(len(one.get("bins", [])) for one in statistics) <= BINS_MAX
    assert sum("bins" not in one for one in statistics) == content["without_histogram"] > 0
    assert len(page(tmp_path, original)) < 6 << 20


# ---- the page ----


def test_the_page_holds_the_data_and_is_the_same_every_time(tmp_path):
    original, container = packed(tmp_path, "m.safetensors", model(20))
    for arguments in ([container], [original], [container, original]):
        text = page(tmp_path, *arguments)
        assert data_of(text) == report(*arguments)
        for threads in ("-T1", "-T2", "-T7"):
            assert page(tmp_path, threads, *arguments) == text


HOSTILE = [
    "</script><img src=x onerror=\"document.title='hurt'\">",
    "<!--<script>",
    "]]><svg onload=alert(1)>",
    "\"'&amp;&lt; javascript:alert(1)",
    "\u202eevil\u2066\u0007\x1b[31m",
    "__proto__",
    "constructor.prototype",
    "a.</style></title><base href=//e.example>",
    "url(//e.example/x)",
]


def hostile(folder):
    tensors = {name: ("F32", (50,), floats(50, i, "F32")) for i, name in enumerate(HOSTILE)}
    folder = folder / "<b>&amp;\"'"
    return packed(
        folder, "<i onclick=x>&m.safetensors", safetensors(tensors, {"</script>": "<script>alert(1)</script>"})
    )


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    original, container = hostile(tmp_path)
    for arguments in ([container], [original], [original, container]):
        text = page(tmp_path, *arguments)
        found = Elements(text)
        expected = Elements(page(tmp_path, packed(tmp_path, "m.safetensors", model())[1]))
        assert found.found == expected.found, "the same elements with the same attributes, whatever the model"
        assert set(found.texts) == {"title", "style", "data", "script"}
        assert found.texts["script"] == expected.texts["script"] and found.texts["style"] == expected.texts["style"]
        assert not re.search(r"[<>&]", found.texts["data"])
        assert "<i onclick=x>&m.safetensors" in html.unescape(found.texts["title"])
        named = " ".join(node["name"] for node in json.loads(found.texts["data"])["content"]["nodes"])
        for name in HOSTILE:
            for part in re.split("[./]", name):
                assert part in named, part


def test_the_page_loads_nothing_and_its_policy_lets_nothing_in(tmp_path):
    found = Elements(page(tmp_path, hostile(tmp_path)[1]))
    for tag, attributes in found.found:
        assert tag not in ("img", "link", "iframe", "object", "embed", "base", "form", "video", "audio", "svg", "a"), (
            tag
        )
        assert not any(
            name in ("src", "href", "style", "action", "data") or name.startswith("on") for name in attributes
        ), attributes
    for name in ("script", "style"):
        code = found.texts[name]
        assert not re.search(
            r"https?:|//[a-z]|@import|url\(|\bfetch\b|XMLHttp|WebSocket|import\s*\(|sendBeacon|new Image", code
        ), name
    script = found.texts["script"]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|DOMParser|srcdoc", script
    )
    assert '"style"' not in script and "location" not in script
    (policy,) = (
        attributes["content"]
        for tag, attributes in found.found
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    hashes = {
        name: "'sha256-" + base64.b64encode(hashlib.sha256(found.texts[name].encode()).digest()).decode() + "'"
        for name in ("script", "style")
    }
    allowed = f"script-src {hashes['script']}; style-src {hashes['style']}"
    assert policy == f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    assert found.found[2][0] == "meta" and found.found[3][1].get("http-equiv"), "nothing comes before the policy"


# ---- containers that are not whole, not open, not trusted ----


def test_a_damaged_container_has_a_report_that_shows_the_damage(tmp_path):
    _, container = packed(tmp_path, "m.safetensors", model(40))
    data = container.read_bytes()
    verified = {}
    at = len(data) // 2
    for name, changed, code in (
        ("chunk", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], LOST),
        ("header", data[:9] + bytes([data[9] ^ 1]) + data[10:], DAMAGED),
        ("cut", data[: len(data) // 2], LOST),
    ):
        path = tmp_path / f"{name}.mmh"
        path.write_bytes(changed)
        verified[name] = mmh("verify", "--json", path, code=code).json()
        result = mmh("report", "--json", path, code=code)
        said = result.json()
        assert said["status"] == "corrupt" and said["exit"] == code and said["message"] and "error" in result.err
        for key in ("mended", "damage", "damage_cut", "damaged_chunks", "damaged_bytes", "layers"):
            assert said["state"][key] == verified[name][key], (name, key)
        assert data_of(page(tmp_path, path, code=code)) == said
        if name == "chunk":
            assert said["state"]["damage"] and check_tree(said["content"])
            assert said["content"]["unread_bytes"] > 0 and said["content"]["counted"] < said["content"]["values"]
        elif name == "header":
            whole = report(container)
            assert said["content"] == whole["content"] | {"nodes": said["content"]["nodes"]}
            assert said["content"]["nodes"][1:] == whole["content"]["nodes"][1:]
        else:
            assert said["content"] is None and said["container"]["format"] is None
    assert report("--quick", container)["state"]["quick"]
    decoded = next(one for one in report("--quick", container)["state"]["layers"] if one["name"] == "decode")
    assert decoded["result"] == "skipped"
    # What is not damaged of a large tensor is counted.
    _, large = packed(
        tmp_path, "large.safetensors", safetensors({"w": ("BF16", (1 << 21,), floats(1 << 16) * 32)}), "-1"
    )
    data = bytearray(large.read_bytes())
    data[len(data) // 3] ^= 1
    large.write_bytes(data)
    said = report(large, code=LOST)
    assert 0 < said["content"]["unread_bytes"] <= said["state"]["damaged_bytes"] + 4 * (1 << 17)
    (one,) = full_names(said["content"])["w"]["statistics"]
    assert one["counted"] == one["values"] - one["unread_bytes"] // 2 and max(one["ones"]) <= one["counted"]
    # With parity what is read is mended, and nothing of it is missing.
    mmh("pack", "-q", "-f", "--parity=30%", tmp_path / "m.safetensors", "-o", container, code=OK)
    data = bytearray(container.read_bytes())
    data[5000] ^= 1
    container.write_bytes(data)
    said = report(container, code=DAMAGED)
    assert said["state"]["mended"] == ["chunks"] and said["content"]["unread_bytes"] == 0


def test_what_is_locked_or_not_trusted_tells_only_what_is_public(tmp_path):
    original = tmp_path / "m.safetensors"
    original.write_bytes(safetensors({"secret.name": ("F32", (100,), floats(100, 1, "F32"))}))
    for name in ("k", "other"):
        mmh("keygen", "-q", "--algorithm=ed25519,x25519", "-o", tmp_path / name, code=OK)
    key, public, other = tmp_path / "k.key", tmp_path / "k.pub", tmp_path / "other.pub"
    container = tmp_path / "m.mmh"
    mmh("pack", "-q", "-r", public, "--sign-with", key, original, "-o", container, code=OK)
    for arguments, code, status in (
        ([], KEY, "key"),
        (["--key", key, "--signer", other], UNTRUSTED, "untrusted"),
    ):
        text = page(tmp_path, *arguments, container, code=code)
        said = data_of(text)
        assert said["status"] == status and said["content"] is None and "secret" not in text
        assert said["encryption"]["recipients"] and said["signatures"][0]["result"] == "unchecked"
        assert said["container"]["root"] == mmh("info", "--json", container, code=OK).json()["root"]
    path = tmp_path / "open.html"
    result = mmh("report", "--key", key, "--signer", public, container, "-o", path, code=OK)
    assert "is encrypted, and this report of it is not" in result.err
    said = data_of(path.read_text())
    assert said["signatures"][0]["result"] == "right" and full_names(said["content"])["secret.name"]
    plain = data_of(page(tmp_path, original))
    assert plain["signatures"] == [] and plain["encryption"] is None and plain["container"] is None


def test_original_files_have_no_stored_bytes_and_say_so(tmp_path):
    original, _ = packed(tmp_path, "m.safetensors", model(4))
    said = report(original)
    assert said["container"] is said["state"] is said["parity"] is None and said["status"] == "ok"
    content = said["content"]
    assert content["floor_bytes"] is None and content["by_codec"] == content["by_dtype"] == []
    assert {node["stored_bytes"] for node in content["nodes"]} == {None}


# ---- two models ----


def test_changes_are_those_that_diff_tells_and_numpys(tmp_path):
    np = numpy()
    random = np.random.default_rng(2)
    a = {f"h.{i}.w": random.normal(0, 1, 5000).astype("<f4") for i in range(4)}
    b = {name: array.copy() for name, array in a.items()}
    b["h.1.w"][10:20] += np.float32(0.5)
    b["h.2.w"] *= np.float32(1.25)
    first = {name: ("F32", (5000,), array.tobytes()) for name, array in a.items()}
    second = {name: ("F32", (5000,), array.tobytes()) for name, array in b.items()}
    second["h.3.w"] = ("F32", (50, 100), second["h.3.w"][2])
    first["only.here"], second["only.there"] = ("U8", (1,), b"1"), ("U8", (1,), b"2")
    one, packed_one = packed(tmp_path, "a.safetensors", safetensors(first))
    two, packed_two = packed(tmp_path, "b.safetensors", safetensors(second))
    for x, y in ((one, two), (packed_one, two), (packed_one, packed_two)):
        content = report(x, y)["content"]
        check_tree(content)
        changes = {name: node["change"] for name, node in full_names(content).items() if "change" in node}
        kinds = {name: [kind for kind, count in change["tensors"].items() if count] for name, change in changes.items()}
        assert kinds == {
            "h.0.w": ["same"],
            "h.1.w": ["values"],
            "h.2.w": ["values"],
            "h.3.w": ["shape"],
            "only.here": ["only_first"],
        }
        assert content["changes"] == {"only_second": 1, "only_second_names": ["only.there"]}
        told = {entry["name"]: entry for entry in mmh("diff", "--json", x, y, code=OK).json()["tensors"]}
        for name in ("h.1.w", "h.2.w"):
            change, distance = changes[name], b[name].astype("f8") - a[name].astype("f8")
            assert change["elements"] == 5000 and change["differing"] == int(np.count_nonzero(a[name] != b[name]))
            assert abs(change["max_absolute"] - np.abs(distance).max()) < 1e-12
            assert abs(change["difference_norm"] - np.linalg.norm(distance)) < 1e-9 * np.linalg.norm(distance)
            assert abs(change["first_norm"] - np.linalg.norm(a[name].astype("f8"))) < 1e-6
            assert (
                change["differing"] == told[name]["differing"] and change["max_absolute"] == told[name]["max_absolute"]
            )
    damaged = bytearray(packed_two.read_bytes())
    damaged[9000] ^= 1
    (tmp_path / "damaged.mmh").write_bytes(damaged)
    result = mmh("report", "--json", packed_one, tmp_path / "damaged.mmh", code=LOST)
    said = result.json()
    assert said["status"] == "corrupt" and "damaged.mmh is damaged" in said["message"]
    assert sum(node["change"]["tensors"]["unread"] for node in said["content"]["nodes"] if "change" in node) > 0
    mmh("report", "--json", packed_one, tmp_path / "nothing", code=IO)


# ---- files ----


def test_the_page_is_written_beside_the_model_and_replaces_nothing(tmp_path):
    original, container = packed(tmp_path, "m.safetensors", model())
    assert mmh("report", container.name, cwd=tmp_path, code=OK).err == "m.safetensors.mmh.report.html\n"
    written = (tmp_path / "m.safetensors.mmh.report.html").read_bytes()
    assert "exists" in mmh("report", container.name, cwd=tmp_path, code=USAGE).err
    mmh("report", "-q", "-f", container.name, cwd=tmp_path, code=OK)
    assert (tmp_path / "m.safetensors.mmh.report.html").read_bytes() == written
    for options in (["-o", "-"], ["-c"]):
        result = mmh("report", *options, container.name, cwd=tmp_path, code=OK)
        assert result.raw == written and result.err == ""
    mmh("report", "-q", "./m.safetensors", "-o", "x.html", cwd=tmp_path, code=OK)
    (tmp_path / "model").mkdir()
    shutil.copy(original, tmp_path / "model")
    mmh("report", "-q", "model/", cwd=tmp_path, code=OK)
    assert (tmp_path / "model.report.html").exists()
    before = container.read_bytes()
    for arguments in ([container, "-fo", container], [original, container, "-fo", container]):
        assert "is input and output" in mmh("report", *arguments, code=USAGE).err
    assert container.read_bytes() == before
    for arguments in (
        [container, original, original],
        [container, "-"],
        ["-"],
        ["--json", "-o", "y.html", container],
        ["--json", "-c", container],
        [container, "-o", tmp_path],
        ["-1", container],
    ):
        code = mmh("report", *arguments, cwd=tmp_path, stdin=before).code
        assert code == USAGE, arguments
    said = mmh("report", "-c", "-", stdin=before, code=OK)
    assert data_of(said.out)["input"] == "-" and data_of(said.out)["content"]["tensors"]
    mmh("report", tmp_path / "nothing", code=IO)
    mmh("report", container, "-o", "/nowhere/x.html", code=IO)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("m.safetensors", "m.safetensors.mmh", "m.safetensors.mmh.report.html", "model", "model.report.html", "x.html")
    ]
    (tmp_path / "text.txt").write_text("no model")
    content = report(tmp_path / "text.txt")["content"]
    assert content["tensors"] == 0 and [node["kind"] for node in content["nodes"]] == ["group", "rest", "file"]
    (tmp_path / "empty").write_bytes(b"")
    assert len(report(tmp_path / "empty")["content"]["nodes"]) == 1


def test_an_interrupt_leaves_nothing(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    count = 40_000_000
    with open(tmp_path / "m.bin", "wb") as file:
        file.writelines(os.urandom(count) for _ in range(8))
    command = [binary(), "report", "--all", "--dtype=f32", tmp_path / "m.bin", "-o", folder / "m.html"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        wait_for_output(process, folder)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == INTERRUPTED and b"interrupted" in process.stderr.read()
    assert not list(folder.iterdir())
    result = mmh("report", "--progress=json", "--dtype=f32", tmp_path / "m.bin", "-o", folder / "m.html", code=OK)
    events = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    assert {event["stage"] for event in events} >= {"count"} and events[-1]["event"] == "end"


def test_memory_does_not_grow_with_the_tensors(tmp_path):
    peaks = []
    for count in (1 << 22, 1 << 25):
        original = tmp_path / "m.bin"
        with open(original, "wb") as file:
            file.truncate(4 * count)
        result = mmh("report", "--all", "--dtype=f32", "-T1", original, "-fo", tmp_path / "m.html", code=OK, peak=True)
        peaks.append(result.peak)
    assert peaks[1] < peaks[0] + (24 << 20), peaks


# ---- a browser ----


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    skip("there is no Chromium (package chromium): pages are not drawn")
    return None


def drawn(folder, path, width=1280, dark=False):
    """What a browser makes of a page, as text; nothing may be said on its console."""
    command = [
        *(chromium(), "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
        *(f"--user-data-dir={folder / 'profile'}", f"--window-size={width},2000", "--virtual-time-budget=4000"),
        *(f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--enable-logging=stderr", "--dump-dom"),
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        path.absolute().as_uri(),
    ]
    result = subprocess.run(command, check=False, capture_output=True, timeout=120)
    if result.returncode:
        skip(f"{command[0]} does not run here: exit {result.returncode}")
    said = [line for line in result.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    assert not said, said
    # What is seen, without the script and the data that it is made of.
    return re.sub(r"<(script|style)[ >].*?</\1>", "", result.stdout.decode(), flags=re.DOTALL)


def cells(document, section):
    part = document.split(f'<section id="{section}"', 1)[1].split("</section>", 1)[0]
    return [html.unescape(label) for label in re.findall(r'<button[^>]*class="cell[^>]*aria-label="([^"]*)"', part)]


def test_a_browser_draws_it(tmp_path):
    """Treemaps, heat map, bars and tables are there, and the console is silent, in light, dark, narrow and wide."""
    chromium()
    tensors = {
        f"h.{i}.{name}": (dtype, (64, 32), floats(2048, i, dtype))
        for i in range(12)
        for name, dtype in (("attention.q", "BF16"), ("attention.k", "BF16"), ("mlp.up", "F32"))
    }
    original, container = packed(tmp_path, "m.safetensors", safetensors(tensors))
    tensors["h.3.mlp.up"] = ("F32", (64, 32), floats(2048, 99, "F32"))
    other = tmp_path / "n.safetensors"
    other.write_bytes(safetensors(tensors))
    path = tmp_path / "page.html"
    for arguments, width, dark in (
        ([container, other], 1280, False),
        ([container], 400, True),
        ([original], 1600, True),
    ):
        mmh("report", "-q", "-f", *arguments, "-o", path, code=OK)
        document = drawn(tmp_path, path, width, dark)
        labels = cells(document, "bytes")
        assert any(label.startswith("attention, 2 tensors, 8.19\u202fkB") for label in labels), labels
        assert document.count('class="slot') > 5
        heat = re.search(r'<table class="heat".*?</table>', document, re.DOTALL)[0]
        assert heat.count("<tr>") == 2 + 24 and "bit 12, exponent: " in heat and ">mantissa<" in heat
        assert ("what packing would store is not known" in document) == (arguments == [original])
        assert ("Nothing is damaged" in document) == (arguments != [original])
        if len(arguments) == 2:
            labels = [label.replace("\u202f", " ") for label in cells(document, "change")]
            assert any("the same" in label for label in labels)
            assert any("2 048 of 2 048 elements differ" in label for label in labels), labels
            assert "35 tensors are the same, 1 differ in values" in document


def test_a_browser_draws_damage_and_what_nothing_is_known_of(tmp_path):
    chromium()
    _, container = packed(tmp_path, "m.safetensors", model(40))
    data = bytearray(container.read_bytes())
    path = tmp_path / "page.html"
    data[len(data) // 2] ^= 1
    container.write_bytes(data)
    mmh("report", "-q", "-f", container, "-o", path, code=LOST)
    document = drawn(tmp_path, path)
    assert (
        "cannot be restored from this file alone" in document
        and "could not be read" not in document.split('id="bytes"')[0]
    )
    assert cells(document, "bytes")
    container.write_bytes(data[: len(data) // 2])
    mmh("report", "-q", "-f", container, "-o", path, code=LOST)
    document = drawn(tmp_path, path)
    assert ">damaged<" in document and not cells(document, "bytes")
    (tmp_path / "empty").write_bytes(b"")
    mmh("report", "-q", "-f", tmp_path / "empty", "-o", path, code=OK)
    assert "mmh report" in drawn(tmp_path, path)


def test_a_browser_shows_hostile_names_as_text(tmp_path):
    chromium()
    _, container = hostile(tmp_path)
    path = tmp_path / "page.html"
    mmh("report", "-q", "-f", container, "-o", path, code=OK)
    document = drawn(tmp_path, path)
    assert "hurt" not in re.search("<title>.*?</title>", document)[0]
    assert not re.search(r"<(img|svg|base|iframe|i onclick)[ >]", document)
    labels = " ".join(cells(document, "bytes"))
    assert "</script><img src=x onerror=" in labels and "\\u{202e}evil\\u{2066}" in labels and "__proto__" in labels
    assert not re.search("[\u202e\u2066\x07\x1b]", document)


if __name__ == "__main__":
    main(globals())
