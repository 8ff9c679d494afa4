"""Draw what models cost against how wrong they are: the front, the budget, and the one picked."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolchain.files import write_atomically

_PLAIN, _FRONT, _PICKED, _LINE = "#80868b", "#1a73e8", "#d93025", "#188038"
_AXIS = {"mae": "MAE, units a day", "mape_percent": "MAPE, %"}
_WIDE = 2.5
"""Sizes further apart than this are drawn on a logarithmic scale."""
_ROOM = 7
"""Pixels around a point that no name covers."""
_PLACES = [
    (away * x, away * y, side)
    for away in (1, 2, 3.5, 5, 7, 9)
    for x, y, side in (
        (9, 0, "left"), (-9, 0, "right"), (7, 9, "left"), (7, -9, "left"), (-7, 9, "right"),
        (-7, -9, "right"), (0, 13, "center"), (0, -13, "center"),
    )
]  # fmt: skip
"""Where a name may stand beside its point, in pixels, the best places first."""


def draw(path: Path, results: Mapping[str, Any]) -> None:
    """Write a PNG with two panels: the validation days, which chose, and the test days.

    Raises:
        ValueError: no row has both a size and an error.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in results["rows"] if row["flash_bytes"] is not None]
    if not rows:
        raise ValueError("nothing to draw: no model was built.")
    figure = Figure(figsize=(14, 6.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    metric = results["metric"]
    _panel(left, rows, results, metric, "validation", "validation_spread")
    _panel(right, rows, results, metric, None, "spread")
    left.set_title("validation days: the choice is made here", loc="left", fontsize=11)
    right.set_title("test days, which had no say: what came of it", loc="left", fontsize=11)
    picked = f"picked: {results['picked']}" if results["picked"] else "none is picked"
    figure.suptitle(
        f"Smaller is left, more accurate is down: INT8 models on {results['board']}; {picked}",
        x=0.01, ha="left", fontsize=13,
    )  # fmt: skip
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=6, frameon=False,
        fontsize=10,
    )  # fmt: skip
    # Names are placed between what lies where at last: on the panels as they are laid out.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, group in ((left, "validation"), (right, None)):
        _name_points(axes, rows, [_error(row, metric, group) for row in rows], results["picked"])
    buffer = io.BytesIO()
    # Without the software's name and date, the same figures give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _error(row: Mapping[str, Any], metric: str, group: str | None) -> float:
    """Return a row's error over one group of days; None: over the test days."""
    value = (row if group is None else row[group])[metric]
    return math.nan if value is None else float(value)


def _colour(row: Mapping[str, Any], picked: str | None) -> str:
    return _PICKED if row["name"] == picked else _FRONT if row["pareto"] else _PLAIN


def _panel(
    axes: Any,
    rows: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    metric: str,
    group: str | None,
    spread: str,
) -> None:
    """Draw the models over one group of days; None: the test days."""
    from matplotlib.ticker import LogLocator, NullLocator

    for row in rows:
        picked = row["name"] == results["picked"]
        label = "picked" if picked else "Pareto front" if row["pareto"] else "behind the front"
        axes.errorbar(
            row["flash_bytes"], _error(row, metric, group), yerr=row[spread][metric], fmt="o",
            color=_colour(row, results["picked"]), ms=10 if picked else 6, lw=1, capsize=2,
            label=label, zorder=3 if picked else 2,
        )  # fmt: skip
    if group is not None:
        # Only the days that it was found on have this front.
        front = sorted(
            (row["flash_bytes"], _error(row, metric, group)) for row in rows if row["pareto"]
        )
        axes.step(
            *zip(*front, strict=True), where="post", color=_FRONT, lw=1.5, alpha=0.6, zorder=1
        )
    base = next(row for row in results["rows"] if row["name"] == results["baseline"])
    axes.set_xlabel("flash of weights, tables and engine, bytes", fontsize=10)
    axes.set_ylabel(_AXIS[metric], fontsize=10)
    sizes = [row["flash_bytes"] for row in rows]
    if max(sizes) > _WIDE * min(sizes):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(x=0.16, y=0.12)
    axes.tick_params(labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _level(axes, _error(base, metric, group), f"baseline, {base['name']}", _PLAIN, ":")
    _budget(axes, results, metric, _error(base, metric, group))
    # What is drawn from here on does not move what is seen.
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())


def _level(axes: Any, error: float, words: str, colour: str, style: str) -> None:
    """Draw a level of error, and say what it is at its right end."""
    axes.axhline(error, color=colour, lw=1.3, ls=style, zorder=1)
    axes.annotate(
        words, (1, error), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", ha="right", va="bottom", fontsize=9, color=colour,
    )  # fmt: skip


def _budget(axes: Any, results: Mapping[str, Any], metric: str, base: float) -> None:
    """Draw what the budget allows, where it is about this metric."""
    budget = results["budget"]
    if metric == "mape_percent":
        points = budget["mape_points"]
        _level(axes, base + points, f"budget, +{points:g} points", _LINE, "--")
    elif budget["mae_percent"] is not None:
        percent = budget["mae_percent"]
        _level(axes, base * (1 + percent / 100), f"budget, +{percent:g}%", _LINE, "--")
    if budget["flash_bytes"] is not None:
        axes.axvline(budget["flash_bytes"], color=_LINE, lw=1.3, ls="--", zorder=1)
        axes.annotate(
            "budget", (budget["flash_bytes"], 1), xycoords=("data", "axes fraction"),
            xytext=(3, 0), textcoords="offset points", va="top", fontsize=9, color=_LINE,
        )  # fmt: skip


def _name_points(
    axes: Any, rows: Sequence[Mapping[str, Any]], errors: Sequence[float], picked: str | None
) -> None:
    """Write each model's name beside its point, where it covers neither points nor names."""
    from matplotlib.transforms import Bbox

    short = _without_what_all_share([row["model"] for row in rows])
    places = [
        None if math.isnan(error) else axes.transData.transform((row["flash_bytes"], error))
        for row, error in zip(rows, errors, strict=True)
    ]
    taken = [
        Bbox.from_extents(*(place - _ROOM), *(place + _ROOM))
        for place in places
        if place is not None
    ]
    # Those that matter come first, and get the best places.
    order = sorted(
        range(len(rows)), key=lambda at: (rows[at]["name"] != picked, not rows[at]["pareto"])
    )
    for at in order:
        place = places[at]
        if place is None:
            continue
        colour = _colour(rows[at], picked)
        text = axes.annotate(
            short[at], place, (0, 0), xycoords="figure pixels", textcoords="offset pixels",
            va="center", fontsize=9, color=colour,
            fontweight="normal" if colour == _PLAIN else "bold",
            zorder=4,
        )  # fmt: skip
        chosen = _free_place(text, taken, axes.bbox)
        taken.append(chosen)
        if math.hypot(*text.xyann) > 20:
            axes.annotate(
                "", place, xytext=_nearest(chosen, place), xycoords="figure pixels",
                textcoords="figure pixels",
                arrowprops={
                    "arrowstyle": "-", "lw": 0.6, "color": colour, "shrinkA": 0, "shrinkB": 4,
                },
            )  # fmt: skip


def _free_place(text: Any, taken: Sequence[Any], panel: Any) -> Any:
    """Move a text to the first of its places where it covers least, and return its box there."""
    found = []
    for number, (x, y, side) in enumerate(_PLACES):
        text.xyann = (x, y)
        text.set_horizontalalignment(side)
        box = text.get_window_extent()
        outside = box.x0 < panel.x0 or box.x1 > panel.x1 or box.y0 < panel.y0 or box.y1 > panel.y1
        covered = sum(box.overlaps(other) for other in taken)
        found.append((covered + 10 * outside, number, box))
        if not covered and not outside:
            break
    _, number, box = min(found, key=lambda it: it[:2])
    text.xyann = _PLACES[number][:2]
    text.set_horizontalalignment(_PLACES[number][2])
    return box


def _nearest(box: Any, place: Sequence[float]) -> tuple[float, float]:
    """Return the point of a box that is nearest to a place."""
    return (
        min(max(place[0], box.x0), box.x1),
        min(max(place[1], box.y0), box.y1),
    )


def _without_what_all_share(names: Sequence[str]) -> list[str]:
    """Drop the features from names when every name has the same.

    >>> _without_what_all_share(["lstm8+weekday", "lstm16+weekday-blocks70", "small"])
    ['lstm8', 'lstm16-blocks70', 'small']
    >>> _without_what_all_share(["lstm8+weekday", "lstm8"])
    ['lstm8+weekday', 'lstm8']
    """
    features = {name.partition("+")[2].partition("-")[0] for name in names if _is_ours(name)}
    shared = f"+{features.pop()}" if len(features) == 1 else ""
    return [name.replace(shared, "", 1) if shared and _is_ours(name) else name for name in names]


def _is_ours(name: str) -> bool:
    """Say whether a name was made from what the model is."""
    return name.startswith("lstm") and name[4:5].isdigit()
