"""What a firmware will take, before it is built: flash, RAM, stack, instructions.

What the model adds is computed as the renderer and the linker will lay it out. What the rest takes
was measured once, for every board of the catalog and each kernel it may have, by building it:
`sizes.json`, which `make sizes` writes. A kernel is compiled for what its model needs, so some ways
of that were measured for every core; of another model the nearest one stands in. Compilers differ,
so the ledger of a run sets predictions beside what came out.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.board import Board, Core
from toolchain.device.protocol import line_bytes_for
from toolchain.firmware.kernel import FORMATS, Format, Kernel, Profile
from toolchain.firmware.kernels import choose_kernel
from toolchain.firmware.pack import PackedDense, PackedModel, layer_instructions, pack
from toolchain.graph.constants import graph_constants
from toolchain.graph.types import Graph

SIZES = Path(__file__).with_name("sizes.json")

_WHOLE_SEQUENCE_STACK = 24
"""How much deeper a forecast goes at most, whose head reads every step."""


@dataclass(frozen=True)
class Base:
    """What a firmware takes without its model."""

    flash_bytes: int
    ram_bytes: int
    """Variables up to the last, not rounded up."""
    stack_bytes: int
    """The deepest the stack can get, by the compiler's call graph."""
    near_bytes: int = 0
    """Of flash, the constants, where a pointer does not reach all of it."""


@dataclass(frozen=True)
class Prediction:
    """What a firmware with a model will take on a board."""

    board: Board
    profile: Profile
    kernel: Kernel
    approximate: bool
    """Nothing like it was built for the table: another board of the core stands in, other formats,
    another head, or layers on top of each other, whose instructions are less sure."""
    flash_bytes: int
    weight_bytes: int
    """Of it, the model: weights, biases, scales, descriptions."""
    longest_array_bytes: int
    """Of the model's arrays, the one that a compiler may find too long."""
    near_bytes: int
    """Constants, the model's and others: a pointer may not reach all of flash."""
    ram_bytes: int
    """Variables, without the stack."""
    state_bytes: int
    """Of them, what the model keeps and works with."""
    stack_bytes: int
    instructions: int
    """Of a forecast from a whole window; cycles on an AVR."""
    instructions_step: int
    """Of one step of a stream and its forecast."""

    @property
    def ram_total(self) -> int:
        """Variables and the deepest stack."""
        return self.ram_bytes + self.stack_bytes


@dataclass(frozen=True)
class _Layout:
    """How a core's compiler and linker lay data out."""

    align: int
    """Of arrays in flash."""
    array_align: int
    """Of arrays of bytes in RAM."""
    ram_round: int
    """What the size of all variables is rounded up to."""
    lstm_bytes: int
    """A `lstm_layer_t`."""
    dense_bytes: int
    """A `dense_layer_t`."""
    scale_bytes: int
    """A `fixed_scale_t`."""
    pointer_bytes: int
    lookup_code: int
    """What a tanh or sigmoid adds to `dense_forward`."""
    softmax_code: int
    """What a softmax adds, with the product of 64 bits where the core has none."""
    softmax_stack: int
    """How much deeper that product goes."""


def _layout(core: Core) -> _Layout:
    if core.compiler.startswith("avr"):
        return _Layout(1, 1, 1, 19, 14, 5, 2, 32, 1050, 0)
    if core.compiler.startswith("riscv"):
        return _Layout(4, 4, 16, 40, 20, 8, 4, 0, 252, 0)
    if core.kernel == "armv6m":
        return _Layout(4, 1, 8, 40, 20, 8, 4, 12, 436, 28)
    return _Layout(4, 1, 8, 40, 20, 8, 4, 12, 276, 0)


def predict(graph: Graph, board: Board, core: Core, profile: Profile) -> Prediction | None:
    """Predict what a model takes on a board; None when nothing of its core was ever measured."""
    laid_out = _lay_out(graph, core.kernel, profile)
    packed = laid_out.packed
    found = _base(board, packed.kernel, packed.formats)
    if found is None:
        return None
    base, approximate = found
    more_flash, more_stack = _variant(core, board.core, packed)
    layout = _layout(core)
    usual = len(packed.lstms) == len(packed.denses) == 1 and not graph.whole_sequence
    stack = base.stack_bytes + more_stack + _WHOLE_SEQUENCE_STACK * graph.whole_sequence
    head = sum(map(_head_instructions, packed.denses, graph.rows))
    weights = model_flash(packed, core)
    longest = max(_array_bytes(packed, layout))
    code = layout.lookup_code * packed.has_lookup + layout.softmax_code * packed.has_softmax
    line = line_bytes_for(graph.features, board.line_bytes) - board.line_bytes
    ram = base.ram_bytes + line + model_ram(packed, core)
    return Prediction(
        board=board,
        profile=packed.kernel.profile,
        kernel=packed.kernel,
        approximate=approximate or not usual,
        flash_bytes=base.flash_bytes + more_flash + code + weights,
        weight_bytes=weights,
        longest_array_bytes=longest,
        near_bytes=base.near_bytes + weights,
        ram_bytes=_round_up(ram, layout.ram_round),
        state_bytes=packed.state.bytes,
        stack_bytes=stack + layout.softmax_stack * packed.has_softmax,
        instructions=round(graph.steps * laid_out.step_instructions + head),
        instructions_step=round(laid_out.step_instructions + head),
    )


