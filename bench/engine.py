"""Measure the engine on every core: instructions, bytes, stack, the same on any machine.

    python bench/engine.py [--only TEXT] [--workers N]

Prints a table, writes `bench/results.json` and the table of `docs/kernels.md`, and fails when a
figure is more than 1% worse than in the last committed one, unless its row is named under
`declared` there, with the reason. With `--only`, rows whose key does not contain TEXT keep their
figures.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from toolchain.board import Board, Core, boards_dir, find_board, read_cores
from toolchain.device.emulation import emulate
from toolchain.device.link import open_link
from toolchain.firmware.build import build
from toolchain.firmware.elf import Image, read_image
from toolchain.firmware.kernel import Profile
from toolchain.firmware.kernels import choose_kernel
from toolchain.firmware.pack import pack
from toolchain.firmware.render import render
from toolchain.graph import reference
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.types import Graph

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "kernels.md"
BEGIN, END = "<!-- bench: begin -->\n", "<!-- bench: end -->"
WORST_LOSS = 0.01

BOARDS = (
    "netduinoplus2", "stm32vldiscovery", "microbit", "mps3-an547", "hifive1", "arduino-uno",
)  # fmt: skip
"""One for each kernel."""
LIKE_THEM = ("mps2-an500", "mps2-an505", "pico")
"""Other cores with one of these kernels: M7, M33, M0+. Dense rows show that they do the same."""
HIDDEN = (16, 32, 64)
FEATURES = (1, 5)
BLOCKS = (0.5, 0.7, 0.8)

FIGURES = (
    "instructions_window", "instructions_step", "cycles_window", "cycles_step", "code_bytes",
    "table_bytes", "weight_bytes", "ram_bytes", "stack_bytes", "image_bytes",
)  # fmt: skip
"""What a row measures; less is better in all of them."""

_WINDOWS = 3
_ANSWER_S = 120.0
_ENGINE_INPUT = re.compile(
    r"^ \.(?:text|rodata)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s+(\S.*)$", re.MULTILINE
)


@dataclass(frozen=True)
class Case:
    """What is measured in one row."""

    board: str
    profile: Profile
    shape: Shape

    @property
    def key(self) -> str:
        """Name the row, in results.json and for --only."""
        shape = self.shape
        zeros = f" {shape.structure} {shape.sparsity:.0%}" if shape.sparsity else ""
        return f"{self.board} {self.profile} lstm:{shape.hidden[0]}x{shape.features}{zeros}"


def cases() -> Iterator[Case]:
    """List every row."""
    for board in BOARDS:
        for profile in get_args(Profile):
            for features in FEATURES:
                for hidden in HIDDEN:
                    shape = Shape((hidden,), features)
                    yield Case(board, profile, shape)
                    for sparsity in BLOCKS:
                        sparse = replace(shape, structure="blocks", sparsity=sparsity)
                        yield Case(board, profile, sparse)
                    if profile == "size" and features == 1:
                        # Scattered zeros save bytes, never time: only `size` stores them so.
                        scattered = replace(shape, structure="scattered", sparsity=0.7)
                        yield Case(board, profile, scattered)
    for board in LIKE_THEM:
        for profile in get_args(Profile):
            for hidden in HIDDEN:
                yield Case(board, profile, Shape((hidden,)))


def measure(case: Case) -> dict[str, Any]:
    """Build, run and size up one row.

    Raises:
        RuntimeError: the device forecasts something else than the host.
    """
    board = find_board(case.board, boards_dir())
    core = read_cores(boards_dir())[board.core]
    graph = sample_graph(case.shape)
    kernel = choose_kernel(core.kernel, case.profile, graph)
    packed = pack(graph, kernel)
    with tempfile.TemporaryDirectory(prefix="shelfcast-bench-") as scratch:
        sources = Path(scratch, "sources")
        render(graph, board, core, boards_dir(), sources, case.profile)
        (sources / "app" / "console.c").unlink()
        (sources / "app" / "main.c").write_text((HERE / "firmware" / "measure.c").read_text())
        makefile = sources / "Makefile"
        makefile.write_text(makefile.read_text().replace("app/console.c ", ""))
        image = build(sources, board, core)
        ticks_window, ticks_step, stack = run(board, image, graph)
        bare = link_bare(sources, core)
        code = engine_code_bytes(sources / "build" / "bare.map")
    emulator = board.emulator
    assert emulator is not None
    counted: dict[str, Any] = {}
    for name, ticks in (("window", ticks_window), ("step", ticks_step)):
        cycles = emulator.cycles(ticks)
        if cycles is None:
            counted[f"instructions_{name}"] = round(emulator.instructions(ticks, board.clock_hz))
        else:
            counted[f"cycles_{name}"] = round(cycles)
    return {
        "core": board.core,
        "board": board.name,
        "profile": case.profile,
        "kernel": kernel.name,
        "hidden": list(case.shape.hidden),
        "features": case.shape.features,
        "layers": len(case.shape.hidden),
        "structure": case.shape.structure,
        "sparsity": case.shape.sparsity,
        "format": packed.lstms[0].recurrent.format,
        **counted,
        "macs": graph.macs,
        "code_bytes": code,
        "table_bytes": bare.bytes_of("activation_table"),
        "weight_bytes": bare.bytes_of("model_")
        + sum(s.bytes for s in bare.symbols if s.name == "model" and s.memory == "flash"),
        "ram_bytes": packed.state.bytes,
        "stack_bytes": stack,
        "image_bytes": bare.flash_bytes,
    }


def run(board: Board, image: Image, graph: Graph) -> tuple[float, float, int]:
    """Run measure.c on the emulator: mean ticks of a window, ticks of a step, bytes of stack."""
    windows = made_up_windows(graph)
    expected = reference.run(graph, windows).outputs
    ticks = []
    with emulate(board) as emulator:
        emulator.flash(image.path)
        with open_link(emulator.port, board.uart.baud) as link:
            emulator.start()

            def answer(word: str) -> list[str]:
                while (line := link.read_line(_ANSWER_S)) is not None:
                    words = line.decode(errors="replace").split()
                    if words[:1] == [word]:
                        return words[1:]
                raise RuntimeError(f"{board.name}: no answer; an emulator that died?")

            for row in expected:
                count, outputs = answer("window")
                ticks.append(int(count))
                if bytes.fromhex(outputs) != row.tobytes():
                    raise RuntimeError(f"{board.name}: forecasts {outputs}, not {row.tolist()}")
            step = int(answer("step")[0])
            return float(np.mean(ticks)), float(step), int(answer("stack")[0])


def made_up_windows(graph: Graph) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Return the windows that measure.c makes up: (windows, steps, features)."""
    values, state = [], 0
    for _ in range(_WINDOWS * graph.steps * graph.features):
        state = (state * 1_664_525 + 1_013_904_223) % (1 << 32)
        values.append(state >> 24)
    flat = np.array(values, np.uint8).view(np.int8)
    return flat.reshape(_WINDOWS, graph.steps, graph.features)


