"""How large a tensor arena TensorFlow Lite Micro needs for a model on a 32-bit target.

The interpreter fills its arena from both ends. What it keeps grows down from the end; what it needs
for a while lies at the beginning: while an operator is prepared its tensors, while the memory is
planned the plan, and from then on the tensors and scratch buffers themselves. This goes the same
way with the same sizes, and notes the most that both ends ever took.

Source: TensorFlow Lite Micro of 2026-08 (commit 90b983c), micro_allocator.cc, micro_interpreter.cc,
greedy_memory_planner.cc, and the kernels' Prepare functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from toolchain.graph.layout import Layout, Node

Kernels = Literal["reference", "cmsis_nn"]
"""Whose LSTM and dense kernels a library has: they keep different things in the arena."""

ALIGNMENT = 16
"""Of the arena, its size, and every buffer in it."""

# sizeof on a target with pointers of 4 bytes.
_POINTER = 4
_ALLOCATOR = 36  # SingleArenaBufferAllocator
_PLANNER = 44  # GreedyMemoryPlanner
_MICRO_ALLOCATOR = 36
_BUILTIN_ALLOCATOR = 8
_SUBGRAPH = 8  # SubgraphAllocations
_EVAL_TENSOR = 12  # TfLiteEvalTensor
_TENSOR = {1: 32, 4: 40}  # TfLiteTensor, by the bytes of its enums
_QUANTIZATION = 12  # TfLiteAffineQuantization
_NODE = 32  # NodeAndRegistration
_REQUEST = 12  # ScratchBufferRequest
_MAX_REQUESTS = 12  # kMaxScratchBuffersPerOp, kept free for the next operator
_ALLOCATION_INFO = 24
_PLAN = 40  # of a buffer, in the planner's working arrays

_OPTIONS: dict[str, tuple[int, int]] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (16, 4),
    "FULLY_CONNECTED": (16, 4),
    "SOFTMAX": (4, 4),
    "RESHAPE": (36, 4),
    "SQUEEZE": (36, 4),
    "STRIDED_SLICE": (24, 4),
}
"""An operator's parsed options, and their alignment; the others have none."""
_SHORT_OPTIONS = {"FULLY_CONNECTED": (5, 1)}
"""Of enums alone, where these have one byte."""

_OP_DATA: dict[Kernels, dict[str, int]] = {
    "reference": {
        "UNIDIRECTIONAL_SEQUENCE_LSTM": 688,
        "FULLY_CONNECTED": 48,
        "STRIDED_SLICE": 84,
        "SOFTMAX": 56,
        "LOGISTIC": 16,
        "TANH": 16,
        "QUANTIZE": 32,
        "DEQUANTIZE": 32,
        "TRANSPOSE": 64,
    }
}
_OP_DATA["cmsis_nn"] = _OP_DATA["reference"] | {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 912,
    "FULLY_CONNECTED": 72,
    "SOFTMAX": 64,
}
"""What a kernel keeps of an operator."""


@dataclass(frozen=True)
class Arena:
    """What a model takes of an arena."""

    bytes: int
    """The smallest size that works, a multiple of 16: setting up may take more than running."""
    used_bytes: int
    """What stays in use, as `arena_used_bytes` of the interpreter says."""


@dataclass(frozen=True)
class _Buffer:
    """RAM that is needed from one operator to another."""

    bytes: int
    first: int
    last: int


@dataclass
class _Ends:
    """The two ends of an arena, and the most they ever took together."""

    tensor_bytes: int
    tail: int = 0
    most: int = 0
    head: int = 0

    def keep(self, size: int, alignment: int = _POINTER) -> None:
        """Take bytes at the end, for good."""
        self.tail = _up(self.tail + size, alignment)
        self.need(self.head)

    def need(self, head: int, alignment: int = 1) -> None:
        """Note that so many bytes are needed at the beginning, too."""
        self.most = max(self.most, head + _up(self.tail, alignment))


