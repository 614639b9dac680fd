# Every target sets up its requirements: system packages (through apt, where root or passwordless sudo allows it),
# a virtual environment and an editable installation. Later runs find the stamps and start at once.
#
#   make test PYTHON=/path/to/python3.13 VENV=.venv313      another interpreter
#   make test COUTIL_LIBUV=/prefix                          another libuv than pkg-config's
#   make test-libuv UVLOOP=0.21.0                           the libuv that uvloop carries: 1.48.0

RECENT := import sys; sys.exit(sys.version_info < (3, 11))

ifndef PYTHON
PYTHON := $(or $(shell for one in python3 python3.13 python3.12 python3.11; do \
    $$one -c '$(RECENT)' 2>/dev/null && echo $$one && break; done),python3)
endif
VENV   ?= .venv
ARGS   ?=

BIN    := $(VENV)/bin
RUN    := $(BIN)/python
PIP    := $(RUN) -m pip --quiet --no-input --disable-pip-version-check
PYTEST := COUTIL_DEBUG=1 $(RUN) -m pytest -q
NATIVE := $(wildcard coutil/_libuv/c/*.[ch]) coutil/_libuv/build.py

# uvloop's source distributions contain libuv's source: 0.21.0 that of 1.48.0, 0.23.0 that of 1.52.1.
UVLOOP ?= 0.23.0
LIBUV  := $(CURDIR)/build/libuv-of-uvloop-$(UVLOOP)
LIBUV_TESTS := tests/uv tests/system tests/kernel/test_fork.py tests/kernel/test_direct_switch.py tests/kernel/test_hub.py tests/kernel/test_shim.py

export PYTHON COUTIL_LIBUV

.PHONY: help demo test quick test-libuv check cover asan ubsan tsan sanitized bench soak fuzz docs wheel clean
.DEFAULT_GOAL := help

help:            ## this list
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p' Makefile | expand -t 20

demo: install    ## an echo server and 64 connections that load it for three seconds
	@$(RUN) examples/demo.py $(ARGS)

test: install    ## all tests, with the state machines checked at every transition; ARGS go to pytest
	$(PYTEST) $(if $(ARGS),$(ARGS),--numprocesses 2 --dist worksteal)

quick: install   ## the tests that are not marked slow, for the time between two edits; ARGS go to pytest
	$(PYTEST) -m 'not slow and not soak and not fuzz' $(if $(ARGS),$(ARGS),--numprocesses 2 --dist worksteal)

test-libuv: install $(LIBUV)/prefix    ## the tests that concern libuv, against a newer libuv; ARGS go to pytest
	rm -rf $(LIBUV)/tree $(LIBUV)/venv/.installed && mkdir -p $(LIBUV)/tree
	git ls-files -z --cached --others --exclude-standard | tar --null -cf - -T - | tar -xf - -C $(LIBUV)/tree
	$(MAKE) --no-print-directory -C $(LIBUV)/tree test COUTIL_LIBUV=$(LIBUV)/prefix VENV=$(LIBUV)/venv \
	    ARGS='$(if $(ARGS),$(ARGS),--numprocesses 2 --dist worksteal $(LIBUV_TESTS))'

check: install   ## lint, format, types and the rules of the architecture
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(PYTEST) tests/test_architecture.py

cover: install   ## coverage of the package by all tests; ARGS go to pytest, HTML=1 also writes pages
	@rm -rf $(COVERED) && mkdir -p $(COVERED)
	COUTIL_DEBUG=1 $(RUN) -m coverage run --data-file=$(COVERED)/data -m pytest -q -p no:cacheprovider $(ARGS)
	@$(RUN) -m coverage combine --quiet --data-file=$(COVERED)/data $(COVERED)
	@$(RUN) -m coverage report --data-file=$(COVERED)/data
	@$(if $(HTML),$(RUN) -m coverage html --quiet --data-file=$(COVERED)/data --directory=$(COVERED)/pages)
COVERED := build/cover

asan: SANITIZER := address
asan: sanitized      ## a part of the tests with the C code under AddressSanitizer; ARGS go to pytest
ubsan: SANITIZER := undefined
ubsan: sanitized     ## the same, and all of coutil.uv, under UndefinedBehaviorSanitizer
tsan: SANITIZER := thread
tsan: sanitized      ## code that several threads use, under ThreadSanitizer; tests/tsan.supp lists faults of other libraries

# The package is copied to a separate folder and built there. With PYTHONMALLOC=malloc the sanitizer also detects writes of
# libuv to freed Python memory. Leaks and stack use are off: CPython leaks at its end, and greenlet copies stacks. The C++
# library is loaded first for greenlet's exceptions.
SANITIZED = build/$(SANITIZER)
sanitized: install
	@rm -rf $(SANITIZED)/coutil/_libuv/c  # all files in it are compiled: none must be left from before
	@mkdir -p $(SANITIZED)
	@git ls-files --cached --others --exclude-standard | grep --invert-match pyproject.toml | \
	    tar --create --files-from - | tar --extract --directory $(SANITIZED)
	@rm -f $(SANITIZED)/pyproject.toml  # older versions of setuptools, which cffi uses here, reject it
	@cd $(SANITIZED) && COUTIL_SANITIZER=$(SANITIZER) $(CURDIR)/$(RUN) coutil/_libuv/build.py >build.log 2>&1 || \
	    { cat build.log; exit 1; }
	@cp pyproject.toml $(SANITIZED)
	cd $(SANITIZED) && COUTIL_DEBUG=1 PYTHONPATH=. PYTHONMALLOC=malloc \
	    ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1 \
	    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 TSAN_OPTIONS="$(TSAN_OPTIONS)" \
	    LD_PRELOAD="$$(cc -print-file-name=lib$(LIBRARY_$(SANITIZER)).so) $$(cc -print-file-name=libstdc++.so.6)" \
	    $(CURDIR)/$(RUN) -m pytest -q -p no:cacheprovider -o faulthandler_timeout=300 $(or $(ARGS),$(TESTS_$(SANITIZER)))
LIBRARY_address   := asan
LIBRARY_undefined := ubsan
LIBRARY_thread    := tsan
TESTS_address     := tests/kernel/test_shim.py tests/kernel/test_bytecode_points.py tests/kernel/test_handle_life.py \
    tests/system/test_receive.py tests/system/test_send.py tests/system/test_datagram.py tests/system/test_local.py \
    tests/system/test_files.py tests/system/test_names.py tests/system/test_random.py tests/system/test_watch.py \
    tests/uv/test_request.py tests/uv/test_stream.py tests/uv/test_udp.py tests/uv/test_fs.py tests/uv/test_process.py
TESTS_undefined   := $(TESTS_address) tests/uv tests/streams tests/system/test_accept.py tests/system/test_address.py \
    tests/system/test_datagram_options.py tests/system/test_information.py tests/system/test_share.py \
    tests/system/test_stdio.py tests/system/test_terminal.py tests/system/test_children.py

# ThreadSanitizer cannot follow a fork that starts threads again, has a thread itself, which counts against limits, and
# needs memory for each thread that has ever run: -k leaves out the tests that measure these. A forgotten thread is never
# joined, so leaks of threads are not reported.
TSAN_OPTIONS      := halt_on_error=1:report_signal_unsafe=0:report_thread_leaks=0:suppressions=$(CURDIR)/tests/tsan.supp
TESTS_thread      := tests/kernel/test_threads.py tests/kernel/test_wakers.py tests/kernel/test_pool.py \
    tests/uv/test_locks.py tests/uv/test_thread.py tests/uv/test_async.py tests/uv/test_work.py tests/uv/test_loop.py \
    tests/test_promise_threads.py tests/system/test_socket_threads.py tests/streams/test_descriptors.py tests/system/test_names.py \
    -k 'not fork and not many_threads_leave_nothing and not as_many_threads_as_the_pool_has'

bench: $(VENV)/.bench    ## compare with gevent, uvloop, trio and curio
	$(RUN) -m benchmarks $(ARGS)

soak: install    ## tests that run for minutes and look for leaks
	$(PYTEST) -m soak -o faulthandler_timeout=900 $(ARGS)

fuzz: install    ## tests with many random examples
	$(PYTEST) -m fuzz -o faulthandler_timeout=900 $(ARGS)

docs: install    ## write docs/uv-reference.md from the table of libuv's functions
	$(RUN) docs/uv_reference.py

wheel: install   ## dist/coutil-*.whl
	rm -rf build/bdist.* build/lib.* build/temp.* dist
	$(PIP) wheel --no-deps --wheel-dir dist .
	rm -rf build/bdist.* build/lib.* build/temp.*
	@ls dist/*.whl

clean:           ## remove all files that these targets have made
	rm -rf $(VENV) build dist benchmarks/build *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f coutil/_libuv/_lib.c coutil/_libuv/*.o coutil/_libuv/c/*.o coutil/_libuv/*.so
	find coutil tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

# -- set-up

.PHONY: install always
install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py $(NATIVE) $(VENV)/.libuv
	@rm -f coutil/_libuv/_lib$$($(RUN) -c 'import sysconfig as s; print(s.get_config_var("EXT_SUFFIX"))')  # hides abi3
	$(PIP) install --editable '.[dev]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/.installed
	$(PIP) install --editable '.[bench]'
	@touch $@

$(VENV)/.libuv: always | $(VENV)/.system    # changes when COUTIL_LIBUV does
	@echo "$$COUTIL_LIBUV" | cmp --quiet - $@ || echo "$$COUTIL_LIBUV" >$@

$(LIBUV)/prefix: | $(VENV)/.installed
	rm -rf $(LIBUV)/source && mkdir -p $(LIBUV)/source
	$(PIP) download --no-binary :all: --no-deps --dest $(LIBUV) uvloop==$(UVLOOP)
	tar -xzf $(LIBUV)/uvloop-$(UVLOOP).tar.gz -C $(LIBUV)/source --strip-components 3 --wildcards '*/vendor/libuv/*'
	cd $(LIBUV)/source && ./configure --quiet --disable-static --prefix=$(LIBUV)/prefix
	$(MAKE) -C $(LIBUV)/source --silent install || { rm -rf $@; exit 1; }

$(VENV)/.system: export SCRIPT = $(value system)
$(VENV)/.system:
	@sh -eu -c "$$SCRIPT" </dev/null
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@touch $@

# Find missing packages and install them where that is allowed; else name them in one line.
define system
command -v "$PYTHON" >/dev/null || {
    echo "there is no $PYTHON here, and coutil needs Python 3.11 or newer: try make PYTHON=/path/to/python3.11" >&2
    exit 1
}
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "coutil needs Python 3.11 or newer, this one is $version: try make PYTHON=/path/to/python3.11" >&2
    exit 1
}
headers='import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'

missing() {
    command -v cc >/dev/null || echo gcc libc6-dev
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo "python$version-venv"
    "$PYTHON" -c "$headers" || echo "python$version-dev"
    test -n "$COUTIL_LIBUV" || command -v pkg-config >/dev/null || echo pkg-config
    test -n "$COUTIL_LIBUV" || pkg-config --exists 'libuv >= 1.44.2' 2>/dev/null || echo libuv1-dev
}

packages=$(echo $(missing))
if [ -n "$packages" ] && command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then sudo=; else sudo='sudo -n'; fi
    if $sudo true 2>/dev/null; then
        $sudo apt-get --quiet update || true
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes install $packages || true
        packages=$(echo $(missing))
    fi
fi
if [ -n "$packages" ]; then
    echo "please install these (names of Debian packages): $packages" >&2
    exit 1
fi
endef
