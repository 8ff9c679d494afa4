"""The bytes that a model's state is saved as: the same on every board, and on the host.

::

    crc32    uint32   of the model: another one's state is refused
    cells    int16    layer by layer
    hidden   int8     layer by layer
    padding  zeros, up to a multiple of 4

All little-endian. `forecast_save` of the engine writes them.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.graph.reference import State
from toolchain.graph.types import Graph

CRC_BYTES = 4


def kept_bytes(hidden_sizes: Sequence[int]) -> int:
    """Count cells and hidden values, padded.

    >>> kept_bytes([16]), kept_bytes([5, 4])
    (48, 28)
    """
    return -(-3 * sum(hidden_sizes) // 4) * 4


def saved_bytes(hidden_sizes: Sequence[int]) -> int:
    """Count what `saved_state` returns for one window."""
    return CRC_BYTES + kept_bytes(hidden_sizes)


def saved_state(graph: Graph, state: State) -> bytes:
    """Write the state of one window."""
    parts = [graph.crc32.to_bytes(CRC_BYTES, "little")]
    parts += [cells[0].astype("<i2").tobytes() for cells in state.cells]
    parts += [hidden[0].tobytes() for hidden in state.hidden]
    return b"".join(parts).ljust(saved_bytes(graph.hidden_sizes), b"\0")
