#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mmh in a terminal: its bar at any width, colour and none, Ctrl-C, SIGUSR1, and what it does not show there.

`python3 tests/test_cli_terminal.py [NAME...]`, or pytest.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import (
    INTERRUPTED,
    IO,
    OK,
    USAGE,
    binary,
    floats,
    main,
    mmh,
    model,
    put,
    safetensors,
    skip,
    wait_for_output,
)
from terminal import Session

BAR = re.compile(r"\d+ %")


def slow_input(folder, name="text.bin", megabytes=9):
    """A file that takes the better part of a second to pack with SLOW, in some nine pieces."""
    return put(folder, name, random.Random(7).randbytes(megabytes << 19).hex().encode())


SLOW = ("pack", "-5", "-T1", "-f")


# ---- the bar ----


def test_bar_fits_every_width_and_goes(tmp_path):
    slow_input(tmp_path)
    for columns in (200, 80, 40, 20):
        session = Session(*SLOW, "text.bin", columns=columns, cwd=tmp_path)
        assert session.wait() == OK
        screen = session.screen
        bars = [line for line in screen.seen if BAR.search(line) and ".mmh: " not in line]
        assert bars, screen.raw
        assert all(len(line) < columns for line in bars), bars
        assert ("text.bin" in bars[-1]) == (columns >= 40) and ("MB/s" in bars[-1]) == (columns >= 40), bars
        assert ("\u2588" in bars[-1]) == (columns >= 80), bars
        text = screen.text().replace("\n", "")
        assert text.startswith("text.bin.mmh: 5.") and " % of 9.44 MB, " in text, text
        assert not re.search(r"\d:\d\d", text), text  # nothing is left of the bar


def test_bar_follows_a_new_width(tmp_path):
    slow_input(tmp_path)
    session = Session(*SLOW, "text.bin", columns=100, cwd=tmp_path)
    assert session.until(lambda screen: any(BAR.search(line) for line in screen.seen))
    assert max(map(len, session.screen.seen)) > 60
    session.resize(30)
    before = len(session.screen.seen)
    assert session.wait() == OK
    assert [line for line in session.screen.seen[before + 1 :] if BAR.search(line)]
    assert all(len(line) < 30 for line in session.screen.seen[before + 1 : -1]), session.screen.seen
    assert "\x1b[J" in session.screen.raw  # what the terminal has wrapped is wiped


def test_colour_is_asked_for(tmp_path):
    slow_input(tmp_path, megabytes=8)
    packed = Path(mmh("pack", "--json", put(tmp_path, "m", model()), code=OK).json()["output"])
    for environment, coloured in (
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"CLICOLOR": "0"}, False),
        ({"CLICOLOR": "0", "CLICOLOR_FORCE": "1"}, True),
        ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, False),
        ({"TERM": "dumb"}, False),
    ):
        session = Session("info", packed, environment=environment)
        assert session.wait() == OK
        assert ("\x1b" in session.screen.raw) == coloured, (environment, session.screen.raw)
        result = mmh("info", packed, environment={"NO_COLOR": "", "CLICOLOR_FORCE": "", **environment}, code=OK)
        assert ("\x1b" in result.out) == ("CLICOLOR_FORCE" in environment and coloured), environment
    session = Session(*SLOW, "text.bin", cwd=tmp_path, environment={"NO_COLOR": "1"})
    assert session.wait() == OK
    assert any("\u2588" in line for line in session.screen.seen) and "\x1b" not in session.screen.raw
    session = Session(*SLOW, "text.bin", cwd=tmp_path, environment={"LC_ALL": "C"})
    assert session.wait() == OK
    assert any(re.search(r"\[=* *\]", line) for line in session.screen.seen), session.screen.seen


def test_no_bar_where_none_belongs(tmp_path):
    slow_input(tmp_path, megabytes=8)
    for arguments, environment in ((["-q"], {}), (["--progress=none"], {}), ([], {"TERM": "dumb"})):
        session = Session(*SLOW, *arguments, "text.bin", cwd=tmp_path, environment=environment)
        assert session.wait() == OK
        assert not [line for line in session.screen.seen if BAR.search(line) and "text.bin.mmh" not in line]
        assert "\x1b" not in session.screen.raw
    result = mmh(*SLOW, "text.bin", cwd=tmp_path, code=OK)  # stderr is no terminal
    assert result.err.count("\n") == 1 and "\r" not in result.err
    result = mmh(*SLOW, "--progress=bar", "text.bin", cwd=tmp_path, code=OK, environment={"COLUMNS": "50"})
    bars = result.err.splitlines()[0].split("\r") if "\r" in result.err else []
    assert "100 %" in result.err and "\x1b" not in result.err and max(map(len, bars)) < 50, result


def test_several_files_are_counted(tmp_path):
    slow_input(tmp_path, "a.bin", 2)
    slow_input(tmp_path, "b.bin", 2)
    session = Session(*SLOW, "--progress=bar", "a.bin", "b.bin", cwd=tmp_path)
    assert session.wait() == OK
    assert any(line.startswith("1/2 a.bin") for line in session.screen.seen)
    assert any(line.startswith("2/2 b.bin") for line in session.screen.seen)
    assert [line.split(":")[0] for line in session.screen.text().splitlines()] == ["a.bin.mmh", "b.bin.mmh"]


