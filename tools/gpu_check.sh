#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gpu_check.sh check|bench [BUILD]: the device kernels on everything here that can run them.
#
#   check   every chunk kind decoded bit for bit as the processor does: on each OpenCL device (with
#           processors' OpenCL as one device and as two), in Oclgrind where it is installed, and as
#           CUDA where there are nvcc and a GPU; compiled for every CUDA architecture. MMH_GPU=1: a
#           missing GPU is a failure
#   bench   GB/s of output by element type and level beside a copy on the same device
set -uo pipefail
cd "$(dirname "$0")/.."
action=${1:-check} build=${2:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/mmh-gpu.XXXXXX")
trap 'rm -rf "$work"' EXIT
status=0 gpus=0

section() { printf '\n== %s\n' "$*"; }
failed() { echo "gpu_check: failed: $*"; status=1; }

has_cuda_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; }

# bench_device_cuda, built for the GPU of this machine, on a dump of chunks: KIB ARGUMENTS...
run_cuda() {
  if ! command -v nvcc >/dev/null || ! has_cuda_gpu; then
    echo "gpu_check: CUDA is skipped: it takes nvcc and an NVIDIA GPU"
    return 0
  fi
  gpus=$((gpus + 1))
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  nvcc -O3 -arch=native -Isrc bench/bench_device_cuda.cu -o "$work/bench_device_cuda" &&
    "$build/bench/device_dump" "$work/dump" --kib "$1" >/dev/null &&
    "$work/bench_device_cuda" "$work/dump" "${@:2}" || failed "CUDA"
}

case $action in
  check)
    for devices in "pthread" "pthread pthread"; do
      section "OpenCL, processors as: $devices"
      POCL_DEVICES=$devices "$build/tests/test_device" 2>&1 | tee "$work/log" || failed "OpenCL"
      grep -q ', GPU,' "$work/log" && gpus=$((gpus + 1))
    done
    section "Oclgrind: memory and data races"
    simulator=$(ls /usr/lib/oclgrind/liboclgrind-rt.so /usr/lib/*/oclgrind/liboclgrind-rt.so \
      /usr/local/lib/liboclgrind-rt.so 2>/dev/null | head -1)
    if [ -z "$simulator" ]; then
      echo "gpu_check: skipped: no Oclgrind"
    elif ! MMH_OPENCL=$simulator OCLGRIND_DATA_RACES=1 OCLGRIND_CHECK_API=1 MMH_DEVICE_SMALL=1 \
      OCLGRIND_BUILD_OPTIONS="-cl-opt-disable -DMMH_PLAIN" "$build/tests/test_device" \
      >"$work/oclgrind" 2>&1 ||
      grep -q -i -E 'race|invalid (read|write)|uninitialized|oclgrind.*error' "$work/oclgrind"; then
      head -60 "$work/oclgrind"
      failed "Oclgrind"
    else
      grep -E 'PASSED|SKIPPED' "$work/oclgrind"
    fi
    section "CUDA, compiled"
    tools/cuda_compile.sh || [ $? = 77 ] || failed "compiling as CUDA"
    section "CUDA, run"
    run_cuda 1024 --check
    ;;
  bench)
    section "OpenCL"
    "$build/bench/bench_device" || [ $? = 77 ] || failed "OpenCL"
    section "CUDA"
    run_cuda 2048
    exit $status
    ;;
  *)
    sed -n 's/^# \{0,1\}//p' "$0" | sed -n '2,12p' >&2
    exit 2
    ;;
esac
if [ $gpus = 0 ]; then
  section "there is no GPU here: only processors were checked"
  [ -z "${MMH_GPU:-}" ] || status=1
fi
exit $status
