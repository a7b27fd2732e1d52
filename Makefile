# SPDX-License-Identifier: Apache-2.0
# A thin face on Meson: `make` builds, `make demo` and `make check` set a fresh machine up first.

BUILD ?= build
PYTHON ?= .venv/bin/python
T ?= container

.PHONY: all deps demo check check-platforms test golden fmt lint bench bench-large gpu-check gpu-bench fuzz install clean help

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/deps.sh --check
	@meson setup $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

deps: ## install what is missing, by package name
	@tools/deps.sh

demo: deps ## set up, build, pack and restore a real model, print the table
	@$(MAKE) --no-print-directory all
	@tools/demo.py

check: ## set up, build, run every test; what CI runs
	@tools/deps.sh check
	@tools/check.sh

check-platforms: ## the tests on arm64, s390x and Windows by emulation, and on x86-64's kernels apart
	@tools/deps.sh platforms
	@tools/check_platforms.sh

test: all ## the quick tests alone
	@meson test -C $(BUILD) --suite unit --print-errorlogs

golden: all ## write the golden files of the format's draft anew
	@tools/golden.py $(BUILD)

fmt: ## clang-format, ruff
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i
	@if [ -x .venv/bin/ruff ]; then .venv/bin/ruff format -q tools tests bench; fi

lint: all ## rooms, clang-tidy, cppcheck
	@tools/lint.sh $(BUILD)

bench: ## ratio and speed beside memcpy and named baselines, over shared and made corpora
	@tools/deps.sh bench
	@$(MAKE) --no-print-directory all
	@$(PYTHON) bench/bench.py

bench-large: ## the same on large models
	@tools/deps.sh bench
	@$(MAKE) --no-print-directory all
	@$(PYTHON) bench/bench.py --large

gpu-check: all ## the device tests; with MMH_GPU=1 a missing GPU is a failure, not a skip
	@tools/gpu_check.sh check $(BUILD)

gpu-bench: all ## decoding on the GPU
	@tools/gpu_check.sh bench $(BUILD)

fuzz: ## make fuzz T=container: libFuzzer with ASan and UBSan on one target, until interrupted
	@command -v clang >/dev/null || { echo "make fuzz needs clang: apt install clang" >&2; exit 1; }
	@[ -d build-fuzz ] || CC=clang meson setup build-fuzz -Dfuzz=true -Dtests=false \
	  -Db_sanitize=address,undefined -Db_lundef=false -Ddefault_library=static
	@ninja -C build-fuzz tests/fuzz_$(T)
	@mkdir -p build-fuzz/corpus/$(T)
	@build-fuzz/tests/fuzz_$(T) $(FUZZ_ARGS) build-fuzz/corpus/$(T) tests/fuzz/corpus/$(T)

install: all
	@meson install -C $(BUILD)

clean:
	@rm -rf $(BUILD) build-asan build-tsan build-c build-fuzz build-arm64 build-s390x build-windows
