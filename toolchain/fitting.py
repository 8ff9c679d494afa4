"""What `shelfcast fit` is asked in words: which models, which boards, how often, from what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.board import Board, Core, find_board, read_boards, read_cores
from toolchain.errors import InputError
from toolchain.firmware.kernel import Profile
from toolchain.firmware.profile import usual_profile
from toolchain.graph.shapes import PREFIX, parse_shape
from toolchain.graph.types import Graph
from toolchain.graph.verify import MAX_HIDDEN
from toolchain.model_path import is_float
from toolchain.project import Network
from toolchain.verdict.fit import (
    Model,
    Power,
    Row,
    file_model,
    fit,
    largest,
    shape_model,
    smallest_board,
    ways_out,
    with_tflm,
)
from toolchain.verdict.fit_table import fit_table, wrapped

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
FEATURE_INPUTS = {"units": 1, "weekday": 2, "month": 2}
"""Inputs that a feature of a project is."""


def parse_interval(text: str) -> float:
    """Read a time between forecasts, in seconds.

    >>> parse_interval("90"), parse_interval("15m"), parse_interval("1d")
    (90.0, 900.0, 86400.0)

    Raises:
        InputError: not a number with s, m, h or d.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if found is None or float(found[1]) == 0:
        raise InputError(f'"{text}": not a time. Write seconds, or a number with s, m, h or d.')
    return float(found[1]) * _SECONDS[found[2] or "s"]


def find_models(words: Sequence[str]) -> list[Model]:
    """Return the models that are meant: shapes, .tflite files, and float models with their weights.

    Raises:
        InputError: not a shape; no such file, or one that cannot be deployed.
    """
    models = []
    for word in words:
        if word.startswith(PREFIX):
            models.append(shape_model(parse_shape(word)))
        else:
            # Imported here: shapes do not wait for what reads files.
            from toolchain.graph.tflite_file import load_graph

            path = Path(word)
            name = path.parent.name if path.name == "model.tflite" else path.name
            models.append(file_model(name, _float_graph(path) or load_graph(path)))
    return models


def _float_graph(path: Path) -> Graph | None:
    """Size a float model as the integers it will be; None for other files."""
    if not is_float(path):
        return None
    from toolchain.network.keras_shapes import read_shapes
    from toolchain.network.sized import sized

    return sized(read_shapes(path), path.name)


def network_shape(network: Network) -> str:
    """Return the shape of a project's network, before it is trained."""
    features = sum(FEATURE_INPUTS[feature] for feature in network.features)
    return f"{PREFIX}{','.join(map(str, network.hidden))}x{features}x{network.window}"


def find_boards(names: Sequence[str], boards: Path) -> list[Board]:
    """Return the boards of these names, or all of them.

    Raises:
        BoardError: no such board.
    """
    if not names:
        return list(read_boards(boards))
    return [find_board(name, boards) for name in names]


@dataclass(frozen=True, eq=False)
class Answer:
    """What fit has to say."""

    rows: list[Row]
    power: Power
    remedies: dict[tuple[str, str], list[str]]
    """By model and board, what would fit instead."""
    notes: list[str]
    """Boards that nothing fits, models that fit no board, sizes at the engine's limit."""

    def to_json(self) -> dict[str, Any]:
        """Return what other programs may rely on."""
        return {
            "rows": [
                {
                    **row.to_json(self.power),
                    "instead": self.remedies.get((row.model.name, row.board.name), []),
                }
                for row in self.rows
            ],
            "interval_s": self.power.interval_s,
            "battery_mah": self.power.battery_mah,
            "notes": self.notes,
        }

    def to_text(self, width: int | None = None) -> str:
        """Lay everything out for people, in so many columns; None: as wide as it is."""
        table = [fit_table(self.rows, self.power, width)] if self.rows else []
        sentences = "\n".join(wrapped(line, width) for line in self._sentences())
        return "\n\n".join([*table, *([sentences] if sentences else [])])

    def _sentences(self) -> Iterator[str]:
        for row in self.rows:
            if not row.fits:
                instead = self.remedies.get((row.model.name, row.board.name), [])
                ways = f". {'; '.join(instead)}." if instead else "."
                yield f"{row.model.name} on {row.board.name}: {row.why}{ways}"
        yield from self.notes
        if any(row.prediction is not None and row.prediction.approximate for row in self.rows):
            yield "~ nothing like it is in the table: what comes nearest stands in"
        if any(row.core.counts_cycles for row in self.rows):
            yield "* cycles"