@dataclass(frozen=True, eq=False)
class _LaidOut:
    """A model as a kernel reads it: the same on every board of the kernel."""

    packed: PackedModel
    step_instructions: float
    """Of all its LSTM layers."""


@functools.lru_cache(maxsize=512)
def _lay_out(graph: Graph, kernel_name: str, profile: Profile) -> _LaidOut:
    kernel = choose_kernel(kernel_name, profile, graph)
    lstms, _ = graph_constants(graph)
    return _LaidOut(
        packed=pack(graph, kernel),
        step_instructions=sum(layer_instructions(layer, kernel) for layer in lstms),
    )


def model_flash(packed: PackedModel, core: Core) -> int:
    """Count what a model's arrays and descriptions take in flash."""
    layout = _layout(core)
    return sum(_round_up(size, layout.align) for size in _array_bytes(packed, layout))


def _array_bytes(packed: PackedModel, layout: _Layout) -> list[int]:
    """List the bytes of every array and description of a model."""
    arrays: list[int] = []
    for lstm in packed.lstms:
        for matrix in (lstm.input, lstm.recurrent):
            arrays += [len(matrix.weights), len(matrix.index)]
        arrays += [4 * len(lstm.bias), 4 * len(lstm.constants), layout.lstm_bytes]
    for dense in packed.denses:
        scales = layout.scale_bytes * len(dense.scale)
        description = layout.dense_bytes + layout.pointer_bytes * (
            packed.has_lookup + packed.has_softmax
        )
        arrays += [len(dense.weights), 4 * len(dense.bias), scales, description]
        arrays += [len(dense.lookup)] if dense.lookup is not None else []
        arrays += [4 * len(dense.exponentials)] if dense.exponentials is not None else []
    return arrays


def model_ram(packed: PackedModel, core: Core) -> int:
    """Count what depends on the model among the console's variables."""
    graph, state = packed.graph, packed.state
    saved = 0 if graph.whole_sequence else state.saved_bytes
    align = _layout(core).array_align
    window = graph.steps * graph.features
    return state.bytes + sum(_round_up(size, align) for size in (saved, window, graph.outputs))


def _head_instructions(layer: PackedDense, rows: int) -> float:
    """Return about what a dense layer takes: little beside the steps before it."""
    outputs = layer.output_size
    row = 40 + 60 * outputs + 7 * layer.weights.size
    row += 5 * outputs if layer.lookup is not None else 0
    row += 400 + 60 * outputs if layer.exponentials is not None else 0
    return rows * row


def _base(board: Board, kernel: Kernel, formats: Collection[Format]) -> tuple[Base, bool] | None:
    """Look up what the rest of a firmware takes, and whether another board stands in."""
    sizes = _sizes()["boards"]
    names = [board.name, *sorted(name for name, of in sizes.items() if of["core"] == board.core)]
    for name in names:
        entry = sizes.get(name)
        if entry is not None and entry["core"] == board.core:
            measured = entry["kernels"][kernel.name][kernel.profile]
            if not measured.keys() >= formats:  # such weights as nobody stored when it was measured
                return _base_of(measured, measured.keys()), True
            return _base_of(measured, formats), name != board.name
    return None


def _base_of(measured: Mapping[str, list[int]], formats: Collection[Format]) -> Base:
    """Return what was measured with these formats; of both sparse ones, what each adds."""
    dense = Base(*measured["dense"])
    sparse = [Base(*measured[name]) for name in FORMATS if name in formats and name != "dense"]
    added = sum(base.flash_bytes - dense.flash_bytes for base in sparse)
    return Base(
        flash_bytes=dense.flash_bytes + added,
        ram_bytes=dense.ram_bytes,
        stack_bytes=max(base.stack_bytes for base in sparse or [dense]),
        near_bytes=dense.near_bytes,
    )


def leading_format(formats: Collection[Format]) -> Format:
    """Return the format that decides most about a kernel's code.

    >>> leading_format({"dense", "blocks"})
    'blocks'
    """
    return "blocks" if "blocks" in formats else "scattered" if "scattered" in formats else "dense"


def kind_of(packed: PackedModel) -> str:
    """Name what decides most about the code around the weights: only like is compared with like."""
    stacked = "stacked " if len(packed.lstms) > 1 else ""
    return f"{stacked}{leading_format(packed.formats)}"


def _variant(core: Core, core_name: str, packed: PackedModel) -> tuple[int, int]:
    """Return the bytes of flash and of stack that the way a kernel is compiled adds to its base."""
    if packed.kernel.name != core.kernel:
        return 0, 0
    measured = _sizes()["variants"].get(core_name, {}).get(packed.kernel.profile, [])
    alike = [it for it in measured if it["kind"] == kind_of(packed)]
    if not alike:
        return 0, 0
    defines = packed.defines
    nearest = min(
        alike,
        key=lambda it: sum(defines.get(name) != value for name, value in it["defines"].items()),
    )
    return nearest["flash"], nearest["stack"]


@functools.cache
def _sizes() -> dict[str, dict[str, Any]]:
    if not SIZES.exists():
        return {"boards": {}, "variants": {}}  # as when it is measured for the first time
    found: dict[str, dict[str, Any]] = json.loads(SIZES.read_text())
    return found


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
