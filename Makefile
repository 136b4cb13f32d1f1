# The short way to everything; CMakePresets.json has the presets themselves.
#   make JOBS=1 ...   builds with one job; the default is one a processor
MAKEFLAGS += --no-print-directory
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
ARGS ?=
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build run demo test test-release test-asan test-tsan format check-format check-layering clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# dpkg is asked first, so that nothing is fetched where nothing is missing.
setup:  ## Installs the Debian packages of packages.txt that are missing
	@set -e; missing=; \
	for package in $$(grep -v '^#' packages.txt); do \
	  dpkg -s "$$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  root=; [ "$$(id -u)" = 0 ] || root=sudo; \
	  echo "installing:$$missing"; \
	  $$root apt-get update -q; \
	  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi

build-%: setup
	@cmake --preset $* --log-level=WARNING
	@cmake --build --preset $* -j $(JOBS)

build: build-release  ## Builds everything, optimized

run: setup  ## Starts the example server on 127.0.0.1:7400, data in ./data (ARGS=... are passed on)
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release -j $(JOBS) --target chat_server chat_cli
	@exec build/release/bin/chat_server --listen 127.0.0.1 --port 7400 --data data --insecure-dev-auth $(ARGS)

demo: setup  ## Plays a scripted conversation against a fresh server and checks every delivery
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release -j $(JOBS) --target demo chat_server
	@exec build/release/bin/demo --server build/release/bin/chat_server $(ARGS)

test: test-release test-asan  ## All tests, optimized and under AddressSanitizer and UBSan

test-release: build-release
	@ctest --preset release

test-asan: build-asan
	@ctest --preset asan

test-tsan: build-tsan  ## All tests under ThreadSanitizer
	@ctest --preset tsan

sources = $(shell find include src tests examples -name '*.h' -o -name '*.cpp')

format:  ## Formats the sources in place
	@clang-format -i $(sources)

check-format: setup  ## Fails where a source is not formatted
	@clang-format --dry-run --Werror $(sources) && echo "format: $(words $(sources)) files"

check-layering: setup  ## Fails on an include that the layers forbid
	@python3 tests/layering/check.py --self-test
	@python3 tests/layering/check.py .

clean:  ## Removes what was built (not ./data)
	@rm -rf build
