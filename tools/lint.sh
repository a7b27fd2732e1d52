#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lint.sh [BUILD]: rooms, clang-format, clang-tidy, cppcheck, ruff and the spelling of the documents.
# `tools/deps.sh lint` installs what it needs; what is missing all the same is a failure.
#
#   FAST=1 tools/lint.sh   what takes seconds: no clang-format, clang-tidy, cppcheck; what is missing is left out
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
jobs=$(nproc 2>/dev/null || echo 2)
problems=()

check() { # NAME COMMAND...
  local name=$1
  shift
  if ! command -v "$1" >/dev/null; then
    echo "lint: no $1: $name is left out"
    [ -n "${FAST:-}" ] || problems+=("$name")
  elif ! "$@"; then
    problems+=("$name")
  fi
}

tidy() {
  local check checks='-*,bugprone-*,clang-analyzer-*'
  # Left out: what is a matter of style here (types side by side, int8_t as a number, arrays of
  # pointers, magics without a NUL, casts that say the width), advice for another libc, and about the order of fields.
  for check in easily-swappable-parameters branch-clone assignment-in-if-condition narrowing-conversions \
    implicit-widening-of-multiplication-result misplaced-widening-cast reserved-identifier \
    signed-char-misuse sizeof-expression not-null-terminated-result; do
    checks+=",-bugprone-$check"
  done
  for check in valist.Uninitialized security.insecureAPI.DeprecatedOrUnsafeBufferHandling \
    optin.performance.Padding; do
    checks+=",-clang-analyzer-$check"
  done
  # Sixteen places whose values the analyzer cannot know (tables that another function fills, loops
  # that run at least once because an index was checked); cppcheck, valgrind and fuzzing look there.
  for check in core.NullDereference core.NonNullParamChecker core.UndefinedBinaryOperatorResult \
    core.uninitialized.Assign core.uninitialized.Branch; do
    checks+=",-clang-analyzer-$check"
  done
  # NEON's files can be read on an arm64 machine alone.
  local other=neon
  if [ "$(uname -m)" = aarch64 ]; then other=avx; fi
  find src -name '*.c' ! -name "*_$other*" -print0 | sort -z |
    xargs -0 -P "$jobs" -n 1 clang-tidy -quiet -p "$build" --checks="$checks" --warnings-as-errors='*' \
      2>/dev/null
}

sources() { git ls-files -co --exclude-standard "$@"; }

check "rooms" python3 tools/rooms.py
if [ -z "${FAST:-}" ]; then # versions of clang-format differ: not for every machine's `make check`
  mapfile -t c_files < <(sources '*.c' '*.h')
  check "clang-format" clang-format --dry-run -Werror "${c_files[@]}"
fi
PATH=$PWD/.venv/bin:$PATH
check "ruff" ruff check -q tools tests bench src/python
mapfile -t texts < <(sources 'README.md' 'CHANGELOG.md' 'docs/*' 'include/*' 'src/*.[ch]' 'src/python/*.py' 'tests/*.[chp]*' \
  'tools/*' 'bench/*' Makefile | grep -vE '\.(png|svg|mmh)$|/golden/draft|/fuzz/corpus/')
check "spelling" codespell -q 3 -I tools/words.txt "${texts[@]}"
if [ -z "${FAST:-}" ]; then
  if command -v clang-tidy >/dev/null; then tidy || problems+=("clang-tidy"); else check "clang-tidy" clang-tidy; fi
  mapfile -t units < <(find src -name '*.c' | sort)
  check "cppcheck" cppcheck -q -j "$jobs" --std=c11 --enable=warning,portability --inline-suppr \
    --error-exitcode=1 --suppress=missingInclude --suppress=missingIncludeSystem -Iinclude -Isrc \
    -DMMH_HAVE_BLAKE3 "${units[@]}"
fi
if [ ${#problems[@]} -gt 0 ]; then
  echo "lint: failed: ${problems[*]}"
  exit 1
fi
echo "lint: clean"
