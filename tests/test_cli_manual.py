#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The man page, the help texts and the completions say what the command does; the man page's examples run.

`python3 tests/test_cli_manual.py [NAME...]`, or pytest. What needs mandoc, zsh or fish is skipped without them.
"""

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import OK, ROOT, binary, floats, main, mmh, model, safetensors, skip

PAGE = ROOT / "docs/mmh.1"


def verbs():
    """{name: {option: its entry}}, as `mmh help --json` has it."""
    return {
        verb["name"]: {option["name"]: option for option in verb["options"]}
        for verb in mmh("help", "--json", code=OK).json()["verbs"]
    }


def section(name):
    """The lines of a section of the man page."""
    return re.search(rf"^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1].splitlines()


def needs(program):
    if not shutil.which(program):
        skip(f"there is no {program}")


# ---- the man page ----


def test_man_page_is_clean():
    needs("mandoc")
    result = subprocess.run(check=False, args=["mandoc", "-Tlint", "-W", "style", PAGE], capture_output=True, text=True)
    problems = [
        line
        for line in (result.stdout + result.stderr).splitlines()
        if "mandoc.db" not in line and "referenced manual not found" not in line
    ]
    assert not problems, problems


def test_man_page_has_every_verb_and_option():
    known = verbs()
    synopsis = "\n".join(section("SYNOPSIS"))
    assert re.findall(r"^\.Cm (\w+)", synopsis, re.MULTILINE) == list(known)
    assert re.findall(r"^\.It Cm (\w+)", "\n".join(section("DESCRIPTION")), re.MULTILINE) == list(known)
    described = {}
    lines = section("OPTIONS")
    for line, after in zip(lines, [*lines[1:], ""]):
        if not line.startswith(".It Fl"):
            continue
        name = re.search(r"-([a-z][a-z-]+)", line)[1]
        value = re.search(r"Fl -[a-z-]+ (?:Ns|Ns Op) = Ns Ar (\S+)", line)
        letter = re.match(r"\.It Fl ([A-Za-z])\b", line)
        takers = after.removeprefix(".Pq ").split(", ") if after.startswith(".Pq ") else []
        described[name] = (letter and letter[1], value and value[1], takers)
    assert described.pop("version") == ("V", None, [])
    expected = {}
    for verb, options in known.items():
        for name, option in options.items():
            entry = expected.setdefault(name, (option.get("letter"), option.get("value"), []))
            entry[2].append(verb)
    assert described == expected


def test_exit_codes_are_the_same_everywhere():
    header = (ROOT / "src/cli/cli.h").read_text()
    codes = sorted(int(code) for code in re.findall(r"^    MMH_EXIT_\w+ = (\d+)", header, re.MULTILINE))
    assert (
        sorted(int(code) for code in re.findall(r"^\.It (\d+)$", "\n".join(section("EXIT STATUS")), re.MULTILINE))
        == codes
    )
    table = (ROOT / "docs/cli-json.md").read_text()
    assert sorted(int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)) == codes


def examples():
    """[(command, lines that it writes)] of the blocks under EXAMPLES."""
    found = []
    for block in re.findall(
        r"^\.Bd -literal.*?\n(.*?)^\.Ed", "\n".join(section("EXAMPLES")) + "\n", re.MULTILINE | re.DOTALL
    ):
        for line in block.replace("\\-", "-").replace("\\&", "").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_man_page_examples_run(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(model(20))
    (folder / "weights.safetensors").write_bytes(model(10))
    (folder / "array.bin").write_bytes(floats(64 * 128))
    (folder / "llama").mkdir()
    for i in (1, 2):
        (folder / f"llama/m-{i}.safetensors").write_bytes(safetensors({f"w{i}": ("BF16", (64, 32), floats(2048, i))}))
    (folder / "llama/config.json").write_text("{}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mmh").symlink_to(binary())
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "MMH_TRUST": str(tmp_path / "trust"),
    }
    run = examples()
    assert len(run) >= 15 and {word for command, _ in run for word in command.split()} >= {
        "pack",
        "unpack",
        "verify",
        "info",
        "ls",
        "bench",
        "--rm",
        "--json",
    }
    for command, expected in run:
        result = subprocess.run(
            check=False,
            args=["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert result.returncode == OK, (command, result.stdout)
        if not expected:
            continue
        said = re.sub(r" +", " ", result.stdout)
        wanted = r"\n".join(re.escape(re.sub(r" +", " ", line)) for line in expected)
        wanted = wanted.replace(re.escape("..."), "[^\0]*")  # what differs from model to model
        assert re.fullmatch(wanted + r"\s*", said), (command, said, expected)
    assert not (folder / "weights.safetensors.mmh").exists() and (folder / "weights.safetensors").exists()


# ---- help ----


def test_help_fits_80_columns_and_has_every_option():
    for verb, options in verbs().items():
        out = mmh("help", verb, code=OK).out
        assert all(len(line) <= 80 for line in out.splitlines()), out
        if verb != "help":
            shown = re.findall(r"^  (?:-.*, |    )--([a-z-]+)", out, re.MULTILINE)
            assert shown == list(options), verb
    top = mmh("help", code=OK).out
    assert all(len(line) <= 80 for line in top.splitlines()), top


# ---- completions ----


def test_completions_are_as_the_options_are():
    result = subprocess.run(
        check=False,
        args=[sys.executable, ROOT / "tools/completions.py", "--check", Path(binary()).parent],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr + "run tools/completions.py"


def offers(complete):
    """What every shell has to offer; complete(words) gives what it offers for the last of them."""
    known = verbs()
    assert set(known) <= set(complete(["mmh", ""]))
    assert complete(["mmh", "pa"]) == ["pack"] and complete(["mmh", "ve"]) == ["verify"]
    assert set(complete(["mmh", "help", ""])) >= set(known)
    for verb, options in known.items():
        offered = complete(["mmh", verb, "--"])
        assert sorted(offered) == sorted(f"--{name}" for name in options), verb
    for words in (["mmh", "-d", "--"], ["mmh", "-dcf", "--"], ["mmh", "-T", "1", "unpack", "--"]):
        assert "--rm" in complete(words) and "--dtype" not in complete(words), words
    assert complete(["mmh", "benchmark", "--no"]) == ["--no-check"]
    assert set(complete(["mmh", "keys", "re"])) == {"revoke", "remove"}
    assert complete(["mmh", "pack", "--hash", "b"]) == ["blake3"]
    assert set(complete(["mmh", "pack", "--progress", ""])) == {"bar", "json", "none"}
    assert {"bf16", "bool"} <= set(complete(["mmh", "bench", "--dtype", "b"]))


def with_files(folder):
    for name in ("a.mmh", "b.txt", "sub/c.mmh"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")


def test_completions_for_bash(tmp_path):
    needs("bash")
    with_files(tmp_path)

    def complete(words):
        script = (
            f"source {shlex.quote(str(ROOT / 'completions/mmh.bash'))}; COMP_WORDS=({shlex.join(words)}); "
            f"COMP_CWORD={len(words) - 1}; _mmh; printf '%s\\n' \"${{COMPREPLY[@]}}\"; complete -p mmh"
        )
        result = subprocess.run(
            check=False, args=["bash", "--norc", "-c", script], cwd=tmp_path, capture_output=True, text=True
        )
        *found, last = result.stdout.splitlines()
        assert result.stderr == "" and last == "complete -F _mmh mmh", result
        return [word for word in found if word]

    offers(complete)
    assert complete(["mmh", "pack", "--hash", "=", "b"]) == ["blake3"]  # as bash splits --hash=b
    assert sorted(complete(["mmh", "pack", "--hash", "="])) == ["blake3", "sha256", "sha384"]
    assert sorted(complete(["mmh", "verify", ""])) == ["a.mmh", "sub"]
    assert sorted(complete(["mmh", "pack", ""])) == ["a.mmh", "b.txt", "sub"]
    assert sorted(complete(["mmh", "-d", "-o", ""])) == ["a.mmh", "b.txt", "sub"]
    assert complete(["mmh", "pack", "--stdin-name", "a"]) == []


def test_completions_for_fish(tmp_path):
    needs("fish")
    files, home = tmp_path / "files", tmp_path / "home"
    for folder in (files, home):
        folder.mkdir()
    with_files(files)
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)}

    def complete(words):
        line = " ".join(words)
        result = subprocess.run(
            check=False,
            args=["fish", "-N", "-c", f"source {ROOT / 'completions/mmh.fish'}; complete -C {shlex.quote(line)}"],
            cwd=files,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert result.stderr == "", result
        return [line.split("\t")[0] for line in result.stdout.splitlines()]

    offers(complete)
    assert complete(["mmh", "pack", "--hash=b"]) == ["--hash=blake3"]
    assert complete(["mmh", "verify", "a"]) == ["a.mmh"]
    assert set(complete(["mmh", "pack", ""])) == {"a.mmh", "b.txt", "sub/"}


def test_completions_for_zsh(tmp_path):
    """Through a terminal, as there is no other way: what TAB makes of a line."""
    needs("zsh")
    with_files(tmp_path)
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execvpe(
            "zsh",
            ["zsh", "-f", "-i"],
            {**os.environ, "TERM": "dumb", "HOME": str(tmp_path), "PS1": "", "LC_ALL": "C.UTF-8"},
        )

    def read(until, seconds=20):
        text, end = "", time.monotonic() + seconds
        while until not in text:
            assert time.monotonic() < end, text
            if select.select([terminal], [], [], 0.1)[0]:
                text += os.read(terminal, 65536).decode("utf-8", "replace")
        return text

    # A widget that writes what the line has become, between marks that are not in the input.
    os.write(
        terminal,
        f"""unsetopt zle_bracketed_paste 2>/dev/null; PS1=; fpath=({ROOT}/completions $fpath)
