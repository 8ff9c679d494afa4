"""Models against boards, before anything is built: who fits, how fast, on how much energy."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from toolchain.board import Board, Core
from toolchain.firmware.arena import Kernels
from toolchain.firmware.kernel import Profile
from toolchain.firmware.predict import Prediction, predict
from toolchain.firmware.predict_tflm import TflmPrediction, predict_tflm
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.shapes import shape_name
from toolchain.graph.types import Graph
from toolchain.graph.verify import MAX_HIDDEN

_SPARSITY = 0.7


@dataclass(frozen=True, eq=False)
class Model:
    """Something that could be deployed: a file, or a shape filled with noise."""

    name: str
    graph: Graph
    shape: Shape
    """Its shape; a file's has its hidden sizes, features and steps."""
    has_file: bool = False
    """It is a .tflite file."""


@dataclass(frozen=True)
class Power:
    """How a device is powered, and how often it forecasts."""

    interval_s: float
    battery_mah: float
    sleep_ua: float | None = None
    """What it draws between forecasts; None: what the board's profile says."""


@dataclass(frozen=True, eq=False)
class Row:
    """One model on one board."""

    model: Model
    board: Board
    core: Core
    prediction: Prediction | None
    """None: no board of this core was ever built for the table."""
    tflm: dict[Kernels, TflmPrediction] | None = None
    """The same with TensorFlow Lite Micro; None: not asked for, or not measured on such a core."""

    @property
    def flash_short(self) -> int:
        """Bytes of flash that are missing; negative: to spare."""
        assert self.prediction is not None
        return self.prediction.flash_bytes - self.board.flash.bytes

    @property
    def stack_needed(self) -> int:
        """What the linker keeps free for the stack, or the deepest it can get, if that is more."""
        assert self.prediction is not None
        return max(self.board.stack_bytes, self.prediction.stack_bytes)

    @property
    def ram_short(self) -> int:
        """Bytes of RAM that are missing; negative: to spare."""
        assert self.prediction is not None
        return self.prediction.ram_bytes + self.stack_needed - self.board.ram.bytes

    @property
    def _limits(self) -> list[tuple[str, int, int]]:
        """List what else bounds the model on this core: what it is, the bytes, the most."""
        assert self.prediction is not None
        core, prediction = self.core, self.prediction
        bounds = (
            ("in one array", prediction.longest_array_bytes, core.longest_array_bytes),
            ("of constants within a pointer's reach", prediction.near_bytes, core.near_bytes),
        )
        flash = self.board.flash.bytes  # what does not fit it is said already
        return [(what, size, most) for what, size, most in bounds if most and most < flash]

    @property
    def fits(self) -> bool:
        """Flash, variables and the deepest stack are there, and no bound of the core is passed."""
        return (
            self.prediction is not None
            and self.flash_short <= 0
            and self.ram_short <= 0
            and not self.over_limits
        )

    @property
    def over_limits(self) -> list[tuple[str, int, int]]:
        """Those of the limits that are passed."""
        return [(what, size, most) for what, size, most in self._limits if size > most]

    @property
    def headroom(self) -> float | None:
        """Share of the scarcer memory that stays free; negative: what is missing of it."""
        if self.prediction is None:
            return None
        return -max(
            self.flash_short / self.board.flash.bytes,
            self.ram_short / self.board.ram.bytes,
            *((size - most) / most for _, size, most in self.over_limits),
        )

    @property
    def free(self) -> str:
        """The headroom in words; what is missing is never rounded to nothing."""
        return "" if self.headroom is None else f"{math.floor(100 * self.headroom)}%"

    @property
    def why(self) -> str:
        """Why it does not fit, in numbers; empty when it does."""
        if self.prediction is None:
            return f"no board with a {self.board.core} was ever measured"
        found = []
        prediction, board = self.prediction, self.board
        if self.flash_short > 0:
            found.append(
                f"needs {prediction.flash_bytes:,} bytes of flash, the region {board.flash.name} "
                f"has {board.flash.bytes:,}, {self.flash_short:,} too few"
            )
        if self.ram_short > 0:
            found.append(
                f"needs {prediction.ram_bytes + self.stack_needed:,} bytes of RAM "
                f"({self.stack_needed:,} of it stack), the region {board.ram.name} has "
                f"{board.ram.bytes:,}, {self.ram_short:,} too few"
            )
        found += [
            f"has {size:,} bytes {what}, this core allows {most:,}, {size - most:,} too many"
            for what, size, most in self.over_limits
        ]
        return "; ".join(found)

    def tflm_fits(self, kernels: Kernels) -> bool:
        """Say whether flash, arena, other variables and stack are there with TFLite Micro."""
        assert self.tflm is not None
        it = self.tflm[kernels]
        stack = max(self.board.stack_bytes, it.stack_bytes)
        return (
            it.flash_bytes <= self.board.flash.bytes
            and it.ram_bytes + stack <= self.board.ram.bytes
        )

    @property
    def us(self) -> tuple[float, float] | None:
        """Estimate the microseconds of a forecast: shortest, longest."""
        if self.prediction is None or self.core.cycles_per_instruction is None:
            return None
        low, high = self.core.cycles_per_instruction
        count = self.prediction.instructions
        return (
            1e6 * low * count / self.board.clock_hz,
            1e6 * high * count / self.board.clock_hz,
        )

    @property
    def microjoules(self) -> tuple[float, float] | None:
        """Estimate the energy of a forecast; None where the profile has no current."""
        if self.us is None or self.board.power is None:
            return None
        watts = self.board.power.active_ma * 1e-3 * self.board.power.volts
        low, high = self.us
        return watts * low, watts * high

    def battery_days(self, power: Power) -> tuple[float, float] | None:
        """Estimate how long a battery lasts: shortest, longest; None without a sleep current."""
        if self.us is None or self.board.power is None:
            return None
        sleep_ua = self.board.power.sleep_ua if power.sleep_ua is None else power.sleep_ua
        if sleep_ua is None:
            return None
        days = []
        for us in reversed(self.us):
            awake = min(1.0, us * 1e-6 / power.interval_s)
            average_ma = awake * self.board.power.active_ma + (1 - awake) * sleep_ua * 1e-3
            days.append(power.battery_mah / average_ma / 24)
        return days[0], days[1]

    def to_json(self, power: Power) -> dict[str, Any]:
        """Return what other programs may rely on; sizes in bytes, blank figures null."""
        prediction, cycles = self.prediction, self.core.counts_cycles
        count = prediction and prediction.instructions
        step = prediction and prediction.instructions_step
        return {
            "model": self.model.name,
            "board": self.board.name,
            "tier": self.board.tier,
            "fits": self.fits,
            "why": self.why,
            "headroom": None if self.headroom is None else round(self.headroom, 4),
            "flash": prediction and {
                "total": prediction.flash_bytes,
                "weights": prediction.weight_bytes,
                "budget": self.board.flash.bytes,
            },
            "ram": prediction and {
                "static": prediction.ram_bytes,
                "state": prediction.state_bytes,
                "budget": self.board.ram.bytes,
            },
            "stack": prediction and prediction.stack_bytes,
            "instructions": None if cycles else count,
            "instructions_step": None if cycles else step,
            "cycles": count if cycles else None,
            "cycles_step": step if cycles else None,
            "us": self.us and [round(value, 1) for value in self.us],
            "microjoules": self.microjoules and [round(value, 2) for value in self.microjoules],
            "battery_days": (days := self.battery_days(power)) and [round(day) for day in days],
            "profile": prediction and prediction.profile,
            "kernel": prediction and prediction.kernel.name,
            "approximate": prediction and prediction.approximate,
            "tflm": self.tflm and {
                kernels: {**asdict(it), "fits": self.tflm_fits(kernels)}
                for kernels, it in self.tflm.items()
            },
            "predicted": True,
        }  # fmt: skip