def ask(
    words: Sequence[str],
    names: Sequence[str],
    boards: Path,
    profile: Profile | None,
    *,
    interval: str,
    battery_mah: float,
    sleep_ua: float | None = None,
    largest_of_board: bool = False,
    smallest: bool = False,
    tflm: bool = False,
) -> Answer:
    """Set models against boards; with `largest_of_board` and `smallest`, search one of the two.

    Args:
        words: files and shapes.
        names: of boards; none: all of them.
        boards: the folder of a user's boards, or of those that ship.
        profile: None: the board's usual one.
        interval: between forecasts.
        battery_mah: what the battery holds.
        sleep_ua: what the device draws between forecasts; None: what the board's profile says.
        largest_of_board: replace each model by the largest like it that fits the board.
        smallest: keep, of each model, only the smallest board that fits.
        tflm: say what the same takes with TensorFlow Lite Micro, too.

    Raises:
        InputError: a word, a name or a time that means nothing.
    """
    power = Power(parse_interval(interval), battery_mah, sleep_ua)
    models, cores = find_models(words), read_cores(boards)
    chosen = find_boards(names, boards)

    def set_against(model: Model, board: Board) -> Row:
        return fit(model, board, cores[board.core], profile or usual_profile(board))

    rows: list[Row] = []
    notes: list[str] = []
    for model in models:
        if largest_of_board:
            of_model, said = _largest(model, chosen, cores, profile)
            notes += said
        else:
            of_model = [set_against(model, board) for board in chosen]
        if smallest:
            best = smallest_board(of_model)
            of_model = [] if best is None else [best]
            if best is None:
                notes.append(f"{model.name}: fits none of {len(chosen)} boards.")
        rows += of_model
    if largest_of_board and any(max(row.model.shape.hidden) == MAX_HIDDEN for row in rows):
        notes.append(f"{MAX_HIDDEN} units are the most that a layer may have, wherever more fit.")
    remedies = {}
    too_large = [row for row in rows if not row.fits and row.prediction is not None]
    if too_large:
        every = find_boards([], boards) if names else chosen
        for row in too_large:
            others = [set_against(row.model, other) for other in every]
            remedies[row.model.name, row.board.name] = ways_out(
                row, others, profile or usual_profile(row.board)
            )
    if tflm:
        rows = [with_tflm(row) for row in rows]
        notes += _of_tflm(rows)
    return Answer(rows, power, remedies, notes)


def _of_tflm(rows: Sequence[Row]) -> list[str]:
    """Say where the figures for TensorFlow Lite Micro come from, and where it does not fit."""
    notes = [
        f"{row.model.name} on {row.board.name}: does not fit with TensorFlow Lite Micro."
        for row in rows
        if row.tflm and not row.tflm_fits("reference")
    ]
    measured = sorted({row.board.core for row in rows if row.tflm})
    if measured:
        notes.append(
            f"TFLM: its code was measured on {', '.join(measured)} (reference kernels, 2026-08); "
            "the arena is computed. With --json, CMSIS-NN's kernels too."
        )
    others = sorted({row.board.core for row in rows if not row.tflm})
    if others:
        notes.append(f"TFLM: nobody measured it on {', '.join(others)}.")
    return notes


def _largest(
    model: Model, boards: Sequence[Board], cores: Mapping[str, Core], profile: Profile | None
) -> tuple[list[Row], list[str]]:
    """Find the largest model like this one for each board; say where there is none."""
    rows, notes = [], []
    for board in boards:
        best = largest(model.shape, board, cores[board.core], profile or usual_profile(board))
        if best is None:
            notes.append(f"{board.name}: not even one unit of {model.name} fits.")
        else:
            rows.append(best)
    return rows, notes