def test_reading_standard_input_is_shown(tmp_path):
    packed = mmh("pack", "-", stdin=os.urandom(1 << 20), code=OK).raw
    reading, writing = os.pipe()
    session = Session("verify", stdin=reading, cwd=tmp_path)
    os.close(reading)
    for i in range(0, len(packed), 1 << 17):
        part = packed[i : i + (1 << 17)]
        while part:
            part = part[os.write(writing, part) :]
        time.sleep(0.1)
    os.close(writing)
    assert session.wait() == OK
    assert any(re.match(r"standard input  \d+ kB  ", line) for line in session.screen.seen), session.screen.seen
    assert session.screen.text().startswith("standard input: ok, ")


# ---- signals ----


def test_ctrl_c_stops_and_leaves_nothing(tmp_path):
    slow_input(tmp_path, megabytes=30)  # long enough to be interrupted on any machine
    for environment in ({}, {"TERM": "dumb"}):
        session = Session(*SLOW, "text.bin", cwd=tmp_path, environment=environment)
        if environment:
            wait_for_output(session, tmp_path)
            time.sleep(0.1)
        else:
            assert session.until(lambda screen: any(BAR.search(line) for line in screen.seen))
        session.type("\x03")
        assert session.wait() == INTERRUPTED
        assert session.screen.text() == "mmh: error: interrupted", session.screen.raw
        assert [p.name for p in tmp_path.iterdir()] == ["text.bin"]


