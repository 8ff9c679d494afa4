# make demo and make test are all a newcomer needs; each does its own set-up first.

.PHONY: help demo test test-full check bench sizes bench-host format setup setup-all clean

BOARDS := netduinoplus2 stm32vldiscovery
RUN := .venv/bin
C_FILES = $(shell git ls-files '*.c' '*.cc' '*.h')

help:
	@echo "make demo       real grocery sales to a bit-exact forecast on two emulated boards"
	@echo "make test       set up, check, and run every test but the slow ones"
	@echo "make test-full  the slow and thorough tests too"
	@echo "make check      lint, types, formatting"
	@echo "make bench      the engine's speed and size on every core, against the last commit's"
	@echo "make sizes      measure what shelfcast fit predicts from: every board, built"
	@echo "make bench-host how fast the host reference is beside TFLite Micro's interpreter"
	@echo "make format     format Python and C"
	@echo "make setup      only install what the others need"

demo: setup
	@for board in $(BOARDS); do \
	    $(RUN)/shelfcast deploy examples/complete_journey --board $$board || exit; \
	done

test: setup-all
	@started=$$(date +%s); \
	$(MAKE) --no-print-directory check && $(RUN)/pytest -n 2 --dist loadgroup -m "not full"; \
	code=$$?; echo "make test took $$(($$(date +%s) - started)) seconds"; exit $$code

test-full: setup-all check
	$(RUN)/pytest -n 2 --dist loadgroup

check: setup-all
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy
	clang-format --dry-run --Werror $(C_FILES)

bench: setup-all
	$(RUN)/python bench/engine.py

sizes: setup-all
	$(RUN)/python bench/sizes.py

bench-host: setup
	$(RUN)/python bench/host_reference.py

format: setup-all
	$(RUN)/ruff check --fix
	$(RUN)/ruff format
	clang-format -i $(C_FILES)

clean:
	rm -rf .cache .venv runs dist

# Set-up. What is there already is left alone; what is missing is installed through apt, or named.
# The demo needs one compiler and one emulator; the tests need those of every board.

setup: .cache/demo-tools .venv/.synced
setup-all: .cache/test-tools .venv/.synced

# NEED,probe,package: a shell command that succeeds where the package is not needed.
NEED = $(1) >/dev/null 2>&1 || missing="$$missing $(2)";
HAS_HEADER = echo '\#include <$(2)>' | $(1) -E -xc -

define INSTALL
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
endef

.cache/demo-tools: Makefile
	@mkdir -p .cache; missing=""; \
	$(call NEED,command -v cc,gcc) \
	$(call NEED,python3 -c 'import ensurepip$(,) venv',python3 python3-venv) \
	$(call NEED,command -v arm-none-eabi-gcc,gcc-arm-none-eabi) \
	$(call NEED,test -e "$$(arm-none-eabi-gcc -print-file-name=nano.specs)",libnewlib-arm-none-eabi) \
	$(call NEED,command -v qemu-system-arm,qemu-system-arm) \
	$(INSTALL)
	@touch $@

.cache/test-tools: .cache/demo-tools
	@missing=""; \
	$(call NEED,command -v git,git) \
	$(call NEED,command -v clang-format,clang-format) \
	$(call NEED,command -v cmake,cmake) \
	$(call NEED,command -v c++,g++) \
	$(call NEED,command -v qemu-system-riscv32,qemu-system-misc) \
	$(call NEED,command -v riscv64-unknown-elf-gcc,gcc-riscv64-unknown-elf) \
	$(call NEED,test -e "$$(riscv64-unknown-elf-gcc -print-file-name=picolibc.specs)",picolibc-riscv64-unknown-elf) \
	$(call NEED,command -v avr-gcc,gcc-avr) \
	$(call NEED,$(call HAS_HEADER,avr-gcc -mmcu=atmega328p,avr/io.h),avr-libc) \
	$(call NEED,$(call HAS_HEADER,cc,simavr/sim_avr.h),libsimavr-dev) \
	$(call NEED,$(call HAS_HEADER,cc,libelf.h),libelf-dev) \
	$(call NEED,command -v avrdude,avrdude) \
	$(call NEED,command -v dfu-util,dfu-util) \
	$(call NEED,command -v bossac,bossa-cli) \
	$(call NEED,command -v node,nodejs) \
	$(call NEED,command -v npm,npm) \
	$(INSTALL)
	@touch $@

.venv/.synced: pyproject.toml uv.lock .cache/demo-tools
	@command -v uv >/dev/null || [ -x .cache/uv/bin/uv ] || \
	    { python3 -m venv .cache/uv && .cache/uv/bin/pip install --quiet uv; }
	@PATH="$$PATH:$(CURDIR)/.cache/uv/bin"; echo "installing Python packages"; uv sync --locked --quiet
	@touch $@

, := ,
