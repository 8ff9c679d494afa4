"""Shapes as people write them: `lstm:32x5x28`, `lstm:32,16x1x28`, `lstm:64x5x28@blocks70`."""

from __future__ import annotations

import re
from typing import cast

from toolchain.errors import InputError
from toolchain.graph.sample import Shape, Structure
from toolchain.graph.verify import MAX_FEATURES, MAX_HIDDEN, MAX_STEPS

PREFIX = "lstm:"
_SHAPE = re.compile(
    r"lstm:(?P<hidden>\d+(?:,\d+)*)x(?P<features>\d+)(?:x(?P<steps>\d+))?"
    r"(?:@(?P<structure>blocks|scattered)(?P<percent>\d+))?"
)
_STEPS = 28


def parse_shape(text: str) -> Shape:
    """Read hidden sizes x features [x steps] [@blocks or @scattered, percent of zeros].

    >>> parse_shape("lstm:32,16x5")
    Shape(hidden=(32, 16), features=5, steps=28, structure='dense', sparsity=0.0)

    Raises:
        InputError: not such a text, or a size that no model may have.
    """
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise InputError(
            f'"{text}": not a shape. Write hidden x features x steps, such as lstm:32x5x28, '
            "lstm:32,16x1x28 or lstm:64x5x28@blocks70."
        )
    hidden = tuple(int(size) for size in found["hidden"].split(","))
    features, steps = int(found["features"]), int(found["steps"] or _STEPS)
    percent = int(found["percent"] or 0)
    for name, value, low, high in (
        *(("hidden size", size, 1, MAX_HIDDEN) for size in hidden),
        ("number of features", features, 1, MAX_FEATURES),
        ("number of steps", steps, 2, MAX_STEPS),
        ("percentage of zeros", percent, 0, 99),
    ):
        if not low <= value <= high:
            raise InputError(f'"{text}": the {name} is {value}, and may be {low} to {high}.')
    structure = cast(Structure, found["structure"] or "dense")
    return Shape(hidden, features, steps, structure, percent / 100)


def shape_name(shape: Shape) -> str:
    """Write a shape as `parse_shape` reads it.

    >>> shape_name(Shape((64,), 5, 28, "blocks", 0.7))
    'lstm:64x5x28@blocks70'
    """
    hidden = ",".join(map(str, shape.hidden))
    zeros = f"@{shape.structure}{round(100 * shape.sparsity)}" if shape.sparsity else ""
    return f"{PREFIX}{hidden}x{shape.features}x{shape.steps}{zeros}"
