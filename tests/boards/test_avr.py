"""What is different on AVR: flash apart from RAM, ints of 16 bits, 2 KB of RAM, exact cycles."""

from __future__ import annotations

import pytest
from recipes import STRESS
from tflite_writer import Recipe

from toolchain.board import boards_dir, find_board
from toolchain.device.running import open_device
from toolchain.errors import DoesNotFit
from toolchain.graph import reference

AVR = ("arduino-uno", "arduino-mega2560")
TINY = Recipe(hidden=(2,), steps=2)
STATES_WINDOWS = 2

# Cycles of a forecast of 28 steps, to notice when one gets slower; they depend on the values.
LSTM_CYCLES = {16: 4_500_000, 32: 10_700_000, 64: 28_700_000}


def main_that(statement: str) -> str:
    return (
        "#include <avr/io.h>\n"
        '#include "console.h"\n#include "line.h"\n#include "port.h"\n\n'
        f"int main(void) {{\n    port_init();\n    console_start();\n    {statement}\n"
        "    for (;;) {\n    }\n}\n"
    )


@pytest.mark.parametrize("hidden", LSTM_CYCLES)
def test_an_lstm_fits_32_kb_and_runs_in_2_kb(hidden, build_firmware, make_windows, request):
    firmware = build_firmware("arduino-uno", Recipe(hidden=(hidden,), steps=28))
    image, graph = firmware.image, firmware.graph
    windows = make_windows(graph, STATES_WINDOWS)
    expected = reference.run(graph, windows)
    with open_device(firmware.board, image.path) as session:
        found = [session.forecast(window) for window in windows]
        size, used = session.stack()
    cycles = max(ticks for _, ticks in found)
    for name, value in {
        "flash": image.flash_bytes, "static": image.ram_bytes, "stack": used, "cycles": cycles,
    }.items():  # fmt: skip
        request.node.user_properties.append((name, value))
    assert [outputs.tolist() for outputs, _ in found] == expected.outputs.tolist()
    assert image.flash_bytes <= 32_768 - 512  # the boot loader's
    assert image.ram_bytes + size == 2_048
    assert image.ram_bytes + used <= 2_048
    assert used <= firmware.board.stack_bytes
    assert graph.macs < cycles < LSTM_CYCLES[hidden]


@pytest.mark.parametrize("name", STRESS)
def test_every_state_is_exact_where_everything_saturates(name, build_firmware, make_windows):
    firmware = build_firmware("arduino-mega2560", STRESS[name])
    graph = firmware.graph
    windows = make_windows(graph, STATES_WINDOWS)
    expected = reference.run(graph, windows, trace=True)
    with open_device(firmware.board, firmware.image.path) as session:
        for number, window in enumerate(windows):
            session.reset()
            for step, sample in enumerate(window):
                session.step(sample)
                for layer in range(len(graph.hidden_sizes)):
                    hidden, cells = session.state(layer)
                    assert hidden.tolist() == expected.hidden[layer][number, step].tolist()
                    assert cells.tolist() == expected.cells[layer][number, step].tolist()


@pytest.mark.parametrize("name", AVR)
def test_no_constant_takes_ram(name, build_firmware):
    image = build_firmware(name, TINY).image
    sizes = {section.name: section.bytes for section in image.sections if section.memory == "ram"}
    in_ram = {symbol.name for symbol in image.symbols if symbol.memory == "ram"}
    assert ".rodata" not in sizes
    assert sizes.get(".data", 0) == 0
    assert image.ram_bytes == sizes[".bss"]
    assert not {
        symbol for symbol in in_ram if symbol.startswith(("model", "activation", "crc32_n"))
    }
    for constant in ("model", "model_lstm0_recurrent_weights", "activation_table"):
        (address,) = {symbol.address for symbol in image.symbols if symbol.name == constant}
        assert address < 65_536