autoload -Uz compinit; compinit -u -D; setopt no_list_ambiguous no_beep; LISTMAX=0; stty -echo
show() {{ zle complete-word; print -r -- $'\\n'"[""[$BUFFER]""]"; BUFFER=; zle redisplay }}
zle -N show; bindkey '^X' show; print "rea""dy"
""".encode(),
    )
    read("ready")
    try:
        for line, becomes in [
            ("mmh pac", "mmh pack "),
            ("mmh ver", "mmh verify "),
            ("mmh pack --ti", "mmh pack --times "),
            ("mmh pack --hash=b", "mmh pack --hash=blake3 "),
            ("mmh pack --has", "mmh pack --hash="),
            ("mmh unpack --st", "mmh unpack --stdout "),
            ("mmh verify a", "mmh verify a.mmh "),
            ("mmh pack b", "mmh pack b.txt "),
            ("mmh -d --an", "mmh -d --any-names "),
            ("mmh benchmark --no", "mmh benchmark --no-check "),
            ("mmh help in", "mmh help info "),
            ("mmh pack --progress=j", "mmh pack --progress=json "),
        ]:
            os.write(terminal, line.encode() + b"\x18")
            became = re.search(r"\[\[(.*?)\]\]", read("]]"), re.DOTALL)[1]
            assert became.rstrip() == becomes.rstrip(), (line, became)
    finally:
        os.write(terminal, b"\x03\nexit\n")
        os.close(terminal)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(globals())