def test_every_signal_that_asks_to_stop(tmp_path):
    slow_input(tmp_path, megabytes=30)  # long enough to be interrupted on any machine
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process = subprocess.Popen([binary(), *SLOW, "text.bin"], cwd=tmp_path, stderr=subprocess.PIPE)
        wait_for_output(process, tmp_path)
        process.send_signal(number)
        err = process.stderr.read()
        assert (process.wait(), err) == (INTERRUPTED, b"mmh: error: interrupted\n"), number
        assert [p.name for p in tmp_path.iterdir()] == ["text.bin"]
    # nohup's SIGHUP and a background job's SIGINT stay ignored.
    process = subprocess.Popen(
        ["bash", "-c", f"trap '' HUP INT; exec {binary()} {' '.join(SLOW)} text.bin"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    wait_for_output(process, tmp_path)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert (process.communicate()[1][:14], process.returncode) == (b"text.bin.mmh: ", OK)


def test_interrupt_while_standard_input_is_read(tmp_path):
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [binary(), "verify", "-"], stdin=reading, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    os.close(reading)
    os.write(writing, b"x" * 1000)
    while not list(tmp_path.rglob("stdin")):
        time.sleep(0.005)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert (process.stderr.read(), process.wait()) == (b"mmh: error: interrupted\n", INTERRUPTED)
    os.close(writing)
    assert not list(tmp_path.iterdir())


def test_the_second_interrupt_kills(tmp_path):
    source = slow_input(tmp_path, megabytes=3)  # one piece of work at level 9, which is finished first
    process = subprocess.Popen([binary(), "pack", "-9", "-f", source], stderr=subprocess.PIPE)
    wait_for_output(process, tmp_path)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    if process.poll() is not None:
        skip("the first one was enough")
    process.send_signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT


def test_sigusr1_tells_how_far_it_is(tmp_path):
    slow_input(tmp_path, megabytes=30)  # long enough to be asked twice on any machine
    line = re.compile(
        r"mmh: pack text\.bin: (0 % of 31\.5 MB|\d+\.\d % of 31\.5 MB, .*/s, \d+:\d\d left)"
        r"(, .* stored)?, \d.* m?s\n"
    )
    process = subprocess.Popen([binary(), *SLOW, "text.bin"], cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for_output(process, tmp_path)
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.2)
    process.send_signal(signal.SIGUSR1)
    err = process.stderr.read().decode()
    assert process.wait() == OK
    lines = err.splitlines(keepends=True)
    assert len(lines) == 3 and all(line.fullmatch(one) for one in lines[:2]), err
    assert lines[2].startswith("text.bin.mmh: ")
    session = Session(*SLOW, "text.bin", cwd=tmp_path)  # the bar is redrawn beneath it
    assert session.until(lambda screen: any(BAR.search(one) for one in screen.seen))
    session.signal(signal.SIGUSR1)
    assert session.wait() == OK
    shown = session.screen.text().splitlines()
    assert len(shown) == 2 and line.fullmatch(shown[0] + "\n") and shown[1].startswith("text.bin.mmh: "), shown


def test_sigusr1_is_answered_before_there_is_anything_to_tell(tmp_path):
    reading, writing = os.pipe()
    process = subprocess.Popen([binary(), "verify", "-"], stdin=reading, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    os.close(reading)
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR1)
    line = process.stderr.readline()
    assert line.startswith(b"mmh: verify: nothing done yet, "), line
    os.write(writing, mmh("pack", "-", stdin=b"x", code=OK).raw)
    os.close(writing)
    out, err = process.communicate()
    assert process.returncode == OK and out.startswith(b"standard input: ok") and err == b""


# ---- what is shown, and what is not ----


def test_a_terminal_gets_no_binary(tmp_path):
    put(tmp_path, "m.safetensors", model())
    put(tmp_path, "notes.txt", b"some notes\n")
    mmh("pack", "m.safetensors", "notes.txt", cwd=tmp_path, code=OK)
    for environment in ({}, {"TERM": "dumb"}):
        for arguments, words in (
            (["pack", "-c", "m.safetensors"], "a container is nothing for a terminal"),
            (["pack", "m.safetensors", "-o", "-"], "a container is nothing for a terminal"),
            (["unpack", "-c", "m.safetensors.mmh"], "is nothing for a terminal"),
            (["-dc", "m.safetensors.mmh"], "is nothing for a terminal"),
            (["verify", "-"], "standard input is a terminal"),
        ):
            session = Session(*arguments, cwd=tmp_path, environment=environment)
            assert session.wait() == USAGE, (arguments, session.screen.raw)
            assert words in session.screen.text(), session.screen.raw
    session = Session("-dc", "notes.txt.mmh", cwd=tmp_path)  # text may be looked at
    assert session.wait() == OK and session.screen.text() == "some notes"
    session = Session("-d", cwd=tmp_path)
    assert session.wait() == USAGE and '"mmh unpack" needs a file' in session.screen.text()
    reading, writing = os.pipe()  # into a pipe it may go, wherever stderr is
    session = Session("-dc", "m.safetensors.mmh", cwd=tmp_path, stdout=writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.read() == model()
    assert session.wait() == OK


def test_tables_leave_columns_out(tmp_path):
    put(
        tmp_path,
        "m.safetensors",
        safetensors({f"model.layers.{i}.mlp.up.weight": ("BF16", (64, 32), floats(2048)) for i in range(3)}),
    )
    mmh("pack", "m.safetensors", cwd=tmp_path, code=OK)
    whole = mmh("ls", "m.safetensors.mmh", cwd=tmp_path, environment={"COLUMNS": "40"}, code=OK).out
    for columns, heading in (
        (80, ["tensor", "type", "shape", "bytes", "stored", "ratio"]),
        (60, ["tensor", "type", "shape", "bytes"]),
        (50, ["tensor", "type", "shape"]),
    ):
        session = Session("ls", "m.safetensors.mmh", columns=columns, cwd=tmp_path)
        assert session.wait() == OK and not session.screen.wrapped
        lines = session.screen.text().splitlines()
        assert lines[0].split() == heading and lines[2].startswith("model.layers.1.mlp.up.weight  BF16"), lines
        if columns == 80:
            assert session.screen.text() + "\n" == whole  # and a pipe gets everything at any width
    session = Session("info", "m.safetensors.mmh", columns=60, cwd=tmp_path)
    assert session.wait() == OK
    assert [line for line in session.screen.text().splitlines() if line.startswith("  type ")]


# ---- progress as JSON ----


def test_progress_as_json(tmp_path):
    source = slow_input(tmp_path, megabytes=30)
    result = mmh(*SLOW, "--progress=json", source, code=OK)
    lines = result.err.splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert [line for line in lines if not line.startswith("{")] == [lines[-1]]  # the remark, for people
    assert len(events) >= 3 and {event["event"] for event in events[:-1]} == {"progress"}, events
    assert all(event["verb"] == event["stage"] == "pack" and event["input"] == str(source) for event in events)
    done = [event["done_bytes"] for event in events]
    times = [event["elapsed_ns"] for event in events]
    assert done == sorted(done) and times == sorted(times)
    assert all(later - earlier >= 200e6 for earlier, later in zip(times, times[1:-1])), times
    last = events[-1]
    assert last["event"] == "end" and last["done_bytes"] == last["total_bytes"] == source.stat().st_size
    assert 0 < last["stored_bytes"] <= Path(f"{source}.mmh").stat().st_size
    result = mmh("verify", "-q", "--progress=json", f"{source}.mmh", "nothing.mmh", f"{source}.mmh", code=IO)
    events = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    assert [event["item"] for event in events if event["event"] == "end"] == [1, 2, 3]
    assert {event["items"] for event in events} == {3}
    process = subprocess.Popen([binary(), *SLOW, "--progress=json", "-q", source], stderr=subprocess.PIPE)
    wait_for_output(process, tmp_path)
    process.send_signal(signal.SIGUSR1)
    events = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert process.wait() == OK and "status" in {event["event"] for event in events}


def test_progress_choices(tmp_path):
    result = mmh("pack", "--progress=jsno", "m", cwd=tmp_path, code=USAGE)
    assert result.err == (
        'mmh: error: there is no progress called "jsno"\n'
        "mmh: hint: --progress=bar, --progress=json or --progress=none\n"
    )
    assert "takes no --progress" in mmh("ls", "--progress=json", "m", cwd=tmp_path, code=USAGE).err


if __name__ == "__main__":
    main(globals())
