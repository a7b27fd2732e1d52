#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Formats of the user's own: the example plug-in, built as an outsider would, plug-ins that lie, and layout files.

`python3 tests/test_format_custom.py [NAME...]`, or pytest. Without a C compiler the plug-ins are skipped.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import IO, OK, ROOT, UNSUPPORTED, USAGE, binary, floats, main, mmh, put, safetensors, shared, skip


def compile_plugin(folder, name, source):
    """A plug-in out of C text, with a copy of mmh_format.h and nothing else of this project."""
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if not compiler:
        skip("there is no C compiler")
    include = Path(folder) / "include"
    include.mkdir(exist_ok=True)
    shutil.copy(ROOT / "include/mmh_format.h", include)
    path = Path(folder) / f"{name}.so"
    text = put(folder, f"{name}.c", source.encode())
    arguments = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-I", include, "-shared", "-fPIC", "-o", path, text]
    subprocess.run(check=True, args=[compiler, *arguments])
    return path


def example(folder):
    return compile_plugin(folder, "ggml_bin", (ROOT / "examples/format-plugin/ggml_bin.c").read_text())


def reader(map_body, detect="return 1;", abi="MMH_FORMAT_ABI"):
    """The C text of a plug-in: bodies of its two functions."""
    return f"""
#include <string.h>
#include "mmh_format.h"
static int detect(mmh_format_file *file, const mmh_format_host *host)
{{ (void)file; (void)host; {detect} }}
static int map(mmh_format_file *file, const mmh_format_host *host)
{{ (void)file; (void)host; {map_body} }}
const mmh_format_reader *mmh_format_plugin(void)
{{
    static const mmh_format_reader reader = {{ {abi}, sizeof reader, "test", detect, map }};
    return &reader;
}}
"""


# ---- ggml files ----

TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8}


def ggml_tensor(name, dtype, shape, data):
    encoded = name.encode()
    return struct.pack(f"<iii{len(shape)}i", len(shape), len(encoded), TYPES[dtype], *reversed(shape)) + encoded + data


def ggml_tensors():
    """[(name, type, shape, bytes)]."""
    return [
        ("encoder.weight", "F32", [40, 3, 2], floats(480)),
        ("encoder.bias", "F16", [40], floats(40, 2)),
        ("decoder.quantised", "Q8_0", [2, 64], bytes(range(136))),
        ("scale", "F32", [], b"\0\0\x80?"),
    ]


def voice_file(tensors):
    head = struct.pack("<Ii10s16i", 0x67676D6C, 10, b"silero-16k", 6, 2, 0, 512, 64, 2, *range(6), *range(4))
    return head + b"".join(ggml_tensor(*tensor) for tensor in tensors)


def speech_file(tensors):
    head = struct.pack("<I 11i ii", 0x67676D6C, 51864, *range(9), 1, 4, 5) + bytes(4 * 4 * 5)
    words = [b"the", b"", b"cat"]
    head += struct.pack("<i", len(words)) + b"".join(struct.pack("<i", len(word)) + word for word in words)
    return head + b"".join(ggml_tensor(*tensor) for tensor in tensors)


def check_tensors(path, plugin, expected):
    """What the command says of a file's tensors is what was put there."""
    listed = mmh("ls", "--json", "--format-plugin", plugin, path, code=OK).json()
    assert listed["files"][0]["format"] == "custom"
    data = path.read_bytes()
    found = [
        (t["name"], t["dtype"], t["shape"], data[t["offset"] : t["offset"] + t["bytes"]]) for t in listed["tensors"]
    ]
    assert found == expected
    for name, dtype, _, content in expected:
        if not dtype.startswith("Q"):  # elements of block types have no bytes of their own to write
            assert mmh("cat", "--format-plugin", plugin, path, name, code=OK).raw == content
    return listed


def check_round_trip(folder, path, *options):
    """Pack with the options, restore without them: every byte is there, and the tensors are still known."""
    packed = Path(folder) / "packed.mmh"
    mmh("pack", "-qf", *options, path, "-o", packed, code=OK)
    mmh("verify", "-q", packed, code=OK)
    assert mmh("unpack", "-c", packed, code=OK).raw == path.read_bytes()
    return mmh("ls", "--json", packed, code=OK).json()