def link_bare(sources: Path, core: Core) -> Image:
    """Link engine and model with the least start-up there is, from the objects that make built."""
    folder = sources / "build"
    compiler = f"{core.compiler}gcc"
    includes = [f"-I{sources}", f"-I{sources / 'engine'}"]
    objects = [*sorted((folder / "engine").glob("*.o")), folder / "model.o", folder / "tables.o"]
    startup = [] if core.libc_startup else ["-nostartfiles"]
    out = folder / "bare.elf"
    command = [
        compiler, f"-std={core.standard}", *core.flags, "-Os", "-ffunction-sections",
        # The loop that clears RAM stays a loop: as a call of memset it would be larger.
        "-fno-tree-loop-distribute-patterns", *includes, HERE / "firmware" / "bare.c",
        *objects, *startup, *core.link_flags, "-Wl,--gc-sections", "-Wl,--build-id=none",
        "-T", sources / "link.ld", f"-Wl,-Map={folder / 'bare.map'}", "-o", out,
    ]  # fmt: skip
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr[-2000:])
    return read_image(out)


def engine_code_bytes(link_map: Path) -> int:
    """Sum up what the engine, and the C library's functions that it calls, have in an image."""
    # Names longer than a column stand on a line of their own.
    text = re.sub(r"^( \.\S+)\n\s+", r"\1 ", link_map.read_text(), flags=re.MULTILINE)
    kept = text[text.index("Linker script and memory map") :]
    total = 0
    for found in _ENGINE_INPUT.finditer(kept):
        file = found[2]
        if "/engine/" in file or re.search(r"lib\w+\.a\(", file):
            total += int(found[1], 16)
    return total


def compare(new: dict[str, Any], old: dict[str, Any], declared: dict[str, str]) -> list[str]:
    """Name every figure that is more than 1% worse than it was and not declared."""
    losses = []
    for key, row in new.items():
        before = old.get(key, {})
        for figure in FIGURES:
            was, now = before.get(figure), row.get(figure)
            if was and now and now > was * (1 + WORST_LOSS) and key not in declared:
                losses.append(f"{key}: {figure} was {was:,}, is {now:,} (+{now / was - 1:.1%})")
    return losses


