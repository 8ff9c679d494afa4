from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from tflite_writer import Recipe

from toolchain.board import boards_dir, find_board
from toolchain.device.protocol import Greeting, decode_answer, encode_request
from toolchain.device.running import open_device
from toolchain.graph import reference

SMALL = Recipe(hidden=(8, 5), features=3, steps=9, dense=(2,))
SATURATING = Recipe(
    hidden=(13,), weight_scale=0.05, bias_limit=400_000, output_scale=0.3, cell_power=-14
)

FAULTS = {
    # name: (statement, first words of the report, CFSR)
    "bus": ("*(volatile uint32_t *)0xe0200000u = 1u;", b"# fault bus pc=0x", "00008200"),
    "usage": ('__asm__ volatile("udf 0");', b"# fault usage pc=0x", "00010000"),
    "exception": ('__asm__ volatile("svc 0");', b"# fault exception number=0x0000000b", "00000000"),
    # The stack is outside RAM: there is no frame to read, and none is read.
    "lost stack": (
        '__asm__ volatile("ldr r0, =0xf0000010\\nmsr msp, r0\\nudf 0");',
        b"# fault bus sp=0xeffffff0",
        "00011000",
    ),
}

# ARMv6-M has one fault for all of them, and no register that says more.
ARMV6_FAULTS = {
    name: (statement, re.sub(rb"bus|usage", b"hard", words), None)
    for name, (statement, words, _) in FAULTS.items()
}

# Machines of QEMU on which writing to where nothing is does no harm.
FORGIVING = ("lm3s6965evb", "netduino2")

RISCV_FAULTS = {
    # name: (statement, first words of the report, mcause)
    "bus": ("*(volatile uint32_t *)0xf0000000u = 1u;", b"# fault store pc=0x", "00000007"),
    "usage": ('__asm__ volatile("unimp");', b"# fault illegal pc=0x", "00000002"),
    "exception": ('__asm__ volatile("ecall");', b"# fault exception pc=0x", "0000000b"),
    "lost stack": (
        '__asm__ volatile("li sp, 0xf0000010\\nsw ra, 0(sp)");',
        b"# fault store pc=0x",
        "00000007",
    ),
}


def is_riscv(name: str) -> bool:
    return find_board(name, boards_dir()).core.startswith("rv32")


def counts_cycles(name: str) -> bool:
    return find_board(name, boards_dir()).emulator.kind == "simavr"


def faults_of(name: str) -> dict[str, tuple[str, bytes, str | None]]:
    if is_riscv(name):
        return RISCV_FAULTS
    return ARMV6_FAULTS if "-m0" in find_board(name, boards_dir()).core else FAULTS


def main_that(statement: str) -> str:
    return (
        '#include "console.h"\n#include "line.h"\n#include "port.h"\n\n'
        f"int main(void) {{\n    port_init();\n    console_start();\n    {statement}\n"
        "    for (;;) {\n    }\n}\n"
    )


def test_every_board_builds_within_its_memory(any_board, build_firmware):
    firmware = build_firmware(any_board, SMALL)
    board, image = firmware.board, firmware.image
    assert image.flash_bytes <= board.flash.bytes
    assert image.ram_bytes + board.stack_bytes <= board.ram.bytes
    for segment in image.segments:
        assert board.flash.origin <= segment.address
        assert segment.address + len(segment.data) <= board.flash.end
    for section in image.sections:
        if section.memory == "ram":
            assert board.ram.origin <= section.address
            assert section.address + section.bytes <= board.ram.end


def test_a_board_greets_with_its_profile_and_its_model(emulated_board, build_firmware, run_board):
    firmware = build_firmware(emulated_board, SMALL)
    board, image = firmware.board, firmware.image
    with run_board(firmware) as running:
        assert running.line() == f"# shelfcast 0.1.0 on {board.name}".encode()
        ready = decode_answer(running.line())
    assert ready.kind == "ready"
    greeting = Greeting.parse(ready.values)
    assert (greeting.board, greeting.model_crc) == (board.name, firmware.graph.crc32)
    assert (greeting.clock_hz, greeting.line_bytes) == (board.clock_hz, board.line_bytes)
    assert greeting.ram_bytes == image.ram_bytes
    assert greeting.stack_bytes == board.ram.bytes - image.ram_bytes


@pytest.mark.parametrize("recipe", [SMALL, SATURATING], ids=["stacked", "saturating"])
def test_every_state_and_forecast_equals_the_reference(
    emulated_board, recipe, build_firmware, make_windows
):
    firmware = build_firmware(emulated_board, recipe)
    graph = firmware.graph
    windows = make_windows(graph, 6)
    expected = reference.run(graph, windows, trace=True)
    with open_device(firmware.board, firmware.image.path) as session:
        for number, window in enumerate(windows):
            session.load(window)
            assert session.read_input().tolist() == window.tolist()
            outputs, _ = session.run()
            assert outputs.tolist() == expected.outputs[number].tolist()
        session.reset()
        for step, sample in enumerate(windows[0]):
            session.step(sample)
            for layer in range(len(graph.hidden_sizes)):
                hidden, cells = session.state(layer)
                assert hidden.tolist() == expected.hidden[layer][0, step].tolist()
                assert cells.tolist() == expected.cells[layer][0, step].tolist()
        size, used = session.stack()
    assert 64 <= used <= firmware.board.stack_bytes < size