def plan_arena(
    layout: Layout, kernels: Kernels, *, enum_bytes: Literal[1, 4] = 1, helium: bool = False
) -> Arena:
    """Compute the arena of a model.

    Args:
        layout: the model's.
        kernels: whose kernels the library has.
        enum_bytes: of a small enum: 1 in Arm's ABI for bare metal, 4 in others.
        helium: the core computes in vectors, as far as the kernels do.
    """
    ends = _Ends(_TENSOR[enum_bytes])
    options = _OPTIONS | (_SHORT_OPTIONS if enum_bytes == 1 else {})
    for size in (_ALLOCATOR, _PLANNER, _MICRO_ALLOCATOR, _BUILTIN_ALLOCATOR):
        ends.keep(size)
    ends.head = _REQUEST * _MAX_REQUESTS
    ends.keep(_SUBGRAPH)
    ends.keep(_EVAL_TENSOR * len(layout.tensors))
    ends.keep(_NODE * len(layout.nodes))
    for node in layout.nodes:
        ends.keep(*options.get(node.name, (0, 1)))
    for node in layout.nodes:
        if node.name in _OP_DATA[kernels]:
            ends.keep(_OP_DATA[kernels][node.name], ALIGNMENT)
    scratch = _prepare(layout, kernels, ends, helium=helium)
    ends.keep(_POINTER * len(scratch))
    for tensor in layout.tensors:
        if tensor.kind == "variable":
            ends.keep(tensor.bytes, ALIGNMENT)
    buffers = _activations(layout) + scratch
    planning = ends.head + _POINTER + _ALLOCATION_INFO * (len(layout.tensors) + len(scratch))
    ends.need(_up(planning, ALIGNMENT) + _PLAN * len(buffers), ALIGNMENT)
    ends.head = _place(buffers)
    ends.need(ends.head)
    for places in (layout.inputs, layout.outputs):
        ends.keep(_POINTER * len(places), ALIGNMENT)
        for place in places:
            for size in _tensor_parts(layout, place, ends):
                ends.keep(size)
    return Arena(bytes=_up(ends.most, ALIGNMENT), used_bytes=ends.head + ends.tail)


def _prepare(layout: Layout, kernels: Kernels, ends: _Ends, *, helium: bool) -> list[_Buffer]:
    """Go through the operators' Prepare functions; return the scratch buffers they ask for."""
    scratch: list[_Buffer] = []
    for number, node in enumerate(layout.nodes):
        # Each tensor it looks at is described at the beginning of the arena meanwhile.
        looked_at = sum(
            sum(_tensor_parts(layout, place, ends)) for place in (*node.inputs, *node.outputs)
        )
        requests, kept = _asks_for(layout, kernels, node, helium=helium)
        ends.head += looked_at
        ends.need(ends.head)
        for size in kept:
            ends.keep(size, ALIGNMENT)
        scratch += [_Buffer(_up(size, ALIGNMENT), number + 1, number + 1) for size in requests]
        ends.head = _REQUEST * (len(scratch) + _MAX_REQUESTS)
        ends.need(ends.head)
    return scratch


def _asks_for(
    layout: Layout, kernels: Kernels, node: Node, *, helium: bool
) -> tuple[list[int], list[int]]:
    """Return the bytes of scratch buffers that an operator asks for, and of what it keeps."""
    if node.name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        hidden = layout.tensors[node.outputs[0]].shape[-1]
        if kernels == "reference":
            return [2 * hidden] * 4, []
        # The sums of each gate's weights, for inputs and hidden values.
        return [2 * hidden] * 3, [4 * hidden] * 8
    if node.name == "FULLY_CONNECTED":
        weights, output = layout.tensors[node.inputs[1]], layout.tensors[node.outputs[0]]
        kept = [4 * weights.channels] * 2 if weights.channels > 1 else []
        if kernels == "reference":
            return [], kept
        # As a convolution, where the rows allow it. Else, in vectors, with the sums of the weights:
        # kept in a library made for speed, asked for in one made for size.
        sums = 4 * output.shape[-1]
        if len(output.shape) > 2 and weights.shape[-1] % 4 == 0:
            return ([] if kept else [2 * sums]), kept
        return ([sums], [*kept, sums]) if helium else ([], kept)
    return [], []


def _tensor_parts(layout: Layout, place: int, ends: _Ends) -> list[int]:
    """Return the bytes of what describes a tensor to a kernel."""
    channels = layout.tensors[place].channels
    return [ends.tensor_bytes, *([_QUANTIZATION, 4 + 4 * channels] if channels else [])]


def _activations(layout: Layout) -> list[_Buffer]:
    """Return the tensors between the operators, each from its first use to its last."""
    uses: list[tuple[int, Iterable[int]]] = [(0, layout.inputs)]
    uses += [(number, (*node.inputs, *node.outputs)) for number, node in enumerate(layout.nodes, 1)]
    uses.append((len(layout.nodes), layout.outputs))
    found = []
    for place, tensor in enumerate(layout.tensors):
        times = [time for time, places in uses if place in places]
        if tensor.kind == "activation" and tensor.bytes and times:
            found.append(_Buffer(_up(tensor.bytes, ALIGNMENT), min(times), max(times)))
    return found


def _place(buffers: Sequence[_Buffer]) -> int:
    """Place buffers as the interpreter's planner does, largest first, each in the first gap.

    Returns:
        The end of the last one.
    """
    placed: list[tuple[int, _Buffer]] = []
    # Of buffers of one size, the last comes first.
    order = sorted(range(len(buffers)), key=lambda number: (-buffers[number].bytes, -number))
    for buffer in (buffers[number] for number in order):
        at = 0
        for offset, other in sorted(placed, key=lambda pair: pair[0]):
            if other.first > buffer.last or buffer.first > other.last:
                continue
            if offset - at >= buffer.bytes:
                break
            at = max(at, offset + other.bytes)
        placed.append((at, buffer))
    return max((offset + buffer.bytes for offset, buffer in placed), default=0)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