def ratios(row: dict[str, Any], baselines: dict[str, Any]) -> dict[str, Any]:
    """Return how many times more the interpreter takes, where it was measured."""
    of_core = baselines.get(row["core"])
    if of_core is None or row["features"] != 1 or "instructions_window" not in row:
        return {}
    place = HIDDEN.index(row["hidden"][0])
    found: dict[str, Any] = {}
    for kernels, builds in of_core.items():
        ours = row["image_bytes"] - row["weight_bytes"]
        found[kernels] = {
            "instructions": round(
                builds["fastest"]["instructions"][place] / row["instructions_window"], 2
            ),
            "flash": round(builds["smallest"]["flash"] / ours, 1),
            "ram": round(
                min(build["ram"][place] for build in builds.values())
                / (row["ram_bytes"] + row["stack_bytes"]),
                1,
            ),
        }
    return found


def committed() -> dict[str, Any]:
    """Read results.json as it was committed last; empty when it never was."""
    result = subprocess.run(
        ["git", "-C", str(HERE), "show", "HEAD:./results.json"], capture_output=True, text=True
    )
    return json.loads(result.stdout) if result.returncode == 0 else {"rows": [], "declared": {}}


def by_key(results: dict[str, Any]) -> dict[str, Any]:
    """Index rows by their key."""
    return {row["key"]: row for row in results["rows"]}


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Lay the rows out for people."""
    head = (
        f"{'':46} {'window':>10} {'step':>8} {'per MAC':>8} {'code':>6} {'tables':>6} "
        f"{'weights':>7} {'RAM':>5} {'stack':>5} {'image':>6}  times less than TFLM, CMSIS-NN"
    )
    lines = [head]
    for row in rows:
        window = row.get("instructions_window") or row["cycles_window"]
        step = row.get("instructions_step") or row["cycles_step"]
        beside = ", ".join(
            f"{name} {ratio['instructions']:.1f} time {ratio['flash']:.0f} code "
            f"{ratio['ram']:.0f} RAM"
            for name, ratio in row.get("ratios", {}).items()
        )
        lines.append(
            f"{row['key']:46} {window:>10,} {step:>8,} {window / row['macs']:>8.2f} "
            f"{row['code_bytes']:>6,} {row['table_bytes']:>6,} {row['weight_bytes']:>7,} "
            f"{row['ram_bytes']:>5,} {row['stack_bytes']:>5,} {row['image_bytes']:>6,}  {beside}"
        )
    return "\n".join(lines)


def page_table(rows: Iterable[dict[str, Any]]) -> str:
    """Return the Markdown table of docs/kernels.md: one input, dense, and H = 64 in blocks."""
    lines = [
        "| board | profile | LSTM | window | step | code, tables | weights | RAM, stack | image |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        dense = row["structure"] == "dense"
        blocks = row["structure"] == "blocks" and row["hidden"] == [64]
        if row["board"] in BOARDS and row["features"] == 1 and (dense or blocks):
            window = row.get("instructions_window") or row["cycles_window"]
            step = row.get("instructions_step") or row["cycles_step"]
            name = f"{row['hidden'][0]}" + ("" if dense else f", {row['sparsity']:.0%} blocks")
            lines.append(
                f"| {row['board']} | {row['profile']} | {name} | {window:,} | {step:,} "
                f"| {row['code_bytes'] + row['table_bytes']:,} | {row['weight_bytes']:,} "
                f"| {row['ram_bytes']:,}, {row['stack_bytes']:,} | {row['image_bytes']:,} |"
            )
    return "\n".join(lines) + "\n"


def write_page(rows: Iterable[dict[str, Any]]) -> None:
    """Put the table into docs/kernels.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + page_table(rows) + END + after, encoding="utf-8")


def main() -> int:
    """Measure what was asked for, print, write and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="measure only rows whose key contains this")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    baselines = tomllib.loads((HERE / "baselines.toml").read_text())
    there = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": [], "declared": {}}
    rows = {} if not options.only else by_key(there)
    chosen = [case for case in cases() if options.only in case.key]
    with ProcessPoolExecutor(options.workers) as pool:
        for number, (case, row) in enumerate(zip(chosen, pool.map(measure, chosen), strict=True)):
            rows[case.key] = {"key": case.key, **row, "ratios": ratios(row, baselines)}
            print(f"\r{number + 1} of {len(chosen)}: {case.key:60}", end="", file=sys.stderr)
    print(file=sys.stderr)
    ordered = [rows[case.key] for case in cases() if case.key in rows]
    print(table(rows[case.key] for case in chosen))
    print("window and step: instructions under emulation; on arduino-uno cycles. All sizes: bytes.")
    results = {"declared": there["declared"], "rows": ordered}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_page(ordered)
    losses = compare(rows, by_key(committed()), there["declared"])
    if losses:
        print("\nworse than committed, and not declared in bench/results.json:")
        print("\n".join(f"  {loss}" for loss in losses))
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main())
