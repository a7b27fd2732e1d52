#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_platforms.sh: the tests on machines that are not here, and on parts of the one that is. Each
# part builds in a folder of its own and runs whatever the others do; ends with a table and one line
# `N passed, N failed, N skipped`, and exits 1 if anything failed. docs/platforms.md has the results.
#
#   tools/check_platforms.sh            all parts: x86-64 arm64 s390x windows instructions
#   tools/check_platforms.sh arm64...   these
#
# x86-64 runs with plain C and with AVX2 kernels; arm64 and s390x (big-endian) under qemu-user, with the
# libraries that `tools/deps.sh platforms` put into .deps/; Windows is built by mingw-w64 without any
# library and runs under wine; instructions are counted by a plugin of qemu-user.
set -uo pipefail
cd "$(dirname "$0")/.."

results=$(mktemp -d "${TMPDIR:-/tmp}/mmh-platforms.XXXXXX")
trap 'rm -rf "$results"' EXIT
passed=0 failed=0 skipped=0
PATH=$PATH:/usr/lib/wine # where Debian's wine64 is

has() { command -v "$1" >/dev/null 2>&1; }

# One line of the table, and its counts: PART PASSED FAILED SKIPPED [NOTE]
row() {
  printf '%-34s %7s %7s %7s  %s\n' "$@" >>"$results/table"
  passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
}

skip() { # PART WHY
  echo "skipped: $1: $2"
  row "$1" 0 0 1 "skipped: $2"
}

broken() { # PART WHAT
  echo "failed: $1: $2"
  row "$1" 0 1 0 "$2"
}

# Set up if need be, and build; what went wrong is shown.
build() { # FOLDER MESON-ARGUMENT...
  local folder=$1
  shift
  if [ ! -e "$folder/build.ninja" ]; then
    meson setup "$folder" "$@" >"$results/setup.log" 2>&1 || { tail -20 "$results/setup.log"; return 1; }
  fi
  ninja -C "$folder" --quiet
}

# What a cross file leaves open, in .deps/NAME.ini: Meson reads it again whenever it must.
constants() { # NAME LINE...
  local file=.deps/$1.ini
  shift
  printf '%s\n' '[constants]' "$@" >"$file.new"
  if cmp -s "$file.new" "$file"; then rm "$file.new"; else mv "$file.new" "$file"; fi
}

# The unit tests of a build, all or these; a row of the table.
unit() { # PART FOLDER KERNELS [TEST...]
  local part=$1 folder=$2 kernels=$3 line
  shift 3
  printf '\n== %s\n' "$part"
  rm -rf "$results/one" "$folder/meson-logs/testlog.json"
  mkdir "$results/one"
  MMH_CPU=$kernels meson test -C "$folder" --no-rebuild -t 5 --print-errorlogs --suite unit "$@" \
    >"$results/test.log" 2>&1 || tail -60 "$results/test.log"
  [ -e "$folder/meson-logs/testlog.json" ] || { tail -5 "$results/test.log"; broken "$part" "no tests ran"; return; }
  cp "$folder/meson-logs/testlog.json" "$results/one/$folder.json"
  line=$(python3 tools/tally.py "$results/one" 0 | tail -1)
  echo "$line"
  read -r p _ f _ s _ <<<"$line"
  if [ $((p + f)) = 0 ]; then broken "$part" "no tests ran"; else row "$part" "$p" "$f" "$s" ""; fi
}

# A program that prints `N passed, N failed, N skipped` last; a row of the table.
counted() { # PART COMMAND...
  local part=$1 line
  shift
  printf '\n== %s\n' "$part"
  "$@" >"$results/out.log" 2>&1
  local code=$?
  tail -25 "$results/out.log"
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$results/out.log" | tail -1)
  read -r p _ f _ s _ <<<"$line"
  if [ -z "$line" ]; then broken "$part" "exit $code and no counts"; else row "$part" "$p" "$f" "$s" ""; fi
}

x86_64() {
  [ "$(uname -m)" = x86_64 ] || { skip x86-64 "this machine is not one"; return; }
  build build || { broken x86-64 "does not build"; return; }
  unit "x86-64, plain C" build c
  if grep -qw avx2 /proc/cpuinfo; then unit "x86-64, AVX2" build c,avx2
  else skip "x86-64, AVX2" "this processor has none"; fi
}

