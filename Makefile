# make demo and make test are all a newcomer needs; each does its own set-up first.

.PHONY: help demo test test-full check bench format setup clean

BOARDS := netduinoplus2 stm32vldiscovery
RUN := .venv/bin
C_FILES = $(shell git ls-files '*.c' '*.h')

help:
	@echo "make demo       real grocery sales to a bit-exact forecast on two emulated boards"
	@echo "make test       set up, check, and run every test but the slow ones"
	@echo "make test-full  the slow and thorough tests too"
	@echo "make check      lint, types, formatting"
	@echo "make bench      speed and size, in figures that do not depend on the machine"
	@echo "make format     format Python and C"
	@echo "make setup      only install what the others need"

demo: setup
	@for board in $(BOARDS); do \
	    $(RUN)/shelfcast deploy examples/complete_journey --board $$board || exit; \
	done

test: setup
	@started=$$(date +%s); \
	$(MAKE) --no-print-directory check && $(RUN)/pytest -n 2 --dist loadgroup -m "not full"; \
	code=$$?; echo "make test took $$(($$(date +%s) - started)) seconds"; exit $$code

test-full: setup check
	$(RUN)/pytest -n 2 --dist loadgroup

check: setup
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy
	clang-format --dry-run --Werror $(C_FILES)

bench: setup
	$(RUN)/python bench/host_reference.py

format: setup
	$(RUN)/ruff check --fix
	$(RUN)/ruff format
	clang-format -i $(C_FILES)

clean:
	rm -rf .cache .venv runs dist

# Set-up. What is there already is left alone.

setup: .cache/system .venv/.synced

# A program, and the Debian package that brings it. The C library of the ARM compiler is asked for by file.
PROGRAMS := cc:gcc git:git clang-format:clang-format arm-none-eabi-gcc:gcc-arm-none-eabi \
    qemu-system-arm:qemu-system-arm
NEWLIB := libnewlib-arm-none-eabi

.cache/system: Makefile
	@mkdir -p .cache; missing=""; \
	for pair in $(PROGRAMS); do \
	    command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair##*:}"; \
	done; \
	case "$$(arm-none-eabi-gcc -print-file-name=nano.specs 2>/dev/null)" in \
	    */*) ;; *) missing="$$missing $(NEWLIB)" ;; \
	esac; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3 python3-venv"; \
	if [ -n "$$missing" ]; then \
	    as_root=""; [ "$$(id -u)" = 0 ] || as_root=sudo; \
	    if command -v apt-get >/dev/null && { [ -z "$$as_root" ] || command -v sudo >/dev/null; }; then \
	        echo "installing:$$missing"; \
	        $$as_root apt-get update -qq && \
	        DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends \
	            libc6-dev $$missing >.cache/apt.log 2>&1 || { tail -n 20 .cache/apt.log; exit 1; }; \
	    else \
	        echo "Install these first (names of Debian's packages):$$missing"; exit 1; \
	    fi; \
	fi
	@touch $@

.venv/.synced: pyproject.toml uv.lock .cache/system
	@command -v uv >/dev/null || [ -x .cache/uv/bin/uv ] || \
	    { python3 -m venv .cache/uv && .cache/uv/bin/pip install --quiet uv; }
	@PATH="$$PATH:$(CURDIR)/.cache/uv/bin"; echo "installing Python packages"; uv sync --locked --quiet
	@touch $@
