#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check.sh: every test. Builds in build/, build-asan/ (ASan + UBSan), build-tsan/ (threads) and
# build-c/ (no BLAKE3, C kernels alone); ends with one line `N passed, N failed, N skipped`.
#
# Also the quick part of `make lint`, and $FUZZ_SECONDS (default: 180 for all) of each fuzz target.
#
#   FAST=1 tools/check.sh   the plain build and the Python tests alone
set -uo pipefail
cd "$(dirname "$0")/.."

results=$(mktemp -d "${TMPDIR:-/tmp}/mmh-check.XXXXXX")
trap 'rm -rf "$results"' EXIT
problems=0

section() { printf '\n== %s\n' "$*"; }

# Set up if need be, build, and run the tests of a build folder; their log goes to $results.
run_build() { # FOLDER "MESON SETUP ARGUMENTS" "MESON TEST ARGUMENTS" [WRAPPER...]
  local folder=$1 setup=$2 tests=$3
  shift 3
  section "$folder${setup:+ ($setup)}"
  if [ ! -e "$folder/build.ninja" ]; then
    meson setup "$folder" $setup >"$results/setup.log" 2>&1 ||
      { cat "$results/setup.log"; problems=$((problems + 1)); return; }
  fi
  ninja -C "$folder" --quiet || { problems=$((problems + 1)); return; }
  "$@" meson test -C "$folder" --no-rebuild --print-errorlogs $tests ||
    echo "tests failed in $folder"
  cp "$folder/meson-logs/testlog.json" "$results/$folder.json" 2>/dev/null ||
    problems=$((problems + 1))
}

run_build build "" ""
if [ -e build/src/python/_mmh.abi3.so ]; then # from here on a package without it is a failure, not a skip
  ln -sfn "$PWD"/build/src/python/_mmh.abi3.so src/python/mmh/_mmh.abi3.so
  export MMH_NEED_PYTHON=1
fi
if [ -z "${FAST:-}" ]; then
  run_build build-asan "-Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized" ""
  # ThreadSanitizer of older compilers wants addresses that newer kernels randomise.
  still=; if setarch -R true 2>/dev/null; then still="setarch -R"; fi
  # The load and round-trip targets go through packing, loading, slices and the pool with 2 and 3 threads.
  run_build build-tsan "-Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized" \
    "base engine fuzz-load fuzz-roundtrip" $still
  run_build build-c "-Dblake3=disabled -Dc_args=-DMMH_KERNELS_ONLY_C" ""
fi

section "lint, what is quick of it"
FAST=1 tools/lint.sh build || problems=$((problems + 1))

if [ -z "${FAST:-}" ]; then
  section "fuzzing"
  python3 tools/fuzz.py --json="$results/fuzz.json" || echo "a fuzz target failed"
  [ -s "$results/fuzz.json" ] || problems=$((problems + 1))
fi

if [ -x .venv/bin/python ] && .venv/bin/python -c 'import pytest' 2>/dev/null; then
  if compgen -G 'tests/*test*.py' >/dev/null || compgen -G 'tests/*/*test*.py' >/dev/null; then
    section "Python tests"
    MMH_BUILD=$PWD/build .venv/bin/python -m pytest -q tests -p no:cacheprovider \
      --junitxml="$results/pytest.xml"
    [ -e "$results/pytest.xml" ] || problems=$((problems + 1))
  fi
  if [ -n "${MMH_NEED_PYTHON:-}" ] && .venv-formats/bin/python -c 'import pytest' 2>/dev/null; then
    section "Python tests with the frameworks of .venv-formats"
    mapfile -t framework_tests < <(grep -lE 'tensorflow|jax|keras|onnx' tests/test_python_*.py | grep -v wheel)
    MMH_BUILD=$PWD/build .venv-formats/bin/python -m pytest -q "${framework_tests[@]}" -p no:cacheprovider \
      --junitxml="$results/pytest-frameworks.xml"
    [ -e "$results/pytest-frameworks.xml" ] || problems=$((problems + 1))
  fi
else
  section "Python tests are skipped: no pytest in .venv (\`make deps\`)"
fi

section "all"
python3 tools/tally.py "$results" "$problems"
