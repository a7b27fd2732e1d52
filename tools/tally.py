#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Add up test results: tools/tally.py FOLDER PROBLEMS

FOLDER holds Meson's testlog.json files (a name each) and pytest's JUnit XML. A cmocka program counts
as the tests it ran, any other program as one; each of PROBLEMS (builds that failed) as one failure.
Prints the failed ones, why tests of Python were skipped, and then `N passed, N failed, N skipped`; exits 1 if
any failed or none passed.
"""

import collections
import glob
import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree


def cmocka_count(output, kind):
    return sum(int(n) for n in re.findall(rf"\[\s*{kind}\s*\][^\n]*?(\d+) test\(s\)", output))


def why_skipped(skip):
    """The reason that a test gave; of a module that was left out whole, pytest has it in the text alone."""
    if skip.get("message") == "collection skipped":
        told = re.search(r"Skipped: (.*?)['\"]?\)?$", skip.text or "", re.DOTALL)
        return told[1] if told else skip.text
    return skip.get("message")


def main(folder, problems):
    passed, failed, skipped = 0, int(problems), 0
    reasons = collections.Counter()
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        build = os.path.basename(path)[: -len(".json")]
        with open(path, encoding="utf-8") as file:
            tests = [json.loads(line) for line in file if line.strip()]
        for test in tests:
            output = (test.get("stdout") or "") + (test.get("stderr") or "")
            good = cmocka_count(output, "PASSED")
            bad = cmocka_count(output, "FAILED")
            left = cmocka_count(output, "SKIPPED")
            if test["result"] in ("OK", "EXPECTEDFAIL"):
                passed += good if good or left else 1
                skipped += left
            elif test["result"] == "SKIP":
                skipped += 1
            else:
                passed += good
                skipped += left
                failed += max(bad, 1)
                print(f"failed in {build}: {test['name']}")
    for path in sorted(glob.glob(os.path.join(folder, "*.xml"))):
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            left = int(suite.get("skipped", 0))
            passed += int(suite.get("tests", 0)) - bad - left
            failed += bad
            skipped += left
            reasons.update(" ".join((why_skipped(skip) or "no reason").split()) for skip in suite.iter("skipped"))
    for reason, count in sorted(reasons.items()):
        print(f"skipped {count}: {reason}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
