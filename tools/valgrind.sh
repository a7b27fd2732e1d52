#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# valgrind.sh [BUILD [TEST...]]: the quick tests under memcheck; an error or a leak fails.
#
# Valgrind knows no AVX-512, so kernels are AVX2's at the most ($MMH_CPU narrows further). Tests of
# shared memory limits, of symbols and of rooms are no programs of ours and run as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
shift || true
command -v valgrind >/dev/null || { echo "valgrind.sh: no valgrind: tools/deps.sh nightly" >&2; exit 1; }
export MMH_CPU=${MMH_CPU:-c,avx2}
tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
  mapfile -t tests < <(meson test -C "$build" --suite unit --list 2>/dev/null | sed 's/.* \/ //' |
    grep -vxE 'symbols|rooms')
fi
exec meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 30 \
  --wrapper 'valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible --child-silent-after-fork=yes' \
  "${tests[@]}"
