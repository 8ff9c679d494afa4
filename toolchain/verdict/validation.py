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

RUNTIMES = {"engine": "shelfcast", "tflm": "tflm"}
"""What a verdict calls the runtimes."""
_SKIPPABLE = {
    "states": ("state_windows", "state_values", "state_mismatches"),
    "sequences": ("sequences", "sequence_windows", "sequence_mismatches"),
    "stream": ("stream_samples", "stream_mismatches", "saved_state_differs"),
}
"""Figures of parity that are null where a runtime cannot be asked."""

Link = Literal["emulator", "socket", "serial"]
"""What a device was reached through. Behind a socket may be anything: its clock means nothing."""


@dataclass(frozen=True, eq=False)
class HostForecasts:
    """What the float network and LiteRT say about the held-out windows, one value each, scaled."""

    float_: NDArray[np.float64] | None  # (held-out windows); None: an integer model came alone
    litert: NDArray[np.float64] | None  # (held-out windows); None: LiteRT does not run the model


def load_host_forecasts(path: Path) -> HostForecasts:
    """Read what the quantization stage wrote.

    Raises:
        RunError: absent.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return HostForecasts(stored.get("float"), stored.get("litert"))
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
    """`float`, `litert`, `host`, `device`, on the windows that were replayed. Without sales it is
    empty; `float` and `litert` are absent where these did not forecast."""
    references: dict[str, Accuracy]
    """The simple forecasts, on the same windows."""
    stack_predicted: int | None
    """The deepest the stack can get, by the compiler's call graph; None: of a library there is
    none."""
    max_mae_loss_percent: float | None
    from_float: dict[str, float] | None = None
    """Without sales: by how much the integer model's first output differs from the float
    network's, mean and largest, and the step of its scale."""

    @property
    def emulated(self) -> bool | None:
        """Whether the board is an emulated one; None: nobody knows."""
        return None if self.link == "socket" else self.link == "emulator"

    @property
    def mae_loss_percent(self) -> float | None:
        """How much larger the device's MAE is than the float network's; None when that is 0."""
        if not {"device", "float"} <= set(self.accuracy):
            return None
        return _percent_above(self.accuracy["device"].mae, self.accuracy["float"].mae)

    @property
    def gain_percent(self) -> float | None:
        """How much smaller the device's MAE is than the best simple rule's; None when that is 0."""
        if not self.references:
            return None
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
                f"{_differing(replay)} differ from the host; first: {replay.divergence}"
                + (" The state it saved differs too." if replay.stream.state_differs else "")
                + _oracle_hint(self.graph, replay)
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
    def step_ticks(self) -> float | None:
        """Mean of the device's clock over a step of a stream and its forecast; None without one."""
        ticks = self.replay.stream.ticks
        return float(ticks.mean()) if len(ticks) else None

    def instructions(self, ticks: float | None) -> int | None:
        """Guest instructions in a time of the device's clock; None where it counts cycles."""
        if ticks is None or self.link != "emulator" or self.board.emulator is None:
            return None
        count = self.board.emulator.instructions(ticks, self.replay.clock_hz)
        return None if count is None else round(count)

    def cycles(self, ticks: float | None) -> int | None:
        """Cycles in a time of the device's clock; None where it counts something else."""
        if ticks is None:
            return None
        if self.link == "emulator" and self.board.emulator is not None:
            count = self.board.emulator.cycles(ticks)
            return None if count is None else round(count)
        return round(ticks) if self.link == "serial" else None

    def to_json(self) -> dict[str, Any]:
        """Return what other programs may rely on; sizes in bytes, blank figures null."""
        replay, footprint = self.replay, self.footprint
        cycles = self.cycles(self.ticks)
        return {
            "board": self.board.name,
            "tier": self.board.tier,
            "runtime": RUNTIMES[replay.runtime],
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
                "stream_samples": len(replay.stream.ticks),
                "stream_mismatches": replay.stream.mismatches,
                "saved_state_differs": replay.stream.state_differs,
                **dict.fromkeys(key for name in replay.skipped for key in _SKIPPABLE[name]),
                "skipped": dict(replay.skipped),
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
                "stack_predicted": self.stack_predicted,
                "stack_measured": replay.stack_used,
                "arena": replay.arena_bytes,
                "arena_used": replay.arena_used_bytes,
                "budget": self.board.ram.bytes,
            },
            "latency": {
                "instructions": self.instructions(self.ticks),
                "instructions_step": self.instructions(self.step_ticks),
                "macs": self.graph.macs,
                "cycles": cycles,
                "cycles_step": self.cycles(self.step_ticks),
                "us": None if cycles is None else round(1e6 * cycles / self.replay.clock_hz),
            },
            "from_float": self.from_float,
            "mae_loss_percent": self.mae_loss_percent,
            "gain_percent": self.gain_percent,
            "reasons": list(self.reasons),
            "verdict": "pass" if self.passed else "fail",
        }


