"""Draw what service costs: average stock against fill rate, for both rules."""

from __future__ import annotations

import io
from pathlib import Path

from toolchain.backtest.comparison import Backtest, Point
from toolchain.files import write_atomically

_SENSOR, _FIXED, _LINE = "#d93025", "#1a73e8", "#9aa0a6"


def draw(path: Path, result: Backtest) -> None:
    """Write a PNG with both measures of service; the same figures give the same bytes."""
    # Imported here: drawing is the only thing that needs it, and it takes a while.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)
    titles = ("units sold of units asked for", "days on which nobody left without")
    for axes, equal, title in zip(figure.subplots(1, 2), result.equal, titles, strict=True):
        for points, colour, label in (
            (result.fixed, _FIXED, "fixed reorder point"),
            (result.sensor, _SENSOR, "sensor"),
        ):
            curve = _distinct(points, equal.measure)
            axes.plot(*zip(*curve, strict=True), color=colour, marker="o", ms=4, lw=1.6,
                      label=label)  # fmt: skip
        axes.axvline(equal.service, color=_LINE, ls="--", lw=1)
        for stock, colour, across, down in (
            (equal.fixed_stock, _FIXED, "right", "bottom"),
            (equal.sensor_stock, _SENSOR, "left", "top"),
        ):
            if stock is not None:
                axes.annotate(f" {stock:.0f} ", (equal.service, stock), ha=across, va=down,
                              color=colour, fontsize=10)  # fmt: skip
        saved = "" if equal.saved is None else f"at {equal.service:.0%}: {-equal.saved:+.1%} stock"
        axes.set_title(saved, loc="left", fontsize=10)
        axes.set_xlabel(title, fontsize=9)
        axes.set_ylabel("average stock of a shelf, units", fontsize=9)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.tick_params(labelsize=8)
        for edge in ("top", "right"):
            axes.spines[edge].set_visible(False)
    market = result.market
    figure.suptitle(
        f"{len(market.names)} shelves, {market.measured} days that nothing was tuned on, "
        f"{result.lead} days from order to delivery (simulated stock)",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _distinct(points: tuple[Point, ...], measure: str) -> list[tuple[float, float]]:
    """Return service and stock of each point once, by service."""
    return sorted({(float(getattr(point, measure)), point.average_stock) for point in points})