def test_example_plugin_finds_every_tensor(tmp_path):
    plugin = example(tmp_path)
    for make in (voice_file, speech_file):
        path = put(tmp_path, "model.bin", make(ggml_tensors()))
        listed = check_tensors(path, plugin, ggml_tensors())
        assert listed["files"][0]["metadata"] == ([["model_type", "silero-16k"]] if make is voice_file else [])


def test_containers_are_restored_without_the_plugin(tmp_path):
    plugin = example(tmp_path)
    path = put(tmp_path, "model.bin", voice_file(ggml_tensors()))
    packed = check_round_trip(tmp_path, path, "--format-plugin", plugin)
    assert [tensor["name"] for tensor in packed["tensors"]] == [name for name, *_ in ggml_tensors()]
    plugin.unlink()
    assert mmh("cat", tmp_path / "packed.mmh", "encoder.bias", code=OK).raw == floats(40, 2)
    assert mmh("ls", "--json", tmp_path / "packed.mmh", code=OK).json()["files"][0]["format"] == "custom"


def test_example_plugin_gives_up_files_that_are_cut(tmp_path):
    plugin = example(tmp_path)
    whole = voice_file(ggml_tensors())
    for end in list(range(0, 260, 7)) + [len(whole) - 1]:
        path = put(tmp_path, "model.bin", whole[:end])
        listed = check_round_trip(tmp_path, path, "--format-plugin", plugin)
        assert not listed["tensors"] or listed["files"][0]["format"] == "custom"


def test_example_builds_with_its_makefile(tmp_path):
    if not shutil.which("make") or not shutil.which("cc"):
        skip("there is no make or no cc")
    shutil.copytree(ROOT / "examples/format-plugin", tmp_path / "plugin")
    subprocess.run(check=True, args=["make", "-s", "-C", tmp_path / "plugin", f"MMH_INCLUDE={ROOT / 'include'}"])
    path = put(tmp_path, "model.bin", voice_file(ggml_tensors()))
    # A name without a folder is a file of the current one, and no library of the system.
    mmh("ls", "--format-plugin=ggml_bin.so", path, cwd=tmp_path / "plugin", code=OK)


def test_real_file_is_understood_to_its_end(tmp_path):
    paths = sorted((shared() / "corpus/custom_ggml").glob("*.bin"))
    if not paths:
        skip("the corpus has no ggml files")
    plugin = example(tmp_path)
    for path in paths:
        listed = check_round_trip(tmp_path, path, "--format-plugin", plugin)
        last = max(listed["tensors"], key=lambda tensor: tensor["offset"])
        assert last["offset"] + last["bytes"] == path.stat().st_size


# ---- other plug-ins ----


def test_plugin_that_cannot_be_is_refused(tmp_path):
    path = put(tmp_path, "file.bin", b"x" * 100)
    text = put(tmp_path, "text.so", b"no library")
    other = compile_plugin(tmp_path, "other", "int nothing(void);\nint nothing(void) { return 0; }\n")
    newer = compile_plugin(tmp_path, "newer", reader("return 0;", abi="MMH_FORMAT_ABI + 1"))
    for plugin, code, words in (
        (tmp_path / "none.so", IO, "there is no format plug-in"),
        (text, UNSUPPORTED, "text.so"),
        (other, USAGE, "it has no mmh_format_plugin"),
        (newer, UNSUPPORTED, "for version 2 of the interface, this mmh has 1"),
    ):
        result = mmh("pack", "--format-plugin", plugin, path, "-o", tmp_path / "out.mmh", code=code)
        assert words in result.err, result
        assert not (tmp_path / "out.mmh").exists()