def test_ticks_count_instructions(emulated_board, build_firmware, run_board):
    if counts_cycles(emulated_board):
        pytest.skip("its ticks are cycles: test_avr.py counts them")
    # Two instructions a turn; the last loop runs past many wraps of a 24-bit counter.
    turns = [1000, 10_000, 100_000, 1_000_000, 30_000_000]
    two = "subs %0, #1\\nbne 1b"
    if is_riscv(emulated_board):
        two = "addi %0, %0, -1\\nbnez %0, 1b"
    loop = "".join(
        f"turns = {count}u; port_start_ticks();"
        f' __asm__ volatile("1: {two}" : "+r"(turns) : : "cc");'
        " line_unsigned(port_ticks()); line_end_log();"
        for count in turns
    )
    firmware = build_firmware(emulated_board, SMALL, main_that(f"uint32_t turns; {loop}"))
    board = firmware.board
    with run_board(firmware) as running:
        running.line()
        running.line()
        ticks = [int(running.line()) for _ in turns]
    instructions = [board.emulator.instructions(count, board.clock_hz) for count in ticks]
    overhead = instructions[0] - 2 * turns[0]
    assert 0 < overhead < 32
    for got, count in zip(instructions, turns, strict=True):
        # A wrap's interrupt is some instructions more.
        wraps = count * 2 * 64e-9 * board.clock_hz / 2**24
        assert got == pytest.approx(2 * count + overhead, abs=2 + 8 * (wraps + 1))


def test_the_same_forecast_takes_the_same_ticks(emulated_board, build_firmware, make_windows):
    firmware = build_firmware(emulated_board, SMALL)
    window = make_windows(firmware.graph, 1)[0]
    with open_device(firmware.board, firmware.image.path) as session:
        session.load(window)
        assert len({session.run()[1] for _ in range(20)}) == 1


def test_a_burst_of_requests_is_answered_without_a_loss(emulated_board, build_firmware, run_board):
    firmware = build_firmware(emulated_board, SMALL)
    size = firmware.graph.steps * firmware.graph.features
    requests = [encode_request(i, "load", 0, f"{i % 256:02x}" * size) for i in range(1, 201)]
    with run_board(firmware) as running:
        running.line()
        running.line()
        running.link.write(b"".join(requests))
        answers = [decode_answer(running.line()) for _ in requests]
        running.link.write(b"input 0 2\n")
        assert decode_answer(running.line()).values == {"hex": "c8c8"}
    assert [answer.seq for answer in answers] == list(range(1, 201))
    assert {answer.values["bytes"] for answer in answers} == {str(size)}


def test_a_repeated_step_moves_the_state_once(emulated_board, build_firmware, run_board):
    firmware = build_firmware(emulated_board, SMALL)
    step, state = encode_request(7, "step", "102030"), encode_request(8, "state", 1)
    with run_board(firmware) as running:
        running.line()
        running.line()
        running.link.write(step + state + encode_request(9, "reset"))
        once = [running.line() for _ in range(3)]
        running.link.write(step + step + state)
        twice = [running.line() for _ in range(3)]
    assert twice[0] == twice[1]
    assert twice[2] == once[1]
    states = np.frombuffer(bytes.fromhex(decode_answer(once[1]).values["h"]), np.int8)
    sample = np.zeros((1, firmware.graph.steps, 3), np.int8)
    sample[0, 0] = (0x10, 0x20, 0x30)
    expected = reference.run(firmware.graph, sample, trace=True)
    assert states.tolist() == expected.hidden[1][0, 0].tolist()


def test_a_board_that_has_nothing_to_do_sleeps(emulated_board, build_firmware, run_board):
    def cpu_s(process_id: int) -> float:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc to read CPU times from")
    with run_board(build_firmware(emulated_board, SMALL)) as running:
        running.line()
        running.line()
        time.sleep(0.1)
        before = cpu_s(running.emulator.process_id)
        time.sleep(0.5)
        assert cpu_s(running.emulator.process_id) - before < 0.2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_reported_and_the_board_restarts(
    emulated_board, fault, build_firmware, run_board
):
    if counts_cycles(emulated_board):
        pytest.skip("an AVR notices no bad address or instruction: test_avr.py has what it notices")
    if fault == "bus" and emulated_board in FORGIVING:
        pytest.skip("on this machine of QEMU no address is a bad one")
    riscv = is_riscv(emulated_board)
    statement, words, register = faults_of(emulated_board)[fault]
    firmware = build_firmware(emulated_board, SMALL, main_that(statement))
    with run_board(firmware) as running:
        greeting = [running.line(), running.line()]
        report = running.line()
        again = [running.line(), running.line()]
    assert again == greeting
    assert report.startswith(words)
    values = dict(word.split("=") for word in report.decode().split()[3:])
    assert values.get("mcause" if riscv else "cfsr") == (register and f"0x{register}")
    if "pc" in values:
        culprit = firmware.image.symbol_at(int(values["pc"], 16))
        assert culprit is not None
        assert culprit.name == "main"