emulated() { # NAME TRIPLET QEMU
  local name=$1 triplet=$2 qemu=$3 sysroot=$PWD/.deps/sysroot-$1 folder=build-$1
  has "$triplet-gcc" || { skip "$name" "no $triplet-gcc"; return; }
  has "$qemu" || { skip "$name" "no $qemu"; return; }
  [ -e "$sysroot/complete-openssl" ] || { skip "$name" "no $sysroot: tools/deps.sh platforms"; return; }
  constants "$name" "sysroot = '$sysroot'"
  build "$folder" --cross-file ".deps/$name.ini" --cross-file "tools/cross/$name.ini" ||
    { broken "$name" "does not build"; return; }
  if [ "$name" = arm64 ]; then
    unit "arm64, NEON" "$folder" ""
    unit "arm64, plain C: kernels to engine" "$folder" c kernel kernel_tiers kernel_rans kernel_merge \
      codec engine
  else
    unit "$name, plain C" "$folder" ""
  fi
  printf '#!/bin/sh\nexec %s -L %s %s/%s/mmh "$@"\n' "$qemu" "$sysroot" "$PWD" "$folder" >"$folder/mmh.sh"
  chmod +x "$folder/mmh.sh"
  counted "$name, golden files" env MMH_BIN="$PWD/$folder/mmh.sh" python3 tools/same_bytes.py golden
  build build || { broken "$name, same bytes" "the build here does not build"; return; }
  counted "$name, same bytes" python3 tools/same_bytes.py compare build/mmh "$folder/mmh.sh"
}

windows() {
  local sysroot=$PWD/.deps/sysroot-windows
  has x86_64-w64-mingw32-gcc || { skip windows "no x86_64-w64-mingw32-gcc"; return; }
  has wine64 || { skip windows "no wine64"; return; }
  [ -e "$sysroot/complete" ] || { skip windows "no cmocka for mingw: tools/deps.sh platforms"; return; }
  constants windows "sysroot = '$sysroot'" "wine = '$(command -v wine64)'"
  build build-windows --cross-file .deps/windows.ini --cross-file tools/cross/windows.ini \
    -Dcore_only=true || { broken windows "does not build"; return; }
  export WINEPREFIX=$PWD/build-windows/wine WINEDEBUG=-all
  if [ ! -d "$WINEPREFIX" ]; then wine64 wineboot -i </dev/null >/dev/null 2>&1; fi
  unit "Windows, rooms up to codec" build-windows ""
  unit "Windows, plain C" build-windows c
}

instructions() {
  local sysroot=$PWD/.deps/sysroot-arm64
  printf '\n== instructions per weight\n'
  if [ "$(uname -m)" != x86_64 ]; then skip "instructions, x86-64" "this machine is not one"
  elif ! has qemu-x86_64; then skip "instructions, x86-64" "no qemu-x86_64"
  elif build build && python3 tools/count_instructions.py build qemu-x86_64 -cpu max; then
    row "instructions, x86-64" 1 0 0 ""
  else broken "instructions, x86-64" "not counted"; fi
  if ! has qemu-aarch64; then skip "instructions, arm64" "no qemu-aarch64"
  elif [ ! -e build-arm64/bench/bench_instructions ]; then skip "instructions, arm64" "no build of arm64"
  elif python3 tools/count_instructions.py build-arm64 qemu-aarch64 -L "$sysroot"; then
    row "instructions, arm64" 1 0 0 ""
  else broken "instructions, arm64" "not counted"; fi
}

[ $# -gt 0 ] || set -- x86-64 arm64 s390x windows instructions
for part in "$@"; do
  case $part in
    x86-64) x86_64 ;;
    arm64) emulated arm64 aarch64-linux-gnu qemu-aarch64 ;;
    s390x) emulated s390x s390x-linux-gnu qemu-s390x ;;
    windows) windows ;;
    instructions) instructions ;;
    *) echo "check_platforms: there is no part $part" >&2; exit 2 ;;
  esac
done

printf '\n%-34s %7s %7s %7s\n' part passed failed skipped
cat "$results/table"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
