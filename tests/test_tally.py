#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The last lines of `make check`: what was skipped is told with its reason, and the count comes last.

`python3 tests/test_tally.py [NAME...]`, or pytest.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import ROOT, main

RESULTS = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="0" failures="{failures}" skipped="4" tests="7">
<testcase name="a" /><testcase name="b" />
<testcase name="c"><skipped type="pytest.skip" message="there is no browser">text</skipped></testcase>
<testcase name="d"><skipped type="pytest.skip" message="there is no browser">text</skipped></testcase>
<testcase name="e"><skipped message="collection skipped">('/x/y.py', 17, 'Skipped: no JAX')</skipped></testcase>
<testcase name="f"><skipped message="collection skipped">('z.py', 9, "Skipped: it's not here")</skipped></testcase>
<testcase name="g" />
</testsuite></testsuites>
"""


def tally(folder, failures):
    (folder / "pytest.xml").write_text(RESULTS.format(failures=failures))
    command = [sys.executable, ROOT / "tools" / "tally.py", folder, "0"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_reasons_are_told_before_the_count(tmp_path):
    told = tally(tmp_path, 0)
    assert told.returncode == 0 and not told.stderr
    assert told.stdout.splitlines() == [
        "skipped 1: it's not here",
        "skipped 1: no JAX",
        "skipped 2: there is no browser",
        "3 passed, 0 failed, 4 skipped",
    ]
    told = tally(tmp_path, 1)
    assert told.returncode == 1 and told.stdout.splitlines()[-1] == "2 passed, 1 failed, 4 skipped"


if __name__ == "__main__":
    main(globals())
