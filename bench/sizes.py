"""Measure what a firmware takes without its model, on every board: `toolchain/firmware/sizes.json`.

    python bench/sizes.py [BOARD...]

Builds a small network for each board of the catalog: its core's kernel and the portable one, both
profiles, each format of weights. With names, only those boards are measured again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from toolchain.board import boards_dir, find_board, read_boards, read_cores
from toolchain.files import write_atomically
from toolchain.firmware.build import build
from toolchain.firmware.elf import Image
from toolchain.firmware.kernel import FORMATS, Format, Kernel, Profile
from toolchain.firmware.kernels import KERNELS, choose_kernel
from toolchain.firmware.pack import pack
from toolchain.firmware.predict import SIZES, model_flash, model_ram
from toolchain.firmware.render import render
from toolchain.firmware.stack import stack_of
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.types import Graph

_STRUCTURES: dict[Format, tuple[Shape, ...]] = {
    "dense": (Shape((8,), 3, 12),),
    "blocks": (Shape((40,), 3, 12, "blocks", 0.9),),
    "scattered": tuple(
        Shape((40,), 3, 12, "scattered", share) for share in (0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
    ),
}
"""Small networks, of which a kernel stores the first or another in that format."""

_SMALL_SCALES = (0.0046, 0.0045, 0.0047, 0.0044)
"""Of input weights, for kernels that refuse the usual ones."""


def measure(name: str, kernel_name: str, profile: Profile, variant: Format) -> list[int] | None:
    """Build one firmware: a `Base`, in the order of its fields.

    None when the kernel stores nothing in that format.
    """
    board = find_board(name, boards_dir())
    core = read_cores(boards_dir())[board.core].model_copy(update={"kernel": kernel_name})
    graph = stored_as(variant, KERNELS[kernel_name][profile])
    if graph is None:
        return None
    packed = pack(graph, KERNELS[kernel_name][profile])
    with tempfile.TemporaryDirectory(prefix="shelfcast-sizes-") as scratch:
        sources = Path(scratch, "sources")
        render(graph, board, core, boards_dir(), sources, profile)
        image = build(sources, board, core)
        stack = stack_of(sources / "build", core)
    model = model_flash(packed, core)
    base = [
        image.flash_bytes - model,
        ram_end(image, board.ram.origin) - model_ram(packed, core),
        stack,
    ]
    near = [section.bytes - model for section in image.sections if section.name == ".low"]
    return base + near


def stored_as(variant: Format, kernel: Kernel) -> Graph | None:
    """Make up a network that a kernel accepts and stores in a format."""
    for shape in _STRUCTURES[variant]:
        usual = sample_graph(shape)
        fine = tuple(replace(layer, input_weight_scales=_SMALL_SCALES) for layer in usual.lstms)
        for graph in (usual, replace(usual, lstms=fine)):
            if choose_kernel(kernel.name, kernel.profile, graph) == kernel:
                if variant in pack(graph, kernel).formats:
                    return graph
                break
    return None


def ram_end(image: Image, origin: int) -> int:
    """Count the RAM up to the end of the last variable."""
    ends = [s.address + s.bytes for s in image.symbols if s.memory == "ram" and s.bytes]
    return max(ends) - origin


def main() -> None:
    """Measure everything and write it."""
    boards = {board.name: board for board in read_boards(boards_dir())}
    cores = read_cores(boards_dir())
    chosen = sys.argv[1:] or list(boards)
    jobs = [
        (name, kernel, profile, variant)
        for name in chosen
        for kernel in sorted({cores[boards[name].core].kernel, "portable"})
        for profile in get_args(Profile)
        for variant in FORMATS
    ]
    sizes: dict[str, Any] = json.loads(SIZES.read_text()) if sys.argv[1:] else {}
    sizes |= {name: {"core": boards[name].core, "kernels": {}} for name in chosen}
    with ProcessPoolExecutor(2) as pool:
        for number, ((name, kernel, profile, variant), found) in enumerate(
            zip(jobs, pool.map(measure, *zip(*jobs, strict=True)), strict=True)
        ):
            of_kernel = sizes[name]["kernels"].setdefault(kernel, {})
            if found is not None:
                of_kernel.setdefault(profile, {})[variant] = found
            print(f"\r{number + 1} of {len(jobs)}: {name:30}", end="", file=sys.stderr)
    print(file=sys.stderr)
    write_atomically(SIZES, json.dumps(sizes, indent=1) + "\n")
    compiler = subprocess.run(
        ["arm-none-eabi-gcc", "--version"], capture_output=True, text=True, check=True
    )
    print(f"{SIZES}: {len(jobs)} firmwares, {compiler.stdout.splitlines()[0]}")


if __name__ == "__main__":
    main()
