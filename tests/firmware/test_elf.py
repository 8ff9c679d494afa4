from __future__ import annotations

import pytest

from toolchain.errors import ToolError
from toolchain.firmware.build import build
from toolchain.firmware.elf import read_image

pytestmark = pytest.mark.usefixtures("arm_gcc")


@pytest.fixture
def image(render_for):
    rendered = render_for()
    return build(rendered.sources, rendered.board, rendered.core)


def test_flash_bytes_are_those_of_the_binary(image):
    binary = image.path.with_suffix(".bin").read_bytes()
    assert image.flash_bytes == len(binary)
    start = image.segments[0].address
    assert start == 0x0800_0000
    for segment in image.segments:
        place = segment.address - start
        assert binary[place : place + len(segment.data)] == segment.data


def test_ram_is_variables_without_the_stack(image):
    sizes = {section.name: section.bytes for section in image.sections if section.memory == "ram"}
    assert sizes[".stack"] == 1024
    assert image.ram_bytes == sizes[".data"] + sizes[".bss"]


def test_symbols_are_counted_by_what_they_are(image):
    weights = image.bytes_of("model_lstm0_input_weights", "model_lstm0_recurrent_weights")
    assert weights == 4 * 4 * (1 + 4)
    assert image.bytes_of("console_window", memory="ram") == 3
    assert image.bytes_of("console_window") == 0
    assert image.bytes_of("absent_") == 0


def test_the_largest_come_first(image):
    names = [symbol.name for symbol in image.largest(3)]
    sizes = [symbol.bytes for symbol in image.largest(1000)]
    assert len(names) == 3
    assert sizes == sorted(sizes, reverse=True)
    assert image.largest(1, "ram")[0].name == "console_line"


def test_an_address_is_traced_to_its_function(image):
    main = next(symbol for symbol in image.symbols if symbol.name == "main")
    assert image.symbol_at(main.address) == main
    assert image.symbol_at(main.address + main.bytes - 1) == main
    assert image.symbol_at(0xE000_0000) is None
    assert image.symbol_at(image.entry & ~1).name == "startup_reset"


def test_an_absent_file_is_refused(tmp_path):
    path = tmp_path / "firmware.elf"
    with pytest.raises(ToolError) as caught:
        read_image(path)
    assert str(caught.value) == f"{path}: no such file. `shelfcast build` makes it."


@pytest.mark.parametrize("content", [b"", b"not an ELF file, but long enough for a header" * 4])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "firmware.elf"
    path.write_bytes(content)
    with pytest.raises(ToolError) as caught:
        read_image(path)
    assert str(caught.value) == f"{path}: not an ELF file: Magic number does not match."


def test_a_file_cut_short_is_refused(image, tmp_path):
    path = tmp_path / "cut.elf"
    path.write_bytes(image.path.read_bytes()[:600])
    with pytest.raises(ToolError, match="not an ELF file"):
        read_image(path)
