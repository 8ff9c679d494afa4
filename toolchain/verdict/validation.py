"""The verdict on one board: parity, accuracy in sales units, memory, instructions, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from toolchain.board import Board
from toolchain.demand.metrics import Accuracy, measure
from toolchain.demand.references import REFERENCES
from toolchain.demand.windows import Dataset
from toolchain.errors import RunError
from toolchain.firmware.elf import Image
from toolchain.firmware.footprint import Footprint, footprint
from toolchain.graph.types import Graph
from toolchain.verdict.replay import Replay

RUNTIME = "shelfcast"

Link = Literal["emulator", "socket", "serial"]
"""What a device was reached through. Behind a socket may be anything: its clock means nothing."""


@dataclass(frozen=True, eq=False)
class HostForecasts:
    """What the float network and LiteRT say about the held-out windows, one value each, scaled."""

    float_: NDArray[np.float64]  # (held-out windows)
    litert: NDArray[np.float64]  # (held-out windows)


def load_host_forecasts(path: Path) -> HostForecasts:
    """Read what the quantization stage wrote.

    Raises:
        RunError: absent.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return HostForecasts(stored["float"], stored["litert"])
    except FileNotFoundError as cause:
        raise RunError(f"{path}: no such file. `shelfcast quantize` makes it.") from cause


@dataclass(frozen=True, eq=False)
class Validation:
    """Everything a replay on one board showed."""

    board: Board
    link: Link
    graph: Graph
    footprint: Footprint
    replay: Replay
    accuracy: dict[str, Accuracy]
    """`float`, `litert`, `host`, `device`, on the windows that were replayed."""
    references: dict[str, Accuracy]
    """The simple forecasts, on the same windows."""
    max_mae_loss_percent: float | None

    @property
    def emulated(self) -> bool | None:
        """Whether the board is an emulated one; None: nobody knows."""
        return None if self.link == "socket" else self.link == "emulator"

    @property
    def mae_loss_percent(self) -> float | None:
        """How much larger the device's MAE is than the float network's; None when that is 0."""
        return _percent_above(self.accuracy["device"].mae, self.accuracy["float"].mae)

    @property
    def gain_percent(self) -> float | None:
        """How much smaller the device's MAE is than the best simple rule's; None when that is 0."""
        best = min(reference.mae for reference in self.references.values())
        above = _percent_above(self.accuracy["device"].mae, best)
        return None if above is None else -above

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is no; empty when it is yes."""
        found = []
        replay = self.replay
        if not replay.exact:
            found.append(
                f"{replay.mismatches:,} of {len(replay.windows):,} windows, "
                f"{replay.state_mismatches:,} of {replay.values_compared:,} state values and "
                f"{replay.sequence_mismatches:,} of {replay.sequence_windows:,} windows in "
                f"sequences differ from the host; first: {replay.divergence}"
            )
        limit, loss = self.max_mae_loss_percent, self.mae_loss_percent
        if limit is not None and loss is not None and loss > limit:
            found.append(
                f"the device's MAE is {loss:.2f}% above the float network's; "
                f"the limit is {limit:g}%. Raise compression.representative_windows, train "
                "longer, or widen the network."
            )
        return tuple(found)

    @property
    def passed(self) -> bool:
        """The verdict."""
        return not self.reasons

    @property
    def ticks(self) -> float:
        """Mean of the device's clock over a forecast."""
        return float(self.replay.ticks.mean())

    @property
    def instructions(self) -> int | None:
        """Guest instructions of a forecast; None where the clock counts cycles."""
        if self.link != "emulator" or self.board.emulator is None:
            return None
        count = self.board.emulator.instructions(self.ticks, self.replay.clock_hz)
        return None if count is None else round(count)

    @property
    def cycles(self) -> int | None:
        """Cycles of a forecast; None where the clock counts something else, or who knows what."""
        if self.link == "emulator" and self.board.emulator is not None:
            count = self.board.emulator.cycles(self.ticks)
            return None if count is None else round(count)
        return round(self.ticks) if self.link == "serial" else None

    def to_json(self) -> dict[str, Any]:
        """Return what other programs may rely on; sizes in bytes, blank figures null."""
        replay, footprint = self.replay, self.footprint
        cycles = self.cycles
        return {
            "board": self.board.name,
            "tier": self.board.tier,
            "runtime": RUNTIME,
            "emulated": self.emulated,
            "model_crc": f"{self.graph.crc32:08x}",
            "parity": {
                "windows": len(replay.windows),
                "mismatches": replay.mismatches,
                "max_lsb": replay.max_lsb,
                "state_windows": replay.state_windows,
                "state_values": replay.values_compared,
                "state_mismatches": replay.state_mismatches,
                "sequences": replay.sequences,
                "sequence_windows": replay.sequence_windows,
                "sequence_mismatches": replay.sequence_mismatches,
            },
            "accuracy": {name: vars(accuracy) for name, accuracy in self.accuracy.items()},
            "references": {name: vars(accuracy) for name, accuracy in self.references.items()},
            "flash": {
                "total": footprint.flash_bytes,
                "weights": footprint.weight_bytes,
                "tables": footprint.table_bytes,
                "code": footprint.code_bytes,
                "budget": self.board.flash.bytes,
            },
            "ram": {
                "static": footprint.ram_bytes,
                "stack_predicted": None,
                "stack_measured": replay.stack_used,
                "budget": self.board.ram.bytes,
            },
            "latency": {
                "instructions": self.instructions,
                "macs": self.graph.macs,
                "cycles": cycles,
                "us": None if cycles is None else round(1e6 * cycles / self.replay.clock_hz),
            },
            "mae_loss_percent": self.mae_loss_percent,
            "gain_percent": self.gain_percent,
            "reasons": list(self.reasons),
            "verdict": "pass" if self.passed else "fail",
        }


def _percent_above(value: float, base: float) -> float | None:
    return 100 * (value / base - 1) if base else None


def judge(
    *,
    board: Board,
    link: Link,
    graph: Graph,
    image: Image,
    dataset: Dataset,
    host: HostForecasts,
    replay: Replay,
    max_mae_loss_percent: float | None,
) -> Validation:
    """Turn a replay into figures in sales units, and a verdict."""
    chosen = replay.windows
    series = dataset.test.series[chosen]
    actual = dataset.actual_units(dataset.test)[chosen]

    def accuracy(scaled: NDArray[np.float64]) -> Accuracy:
        return measure(actual, dataset.to_units(series, scaled))

    return Validation(
        board=board,
        link=link,
        graph=graph,
        footprint=footprint(image),
        replay=replay,
        accuracy={
            "float": accuracy(host.float_[chosen]),
            "litert": accuracy(host.litert[chosen]),
            "host": accuracy(graph.output.dequantize(replay.host[:, 0])),
            "device": accuracy(graph.output.dequantize(replay.device[:, 0])),
        },
        references={
            name: measure(actual, forecast(dataset.sales, dataset.test)[chosen])
            for name, forecast in REFERENCES.items()
        },
        max_mae_loss_percent=max_mae_loss_percent,
    )
