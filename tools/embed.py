#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py SOURCE OUTPUT HEADER NAME: a text, with the local files that it includes, as a C array.

`#include "..."` lines are replaced by the named file from the source's folder, once each: what
compiles a text at run time has no files to look into. OUTPUT is C and defines what HEADER declares:
NAME[], with a NUL at the end, and NAME_bytes, which does not count that.

In a page `'sha256-of-style'` becomes the hash of what is between its first <style> and </style>, for a
policy that lets nothing else be a style or, by `'sha256-of-script'`, a script.
"""

import base64
import hashlib
import re
import sys
from pathlib import Path


def expand(path, seen):
    """The lines of a file with its local includes in their place."""
    for line in path.read_text(encoding="ascii").splitlines():
        include = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not include:
            yield line
        elif include[1] not in seen:
            seen.add(include[1])
            yield from expand(path.parent / include[1], seen)


def with_hashes(text):
    """A page whose policy names its own style and script."""

    def name(match):
        inside = text.split(f"<{match[1]}>", 1)[1].split(f"</{match[1]}>", 1)[0]
        return "'sha256-" + base64.b64encode(hashlib.sha256(inside.encode("ascii")).digest()).decode("ascii") + "'"

    return re.sub("'sha256-of-([a-z]+)'", name, text)


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    source, output, header, name = (
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        sys.argv[3],
        sys.argv[4],
    )
    text = with_hashes("\n".join(expand(source, set())) + "\n")
    numbers = [str(byte) for byte in text.encode("ascii")] + ["0"]
    lines = [", ".join(numbers[i : i + 20]) for i in range(0, len(numbers), 20)]
    output.write_text(
        f"/* {source.name} as an array: tools/embed.py wrote it. */\n"
        f'#include "{header}"\n\n'
        f"const char {name}[] = {{\n    " + ",\n    ".join(lines) + "\n};\n"
        f"const size_t {name}_bytes = {len(text)};\n",
        encoding="ascii",
    )


if __name__ == "__main__":
    main()
