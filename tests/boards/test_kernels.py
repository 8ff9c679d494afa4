"""Every kernel on a core it is made for: any shape, any format, both profiles, a stream."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from tflite_writer import Recipe

from toolchain.board import boards_dir, find_board, read_boards, read_cores
from toolchain.device.running import open_device
from toolchain.firmware.kernels import KERNELS
from toolchain.graph import reference
from toolchain.graph.saved import saved_state

PROFILES = ("speed", "size")


def boards_by_kernel() -> dict[str, str]:
    """Name an emulated board for each kernel; the portable one runs where a core's refuses."""
    cores = read_cores(boards_dir())
    found = {"portable": "netduino2"}
    for board in read_boards(boards_dir()):
        if board.tier == 1:
            found.setdefault(cores[board.core].kernel, board.name)
    return found


BOARD_OF = boards_by_kernel()


def random_recipe(kernel: str, number: int) -> Recipe:
    """Draw a forecaster: sizes no multiple of anything, stacked or not, saturating or not."""
    rng = np.random.default_rng(zlib.crc32(f"{kernel} {number}".encode()))
    ram = find_board(BOARD_OF[kernel], boards_dir()).ram.bytes
    small = ram < 4096
    layers = int(rng.integers(1, 3))
    whole = bool(rng.random() < 0.3) and ram >= 16_384
    wild = bool(rng.random() < 0.5)
    zeros = rng.choice(["none", "blocks", "scattered"])
    steps = int(rng.choice([2, 5, 11, 28, 60] if small else [2, 5, 28, 90, 365]))
    features = int(rng.integers(1, 5 if small else 17))
    hidden = tuple(int(size) for size in rng.integers(1, 20 if small else 41, layers))
    outputs = int(rng.integers(1, 4))
    if whole:
        # The console keeps the window, the states of all its steps, and what comes out of them.
        steps = min(steps, ram // 2 // (features + hidden[-1] + outputs))
    return Recipe(
        seed=number,
        steps=steps,
        features=features,
        hidden=hidden,
        dense=(outputs,),
        whole_sequence=whole,
        weight_scale=float(rng.choice([0.05, 0.2] if wild else [0.002, 0.004, 0.008])),
        bias_limit=200_000 if wild else 20_000,
        input_scale=float(rng.choice([0.01, 0.03, 0.1])),
        cell_power=int(rng.integers(-18, -8)) if wild else int(rng.integers(-15, -10)),
        output_scale=0.2 if wild else 0.01,
        blocks=float(rng.uniform(0.2, 0.9)) if zeros == "blocks" else 0.0,
        scattered=float(rng.uniform(0.3, 0.95)) if zeros == "scattered" else 0.0,
    )  # fmt: skip


def compare_states(firmware, windows) -> None:
    """Compare outputs of all windows and, of the first, every h and c at up to 40 steps."""
    graph = firmware.graph
    expected = reference.run(graph, windows, trace=True)
    with open_device(firmware.board, firmware.image.path) as session:
        for number, window in enumerate(windows):
            outputs, _ = session.forecast(window)
            assert outputs.tolist() == expected.outputs[number].tolist()
        session.reset()
        for step, sample in enumerate(windows[0][:40]):
            session.step(sample)
            for layer in range(len(graph.hidden_sizes)):
                hidden, cells = session.state(layer)
                assert hidden.tolist() == expected.hidden[layer][0, step].tolist()
                assert cells.tolist() == expected.cells[layer][0, step].tolist()


def compare(kernel, profile, number, build_firmware, make_windows) -> None:
    core = "portable" if kernel == "portable" else None
    recipe = random_recipe(kernel, number)
    firmware = build_firmware(BOARD_OF[kernel], recipe, profile=profile, kernel=core)
    compare_states(firmware, make_windows(firmware.graph, 3))


def test_every_core_has_a_kernel_and_every_kernel_a_core_that_runs_here():
    assert BOARD_OF.keys() == KERNELS.keys()


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_random_forecaster_is_exact_in_every_state(
    kernel, profile, number, build_firmware, make_windows
):
    compare(kernel, profile, number, build_firmware, make_windows)


@pytest.mark.full
@pytest.mark.parametrize("number", range(3, 40))
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_many_random_forecasters_are_exact_in_every_state(
    kernel, profile, number, build_firmware, make_windows
):
    compare(kernel, profile, number, build_firmware, make_windows)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_stream_goes_on_from_the_state_that_was_saved(kernel, build_firmware, make_windows):
    firmware = build_firmware(BOARD_OF[kernel], Recipe(hidden=(9,), features=2, steps=6))
    graph = firmware.graph
    samples = make_windows(graph, 5).reshape(-1, graph.features)
    first = reference.stream(graph, samples[:13])
    second = reference.stream(graph, samples[13:], initial=first.state)
    with open_device(firmware.board, firmware.image.path) as session:
        session.reset()
        said = [session.step(sample)[0] for sample in samples[:13]]
        assert session.save() == saved_state(graph, first.state)
        session.reset()
        session.step(samples[0])
        session.restore()
        said += [session.step(sample)[0] for sample in samples[13:]]
    assert [list(outputs) for outputs in said] == [
        *first.outputs.tolist(),
        *second.outputs.tolist(),
    ]