@functools.lru_cache(maxsize=128)
def shape_model(shape: Shape) -> Model:
    """Make a model of a shape."""
    return Model(shape_name(shape), sample_graph(shape), shape)


def file_model(name: str, graph: Graph) -> Model:
    """Make a model of a file."""
    shape = Shape(graph.hidden_sizes, graph.features, graph.steps)
    return Model(name, graph, shape, has_file=bool(graph.crc32))


def fit(model: Model, board: Board, core: Core, profile: Profile) -> Row:
    """Set one model against one board."""
    return Row(model, board, core, predict(model.graph, board, core, profile))


def with_tflm(row: Row) -> Row:
    """Set what the same model takes with TensorFlow Lite Micro beside it."""
    model = row.model
    return replace(
        row, tflm=predict_tflm(model.graph, row.board, row.core, has_file=model.has_file)
    )


def largest(shape: Shape, board: Board, core: Core, profile: Profile) -> Row | None:
    """Find the largest hidden size, all layers alike, that fits a board; None when not even 1."""
    layers = len(shape.hidden)
    # Bytes of weights by hidden size squared: layers after the first have twice as many.
    growth = 4 * (2 * layers - 1)
    best: Row | None = None
    low, high = 1, MAX_HIDDEN
    hidden = min(high, max(low, math.isqrt(board.flash.bytes // growth)))
    while low <= high:
        row = fit(shape_model(replace(shape, hidden=(hidden,) * layers)), board, core, profile)
        if row.prediction is None:
            return None
        if row.fits:
            best, low = row, hidden + 1
        else:
            high = hidden - 1
        # Where flash is what limits, what is left or missing of it says how far.
        guess = math.isqrt(max(0, hidden**2 - row.flash_short // growth))
        guess = max(guess, low) if row.fits else min(guess, high)
        by_flash = row.flash_short >= row.ram_short and not row.over_limits
        hidden = guess if by_flash and low <= guess <= high else (low + high) // 2
    return best


def smallest_board(rows: Sequence[Row]) -> Row | None:
    """Choose among one model's rows the fitting board with the least flash, then RAM."""
    fitting = [row for row in rows if row.fits]
    return min(
        fitting,
        key=lambda row: (row.board.flash.bytes, row.board.ram.bytes, row.board.name),
        default=None,
    )


def ways_out(row: Row, others: Sequence[Row], profile: Profile) -> list[str]:
    """Say what would fit instead: fewer units, zeros, another board.

    Args:
        row: what does not fit.
        others: the same model on other boards.
        profile: what the board's firmware is made for.
    """
    found = []
    shape = replace(row.model.shape, structure="dense", sparsity=0.0)
    smaller = largest(shape, row.board, row.core, profile)
    if smaller is not None:
        found.append(f"{smaller.model.name} fits")
    if row.model.shape.structure == "dense":
        sparse = replace(shape, structure="blocks", sparsity=_SPARSITY)
        if fit(shape_model(sparse), row.board, row.core, profile).fits:
            found.append(f"{_SPARSITY:.0%} sparse in blocks fits")
    board = smallest_board(others)
    if board is not None:
        found.append(f"{board.board.name} is the smallest board that fits")
    return found
