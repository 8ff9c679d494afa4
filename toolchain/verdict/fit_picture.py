"""Draw who fits: boards by models, coloured by what stays free."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolchain.files import write_atomically
from toolchain.verdict.fit import Row

if TYPE_CHECKING:
    from matplotlib.colors import Colormap


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Write a PNG: green has room, yellow is tight, red does not fit, grey was never measured."""
    # Imported here: drawing is the only thing that needs it, and it takes a while.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(row.model.name for row in rows))
    boards = list(dict.fromkeys(row.board.name for row in rows))
    headroom = np.full((len(boards), len(models)), np.nan)
    words = {}
    for row in rows:
        place = boards.index(row.board.name), models.index(row.model.name)
        headroom[place] = np.nan if row.headroom is None else row.headroom
        words[place] = row.free or "?"
    width = 3.2 + 0.95 * len(models)
    figure = Figure(
        figsize=(max(width, 6), max(2.6, 1.6 + 0.32 * len(boards))), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shown = np.clip(headroom, -0.5, 1.0)
    image = axes.imshow(shown, cmap=_colours(), vmin=-0.5, vmax=1.0, aspect="auto")
    for (down, right), text in words.items():
        axes.text(right, down, text, ha="center", va="center", fontsize=8,
                  color="white" if headroom[down, right] < 0 else "black")  # fmt: skip
    axes.set_xticks(range(len(models)), models, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(len(boards)), boards, fontsize=8)
    axes.set_title("what stays free of the scarcer of flash and RAM", loc="left", fontsize=10)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.ax.set_yticks([-0.5, 0.0, 0.5, 1.0], ["-50% or less", "0%", "50%", "100%"])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _colours() -> Colormap:
    """Return the scale: red to dark red below 0, yellow at little room, green at much."""
    from matplotlib.colors import LinearSegmentedColormap

    zero = 0.5 / 1.5
    stops = [
        (0.0, "#7f1d1d"), (zero - 1e-6, "#d93025"), (zero, "#fbbc04"),
        (zero + 0.12, "#d7e57a"), (1.0, "#34a853"),
    ]  # fmt: skip
    colours = LinearSegmentedColormap.from_list("headroom", stops)
    colours.set_bad("#dadce0")
    return colours
