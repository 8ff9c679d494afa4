"""Measure what a firmware takes without its model, on every board: `toolchain/firmware/sizes.json`.

    python bench/sizes.py [BOARD...]

Builds a small network for each board of the catalog: its core's kernel and the portable one, both
profiles, each format of weights. Then, on one board of each core, networks for which the kernel is
compiled otherwise. With names, only those boards and their cores are measured again.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from toolchain.board import Core, boards_dir, find_board, read_boards, read_cores
from toolchain.files import write_atomically
from toolchain.firmware.build import build
from toolchain.firmware.elf import Image
from toolchain.firmware.kernel import FORMATS, Format, Kernel, Profile
from toolchain.firmware.kernels import KERNELS, choose_kernel
from toolchain.firmware.pack import pack
from toolchain.firmware.predict import SIZES, kind_of, leading_format, model_flash, model_ram
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


_VARIED = [
    Shape(hidden, features, 28, structure, sparsity)
    for structure, sparsity in (
        ("dense", 0.0),
        ("blocks", 0.5),
        ("blocks", 0.7),
        ("scattered", 0.9),
    )
    for hidden, features in (
        *itertools.product([(n,) for n in (16, 20, 21, 24, 32, 42, 48, 64, 90)], (1, 3, 5, 8)),
        ((16,), 40),
        ((16, 16), 1),
        ((12, 20), 3),
        ((21, 10), 5),
        ((32, 32), 5),
    )
]
"""Networks that between them have the kernels compiled in the ways that are usual."""


def variants_of(kernel_name: str, profile: Profile) -> list[Shape]:
    """Choose of `_VARIED` one for each way that a kernel is compiled."""
    chosen: dict[str, Shape] = {}
    for shape in _VARIED:
        graph = sample_graph(shape)
        kernel = choose_kernel(kernel_name, profile, graph)
        if kernel == KERNELS[kernel_name][profile]:
            packed = pack(graph, kernel)
            way = f"{kind_of(packed)} {sorted(packed.defines.items())}"
            chosen.setdefault(way, shape)
    return list(chosen.values())


def measure_variant(name: str, kernel_name: str, profile: Profile, shape: Shape) -> dict[str, Any]:
    """Build one: what it takes more than the board's `Base` with that format says."""
    board = find_board(name, boards_dir())
    core = read_cores(boards_dir())[board.core]
    graph = sample_graph(shape)
    packed = pack(graph, KERNELS[kernel_name][profile])
    with tempfile.TemporaryDirectory(prefix="shelfcast-sizes-") as scratch:
        sources = Path(scratch, "sources")
        render(graph, board, core, boards_dir(), sources, profile)
        image = build(sources, board, core)
        stack = stack_of(sources / "build", core)
    return {
        "kind": kind_of(packed),
        "format": leading_format(packed.formats),
        "defines": packed.defines,
        "flash": image.flash_bytes - model_flash(packed, core),
        "stack": stack,
    }


def relative(found: list[dict[str, Any]], base: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Set variants beside their base, and keep of their macros those that tell them apart."""
    first = found[0]["defines"]
    varying = [name for name in first if any(it["defines"][name] != first[name] for it in found)]
    return [
        {
            "kind": it["kind"],
            "defines": {name: it["defines"][name] for name in varying},
            "flash": it["flash"] - base[it["format"]][0],
            "stack": it["stack"] - base[it["format"]][2],
        }
        for it in found
    ]


def to_text(sizes: dict[str, Any]) -> str:
    """Write a measured firmware a line, so that a change of it is one, too."""
    # The innermost lists and objects lose their line breaks.
    text = json.dumps(sizes, indent=1)
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda it: " ".join(it[0].split()), text) + "\n"


def measure_boards(names: list[str], sizes: dict[str, Any]) -> int:
    """Measure every board; returns how many firmwares that took."""
    boards, cores = {board.name: board for board in read_boards(boards_dir())}, _cores()
    jobs = [
        (name, kernel, profile, variant)
        for name in names
        for kernel in sorted({cores[boards[name].core].kernel, "portable"})
        for profile in get_args(Profile)
        for variant in FORMATS
    ]
    sizes |= {name: {"core": boards[name].core, "kernels": {}} for name in names}
    for (name, kernel, profile, variant), found in _measured(measure, jobs):
        of_kernel = sizes[name]["kernels"].setdefault(kernel, {})
        if found is not None:
            of_kernel.setdefault(profile, {})[variant] = found
    return len(jobs)


def measure_variants(names: list[str], sizes: dict[str, Any], variants: dict[str, Any]) -> int:
    """Measure the kernels' variants on one board of each core; returns how many firmwares."""
    boards, cores = {board.name: board for board in read_boards(boards_dir())}, _cores()
    chosen = {boards[name].core: name for name in reversed(names)}
    jobs = [
        (name, cores[core].kernel, profile, shape)
        for core, name in chosen.items()
        for profile in get_args(Profile)
        for shape in variants_of(cores[core].kernel, profile)
    ]
    found: dict[tuple[str, str, Profile], list[dict[str, Any]]] = {}
    for (name, kernel, profile, _), it in _measured(measure_variant, jobs):
        found.setdefault((name, kernel, profile), []).append(it)
    for (name, kernel, profile), of in found.items():
        base = sizes[name]["kernels"][kernel][profile]
        variants.setdefault(boards[name].core, {})[profile] = relative(of, base)
    return len(jobs)


def _cores() -> dict[str, Core]:
    return read_cores(boards_dir())


def _measured(function: Any, jobs: list[Any]) -> Iterator[tuple[Any, Any]]:
    with ProcessPoolExecutor(2) as pool:
        for number, (job, found) in enumerate(
            zip(jobs, pool.map(function, *zip(*jobs, strict=True)), strict=True)
        ):
            yield job, found
            print(f"\r{number + 1} of {len(jobs)}: {job[0]:30}", end="", file=sys.stderr)
    print(file=sys.stderr)


def main() -> None:
    """Measure everything and write it."""
    names = sys.argv[1:] or [board.name for board in read_boards(boards_dir())]
    known = json.loads(SIZES.read_text()) if sys.argv[1:] else {"boards": {}, "variants": {}}
    count = measure_boards(names, known["boards"])
    count += measure_variants(names, known["boards"], known["variants"])
    write_atomically(SIZES, to_text(known))
    compiler = subprocess.run(
        ["arm-none-eabi-gcc", "--version"], capture_output=True, text=True, check=True
    )
    print(f"{SIZES}: {count} firmwares, {compiler.stdout.splitlines()[0]}")


if __name__ == "__main__":
    main()
