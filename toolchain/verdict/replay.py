"""Replay held-out windows on a device and compare everything it says with the host's reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from toolchain.device.session import Session
from toolchain.graph import reference
from toolchain.graph.saved import saved_state
from toolchain.graph.types import Graph, Int8
from toolchain.progress import Progress, part, silent
from toolchain.verdict.plan import Plan


@dataclass(frozen=True)
class Divergence:
    """Where a device first said something else than the host."""

    window: int
    step: int | None
    """None: only the outputs were compared."""
    layer: int | None
    unit: int
    what: str
    """`hidden`, `cell` or `output`."""
    expected: int
    got: int
    input_arrived: bool
    """The device holds the window that was sent: the arithmetic differs, not the link."""

    def __str__(self) -> str:
        place = f"window {self.window}"
        if self.step is not None:
            place += f", step {self.step}, LSTM {self.layer}"
        hint = {
            "cell": " The input, forget or cell gate of that step differs.",
            "hidden": " The cell is right: the output gate or the tanh of that step differs.",
            "output": "",
        }[self.what]
        sent = "" if self.input_arrived else " The device holds another window than was sent."
        return (
            f"{place}, {self.what} {self.unit}: the device says {self.got}, "
            f"the host {self.expected}.{hint}{sent}"
        )


@dataclass(frozen=True, eq=False)
class Stream:
    """A forecast after each new sample; half-way the state was saved, reset and restored."""

    mismatches: int
    """Samples after which an output differs."""
    state_differs: bool
    """The state that the device saved is not the host's."""
    ticks: NDArray[np.int64]
    """(samples), the device's clock during each step and its forecast."""


@dataclass(frozen=True, eq=False)
class Replay:
    """What a device said, and where it differs from the host."""

    windows: NDArray[np.intp]
    host: Int8  # (windows, outputs)
    device: Int8  # (windows, outputs)
    ticks: NDArray[np.int64]
    """(windows), the device's clock during each forecast."""
    clock_hz: int
    """Of that clock, as the device says: it may have fallen back to another crystal."""
    values_compared: int
    """Hidden values and cells."""
    state_mismatches: int
    state_windows: int
    sequences: int
    sequence_windows: int
    sequence_mismatches: int
    stream: Stream
    divergence: Divergence | None
    stack_bytes: int
    stack_used: int
    runtime: str = "engine"
    """Of the firmware, as it says: `engine` or `tflm`."""
    arena_bytes: int | None = None
    arena_used_bytes: int | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    """What the runtime cannot be asked about, `states`, `stream` or `sequences`, and why. The
    figures of it mean nothing."""
    other_oracle_mismatches: int | None = None
    """`tflm`, where windows differ: how many would with the other oracle."""

    @property
    def mismatches(self) -> int:
        """Windows of which at least one output differs."""
        return int((self.host != self.device).any(axis=1).sum())

    @property
    def max_lsb(self) -> int:
        """Largest difference of an output, in steps of its scale."""
        return int(np.abs(self.host.astype(int) - self.device.astype(int)).max(initial=0))

    @property
    def exact(self) -> bool:
        """Nothing differs."""
        return not (
            self.mismatches
            or self.state_mismatches
            or self.sequence_mismatches
            or self.stream.mismatches
            or self.stream.state_differs
        )


def replay(
    session: Session, graph: Graph, inputs: Int8, plan: Plan, progress: Progress = silent
) -> Replay:
    """Run a plan on a device.

    Args:
        session: with a device that holds `graph`.
        inputs: (held-out windows, steps, features), quantized.
        plan: indices into `inputs`.

    Raises:
        DeviceError: the device or the link failed.
    """
    greeting = session.greeting
    skipped = {}
    if greeting.runtime == "tflm":
        skipped = dict.fromkeys(("states", "stream"), _NO_STEPS)
        none = plan.windows[:0]
        plan = replace(plan, traced=none, stream=none)
    host = reference.run(graph, inputs[plan.windows]).outputs
    device, ticks = _outputs(session, inputs[plan.windows], part(progress, 0.0, 0.75))
    divergence = _first_output(session, inputs, plan.windows, host, device)
    states = _states(session, graph, inputs, plan.traced, part(progress, 0.75, 0.95))
    sequences = _sequences(session, graph, inputs, plan, part(progress, 0.95, 0.98))
    if greeting.runtime == "tflm" and sequences.from_zero < sequences.mismatches:
        skipped["sequences"] = _NOT_CARRIED
        sequences = _Sequences(0, 0)
    stream = _stream(session, graph, inputs[plan.stream, -1], part(progress, 0.98, 1.0))
    stack_bytes, stack_used = session.stack()
    return Replay(
        windows=plan.windows,
        host=host,
        device=device,
        ticks=ticks,
        clock_hz=session.greeting.clock_hz,
        values_compared=states.compared,
        state_mismatches=states.mismatches,
        state_windows=len(plan.traced),
        sequences=len(plan.sequences),
        sequence_windows=plan.sequences.size,
        sequence_mismatches=sequences.mismatches,
        stream=stream,
        # The place inside a window says more than the output it led to.
        divergence=states.divergence or divergence,
        stack_bytes=stack_bytes,
        stack_used=stack_used,
        runtime=greeting.runtime,
        arena_bytes=greeting.arena_bytes,
        arena_used_bytes=greeting.arena_used_bytes,
        skipped=skipped,
        other_oracle_mismatches=_other_oracle(graph, inputs[plan.windows], device)
        if greeting.runtime == "tflm" and (host != device).any()
        else None,
    )


