"""What a firmware spends its flash and RAM on."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.firmware.elf import Image

_WEIGHTS = ("model_",)
_TABLES = ("activation_table",)


@dataclass(frozen=True)
class Footprint:
    """Bytes of an image by purpose. Flash is weights, tables and code: nothing else is in it."""

    flash_bytes: int
    weight_bytes: int
    """The model: weights, biases, scales and layer descriptions."""
    table_bytes: int
    code_bytes: int
    """All the rest: engine, console, port, constants of the console, alignment."""
    ram_bytes: int
    """Variables, without the stack."""


def footprint(image: Image) -> Footprint:
    """Sum up an image by what its symbols are for."""
    weights = image.bytes_of(*_WEIGHTS) + sum(
        symbol.bytes
        for symbol in image.symbols
        if symbol.name == "model" and symbol.memory == "flash"
    )
    tables = image.bytes_of(*_TABLES)
    return Footprint(
        flash_bytes=image.flash_bytes,
        weight_bytes=weights,
        table_bytes=tables,
        code_bytes=image.flash_bytes - weights - tables,
        ram_bytes=image.ram_bytes,
    )
