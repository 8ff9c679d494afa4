"""The LSTM kernels, one module each: the host's side of `engine/lstm_<name>.c`."""

from __future__ import annotations

from toolchain.firmware.kernel import Kernel, Profile
from toolchain.firmware.kernels import armv6m, armv7m, avr, dsp, helium, portable, rv32im
from toolchain.graph.constants import graph_constants
from toolchain.graph.types import Graph

KERNELS: dict[str, dict[Profile, Kernel]] = {
    module.SPEED.name: {"speed": module.SPEED, "size": module.SIZE}
    for module in (armv6m, armv7m, avr, dsp, helium, portable, rv32im)
}
"""By name, as `boards/cores.toml` gives it, and by profile."""


def choose_kernel(name: str, profile: Profile, graph: Graph) -> Kernel:
    """Return a core's kernel, or the portable one for a model that the core's refuses."""
    kernel: Kernel | None = KERNELS[name][profile]
    layers, _ = graph_constants(graph)
    while kernel is not None and any(kernel.refuses(layer) for layer in layers):
        kernel = kernel.otherwise
    return kernel or KERNELS["portable"][profile]
