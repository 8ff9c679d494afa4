"""Show one board wholly: what it is, its memory map, and how its serial pins are wired."""

from __future__ import annotations

import textwrap

from toolchain.board import Board, Region

_TIERS = {
    1: "tier 1: its firmware runs in the tests, under emulation",
    2: "tier 2: its firmware is built in the tests and has never been run",
}
_KINDS = {
    "flash": "the image",
    "ram": "data and stack",
    "constants": "the flash again, where the core reads data",
    "other": "not used",
}
_INSIDE = 26


def describe_board(board: Board) -> str:
    """Draw and describe a board."""
    flasher = board.flasher.kind if board.flasher else "none: it is only emulated"
    emulator = board.emulator.kind if board.emulator else "none"
    parts = [
        f"{board.name}: {board.title} ({board.vendor})",
        f"{board.mcu}, {board.core} at {board.clock_hz / 1e6:g} MHz; {_TIERS[board.tier]}",
        "",
        *_memory_map(board.memory),
        "",
        *_wiring(board),
        "",
        f"  counter    {board.cycle_counter}",
        *textwrap.wrap(f"  power      {_power(board)}", 88, subsequent_indent=" " * 13),
        f"  flasher    {flasher}{_reset(board)}",
        f"  emulator   {emulator}",
        *(
            f"  usb        {device.id} {device.what}{'' if device.console else ' (no console)'}"
            for device in board.usb
        ),
        f"  stack      {board.stack_bytes:,} bytes are kept free for it",
        f"  console    lines of up to {board.line_bytes} bytes",
    ]
    for note in (*(f"Erratum: {erratum}" for erratum in board.errata), *board.notes):
        parts += ["", *textwrap.wrap(note, 88, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join(parts)


def _power(board: Board) -> str:
    power = board.power
    if power is None:
        return "no figures"
    return f"{power.active_ma:g} mA at {power.volts:g} V while it computes ({power.source})"


def _reset(board: Board) -> str:
    return f", reset: {board.flasher.reset}" if board.flasher else ""


def _memory_map(memory: tuple[Region, ...]) -> list[str]:
    """Draw the regions from the lowest address up, the highest on top as in a datasheet."""
    lines: list[str] = []
    above: Region | None = None
    for region in sorted(memory, key=lambda region: -region.origin):
        if above is None or above.origin != region.end:
            if above is not None:
                lines.append(f"  0x{above.origin:08x} └{'─' * _INSIDE}┘")
            lines.append(f"  0x{region.end:08x} ┌{'─' * _INSIDE}┐")
        else:
            lines.append(f"  0x{region.end:08x} ├{'─' * _INSIDE}┤")
        size = f"{region.bytes:,} bytes"
        label = f" {region.name}{size:>{_INSIDE - len(region.name) - 2}} "
        lines.append(f"             │{label}│ {_KINDS[region.kind]}")
        above = region
    if above is not None:
        lines.append(f"  0x{above.origin:08x} └{'─' * _INSIDE}┘")
    return lines


def _wiring(board: Board) -> list[str]:
    """Draw the three wires between the board and a USB-serial adapter."""
    width = max(len(board.uart.tx), len(board.uart.rx), 3)
    return [
        f"  {board.uart.peripheral}, {board.uart.baud:,} baud, 8 bits, no parity, 1 stop bit",
        "",
        f"     TX  {board.uart.tx:<{width}}  ────────▶  RX",
        f"     RX  {board.uart.rx:<{width}}  ◀────────  TX   of the adapter",
        f"         {'GND':<{width}}  ─────────  GND",
    ]
