#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# valgrind.sh [BUILD [TEST...]]: the quick tests under memcheck; an error or a leak fails.
#
# Valgrind knows no AVX-512. Of AVX2's byte shuffles it takes lanes that are masked away for
# undefined, so tests that compare kernels run plain C alone; all others run AVX2. `device` is left
# out: it runs somebody else's compiler.
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
run() { # MMH_CPU TEST...
  local cpu=$1
  shift
  [ $# -gt 0 ] || return 0
  MMH_CPU=$cpu meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 30 \
    --wrapper "$memcheck" "$@" || status=1
}
run c $(printf '%s\n' "$@" | grep -xE "$compares")
run "${MMH_CPU:-c,avx2}" $(printf '%s\n' "$@" | grep -vxE "$compares")
exit $status
