"""The deepest stack, from real compilers, of functions whose need is known."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from toolchain.board import boards_dir, read_cores
from toolchain.errors import ToolError
from toolchain.firmware.stack import stack_of

THUMB = """
void deep(void);
__asm__(
    ".text\\n.syntax unified\\n.thumb\\n.global deep\\n.type deep, %function\\n.thumb_func\\n"
    "deep:\\n"
    "push {r4-r7, lr}\\n"      // 20
    "sub sp, #16\\n"           // 36
    "push {r0, r1}\\n"         // 44: the deepest without a call
    "pop {r0, r1}\\n"
    "bl deeper\\n"             // 36 + 4
    "push {r2}\\n"
    "pop {r2}\\n"
    "add sp, #16\\n"
    "pop {r4-r7, pc}\\n"
    ".size deep, . - deep\\n"
    ".type deeper, %function\\n.thumb_func\\n"
    "deeper:\\n"
    "push {lr}\\n"
    "pop {pc}\\n"
    ".size deeper, . - deeper\\n");
int main(void) { deep(); return 0; }
"""


def link(compiler, core, source, folder, *flags):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    (folder / "main.c").write_text(source)
    subprocess.run(
        [compiler, *core.flags, "-Os", *flags, "main.c", "-o", "firmware.elf"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["cortex-m0", "cortex-m3", "cortex-m55"])
def test_assembly_counts_though_the_compiler_knows_nothing_of_it(name, tmp_path):
    core = read_cores(boards_dir())[name]
    flags = ("-fcallgraph-info=su", "-nostartfiles", "-Wl,-emain", "--specs=nano.specs")
    link("arm-none-eabi-gcc", core, THUMB, tmp_path, *flags)

    # main keeps r4 and its return address, 8; deep at most 44, and what it calls 4.
    assert stack_of(tmp_path, core) == 8 + 44 + 4 + core.interrupt_stack_bytes


def test_recursion_has_no_deepest_path(tmp_path):
    core = read_cores(boards_dir())["cortex-m3"]
    source = (
        "int down(int n); int up(int n) { return n ? down(n) + 1 : 0; }\n"
        "__attribute__((noinline)) int down(int n) { return up(n - 1) * 3; }\n"
        "int main(void) { return up(7); }\n"
    )
    flags = ("-fcallgraph-info=su", "-nostartfiles", "-Wl,-emain", "--specs=nano.specs")
    link("arm-none-eabi-gcc", core, source, tmp_path, *flags, "-fno-inline")

    with pytest.raises(ToolError, match="up -> down -> up: recursion, so no stack is enough"):
        stack_of(tmp_path, core)


def test_an_avr_is_read_from_its_instructions(tmp_path):
    core = read_cores(boards_dir())["atmega328p"]
    source = (
        "#include <string.h>\n"
        "__attribute__((noinline)) char sum(char *x) "
        '{ __asm__ volatile("" ::: "memory"); return x[0]; }\n'
        "__attribute__((noinline)) char fill(void) { char x[40]; memset(x, 1, 40); "
        "return sum(x); }\n"
        "int main(void) { return fill(); }\n"
    )
    link("avr-gcc", core, source, tmp_path, "-fno-inline")

    # Return addresses of main, fill and sum; fill keeps r28 and r29 and its 40 bytes.
    assert stack_of(tmp_path, core) == 3 * core.return_bytes + 2 + 40
