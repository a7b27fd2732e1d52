#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check every #include under src/ against the table of rooms, and every source's place in the build.

The table is the code block of docs/architecture.md whose first line begins with "base"; until that
exists, the one below. A line is: room, rooms that it may include (base always; "all of the above"),
purpose. Headers called *_private.h are for their own room. File names are unique under src/, and
every .c file is listed in its room's meson.build. Prints file:line for each violation and exits 1.

base                                    status, cursor, arena, io, thread pool
tensor      base                        dtypes, shapes, the extent map of a file
format      base tensor                 one file per input format: bytes -> extent map
kernel      base                        inner loops; the only room with intrinsics
codec       base tensor kernel          one file per chunk codec; no I/O, no heap
crypto      base                        the only room that sees OpenSSL or libmceliece
integrity   base kernel crypto          Merkle tree, parity
container   tensor crypto integrity     the bytes of docs/format.md
device      base tensor codec           one file per GPU backend
engine      all of the above            plan, pack, load; implements include/mmh.h
cli python cluster   include/ only

tools/rooms.py            check
tools/rooms.py --update   first write the file lists of src/<room>/meson.build anew
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SRC = os.path.join(ROOT, "src")
ARCHITECTURE = os.path.join(ROOT, "docs", "architecture.md")

# Headers of the system that only some rooms may see (everything else in C11 is free for all).
ONLY_IN = [
    (r"openssl/.*|mceliece.*", {"crypto"}),
    (r"blake3\.h", {"crypto"}),
    (r"(imm|emm|xmm|pmm|tmm|smm|nmm|wmm|x86)intrin\.h|arm_neon\.h|arm_sve\.h|cpuid\.h", {"kernel"}),
    (r"(sys|linux|netinet|arpa|mach)/.*|(unistd|fcntl|pthread|poll|dirent|sched|dlfcn|windows)\.h", {"base"}),
    (r"isa-l(/.*|\.h)", {"integrity"}),
    (r"CL/.*|cuda.*\.h", {"device"}),
]
# The rooms above include/ cannot use base: what they need of the system is in one file of theirs.
HOST_FILES = {"host.c", "host.h", "outfile.c"}


def table_text():
    """The room table, from docs/architecture.md if it has one."""
    try:
        with open(ARCHITECTURE, encoding="utf-8") as file:
            for block in re.findall(r"^```[^\n]*\n(.*?)^```", file.read(), flags=re.MULTILINE | re.DOTALL):
                if block.startswith("base"):
                    return block
    except FileNotFoundError:
        pass
    return __doc__[__doc__.index("\nbase ") + 1 :]


def read_table(text):
    """{room: set of rooms it may include}; an empty set: include/ only."""
    rooms = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        columns = re.split(r"\s{2,}", line.strip())
        for room in columns[0].split():
            allowed = {"base", room}
            if "include/ only" in line:
                allowed = {room}
            elif len(columns) > 1 and columns[1] == "all of the above":
                allowed = set(rooms) | {room}
            elif len(columns) > 2:
                allowed |= set(columns[1].split())
            rooms[room] = allowed
    return rooms


def check_include(room, name, allowed, target, system):
    """What is wrong with an include, or None."""
    if system:
        for pattern, rooms in ONLY_IN:
            if re.fullmatch(pattern, target) and room not in rooms:
                if name in HOST_FILES and "base" in rooms and "base" not in allowed:
                    continue
                return f"<{target}> is for {', '.join(sorted(rooms))} only"
        return None
    if target in ("mmh.h", "mmh_format.h", "mmh_trust.h"):  # of include/
        return None
    other = target.split("/")[0] if "/" in target else None
    if other is None:
        return f'"{target}": write "{room}/{target}", relative to src/'
    if not os.path.exists(os.path.join(SRC, target)):
        return f'"{target}" does not exist'
    if other not in allowed:
        return f"{room} may not include {other} ({target})"
    if other != room and target.endswith("_private.h"):
        return f"{target} is private to {other}"
    return None


def update_lists(rooms):
    """Bring the lists in src/<room>/meson.build, between files( and ), up to date. Files called
    *_avx2.c, *_avx512.c and *_neon.c go to the list of that name, where the room has one; files that
    are in its posix_sources or *_unsanitized_sources stay there."""
    for room in rooms:
        folder = os.path.join(SRC, room)
        path = os.path.join(folder, "meson.build")
        if not os.path.isdir(folder):
            continue
        names = sorted(name for name in os.listdir(folder) if name.endswith(".c"))
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                text = file.read()
        elif names:
            variable = "cli_sources" if room == "cli" else "sources"
            text = f"# SPDX-License-Identifier: Apache-2.0\n{variable} += files(\n)\n"
        else:
            continue
        sets = re.findall(r"^(avx2|avx512|neon)_sources = files", text, flags=re.MULTILINE)

        def own_set(name, sets=sets):
            return next((one for one in sets if name.endswith(f"_{one}.c")), None)

        apart = re.findall(r"^(?:posix|\w+_unsanitized)_sources = files\(([^)]*)\)", text, flags=re.MULTILINE)
        kept = [name for listed in apart for name in re.findall(r"'([^']+)'", listed)]

        def new_list(match, names=names, own_set=own_set, kept=kept):
            mine = [name for name in names if own_set(name) == match.group(2) and name not in kept]
            return match.group(1) + "files(\n" + "".join(f"  '{n}',\n" for n in mine) + ")"

        new = re.sub(
            r"^((?:cli_)?(?:(avx2|avx512|neon)_)?sources \+?= )files\([^)]*\)",
            new_list,
            text,
            flags=re.MULTILINE,
        )
        if new != text or not os.path.exists(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write(new)


def main():
    rooms = read_table(table_text())
    if sys.argv[1:] == ["--update"]:
        update_lists(rooms)
    problems = []
    names = {}
    files = 0
    for folder, folders, file_names in sorted(os.walk(SRC)):
        folders.sort()
        relative = os.path.relpath(folder, SRC)
        if relative == ".":
            continue
        room = relative.split(os.sep)[0]
        built = ""
        build_file = os.path.join(folder, "meson.build")
        if os.path.exists(build_file):
            with open(build_file, encoding="utf-8") as file:
                built = file.read()
        for name in sorted(file_names):
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.join(folder, name)
            shown = os.path.relpath(path, ROOT)
            files += 1
            if room not in rooms:
                problems.append(f"{shown}:1: {room} is no room of the table")
                continue
            if name in names:
                problems.append(f"{shown}:1: {names[name]} has the same name")
            names[name] = shown
            if name.endswith(".c") and f"'{name}'" not in built:
                problems.append(f"{shown}:1: not listed in {os.path.relpath(build_file, ROOT)}")
            with open(path, encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
                    problem = match and check_include(room, name, rooms[room], match.group(2), match.group(1) == "<")
                    if problem:
                        problems.append(f"{shown}:{number}: {problem}")
    print("\n".join(problems) if problems else f"{files} files in {len(rooms)} rooms")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
