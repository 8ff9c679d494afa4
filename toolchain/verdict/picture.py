"""Draw a few series: what was sold, and what the float network and the device forecast."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.demand.windows import Dataset
from toolchain.files import write_atomically
from toolchain.verdict.validation import HostForecasts, Validation

_PANELS = 4
_SOLD, _FLOAT, _DEVICE = "#9aa0a6", "#1a73e8", "#d93025"


def draw(path: Path, dataset: Dataset, host: HostForecasts, validation: Validation) -> None:
    """Write a PNG with the series that sold most, over the held-out days."""
    # Imported here: drawing is the only thing that needs it, and it takes a while.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    shown = _largest_series(dataset, validation)
    figure = Figure(figsize=(11, 2.4 * len(shown) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    replay = validation.replay
    device = validation.graph.output.dequantize(replay.device[:, 0])
    for axes, series in zip(np.atleast_1d(figure.subplots(len(shown), 1)), shown, strict=True):
        rows = np.flatnonzero(dataset.test.series[replay.windows] == series)
        windows = replay.windows[rows]
        days = dataset.test.days[windows].astype("datetime64[D]").astype(object)
        axes.plot(days, dataset.actual_units(dataset.test)[windows], color=_SOLD, lw=1.2,
                  marker="o", ms=3, label="sold")  # fmt: skip
        if host.float_ is not None:
            axes.plot(days, dataset.to_units(series, host.float_[windows]), color=_FLOAT, lw=3.2,
                      alpha=0.45, label="forecast, float32 on the host")  # fmt: skip
        axes.plot(days, dataset.to_units(series, device[rows]), color=_DEVICE, lw=1.2,
                  label=f"forecast, int8 on {validation.board.name}")  # fmt: skip
        axes.set_title(dataset.sales.names[series], loc="left", fontsize=10)
        axes.set_ylabel("units a day", fontsize=9)
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle(_title(validation), x=0.01, ha="left", fontsize=11)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    # Without the software's name and date, the same figures give the same bytes.
    figure.savefig(buffer, dpi=110, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _largest_series(dataset: Dataset, validation: Validation) -> NDArray[np.int32]:
    """Pick the series with the highest sales among those that were replayed."""
    replayed = np.unique(dataset.test.series[validation.replay.windows])
    order = np.argsort(-dataset.scaling.offset[replayed], kind="stable")
    return replayed[order][:_PANELS]


def _title(validation: Validation) -> str:
    replay, accuracy = validation.replay, validation.accuracy
    emulated = ", emulated" if validation.link == "emulator" else ""
    return (
        f"{validation.board.title} ({validation.board.mcu}{emulated}): "
        f"{len(replay.windows):,} held-out forecasts, {replay.mismatches:,} differ from the host; "
        f"MAE {accuracy['device'].mae:.2f} units"
        + (f" (float {accuracy['float'].mae:.2f})" if "float" in accuracy else "")
    )
