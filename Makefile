# SPDX-License-Identifier: Apache-2.0
# A thin face on Meson: `make` builds, `make demo` and `make check` set a fresh machine up first.

BUILD ?= build
PYTHON ?= .venv/bin/python
FORMATS_PYTHON ?= .venv-formats/bin/python
PYTHON3 ?= python3
T ?= container
MINUTES ?= 10

.PHONY: all deps demo check check-platforms check-frameworks check-valgrind nightly coverage coverage-formats test \
  golden fmt lint bench bench-large gpu-check gpu-bench fuzz fuzz-all install clean help

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)
	@if [ -e $(BUILD)/src/python/_mmh.abi3.so ]; then \
	  ln -sfn $(abspath $(BUILD))/src/python/_mmh.abi3.so src/python/mmh/_mmh.abi3.so; fi

# Anew when BLAKE3 has come meanwhile: a build without it writes other hashes.
$(BUILD)/build.ninja: $(wildcard .deps/lib/libblake3.so .deps/lib/libcrypto.a)
	@tools/deps.sh --check
	@if [ -e $@ ]; then meson setup --reconfigure $(BUILD) >/dev/null && touch $@; else meson setup $(BUILD); fi
	@[ -e .deps/lib/libblake3.so ] || pkg-config --exists libblake3 || echo "make: no BLAKE3 here:" \
	  "containers get SHA-256, and those with BLAKE3 cannot be read; \`make deps\` gets it"

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

deps: ## install what is missing, by package name
	@tools/deps.sh

demo: deps ## set up, build, pack and restore a real model, print the table
	@$(MAKE) --no-print-directory all
	@tools/demo.py

check: ## set up, build, run every test; what CI runs
	@tools/deps.sh check
	@$(MAKE) --no-print-directory build/build.ninja
	@tools/check.sh

check-valgrind: all ## the quick tests under valgrind
	@tools/valgrind.sh $(BUILD)

nightly: ## what takes longer: valgrind, TSan on everything, clang with more warnings, long fuzzing
	@tools/deps.sh nightly
	@tools/nightly.sh

coverage: ## lines that the unit and the Python tests run, room by room
	@tools/deps.sh check
	@tools/coverage.sh

coverage-formats: ## what of real models is found, beside their frameworks' own loaders; writes docs/formats.md
	@tools/deps.sh formats
	@$(MAKE) --no-print-directory all
	@$(FORMATS_PYTHON) tools/format_coverage.py $(COVERAGE_ARGS)

check-frameworks: ## real models load and compute the same in their frameworks after a round trip
	@tools/deps.sh formats
	@$(MAKE) --no-print-directory all
	@$(FORMATS_PYTHON) tools/verify_restored.py

check-platforms: ## the tests on arm64, s390x and Windows by emulation, and on x86-64's kernels apart
	@tools/deps.sh platforms
	@tools/check_platforms.sh

test: all ## the quick tests alone
	@meson test -C $(BUILD) --suite unit --print-errorlogs

golden: all ## write the golden files of the format's draft anew
	@tools/golden.py $(BUILD)

fmt: ## clang-format, ruff
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i
	@if [ -x .venv/bin/ruff ]; then .venv/bin/ruff format -q tools tests bench src/python; fi

lint: ## rooms, clang-format, clang-tidy, cppcheck, ruff, spelling
	@tools/deps.sh lint
	@$(MAKE) --no-print-directory all
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

fuzz: ## make fuzz T=container: one target, until interrupted or until it finds something
	@tools/deps.sh --check
	@$(PYTHON3) tools/fuzz.py --until-stop $(FUZZ_ARGS) $(T)

fuzz-all: ## make fuzz-all MINUTES=10: each target so long, two at a time, and the table of results
	@tools/deps.sh --check
	@$(PYTHON3) tools/fuzz.py --seconds=$$(($(MINUTES) * 60)) --table $(FUZZ_ARGS)

install: all
	@meson install -C $(BUILD)

clean:
	@rm -rf $(BUILD) build-asan build-tsan build-c build-fuzz build-fuzz-gcc build-clang build-coverage build-arm64 build-s390x build-windows
