#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lint.sh [BUILD]: rooms, format, clang-tidy and cppcheck where they are installed.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
status=0
python3 tools/rooms.py || status=1
mapfile -t sources < <(find src -name '*.c' | sort)
if command -v clang-format >/dev/null; then
  clang-format --dry-run -Werror "${sources[@]}" || status=1
else
  echo "lint: no clang-format: left out"
fi
if command -v clang-tidy >/dev/null; then
  # Left out: what the analyzer says when it thinks that mmh_fail may return MMH_OK.
  checks='-*,bugprone-*,clang-analyzer-*'
  for check in easily-swappable-parameters branch-clone assignment-in-if-condition \
    narrowing-conversions implicit-widening-of-multiplication-result reserved-identifier; do
    checks+=",-bugprone-$check"
  done
  for check in core.NullDereference core.NonNullParamChecker valist.Uninitialized \
    security.insecureAPI.DeprecatedOrUnsafeBufferHandling; do
    checks+=",-clang-analyzer-$check"
  done
  clang-tidy -quiet -p "$build" --checks="$checks" --warnings-as-errors='*' "${sources[@]}" \
    2>/dev/null || status=1
else
  echo "lint: no clang-tidy: left out"
fi
if command -v cppcheck >/dev/null; then
  cppcheck -q --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
    --suppress=missingInclude --suppress=missingIncludeSystem -Iinclude -Isrc -DMMH_HAVE_BLAKE3 src ||
    status=1
else
  echo "lint: no cppcheck: left out"
fi
if [ -x .venv/bin/ruff ]; then .venv/bin/ruff check -q tools tests bench || status=1; fi
exit $status
