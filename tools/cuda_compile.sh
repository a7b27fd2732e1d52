#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cuda_compile.sh: compile the device kernels as CUDA for every architecture, without a GPU, and
# print what each needs: registers, local ("shared") memory, spilled bytes. Fails on errors, warnings
# and spills; skipped where there is no nvcc.
set -euo pipefail
cd "$(dirname "$0")/.."

architectures=(${CUDA_ARCHITECTURES:-75 80 86 89 90 100 120})
if ! command -v nvcc >/dev/null; then
  echo "cuda_compile: skipped: no nvcc"
  exit 77
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/mmh-cuda.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo '#include "device/decode.cl"' >"$work/kernels.cu"
nvcc --version | sed -n 's/.*release/nvcc/p'
status=0
for one in "${architectures[@]}"; do
  if ! nvcc -arch="sm_$one" -Isrc -Xptxas -v -cubin "$work/kernels.cu" -o "$work/kernels.cubin" \
    >"$work/log" 2>&1; then
    if grep -q 'not defined for option\|Unsupported gpu architecture' "$work/log"; then
      echo "sm_$one: skipped: this nvcc does not know it"
      continue
    fi
    cat "$work/log"
    status=1
    continue
  fi
  awk -v sm="sm_$one" '
    /warning|error/ { print; bad = 1 }
    /Compiling entry function/ { split($0, part, "\047"); name = part[2] }
    /spill stores/ { spilled = $5 + $9 }
    /Used [0-9]+ registers/ {
      shared = 0
      for (i = 2; i <= NF; i++) {
        if ($i == "registers,") registers = $(i - 1)
        if ($i ~ /^smem/) shared = $(i - 2)
      }
      printf "%-7s %-24s %3d registers %6d bytes shared %4d spilled\n",
        sm, name, registers, shared, spilled
      if (spilled) bad = 1
    }
    END { exit bad }' "$work/log" || status=1
done
exit $status
