#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare what libmmh exports with src/mmh.map and with the MMH_API functions of include/mmh*.h.

tools/symbols.py LIBRARY    all three are the same, or exit 1 and say what differs
tools/symbols.py --update   write src/mmh.map from include/mmh*.h
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAP = os.path.join(ROOT, "src", "mmh.map")
HEADERS = [os.path.join(ROOT, "include", name) for name in ("mmh.h", "mmh_trust.h")]
VERSION = "MMH_3"


def header_symbols():
    text = ""
    for path in HEADERS:
        with open(path, encoding="utf-8") as file:
            text += re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    return set(re.findall(r"MMH_API\b[^;(]*?\b(mmh_\w+)\s*\(", text))


def map_symbols():
    with open(MAP, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    return set(re.findall(r"\b(mmh_\w+)\s*;", text))


def library_symbols(path):
    listing = subprocess.run(["nm", "-D", "--defined-only", path], check=True, capture_output=True, text=True).stdout
    names = (line.split()[-1].split("@")[0] for line in listing.splitlines() if line.strip())
    return {name for name in names if name != VERSION}


def update():
    with open(MAP, "w", encoding="utf-8") as file:
        file.write("/* What libmmh exports; tools/symbols.py --update writes it.\n")
        file.write(" * SPDX-License-Identifier: Apache-2.0 */\n")
        file.write(VERSION + " {\nglobal:\n")
        file.writelines(f"    {name};\n" for name in sorted(header_symbols()))
        file.write("local:\n    *;\n};\n")


def main(arguments):
    if arguments == ["--update"]:
        update()
        return 0
    if len(arguments) != 1:
        sys.exit(__doc__)
    header, mapped, library = header_symbols(), map_symbols(), library_symbols(arguments[0])
    problems = []
    for name in sorted(header - mapped):
        problems.append(f"src/mmh.map lacks {name}: tools/symbols.py --update")
    for name in sorted(mapped - header):
        problems.append(f"src/mmh.map names {name}, which include/mmh*.h does not declare")
    for name in sorted(header - library):
        problems.append(f"include/mmh*.h declares {name}, which libmmh does not export")
    for name in sorted(library - header):
        # A sanitizer's own symbols are not ours.
        if not name.startswith(("__asan", "__ubsan", "__tsan", "__odr_asan", "__sanitizer")):
            problems.append(f"libmmh exports {name}, which include/mmh*.h does not declare")
    print("\n".join(problems) if problems else f"{len(header)} symbols")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
