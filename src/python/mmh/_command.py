# SPDX-License-Identifier: Apache-2.0
"""The command `mmh` of an installed package: the program that lies in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> int:
    """Become the program. It learns which Python has the package, for what it asks of that."""
    program = Path(__file__).parent / "bin" / "mmh"
    os.environ.setdefault("MMH_PYTHON", sys.executable)
    try:
        os.execv(program, ["mmh", *sys.argv[1:]])
    except OSError as error:
        print(f"mmh: error: cannot run {program}: {error.strerror}", file=sys.stderr)
        return 1
