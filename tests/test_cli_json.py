#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What --json and --progress=json write is what docs/schema/ says: every verb, every kind of failure.

`python3 tests/test_cli_json.py [NAME...]`, or pytest. Without the jsonschema package these are skipped.
"""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import (
    DAMAGED,
    IO,
    KEY,
    LOST,
    MENDED,
    OK,
    ROOT,
    UNSUPPORTED,
    UNTRUSTED,
    USAGE,
    binary,
    floats,
    main,
    mmh,
    model,
    put,
    safetensors,
    skip,
)


def schema(name):
    return json.loads((ROOT / "docs/schema" / f"mmh-{name}.schema.json").read_text())


def closed(node):
    """The schema with no keys but those it names: what is written today is all documented."""
    if isinstance(node, dict):
        node = {key: closed(value) for key, value in node.items()}
        if "object" in (node.get("type") or ()) and "properties" in node:
            node["additionalProperties"] = False
    elif isinstance(node, list):
        node = [closed(value) for value in node]
    return node


def validator(name):
    try:
        import jsonschema
    except ImportError:
        skip("there is no jsonschema package")
    found = closed(schema(name))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def without_each_key(value):
    """Copies of a JSON value, each without one key of one of its objects; and which key that was."""

    def walk(node, path):
        if isinstance(node, dict):
            for key in node:
                yield path, key
                yield from walk(node[key], path + [key])
        elif isinstance(node, list):
            for i, item in enumerate(node):
                yield from walk(item, path + [i])

    for path, key in walk(value, []):
        changed = copy.deepcopy(value)
        node = changed
        for part in path:
            node = node[part]
        del node[key]
        yield changed, path + [key]


def outputs(folder):
    """A line of every kind: [(what, object)]."""
    put(folder, "in/m.safetensors", model())
    put(folder, "in/deep/notes.txt", b"text " * 100)
    (Path(folder) / "in/link").symlink_to("m.safetensors")
    put(folder, "s.safetensors", safetensors({"w": ("BF16", (64, 64), floats(4096))}, {"format": "pt"}))
    put(folder, "empty", b"")
    put(folder, "text", b"no container")
    put(folder, "old.mmh", b"MMH-RS V1.2.0\n\n\n" + bytes(300))
    lines = []

    def run(*arguments, code=OK, stdin=None, environment=None):
        result = mmh(*arguments, cwd=folder, code=code, stdin=stdin, environment=environment)
        objects = [json.loads(line) for line in result.out.splitlines()]
        assert objects, result
        lines.extend((result.arguments, one) for one in objects)
        return objects

    run("pack", "--json", "in", "s.safetensors", "empty")
    run("pack", "--json", "-f", "in/m.safetensors", "empty", "-o", "two.mmh")
    run("pack", "--json", "-o", "piped.mmh", "-", stdin=b"piped")
    run("pack", "--json", "-9", "--hash=sha256", "-f", "s.safetensors")
    run("pack", "--json", "s.safetensors", code=USAGE)
    run("pack", "--json", "nothing", code=IO)
    run("pack", "--json", "-c", "text", code=USAGE)
    for verb in ("verify", "info", "ls"):
        run(verb, "--json", "in.mmh", "s.safetensors.mmh", "empty.mmh", "two.mmh", "piped.mmh")
        run(verb, "--json", "nothing.mmh", code=IO)
        run(verb, "--json", "text", code=OK if verb == "ls" else USAGE)  # ls shows originals too
        run(verb, "--json", "old.mmh", code=UNSUPPORTED)
        run(verb, "--json", "-", "-", stdin=(Path(folder) / "in.mmh").read_bytes(), code=USAGE)
    run("verify", "--json", "--quick", "in.mmh")
    run("verify", "--json", stdin=b"x", environment={"TMPDIR": "/nowhere"}, code=USAGE)
    run("unpack", "--json", "-o", "out/", "in.mmh", "piped.mmh")
    run("unpack", "--json", "-f", "s.safetensors.mmh", "empty.mmh", "nothing.mmh", code=IO)
    run("unpack", "--json", "s.safetensors.mmh", code=USAGE)
    run("unpack", "--json", "-c", "s.safetensors.mmh", code=USAGE)
    packed = (Path(folder) / "s.safetensors.mmh").read_bytes()
    put(folder, "header.mmh", bytes([packed[0] ^ 0xFF]) + packed[1:])
    put(folder, "footer.mmh", packed[:-300])
    put(folder, "cut.mmh", packed[: len(packed) // 2])
    put(folder, "chunk.mmh", packed[:140] + bytes([packed[140] ^ 1]) + packed[141:])
    for name in ("header", "footer"):
        run("verify", "--json", f"{name}.mmh", code=DAMAGED)
        run("info", "--json", f"{name}.mmh", code=MENDED)
        run("unpack", "--json", "-fo", "back", f"{name}.mmh", code=MENDED)
    for name in ("cut", "chunk"):
        run("verify", "--json", f"{name}.mmh", code=LOST)
        run("unpack", "--json", "-fo", "back", f"{name}.mmh", code=LOST)
    run("bench", "--json", "-1", "-2", "s.safetensors", "empty", "nothing", code=IO)
    run("cat", "--json", "in.mmh", "ids", "-o", "ids.bin")
    run("cat", "--json", "in.mmh", "nothing", "-o", "no.bin", code=USAGE)
    put(folder, "t.safetensors", safetensors({"w": ("BF16", (64, 64), floats(4096, 5)), "v": ("U8", (1,), b"x")}))
    run("diff", "--json", "s.safetensors.mmh", "t.safetensors")
    run("diff", "--json", "--exit-code", "s.safetensors.mmh", "in", code=1)
    run("diff", "--json", "s.safetensors", "nothing", code=IO)
    run("report", "--json", "s.safetensors.mmh", "t.safetensors")
    run("report", "--json", "in", "s.safetensors.mmh")
    run("report", "--json", "--quick", "header.mmh", code=DAMAGED)
    for name in ("cut", "chunk"):
        run("report", "--json", f"{name}.mmh", code=LOST)
    run("report", "--json", "nothing", code=IO)
    run("report", "--json", "old.mmh", code=UNSUPPORTED)
    run("report", "--json", "text", "nothing", code=IO)
    run("report", "--json", "in", "-o", "page.html", code=USAGE)
    guarded(folder, run)
    run("help", "--json")
    run("pack", "--rm", "--json", "s.safetensors", "-fo", "s2.mmh")
    run("unpack", "--rm", "--json", "s2.mmh")
    return lines


def guarded(folder, run):
    """The same of keys, and of what they guard."""
    here = {"MMH_TRUST": str(Path(folder) / "trust")}
    put(folder, "word", b"a passphrase")
    run("keygen", "--json", "--algorithm=ecdsa-p256,x25519", "-o", "k")
    run("keygen", "--json", "--algorithm=rsa-pss", "--rsa-bits=2048", "--passphrase-file=word", "-o", "r")
    run("keygen", "--json", "--algorithm=rot13", "-o", "no", code=USAGE)
    run("keys", "--json", "show", "k.pub", "k.key", "nothing", code=IO)
    run("keys", "--json", "add", "kay", "k.pub", "--expires=2096-02-29", environment=here)
    run("keys", "--json", "rotate", "k.key", "r.key", "-o", "next", "--passphrase-file=word")
    run("keys", "--json", "accept", "next", "are", environment=here)
    run("keys", "--json", "revoke", "are", "lost", environment=here)
    run("keys", "--json", "list", environment=here)
    run("pack", "--json", "-r", "k.pub", "--sign-with=k.key", "--parity=5%", "s.safetensors", "-fo", "g.mmh")
    run("info", "--json", "g.mmh")
    for key in ("k.key", "nothing"):
        code = OK if key == "k.key" else IO
        run("info", "--json", f"--key={key}", "g.mmh", code=code)
        run("verify", "--json", f"--key={key}", "--signer=k.pub", "g.mmh", code=code)
        run("report", "--json", f"--key={key}", "--signer=k.pub", "g.mmh", code=code)
        run("sign", "--json", f"--key={key}", "g.mmh", code=code)
    run("unpack", "--json", "--signer=r.pub", "--key=k.key", "-fo", "back", "g.mmh", code=UNTRUSTED)
    run("verify", "--json", "--signer=r.pub", "g.mmh", code=UNTRUSTED)
    run("report", "--json", "--signer=r.pub", "g.mmh", code=UNTRUSTED)
    run("report", "--json", "g.mmh", code=KEY)
    run("encrypt", "--json", "--add-recipient=k.pub", "--key=k.key", "g.mmh")
    run("encrypt", "--json", "-r", "k.pub", "g.mmh", code=USAGE)
    run("decrypt", "--json", "g.mmh", code=KEY)
    run("decrypt", "--json", "--key=k.key", "-o", "plain.mmh", "g.mmh")
    run("audit", "--json", "g.mmh")
    run("audit", "--json", "--profile=cnsa2", "g.mmh", code=UNTRUSTED)
    run("audit", "--json", "nothing", code=IO)
    run("sign", "--json", "--key=k.key", "--bundle=b.json", "s.safetensors")
    run("verify", "--json", "--signer=k.pub", "--bundle=b.json", "s.safetensors")
    run("verify", "--json", "--signer=k.pub", "--bundle=b.json", "t.safetensors", code=UNTRUSTED)
    data = bytearray((Path(folder) / "plain.mmh").read_bytes())
    data[1000] ^= 1
    put(folder, "mend.mmh", data)
    run("repair", "--json", "mend.mmh", code=MENDED)
    run("repair", "--json", "mend.mmh")
    run("repair", "--json", "chunk.mmh", code=LOST)
    run("unpack", "--json", "--skip-damaged", "-fo", "back", "chunk.mmh", code=LOST)


def test_every_output_is_as_the_schema_says(tmp_path):
    check = validator("output")
    lines = outputs(tmp_path)
    for arguments, one in lines:
        problems = [error.message for error in check.iter_errors(one)]
        assert not problems, (arguments, problems, one)
        failed = one["status"] != "ok"
        differs = one["verb"] == "diff" and not failed and not one["identical"] and one["exit"] == 1
        assert ("message" in one) == failed and failed == (one["exit"] not in (OK, MENDED) and not differs), one
    seen = {(one["verb"], one["status"] == "ok") for _, one in lines}
    verbs = {"pack", "unpack", "verify", "repair", "info", "ls", "cat", "diff", "report", "bench"}
    verbs |= {"keygen", "keys", "sign", "encrypt", "decrypt", "audit"}
    assert seen == {(verb, good) for verb in verbs for good in (True, False)} | {("help", True)}
    assert {one["exit"] for _, one in lines} >= {OK, IO, USAGE, DAMAGED, MENDED, LOST, UNSUPPORTED}
    assert {name for _, one in lines for name in one.get("mended", [])} >= {"header", "footer"}
    # Each key is asked for, but for those that docs/cli-json.md calls optional.
    optional = {
        "removed",
        "offset",
        "elements",
        "differing",
        "unmeasured",
        "max_absolute",
        "max_element",
        "max_relative",
        "difference_norm",
        "a_norm",
        "floor_bytes",
        "letter",
        "value",
        "optional",
        "choices",
        "bits",
        "damage",
        "damaged_chunks",
        "damaged_bytes",
        "damage_cut",
        "statistics",
        "change",
        "first_bin",
        "lowest",
        "bins",
        "unread_bytes",
        "dimensions",
    }
    seen = set()
    for _, one in lines:
        if one["verb"] in seen or one["status"] != "ok":
            continue
        seen.add(one["verb"])
        for changed, path in without_each_key(one):
            assert path[-1] in optional or not check.is_valid(changed), (one["verb"], path)
        assert not check.is_valid({**one, "unheard": 1}) and not check.is_valid({**one, "exit": 77})


def test_every_verb_and_status_is_in_the_schema():
    found = schema("output")["$defs"]
    verbs = {verb["name"] for verb in mmh("help", "--json", code=OK).json()["verbs"]}
    assert verbs == set(found["failure"]["properties"]["verb"]["enum"]) | {"verify", "help"}
    header = (ROOT / "include/mmh.h").read_text()
    statuses = {word.lower() for word in re.findall(r"^    MMH_E_(\w+)", header, flags=re.MULTILINE)}
    assert statuses == set(found["failed_status"]["enum"])
    words = (ROOT / "docs/cli-json.md").read_text()
    for name in [*statuses, *found["mended"]["items"]["enum"]]:
        assert f'`"{name}"`' in words, name


def test_progress_is_as_the_schema_says(tmp_path):
    check = validator("progress")
    source = put(tmp_path, "m.bin", os.urandom(1 << 20))
    packed = Path(f"{source}.mmh")
    runs = [
        mmh("pack", "--progress=json", source, "nothing", code=IO),
        mmh("verify", "--progress=json", packed, code=OK),
        mmh("unpack", "--progress=json", "-f", packed, code=OK),
        mmh("pack", "--progress=json", "--rm", "-fo", packed, source, code=OK),
        mmh("bench", "--progress=json", "-1", packed, code=OK),
    ]
    with subprocess.Popen(
        [binary(), "unpack", "--progress=json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        out, err = process.communicate(packed.read_bytes())
        assert process.returncode == OK and len(out) == 1 << 20
    texts = [result.err for result in runs] + [err.decode()]
    stages = set()
    for text in texts:
        events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        assert events and events[-1]["event"] == "end", text
        for event in events:
            problems = [error.message for error in check.iter_errors(event)]
            assert not problems, (event, problems)
            stages.add(event["stage"])
            for changed, path in without_each_key(event):
                assert not check.is_valid(changed), path
    assert stages >= {"pack", "verify", "unpack", "compare", "read"}, stages


if __name__ == "__main__":
    main(globals())