def test_plugin_that_lies_breaks_nothing(tmp_path):
    """Tensors past the end, on top of each other, of absurd shapes and types; a file is its bytes all the same."""
    add = "(void)host->add_tensor(file, &(mmh_format_tensor){ .struct_size = sizeof(mmh_format_tensor),"
    bodies = {
        "past": f'uint64_t shape[1] = {{ 1u << 30 }}; {add} .name = "w", .dtype_name = "f32", .dimensions = 1,'
        " .shape = shape, .offset = 8 }); return 0;",
        "overlap": "uint64_t shape[1] = { 64 }; for (unsigned i = 0; i < 300; i++) "
        f'{add} .name = "w", .dtype_name = "bf16", .dimensions = 1, .shape = shape, .offset = i }}); return 0;',
        "absurd": f'uint64_t shape[3] = {{ ~0ull, ~0ull, 3 }}; {add} .name = "w", .dtype_name = "f64",'
        f' .dimensions = 3, .shape = shape }}); {add} .name = "x", .dtype = 12345 }}); return 0;',
        "reads": "char b[16]; (void)host->read(file, ~0ull, b, 16); (void)host->read(file, 0, b, ~(size_t)0);"
        " return 0;",
        "fails": f'uint64_t shape[1] = {{ 8 }}; {add} .name = "w", .dtype_name = "f32", .dimensions = 1,'
        " .shape = shape }); return 77;",
        "many": 'uint64_t shape[1] = { 1 }; char name[2] = "a"; for (unsigned i = 0; i < 200000; i++) '
        f'{add} .name = name, .dtype_name = "u8", .dimensions = 1, .shape = shape, .offset = i % 5000 }}); return 0;',
    }
    path = put(tmp_path, "file.bin", floats(2500))
    for name, body in bodies.items():
        plugin = compile_plugin(tmp_path, name, reader(body))
        check_round_trip(tmp_path, path, "--format-plugin", plugin)


def test_plugins_of_folders_are_asked_last(tmp_path):
    folder = tmp_path / "formats"
    folder.mkdir(mode=0o755)
    shutil.move(example(tmp_path), folder)
    put(folder, "notes.txt", b"no plug-in")
    path = put(tmp_path, "model.bin", voice_file(ggml_tensors()))
    known = put(tmp_path, "m.safetensors", safetensors({"w": ("F32", (4,), floats(8))}))

    def formats(folders, *arguments):
        result = mmh(
            "ls", "--json", *arguments, path, known, environment={"MMH_FORMAT_PLUGINS": folders}, cwd=tmp_path, code=OK
        )
        return [one["files"][0]["format"] for one in result.json()], result.err

    assert formats("") == (["opaque", "safetensors"], "")
    assert formats(f"/nowhere:{folder}:") == (["custom", "safetensors"], "")
    found, warning = formats("formats")
    assert found == ["opaque", "safetensors"] and "not an absolute path" in warning
    put(folder, "broken.so", b"no library")
    found, warning = formats(str(folder))
    assert found == ["custom", "safetensors"] and "broken.so" in warning
    (folder / "broken.so").unlink()
    (folder / "ggml_bin.so").chmod(0o777)
    found, warning = formats(str(folder))
    assert found == ["opaque", "safetensors"] and "every user may write to it" in warning
    (folder / "ggml_bin.so").chmod(0o755)
    folder.chmod(0o777)
    found, warning = formats(str(folder))
    assert found == ["opaque", "safetensors"] and "every user may write to it" in warning
    every = compile_plugin(tmp_path, "every", reader("return 0;"))
    assert formats("", "--format-plugin", every)[0] == ["custom", "custom"]


# ---- layouts ----


def layout(folder, value, name="layout.json"):
    return put(folder, name, value.encode() if isinstance(value, str) else json.dumps(value).encode())


VOICES = {"tensors": [{"name": "voice[{i}]", "dtype": "bf16", "shape": [1, 64], "repeat": 50}]}


def test_layout_finds_tensors_in_a_raw_dump(tmp_path):
    data = floats(3200)
    path = put(tmp_path, "voices.bin", data)
    file = layout(tmp_path, VOICES)
    listed = mmh("ls", "--json", "--layout", file, path, code=OK).json()
    assert [(t["name"], t["offset"]) for t in listed["tensors"]] == [(f"voice[{i}]", 128 * i) for i in range(50)]
    assert mmh("cat", "--layout", file, path, "voice[7]", code=OK).raw == data[128 * 7 : 128 * 8]
    packed = check_round_trip(tmp_path, path, "--layout", file)
    assert [t["name"] for t in packed["tensors"]] == [f"voice[{i}]" for i in range(50)]
    assert mmh("cat", tmp_path / "packed.mmh", "voice[49]", code=OK).raw == data[-128:]
    result = mmh("diff", "--layout", file, path, tmp_path / "packed.mmh", code=OK)
    assert "voice[3]" not in result.out


