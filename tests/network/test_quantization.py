from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from toolchain.errors import ConversionError, DataError, ModelError
from toolchain.graph.reference import run
from toolchain.graph.tflite_file import load_graph
from toolchain.network.float_model import forecast_float
from toolchain.network.quantization import quantize, representative


def standing_in(code: str) -> tuple[str, ...]:
    """Return a converter that runs `code` instead; its arguments are in sys.argv[1:]."""
    return (sys.executable, "-c", code)


def test_integers_forecast_nearly_what_floats_do(trained, converted) -> None:
    graph = load_graph(converted)
    inputs = trained.validation.inputs

    integers = graph.output.dequantize(run(graph, graph.input.quantize(inputs)).outputs)[:, 0]

    assert (graph.steps, graph.features, graph.hidden_sizes) == (6, 2, (5, 4))
    distance = np.abs(integers - forecast_float(trained.model, inputs))
    assert distance.mean() < 2 * graph.output.scale


def test_output_range_holds_every_training_forecast(trained, converted) -> None:
    forecasts = forecast_float(trained.model, trained.train.inputs)

    low, high = load_graph(converted).output.dequantize(np.array([-128, 127], np.int8))

    step = load_graph(converted).output.scale
    assert low - step <= forecasts.min()
    assert forecasts.max() <= high + step


def test_representative_windows_are_the_same_for_the_same_seed(cut) -> None:
    windows = cut(100)

    drawn = representative(windows, 20, 1)

    assert drawn.shape == (20, 6, 2)
    assert len(np.unique(drawn, axis=0)) == 20
    assert np.array_equal(drawn, representative(windows, 20, 1))
    assert not np.array_equal(drawn, representative(windows, 20, 2))


@pytest.mark.parametrize("count", [100, 101, 5000])
def test_representative_windows_are_all_when_that_many_are_asked_for(cut, count) -> None:
    windows = cut(100)

    assert np.array_equal(representative(windows, count, 1, windows.targets), windows.inputs)


@pytest.mark.parametrize("count", [2, 3, 16, 64, 99])
def test_representative_windows_hold_the_widest_forecasts(cut, count) -> None:
    windows = cut(100)
    forecasts = windows.targets

    drawn = representative(windows, count, 1, forecasts)

    assert len(np.unique(drawn, axis=0)) == len(drawn) == count
    for widest in (forecasts.argmin(), forecasts.argmax()):
        assert (drawn == windows.inputs[widest]).all(axis=(1, 2)).any()


def test_one_representative_window_is_possible(cut) -> None:
    windows = cut(100)

    assert representative(windows, 1, 1, windows.targets).shape == (1, 6, 2)


def test_a_model_that_the_converter_cannot_read_is_refused(
    trained, samples, tmp_path: Path
) -> None:
    refusing = standing_in(
        "from toolchain.errors import ModelError; raise ModelError('float.h5: damaged.')"
    )

    with pytest.raises(ModelError) as error:
        quantize(trained.model, samples, tmp_path / "model.tflite", converter=refusing)

    assert str(error.value) == "float.h5: damaged."
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_hdf5_is_refused_before_the_converter_starts(
    samples, tmp_path: Path
) -> None:
    model = tmp_path / "float.h5"
    model.write_bytes(b"")

    with pytest.raises(ModelError, match=r": its first bytes are missing, not 8948"):
        quantize(model, samples, tmp_path / "model.tflite", converter=("false",))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to die from")
@pytest.mark.parametrize(
    ("number", "how", "remedy"),
    [
        (
            6,
            "SIGABRT",
            "The converter gave up: use LSTM and Dense layers as `shelfcast train` makes them.",
        ),
        (
            9,
            "SIGKILL",
            "The system ended it, most likely for lack of memory: lower "
            "compression.representative_windows or network.hidden.",
        ),
        (
            11,
            "SIGSEGV",
            "The converter crashed: use LSTM and Dense layers as `shelfcast train` makes them.",
        ),
    ],
)
def test_a_converter_that_dies_is_reported(
    trained, samples, tmp_path: Path, number: int, how: str, remedy: str
) -> None:
    out = tmp_path / "model.tflite"
    dying = standing_in(f"import os; print('reading', flush=True); os.kill(os.getpid(), {number})")

    with pytest.raises(ConversionError) as error:
        quantize(trained.model, samples, out, converter=dying)

    log = tmp_path / "model.tflite.log"
    assert str(error.value) == (
        f"{trained.model}: conversion to INT8 failed ({how}): reading. {remedy} "
        f"All that it wrote: {log}"
    )
    assert log.read_text() == "reading\n"
    assert not out.exists()


def test_a_converter_that_hangs_is_reported(trained, samples, tmp_path: Path) -> None:
    hanging = standing_in("import time; time.sleep(60)")

    with pytest.raises(ConversionError) as error:
        quantize(
            trained.model, samples, tmp_path / "model.tflite", converter=hanging, time_limit_s=0.5
        )

    assert str(error.value) == (
        f"{trained.model}: conversion to INT8 failed (time limit of 0.5 s). Lower "
        "compression.representative_windows or network.hidden. All that it wrote: "
        f"{tmp_path / 'model.tflite.log'}"
    )


def test_a_result_that_cannot_be_deployed_leaves_the_old_one(
    trained, samples, tmp_path: Path
) -> None:
    out = tmp_path / "model.tflite"
    out.write_bytes(b"old")
    writing_nonsense = standing_in("import sys; open(sys.argv[3], 'wb').write(b'nonsense' * 9)")

    with pytest.raises(
        ConversionError,
        match=r"^the converter's result cannot be deployed: model\.tflite: not a \.tflite file",
    ):
        quantize(trained.model, samples, out, converter=writing_nonsense)

    assert out.read_bytes() == b"old"


def test_representative_windows_that_are_not_finite_are_refused(trained, tmp_path: Path) -> None:
    samples = np.full((4, 6, 2), np.nan, np.float32)

    with pytest.raises(DataError, match=r"^representative windows: 4 of 4 windows hold NaN"):
        quantize(trained.model, samples, tmp_path / "model.tflite")


def test_no_representative_windows_are_refused(trained, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^representative windows: there are none;"):
        quantize(trained.model, np.empty((0, 6, 2), np.float32), tmp_path / "model.tflite")
