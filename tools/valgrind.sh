#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# valgrind.sh [BUILD [TEST...]]: the quick tests under memcheck; an error or a leak fails.
#
# Valgrind knows no AVX-512. The tier decoders move bytes about that nobody looks at; memcheck loses
# track of which, and takes what they give for undefined when it is compared. So tests that compare
# what kernels give run without looking for undefined values (whatever the scratch held, the bytes
# are the same: meson fills fresh memory with another value in every run). `device` is left out: it
# runs somebody else's compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
shift || true
command -v valgrind >/dev/null || { echo "valgrind.sh: no valgrind: tools/deps.sh nightly" >&2; exit 1; }
compares='codec|kernel|kernel_.*|fuzz-codec|fuzz-device|fuzz-encode'
memcheck='valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible'
if [ $# -eq 0 ]; then
  mapfile -t names < <(meson test -C "$build" --suite unit --list 2>/dev/null | sed 's/.* \/ //' |
    grep -vxE 'symbols|rooms|device')
  set -- "${names[@]}"
fi
status=0
export MMH_CPU=${MMH_CPU:-c,avx2}
run() { # OPTION TEST...
  local option=$1
  shift
  [ $# -gt 0 ] || return 0
  meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 30 \
    --wrapper "$memcheck $option" "$@" || status=1
}
run --undef-value-errors=no $(printf '%s\n' "$@" | grep -xE "$compares")
run --undef-value-errors=yes $(printf '%s\n' "$@" | grep -vxE "$compares")
exit $status