def test_layout_may_be_for_one_file_of_several(tmp_path):
    put(tmp_path, "model/voices.bin", floats(3200))
    put(tmp_path, "model/config.json", b"{}")
    file = layout(tmp_path, {"file": "voices.bin", **VOICES})
    mmh("pack", "-q", "--layout", file, tmp_path / "model", "-o", tmp_path / "m.mmh", code=OK)
    listed = mmh("ls", "--json", tmp_path / "m.mmh", code=OK).json()
    assert len(listed["tensors"]) == 50
    result = mmh("pack", "--layout", file, tmp_path / "model/config.json", code=USAGE)
    assert 'is for "voices.bin", which is not there' in result.err


def test_layout_mistakes_are_usage_errors(tmp_path):
    path = put(tmp_path, "dump.bin", b"x" * 100)
    for text, words in (
        ('{"tensors": [\n{"name": "a", "dtype": "f33", "shape": []}]}', r'layout "\S+layout.json", line 2: "dtype"'),
        (
            '{"tensors": [\n\n{"name": "a", "dtype": "f32", "shape": [26]}]}',
            r'line 3: tensor "a" ends at byte 104, the file at 100',
        ),
        ('{"tensors": [\n\n{"name": "a", ', "line 3: "),
        ("no JSON", "line 1: "),
        ('{"tensors": [{"name": "a{i}", "dtype": "u8", "shape": [1], "repeat": 10000000000}]}', "10 million"),
    ):
        for verb in ("pack", "ls", "bench"):
            result = mmh(verb, "--layout", layout(tmp_path, text), path, code=USAGE)
            assert re.search(words, result.err), (words, result)
    mmh("pack", "--layout", tmp_path / "none.json", path, code=IO)
    mmh("pack", "--layout", layout(tmp_path, VOICES), "--dtype=u8", path, code=USAGE)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["dump.bin", "layout.json"]


def blocks_of_docs():
    """The JSON examples of docs/formats-custom.md that are layouts."""
    text = (ROOT / "docs/formats-custom.md").read_text()
    found = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    assert found
    return found


def test_layouts_are_as_the_schema_says(tmp_path):
    try:
        import jsonschema
    except ImportError:
        skip("there is no jsonschema package")
    schema = json.loads((ROOT / "docs/schema/mmh-layout.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    path = put(tmp_path, "dump.bin", bytes(1 << 20))
    tensor = {"name": "a{i}", "dtype": "f32", "shape": [2]}
    good = [
        *blocks_of_docs(),
        VOICES,
        {"tensors": []},
        {"tensors": [{**tensor, "offset": 3, "byteorder": "big"}]},
        {"$schema": "x", "comment": 1, "tensors": [{**tensor, "order": "F", "repeat": 2, "stride": 9}]},
    ]
    bad = [[], {}, {"tensors": 1}, {"tensors": [], "more": 1}, {"tensors": [{**tensor, "more": 1}]}]
    bad += [{"tensors": [{key: value for key, value in tensor.items() if key != name}]} for name in tensor]
    bad += [
        {"tensors": [{**tensor, key: value}]}
        for key, value in [
            ("name", ""),
            ("shape", [-1]),
            ("shape", [0] * 65),
            ("offset", -1),
            ("repeat", 0),
            ("repeat", 10**7 + 1),
            ("byteorder", "middle"),
            ("order", "c"),
            ("dtype", 3),
            ("stride", 8),
        ]
    ]
    for value in good:
        assert not list(check.iter_errors(value)), value
        if "file" not in value:
            mmh("ls", "--layout", layout(tmp_path, value), path, code=OK)
    for value in bad:
        assert list(check.iter_errors(value)), value
        mmh("ls", "--layout", layout(tmp_path, value), path, code=USAGE)


def test_installed_header_is_enough():
    """The header is by itself: it includes nothing of this project, and C++ takes it too."""
    text = (ROOT / "include/mmh_format.h").read_text()
    assert re.findall(r"#include (\S+)", text) == ["<stddef.h>", "<stdint.h>"]
    compiler = shutil.which("c++")
    if compiler:
        subprocess.run(
            check=True,
            args=[compiler, "-fsyntax-only", "-Wall", "-Werror", "-x", "c++", "-"],
            input=f'#include "{ROOT}/include/mmh_format.h"\n'.encode(),
        )
    assert binary()


if __name__ == "__main__":
    main(globals())
