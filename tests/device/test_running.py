"""The real firmware on every emulated board, over the session and over bad cables."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tflite_writer import Recipe

from toolchain.board import Board, boards_dir, read_boards
from toolchain.device.emulation import emulate
from toolchain.device.link import open_link
from toolchain.device.protocol import VERBS
from toolchain.device.qemu import QemuBoard
from toolchain.device.running import open_device
from toolchain.device.session import Session
from toolchain.errors import (
    BoardError,
    EmulatorDied,
    FlashError,
    NoAnswer,
    PortError,
    WrongFirmware,
    WrongModel,
)
from toolchain.graph import reference
from toolchain.graph.types import Graph

EMULATED = [board for board in read_boards(boards_dir()) if board.emulator is not None]

SMALL = Recipe(hidden=(9,), features=3, steps=6)
STACKED = Recipe(hidden=(8, 5), features=3, steps=9)
SEQUENCE = Recipe(hidden=(7,), whole_sequence=True, steps=5)

BuildFirmware = Callable[[Recipe, Board], tuple[Graph, Path]]
MakeWindows = Callable[[Graph, int], np.ndarray]

pytestmark = pytest.mark.usefixtures("qemu")


@pytest.fixture(params=EMULATED, ids=lambda board: board.name)
def board(request: pytest.FixtureRequest) -> Board:
    chosen: Board = request.param
    return chosen


def test_every_forecast_is_that_of_the_host(
    board: Board, build_firmware: BuildFirmware, make_windows: MakeWindows
) -> None:
    graph, elf = build_firmware(STACKED, board)
    windows = make_windows(graph, 12)
    with open_device(board, elf, model_crc=graph.crc32) as session:
        found = [session.forecast(window)[0] for window in windows]

    assert np.array_equal(found, reference.run(graph, windows).outputs)


def test_the_greeting_tells_the_graph_and_the_board(
    board: Board, build_firmware: BuildFirmware
) -> None:
    graph, elf = build_firmware(STACKED, board)
    with open_device(board, elf) as session:
        greeting = session.greeting

    assert (greeting.board, greeting.line_bytes) == (board.name, board.line_bytes)
    assert greeting.clock_hz == board.clock_hz
    assert greeting.model_crc == graph.crc32
    assert (greeting.steps, greeting.features) == (graph.steps, graph.features)
    assert (greeting.outputs, greeting.hidden) == (graph.outputs, graph.hidden_sizes)
    assert greeting.whole_sequence == graph.whole_sequence
    assert np.float32(greeting.input_scale) == np.float32(graph.input.scale)
    assert np.float32(greeting.output_scale) == np.float32(graph.output.scale)
    assert greeting.input_zero_point == graph.input.zero_point
    assert greeting.output_zero_point == graph.output.zero_point


def test_states_after_every_step_are_those_of_the_host(
    board: Board, build_firmware: BuildFirmware, make_windows: MakeWindows
) -> None:
    graph, elf = build_firmware(STACKED, board)
    window = make_windows(graph, 1)
    expected = reference.run(graph, window, trace=True)
    with open_device(board, elf) as session:
        session.reset()
        for step, sample in enumerate(window[0]):
            outputs, _ = session.step(sample)
            for layer in range(len(graph.lstms)):
                hidden, cells = session.state(layer)
                assert np.array_equal(hidden, expected.hidden[layer][0, step])
                assert np.array_equal(cells, expected.cells[layer][0, step])

    assert outputs is not None
    assert np.array_equal(outputs, expected.outputs[0])


def test_states_carry_over_when_they_are_kept(
    board: Board, build_firmware: BuildFirmware, make_windows: MakeWindows
) -> None:
    graph, elf = build_firmware(STACKED, board)
    windows = make_windows(graph, 4)
    state = None
    with open_device(board, elf) as session:
        for window in windows:
            expected = reference.run(graph, window[None], initial=state)
            found, _ = session.forecast(window, keep=state is not None)
            assert np.array_equal(found, expected.outputs[0])
            state = expected.state


def test_a_whole_sequence_head_forecasts_from_windows(
    netduino: Board, build_firmware: BuildFirmware, make_windows: MakeWindows
) -> None:
    graph, elf = build_firmware(SEQUENCE, netduino)
    windows = make_windows(graph, 5)
    with open_device(netduino, elf) as session:
        assert session.step(windows[0][0])[0] is None
        found = [session.forecast(window)[0] for window in windows]

    assert np.array_equal(found, reference.run(graph, windows).outputs)


def test_the_window_sent_is_the_window_read_back(
    board: Board, build_firmware: BuildFirmware, make_windows: MakeWindows
) -> None:
    graph, elf = build_firmware(STACKED, board)
    window = make_windows(graph, 1)[0]
    with open_device(board, elf) as session:
        session.load(window)
        assert np.array_equal(session.read_input(), window)


def test_the_stack_used_stays_inside_the_stack(
    board: Board, build_firmware: BuildFirmware, make_windows: MakeWindows
) -> None:
    graph, elf = build_firmware(STACKED, board)
    with open_device(board, elf) as session:
        session.forecast(make_windows(graph, 1)[0])
        size, used = session.stack()

    assert board.stack_bytes <= size
    assert 0 < used < board.stack_bytes


def test_the_same_forecast_takes_the_same_instructions_or_cycles(
    board: Board, build_firmware: BuildFirmware, make_windows: MakeWindows
) -> None:
    graph, elf = build_firmware(STACKED, board)
    window = make_windows(graph, 1)[0]
    with open_device(board, elf) as session:
        ticks = [session.forecast(window)[1] for _ in range(5)]

    emulator = board.emulator
    assert emulator is not None
    counts = [emulator.instructions(n, board.clock_hz) or emulator.cycles(n) for n in ticks]
    assert counts[0] > graph.macs
    assert max(counts) - min(counts) <= 12


def test_help_lists_every_verb(netduino: Board, build_firmware: BuildFirmware) -> None:
    with open_device(netduino, build_firmware(SMALL, netduino)[1]) as session:
        before = len(session.log)
        session.request("help")
        listed = session.log[before:]

    assert [line.split()[0] for line in listed] == [verb.name for verb in VERBS]


def test_progress_is_told_to_its_end(netduino: Board, build_firmware: BuildFirmware) -> None:
    told: list[tuple[float, str]] = []
    with open_device(
        netduino,
        build_firmware(SMALL, netduino)[1],
        progress=lambda fraction, words: told.append((fraction, words)),
    ):
        pass

    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    assert told[-1] == (1.0, "netduinoplus2 answers")


def test_a_board_at_a_port_is_used_as_it_is(
    netduino: Board, build_firmware: BuildFirmware, make_windows: MakeWindows
) -> None:
    graph, elf = build_firmware(SMALL, netduino)
    windows = make_windows(graph, 2)
    with QemuBoard(netduino) as emulated:
        emulated.flash(elf)
        emulated.start()
        for _ in range(2):
            with open_device(netduino, port=emulated.port, model_crc=graph.crc32) as session:
                found = [session.forecast(window)[0] for window in windows]
            assert np.array_equal(found, reference.run(graph, windows).outputs)


def test_another_model_on_the_board_is_refused(
    netduino: Board, build_firmware: BuildFirmware
) -> None:
    graph, elf = build_firmware(SMALL, netduino)
    with (
        pytest.raises(WrongModel, match=f"holds the model {graph.crc32:08x}, expected 00c0ffee"),
        open_device(netduino, elf, model_crc=0xC0FFEE),
    ):
        pass


def test_another_boards_profile_is_refused(netduino: Board, build_firmware: BuildFirmware) -> None:
    other = netduino.model_copy(update={"name": "shelf-sensor"})
    with (
        pytest.raises(WrongFirmware, match="of netduinoplus2, expected shelf-sensor"),
        open_device(other, build_firmware(SMALL, netduino)[1]),
    ):
        pass


def test_a_board_without_port_and_emulator_cannot_be_opened(netduino: Board) -> None:
    bare = netduino.model_copy(update={"emulator": None})
    with pytest.raises(BoardError) as caught, open_device(bare, Path("firmware.elf")):
        pass

    assert str(caught.value) == (
        "netduinoplus2: has no emulator. Plug it in and name its port with --port."
    )


def test_an_image_that_was_not_built_is_refused(netduino: Board) -> None:
    with pytest.raises(FlashError, match="no such file"), open_device(netduino, Path("none.elf")):
        pass


def test_an_absent_port_is_refused(netduino: Board) -> None:
    with pytest.raises(PortError, match="no such port"), open_device(netduino, port="/dev/ttyNOT"):
        pass


def test_an_emulator_that_dies_between_forecasts_is_named(
    netduino: Board, build_firmware: BuildFirmware, make_windows: MakeWindows
) -> None:
    graph, elf = build_firmware(SMALL, netduino)
    window = make_windows(graph, 1)[0]
    with QemuBoard(netduino) as emulated:
        emulated.flash(elf)
        with Session(open_link(emulated.port, 115_200), alive=emulated.alive) as session:
            emulated.start()
            session.forecast(window)
            os.kill(emulated.process_id, signal.SIGKILL)
            with pytest.raises(EmulatorDied, match="killed by SIGKILL"):
                session.forecast(window)


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_cable_costs_repeats_not_values(
    board: Board,
    bench: SimpleNamespace,
    build_firmware: BuildFirmware,
    make_windows: MakeWindows,
    seed: int,
) -> None:
    graph, elf = build_firmware(SMALL, board)
    windows = make_windows(graph, 12)
    expected = reference.run(graph, windows).outputs
    noise = {
        "flip": 0.0007,
        "drop": 0.0007,
        "lose_line": 0.01,
        "repeat_line": 0.05,
        "garbage": 0.01,
    }
    with emulate(board) as emulated:
        emulated.flash(elf)
        there, back = bench.Noise(2 * seed, **noise), bench.Noise(2 * seed + 1, **noise)
        with (
            bench.proxying(emulated.port, there, back) as port,
            Session(
                open_link(port, 10_000_000), alive=emulated.alive, tries=10, timeout_s=0.2
            ) as session,
        ):
            emulated.start()
            for window, outputs in zip(windows, expected, strict=True):
                found, _ = session.forecast(window, timeout_s=0.5)
                assert np.array_equal(found, outputs)
                hidden, _ = session.state(0)
                assert hidden.shape == graph.hidden_sizes[:1]
            repeats = session.repeats

    assert repeats > 0


def test_a_second_host_at_a_busy_socket_hears_nothing_and_is_told_why(
    netduino: Board, build_firmware: BuildFirmware
) -> None:
    with open_device(netduino, build_firmware(SMALL, netduino)[1]) as session:
        with (
            Session(open_link(session.port, 115_200)) as second,
            pytest.raises(NoAnswer, match="no other program uses it"),
        ):
            second.hello(timeout_s=0.3)
        assert session.hello().board == "netduinoplus2"