@pytest.mark.parametrize("name", AVR)
def test_ticks_count_cycles(name, build_firmware, run_board):
    # Six cycles a turn, but five for the last. Timer 1 wraps at 65,536.
    turns = [10, 1_000, 10_000, 2_000_000]
    loop = "".join(
        f"turns = {count}u; port_start_ticks();"
        ' __asm__ volatile("1: subi %A0, 1\\nsbci %B0, 0\\nsbci %C0, 0\\nsbci %D0, 0\\nbrne 1b"'
        ' : "+d"(turns));'
        " line_unsigned(port_ticks()); line_end_log();"
        for count in turns
    )
    firmware = build_firmware(name, TINY, main_that(f"uint32_t turns; {loop}"))
    with run_board(firmware) as running:
        running.line()
        running.line()
        ticks = [int(running.line()) for _ in turns]
    overhead = ticks[0] - 6 * turns[0]
    assert 0 < overhead < 40
    assert ticks[1] == 6 * turns[1] + overhead
    assert ticks[2] == 6 * turns[2] + overhead
    wraps = ticks[3] // 65_536
    # Counting the wraps takes its time, too; it is the only thing that does.
    assert 20 < (ticks[3] - 6 * turns[3] - overhead) / wraps < 60


FAULTS = {
    "interrupt": ("TCCR0B = 1; TIMSK0 = 1;", b"# fault interrupt without a handler"),
    "stack": (
        "volatile uint8_t hole[port_stack_bytes() - 8u];"
        " for (uint8_t i = 0; i < 16u; i++) { hole[i] = i; } (void)hole[0]; port_get();",
        b"# fault stack met the variables",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", AVR)
def test_a_fault_is_reported_and_the_watchdog_restarts(name, fault, build_firmware, run_board):
    statement, words = FAULTS[fault]
    firmware = build_firmware(name, TINY, main_that(statement))
    with run_board(firmware) as running:
        greeting = [running.line(), running.line()]
        report = running.line()
        again = [running.line(), running.line()]
    assert report == words
    assert again == greeting


def test_constants_above_64_kb_are_refused_by_how_much(build_firmware):
    with pytest.raises(DoesNotFit) as caught:
        build_firmware("arduino-mega2560", Recipe(hidden=(80, 80), steps=2))
    message = str(caught.value)
    assert message.startswith("arduino-mega2560: needs ")
    assert "bytes for constants in the lower 64 KB of flash, has 65,536, " in message
    assert " too few; largest: " in message
    for name in ("lstm0_recurrent", "lstm1_input", "lstm1_recurrent"):
        assert f"model_{name}_weights {4 * 80 * 80:,}" in message


def test_an_array_too_long_for_the_compiler_is_refused(build_firmware):
    with pytest.raises(DoesNotFit) as caught:
        build_firmware("arduino-mega2560", Recipe(hidden=(96,), steps=2))
    assert str(caught.value) == (
        "arduino-mega2560: model_lstm0_recurrent_weights is longer than 32,767 bytes, the most "
        "that an array may have on this core. Try a smaller --hidden or a larger board (shelfcast "
        "boards lists them)."
    )


def test_too_large_an_image_is_refused_by_how_much(build_firmware):
    with pytest.raises(DoesNotFit) as caught:
        build_firmware("arduino-uno", Recipe(hidden=(88,), steps=2))
    message = str(caught.value)
    assert message.startswith("arduino-uno: needs ")
    assert " bytes of flash, has 32,256, " in message
    assert "too few; largest: model_lstm0_recurrent_weights 30,976, " in message


def test_constants_out_of_a_pointers_reach_are_refused_by_how_much(build_firmware):
    with pytest.raises(DoesNotFit) as caught:
        build_firmware("arduino-mega2560", Recipe(hidden=(88, 52, 40), steps=2))
    message = str(caught.value)
    assert message.startswith("arduino-mega2560: needs ")
    assert " bytes for constants in the lower 64 KB of flash, has 65,536, " in message
    assert "too few; largest: model_lstm0_recurrent_weights 30,976, " in message


def test_variables_and_stack_above_2_kb_are_refused_by_how_much(build_firmware):
    board = find_board("arduino-uno", boards_dir())
    with pytest.raises(DoesNotFit) as caught:
        build_firmware("arduino-uno", Recipe(hidden=(4,), features=5, steps=365))
    message = str(caught.value)
    assert message.startswith("arduino-uno: needs ")
    assert f" bytes of RAM ({board.stack_bytes} of it stack), has 2,048, " in message
    assert "too few; largest: console_window 1,825, " in message
