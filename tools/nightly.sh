#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# nightly.sh: what takes too long for every change. `make check` runs by itself.
#
#   $MINUTES   of each fuzz target (10)
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()

section() { printf '\n== %s\n' "$*"; }

step() { # NAME COMMAND...
  local name=$1
  shift
  section "$name"
  "$@" || failed+=("$name")
}

build() { # FOLDER CC "MESON SETUP ARGUMENTS"
  [ -e "$1/build.ninja" ] || CC=$2 meson setup "$1" $3 >/dev/null || return 1
  ninja -C "$1" --quiet
}

clang_build() {
  # All warnings but those about what this code does on purpose.
  local off=-Wno-padded off_list="declaration-after-statement switch-enum switch-default covered-switch-default \
    disabled-macro-expansion reserved-identifier reserved-macro-identifier sign-conversion sign-compare \
    implicit-int-conversion shorten-64-to-32 float-equal cast-align cast-qual bad-function-cast \
    double-promotion implicit-float-conversion unused-macros missing-noreturn vla \
    documentation documentation-unknown-command gnu-auto-type gnu-statement-expression \
    gnu-zero-variadic-macro-arguments gnu-empty-initializer conditional-uninitialized alloca \
    unsafe-buffer-usage pre-c2x-compat pre-c11-compat missing-field-initializers format-nonliteral \
    used-but-marked-unused missing-prototypes missing-variable-declarations c++-compat \
    unreachable-code-break unreachable-code-return language-extension-token"
  local name
  for name in $off_list; do off+=",-Wno-$name"; done
  build build-clang clang "-Dc_args=-Weverything,-Werror,-Wno-unknown-warning-option,$off"
}

tsan() {
  local still=
  if setarch -R true 2>/dev/null; then still="setarch -R"; fi
  build build-tsan "${CC:-cc}" "-Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized" || return 1
  $still meson test -C build-tsan --no-rebuild --print-errorlogs --timeout-multiplier 10
}

ratios() {
  [ -x .venv/bin/python ] && [ -e bench/bench.py ] || { echo "no .venv: left out"; return 0; }
  MMH_BUILD=$PWD/build .venv/bin/python -m pytest -q tests/test_corpus.py -p no:cacheprovider
}

step "build" build build "${CC:-cc}" ""
step "valgrind" tools/valgrind.sh build
step "clang, nearly all warnings" clang_build
step "its tests" meson test -C build-clang --no-rebuild --print-errorlogs
step "ThreadSanitizer, everything" tsan
step "real models at every level" ratios
step "fuzzing, ${MINUTES:-10} minutes each" python3 tools/fuzz.py --seconds=$((${MINUTES:-10} * 60)) --table
section "all"
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "all passed"