_NO_STEPS = "the interpreter runs whole windows, and shows no state"
_NOT_CARRIED = "this library's LSTM begins every forecast with zeros, as CMSIS-NN's does"


def _other_oracle(graph: Graph, windows: Int8, device: Int8) -> int:
    """Count the windows whose outputs differ from those of the other oracle."""
    other = replace(graph, oracle="float32" if graph.oracle == "double" else "double")
    return int((reference.run(other, windows).outputs != device).any(axis=1).sum())


def _outputs(session: Session, windows: Int8, progress: Progress) -> tuple[Int8, NDArray[np.int64]]:
    """Forecast every window after a reset: (windows, outputs), ticks (windows)."""
    outputs = np.zeros((len(windows), session.greeting.outputs), np.int8)
    ticks = np.zeros(len(windows), np.int64)
    for number, window in enumerate(windows):
        outputs[number], ticks[number] = session.forecast(window)
        progress((number + 1) / len(windows), f"window {number + 1:,} of {len(windows):,}")
    return outputs, ticks


def _first_output(
    session: Session, inputs: Int8, windows: NDArray[np.intp], host: Int8, device: Int8
) -> Divergence | None:
    different = np.argwhere(host != device)
    if not len(different):
        return None
    row, unit = (int(place) for place in different[0])
    window = int(windows[row])
    session.load(inputs[window])
    return Divergence(
        window=window,
        step=None,
        layer=None,
        unit=unit,
        what="output",
        expected=int(host[row, unit]),
        got=int(device[row, unit]),
        input_arrived=np.array_equal(session.read_input(), inputs[window]),
    )


@dataclass(frozen=True)
class _States:
    compared: int
    mismatches: int
    divergence: Divergence | None


def _states(
    session: Session, graph: Graph, inputs: Int8, traced: NDArray[np.intp], progress: Progress
) -> _States:
    """Feed windows step by step and compare every h and c with the reference."""
    expected = reference.run(graph, inputs[traced], trace=True)
    compared, mismatches, divergence = 0, 0, None
    for row, window in enumerate(traced):
        session.reset()
        for step in range(graph.steps):
            session.step(inputs[window, step])
            for layer in range(len(graph.lstms)):
                hidden, cells = session.state(layer)
                # Cells first: a hidden value is computed from its cell.
                for what, mine, theirs in (
                    ("cell", expected.cells[layer][row, step], cells),
                    ("hidden", expected.hidden[layer][row, step], hidden),
                ):
                    different = np.flatnonzero(mine != theirs)
                    compared += mine.size
                    mismatches += different.size
                    if different.size and divergence is None:
                        unit = int(different[0])
                        divergence = Divergence(
                            window=int(window), step=step, layer=layer, unit=unit, what=what,
                            expected=int(mine[unit]), got=int(theirs[unit]), input_arrived=True,
                        )  # fmt: skip
        progress((row + 1) / len(traced), f"states of window {row + 1} of {len(traced)}")
    return _States(compared, mismatches, divergence)


@dataclass(frozen=True)
class _Sequences:
    mismatches: int
    """Windows whose outputs differ from the host's, which carries its state."""
    from_zero: int
    """Those that differ from what the host says of the window alone."""


def _sequences(
    session: Session, graph: Graph, inputs: Int8, plan: Plan, progress: Progress
) -> _Sequences:
    """Carry the state through consecutive windows; count the windows whose outputs differ."""
    count, length = plan.sequences.shape
    state = reference.zero_state(graph, count)
    expected = []
    for place in range(length):
        forecasts = reference.run(graph, inputs[plan.sequences[:, place]], initial=state)
        state = forecasts.state
        expected.append(forecasts.outputs)
    alone = reference.run(graph, inputs[plan.sequences.reshape(-1)]).outputs
    alone = alone.reshape(count, length, -1)
    mismatches, from_zero = 0, 0
    for number, sequence in enumerate(plan.sequences):
        session.reset()
        for place, window in enumerate(sequence):
            outputs, _ = session.forecast(inputs[window], keep=True)
            mismatches += int((outputs != expected[place][number]).any())
            from_zero += int((outputs != alone[number, place]).any())
        progress((number + 1) / count, f"sequence {number + 1} of {count}")
    return _Sequences(mismatches, from_zero)


def _stream(session: Session, graph: Graph, samples: Int8, progress: Progress) -> Stream:
    """Feed samples (count, features) one by one; in the middle the state takes a way round."""
    if graph.whole_sequence:
        return Stream(0, False, np.zeros(0, np.int64))
    middle = len(samples) // 2
    before = reference.stream(graph, samples[:middle])
    after = reference.stream(graph, samples[middle:], initial=before.state)
    expected = np.concatenate([before.outputs, after.outputs])
    ticks = np.zeros(len(samples), np.int64)
    mismatches, state_differs = 0, False
    session.reset()
    for number, sample in enumerate(samples):
        if number == middle:
            state_differs = session.save() != saved_state(graph, before.state)
            session.reset()
            session.restore()
        outputs, ticks[number] = session.step(sample)
        mismatches += int((outputs != expected[number]).any())
        progress((number + 1) / len(samples), f"sample {number + 1} of {len(samples)}")
    return Stream(mismatches, state_differs, ticks)