def _differing(replay: Replay) -> str:
    """Say how much of what was compared differs."""
    parts = [f"{replay.mismatches:,} of {len(replay.windows):,} windows"]
    if "states" not in replay.skipped:
        parts[0] += f", {replay.state_mismatches:,} of {replay.values_compared:,} state values"
    if "sequences" not in replay.skipped:
        parts.append(
            f"{replay.sequence_mismatches:,} of {replay.sequence_windows:,} windows in sequences"
        )
    if "stream" not in replay.skipped:
        parts.append(
            f"{replay.stream.mismatches:,} of {len(replay.stream.ticks):,} samples in a stream"
        )
    return " and ".join(parts)


def _oracle_hint(graph: Graph, replay: Replay) -> str:
    """Say that another oracle is the way out, where it is."""
    count = replay.other_oracle_mismatches
    if count is None or count >= replay.mismatches:
        return ""
    other = "float32" if graph.oracle == "double" else "double"
    few = "no window does" if count == 0 else f"{count:,} windows do"
    return (
        f' With oracle = "{other}" {few}: this TensorFlow Lite Micro multiplies scales that way. '
        f"Write it under [compression] of the project, or say --oracle {other}."
    )


def _percent_above(value: float, base: float) -> float | None:
    return 100 * (value / base - 1) if base else None


def judge(
    *,
    board: Board,
    link: Link,
    graph: Graph,
    image: Image,
    dataset: Dataset | None,
    host: HostForecasts,
    replay: Replay,
    stack_predicted: int | None,
    max_mae_loss_percent: float | None,
) -> Validation:
    """Turn a replay into figures in sales units, and a verdict.

    Without a dataset there are no sales: then only parity is judged.
    """
    chosen = replay.windows
    if dataset is None:
        return Validation(
            board=board, link=link, graph=graph, footprint=footprint(image), replay=replay,
            accuracy={}, references={}, stack_predicted=stack_predicted,
            max_mae_loss_percent=None, from_float=_from_float(graph, host, replay),
        )  # fmt: skip
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
            **{
                name: accuracy(forecasts[chosen])
                for name, forecasts in (("float", host.float_), ("litert", host.litert))
                if forecasts is not None
            },
            "host": accuracy(graph.output.dequantize(replay.host[:, graph.next_day])),
            "device": accuracy(graph.output.dequantize(replay.device[:, graph.next_day])),
        },
        references={
            name: measure(actual, forecast(dataset.sales, dataset.test)[chosen])
            for name, forecast in REFERENCES.items()
        },
        stack_predicted=stack_predicted,
        max_mae_loss_percent=max_mae_loss_percent,
    )


def _from_float(graph: Graph, host: HostForecasts, replay: Replay) -> dict[str, float] | None:
    """Compare the integer model's first output with the float network's, in the network's units."""
    if host.float_ is None:
        return None
    difference = np.abs(graph.output.dequantize(replay.host[:, 0]) - host.float_[replay.windows])
    return {
        "mean": float(difference.mean()),
        "largest": float(difference.max()),
        "step": graph.output.scale,
    }
