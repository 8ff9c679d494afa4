"""What is predicted without building, beside real builds and real runs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from toolchain.board import boards_dir, find_board, read_boards, read_cores
from toolchain.device.running import open_device
from toolchain.errors import DoesNotFit, InputError
from toolchain.firmware.build import build
from toolchain.firmware.predict import predict
from toolchain.firmware.profile import usual_profile
from toolchain.firmware.render import render
from toolchain.fitting import ask
from toolchain.graph import reference
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.shapes import parse_shape
from toolchain.graph.verify import MAX_HIDDEN
from toolchain.verdict.fit import fit, largest, shape_model, smallest_board, ways_out

EMULATED = [board.name for board in read_boards(boards_dir()) if board.tier == 1]
SHAPES = [
    replace(shape, structure=structure, sparsity=sparsity)
    for hidden, features in itertools.product((16, 32, 64), (1, 5))
    for shape in (Shape((hidden,), features),)
    for structure, sparsity in (("dense", 0.0), ("blocks", 0.7))
]


def core_of(board):
    return read_cores(boards_dir())[board.core]


def build_it(graph, board, folder, profile):
    core = core_of(board)
    render(graph, board, core, boards_dir(), folder / "sources", profile)
    return build(folder / "sources", board, core)


def compare(name, shape, profile, folder, *, instructions=0.03) -> None:
    board = find_board(name, boards_dir())
    graph = sample_graph(shape)
    predicted = predict(graph, board, core_of(board), profile)
    assert predicted is not None
    if shape in SHAPES:
        assert not predicted.approximate

    image = build_it(graph, board, folder, profile)

    flash = predicted.flash_bytes - image.flash_bytes
    assert abs(flash) <= max(96, 0.015 * image.flash_bytes), "flash"
    assert predicted.ram_bytes == image.ram_bytes
    window = np.random.default_rng(1).integers(-128, 128, (graph.steps, graph.features))
    with open_device(board, image.path) as session:
        _, ticks = session.forecast(window.astype(np.int8))
        session.reset()
        session.step(window[0].astype(np.int8))
        session.save()
        session.state(0)
        _, used = session.stack()
    assert used <= predicted.stack_bytes
    if not predicted.approximate:
        assert predicted.stack_bytes <= used + 96
    counted = board.emulator.cycles(ticks)
    if counted is None:
        counted = board.emulator.instructions(ticks, board.clock_hz)
    assert predicted.instructions == pytest.approx(counted, rel=instructions)


@pytest.mark.parametrize("name", EMULATED)
def test_a_prediction_holds_on_every_emulated_board(name, tmp_path):
    # A shape and a profile for each board, all of them among the boards.
    number = EMULATED.index(name)
    profile = ("speed", "size")[number % 2]
    compare(name, SHAPES[(5 * number) % len(SHAPES)], profile, tmp_path)


UNSEEN = [
    Shape((24,), 2, 14),
    Shape((40,), 4, 28, "blocks", 0.5),
    Shape((33,), 7, 10, "scattered", 0.85),
]
"""Of shapes like these nothing was measured for the table."""


@pytest.mark.full
@pytest.mark.parametrize("shape", UNSEEN, ids=str)
@pytest.mark.parametrize("name", EMULATED)
def test_a_prediction_holds_of_what_was_never_measured(name, shape, tmp_path):
    board = find_board(name, boards_dir())
    compare(name, shape, usual_profile(board), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("name", EMULATED)
def test_of_stacked_layers_only_instructions_are_less_sure(name, tmp_path):
    board = find_board(name, boards_dir())
    compare(name, Shape((12, 20), 3, 7), usual_profile(board), tmp_path, instructions=0.16)


@pytest.mark.full
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", EMULATED)
def test_every_prediction_holds(name, shape, tmp_path):
    board = find_board(name, boards_dir())
    compare(name, shape, usual_profile(board), tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "arduino-uno",
        *(pytest.param(name, marks=pytest.mark.full) for name in EMULATED if name != "arduino-uno"),
    ],
)
def test_the_largest_shape_runs_exactly_and_the_next_larger_is_refused(name, tmp_path):
    board = find_board(name, boards_dir())
    profile = usual_profile(board)
    row = largest(Shape((1,), 1, 4), board, core_of(board), profile)
    assert row is not None
    graph = row.model.graph
    (hidden,) = row.model.shape.hidden

    image = build_it(graph, board, tmp_path / "fits", profile)
    windows = np.random.default_rng(3).integers(-128, 128, (2, 4, 1)).astype(np.int8)
    expected = reference.run(graph, windows, trace=True)
    with open_device(board, image.path) as session:
        for number, window in enumerate(windows):
            assert session.forecast(window)[0].tolist() == expected.outputs[number].tolist()
            session.reset()
            for step, sample in enumerate(window):
                session.step(sample)
                hidden_values, cells = session.state(0)
                assert hidden_values.tolist() == expected.hidden[0][number, step].tolist()
                assert cells.tolist() == expected.cells[0][number, step].tolist()
        size, used = session.stack()
    assert used < size

    if hidden == MAX_HIDDEN:
        with pytest.raises(InputError, match="the hidden size is 257, and may be 1 to 256"):
            parse_shape(f"lstm:{hidden + 1}x1")
        return
    larger = sample_graph(replace(row.model.shape, hidden=(hidden + 1,)))
    with pytest.raises(DoesNotFit):
        build_it(larger, board, tmp_path / "too-large", profile)


def test_what_does_not_fit_says_the_bytes_and_the_ways_out():
    boards = read_boards(boards_dir())
    board = find_board("arduino-uno", boards_dir())
    rows = [fit(shape_model(Shape((128,), 1)), it, core_of(it), usual_profile(it)) for it in boards]
    row = next(row for row in rows if row.board.name == "arduino-uno")

    assert not row.fits
    assert row.headroom < 0
    assert row.why.startswith(
        f"needs {row.prediction.flash_bytes:,} bytes of flash, the region flash has "
        f"{board.flash.bytes:,}, {row.flash_short:,} too few"
    )
    remedies = ways_out(row, rows, "size")
    assert any(remedy.startswith("lstm:") for remedy in remedies)
    best = smallest_board(rows)
    assert f"{best.board.name} is the smallest board that fits" in remedies
    assert all(not it.fits for it in rows if it.board.flash.bytes < best.board.flash.bytes)


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        (Shape((91,), 1), "bytes in one array, this core allows 32,767, "),
        (
            Shape((88, 52, 40), 1),
            "bytes of constants within a pointer's reach, this core allows 65,",
        ),
    ],
    ids=str,
)
def test_what_an_avr_cannot_address_does_not_fit(shape, why):
    board = find_board("arduino-mega2560", boards_dir())
    row = fit(shape_model(shape), board, core_of(board), "size")

    assert row.flash_short < 0
    assert row.ram_short < 0
    assert not row.fits
    assert row.headroom < 0
    assert why in row.why


def test_a_profile_without_currents_leaves_the_energy_blank():
    from toolchain.verdict.fit import Power

    board = find_board("netduinoplus2", boards_dir())
    model = shape_model(Shape((16,), 1))
    with_current = fit(model, board, core_of(board), "speed")
    without = fit(model, board.model_copy(update={"power": None}), core_of(board), "speed")

    low, high = with_current.microjoules
    assert 0 < low < high
    power = Power(interval_s=86_400, battery_mah=225)
    assert without.to_json(power)["microjoules"] is None
    assert without.to_json(power)["battery_days"] is None
    sleeping = board.power.model_copy(update={"sleep_ua": 10.0})
    slept = fit(model, board.model_copy(update={"power": sleeping}), core_of(board), "speed")
    shortest, longest = slept.battery_days(power)
    assert 0 < shortest <= longest <= 225 / 0.010 / 24


def test_a_core_that_was_never_measured_is_not_guessed():
    board = find_board("netduinoplus2", boards_dir()).model_copy(update={"core": "unheard-of"})
    core = core_of(find_board("netduinoplus2", boards_dir()))
    row = fit(shape_model(Shape((16,), 1)), board, core, "speed")

    assert not row.fits
    assert row.why == "no board with a unheard-of was ever measured"
    assert row.headroom is None


def test_a_board_of_ones_own_takes_the_figures_of_another_of_its_core():
    board = find_board("netduinoplus2", boards_dir()).model_copy(update={"name": "mine"})
    predicted = predict(sample_graph(Shape()), board, core_of(board), "speed")

    assert predicted is not None
    assert predicted.approximate


def test_tensorflow_lite_micro_stands_beside_the_engine_when_asked():
    answer = ask(
        ["lstm:32x1x28"], ["stm32vldiscovery", "pico"], boards_dir(), None,
        interval="1d", battery_mah=225, tflm=True,
    )  # fmt: skip

    measured, other = answer.to_json()["rows"]
    # Built: 58,064 bytes of flash and 3,728 of RAM, with the kernels of TensorFlow.
    assert measured["tflm"]["reference"]["flash_bytes"] == pytest.approx(58_064, rel=0.01)
    assert measured["tflm"]["reference"]["ram_bytes"] == pytest.approx(3_728, rel=0.01)
    assert measured["tflm"]["reference"]["arena_bytes"] == 2_896
    assert measured["tflm"]["reference"]["fits"] is True
    assert measured["tflm"]["cmsis_nn"]["arena_bytes"] == 4_112
    assert other["tflm"] is None  # nobody measured a Cortex-M0+
    text = answer.to_text()
    assert "TFLM flash" in text
    assert "TFLM: its code was measured on cortex-m3" in text
    assert "TFLM: nobody measured it on cortex-m0plus." in text


def test_without_asking_the_table_has_the_engine_alone():
    answer = ask(
        ["lstm:32x1x28"], ["stm32vldiscovery"], boards_dir(), None, interval="1d", battery_mah=225
    )

    assert "TFLM" not in answer.to_text()
    assert answer.to_json()["rows"][0]["tflm"] is None


def test_what_does_not_fit_with_tensorflow_lite_micro_alone_is_said():
    answer = ask(
        ["lstm:128x1x28"], ["stm32vldiscovery"], boards_dir(), None,
        interval="1d", battery_mah=225, tflm=True,
    )  # fmt: skip

    assert answer.rows[0].fits
    assert (
        "lstm:128x1x28 on stm32vldiscovery: does not fit with TensorFlow Lite Micro."
        in answer.notes
    )
