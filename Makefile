# SPDX-License-Identifier: MIT
#
# A thin front door: each goal installs what it needs, then hands over to CMake or a script.
.DEFAULT_GOAL := help
.PHONY: help run build test test-browser test-image test-debian13 soak fuzz coverage lint format bench clean
MAKEFLAGS += --no-print-directory
sources = find src tests bench -name '*.[ch]'

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 16

run: needs-release = docs
run: build ## Latchkey and a simulated provider, to click through in a browser (Ctrl-C stops both)
	@tests/provider/run

build: build-release ## the release: build/release/latchkey

# build-<preset>, for every preset of CMakePresets.json, whole or only TARGETS. One at a time a preset.
needs-debug = test
needs-asan = test
needs-coverage = test
needs-clang = test lint
needs-fuzz = lint
build-%:
	@third_party/install build $(needs-$*)
	@mkdir -p build/$*
	@flock build/$* sh -c 'cmake --preset $* >/dev/null && cmake --build --preset $* $(addprefix -t ,$(TARGETS))'

test: ## every test but the browser's, with the sanitizers; the last line counts them
	@third_party/install build test
	@tests/run

test-browser: ## the tests that need a browser
	@third_party/install build test browser
	@tests/run --browser

soak: ## the long campaigns: kills, faults, fuzzing (TEST_SOAK_...=N says how long, tests/soak which)
	@third_party/install build test lint
	@tests/soak

fuzz: ## ten minutes of each fuzz target (MINUTES=N; tests/fuzz/run takes names too)
	@third_party/install build lint
	@tests/fuzz/run $(MINUTES)

coverage: ## which lines of src/ the tests pass; fails below 90 %
	@third_party/install build test
	@tests/coverage

test-image: ## builds the container's image and exercises its server (needs root)
	@third_party/install build test image
	@$(MAKE) build-release TARGETS=simprovider
	@tests/image/run

test-debian13: ## make test, inside a Debian 13 (needs root)
	@third_party/install debian13
	@tests/debian13

lint: ## formatting, clang-tidy, the layers, shellcheck
	@third_party/install build test lint
	@tests/lint/run

format: ## reformat the sources
	@third_party/install lint
	@$(sources) | xargs -r clang-format -i

bench: build ## the speed of the release, next to what one would use instead (ARGS=--quick for less)
	@third_party/install bench
	@bench/run $(ARGS)

clean: ## all that was built (data/ stays)
	@rm -rf build
