"""The sources around an interpreter: data exactly, operators exactly, nothing of the engine."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from recipes import ALL
from tflite_writer import Recipe, write_forecaster
from tflm import render_recipe

from toolchain.board import boards_dir, find_board, read_boards, read_cores
from toolchain.errors import BoardError, ModelError
from toolchain.firmware.render_tflm import _ADD, refuse_board, refuse_other_ends, render_tflm
from toolchain.graph.sample import Shape, sample_graph
from toolchain.graph.tflite_file import parse_graph, read_layout

PLAIN = Recipe(hidden=(5,), features=2, steps=3, dense=(1,))


@pytest.fixture
def rendered(tmp_path):
    return render_recipe(PLAIN, "stm32vldiscovery", tmp_path)


def test_the_array_holds_the_file_byte_for_byte_and_aligned(rendered):
    text = (rendered.sources / "model.c").read_text()

    declared, values = re.search(r"(static [^\n]*) = \{\n(.*?)\n\};", text, re.DOTALL).groups()

    assert "__attribute__((aligned(16)))" in declared
    assert bytes(int(value) for value in values.replace(",", "").split()) == rendered.content


@pytest.mark.parametrize(
    ("recipe", "operators"),
    [
        (PLAIN, ["UnidirectionalSequenceLSTM", "StridedSlice", "FullyConnected"]),
        (
            Recipe(hidden=(5, 4), steps=3, dense=(2, 2)),
            ["UnidirectionalSequenceLSTM", "StridedSlice", "FullyConnected"],
        ),
    ],
)
def test_the_resolver_has_exactly_the_operators_used_each_once(recipe, operators, tmp_path):
    text = (render_recipe(recipe, "stm32vldiscovery", tmp_path).sources / "model.h").read_text()

    assert re.search(r"#define MODEL_OPERATOR_COUNT (\d+)", text)[1] == str(len(operators))
    added = re.search(r"#define MODEL_OPERATORS\(ADD\)(.*)", text)[1]
    assert re.findall(r"ADD\((\w+)\)", added) == operators


@pytest.mark.parametrize("name", ALL)
def test_every_operator_of_a_deployable_model_has_its_name_in_the_resolver(name):
    layout = read_layout(write_forecaster(ALL[name]), name)

    assert set(layout.operators) <= set(_ADD)


def test_nothing_of_the_engine_or_the_shelf_is_there(rendered):
    names = {path.relative_to(rendered.sources).as_posix() for path in rendered.sources.rglob("*")}

    assert {"tflm/forecast.cc", "tflm/forecast.h", "tflm/flash.h", "model.c"} <= names
    assert not any(name.startswith("engine") for name in names)
    assert not {"app/shelf.c", "tables.c", "inputs.h"} & names


def test_the_same_file_and_board_give_the_same_bytes(rendered, tmp_path):
    other = render_recipe(PLAIN, "stm32vldiscovery", tmp_path / "elsewhere").sources

    for path in rendered.sources.rglob("*.*"):
        assert (other / path.relative_to(rendered.sources)).read_bytes() == path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()


def test_every_32_bit_board_can_be_rendered_for_and_no_avr(tmp_path):
    cores = read_cores(boards_dir())
    content = render_recipe(PLAIN, "pico", tmp_path).content
    graph = parse_graph(content, "recipe")
    for board in read_boards(boards_dir()):
        core = cores[board.core]
        if board.family == "avr":
            with pytest.raises(BoardError, match="8-bit AVR"):
                render_tflm(content, graph, board, core, boards_dir(), tmp_path / board.name)
            assert not (tmp_path / board.name).exists()
        else:
            render_tflm(content, graph, board, core, boards_dir(), tmp_path / board.name)


def test_an_avr_is_refused_with_the_reason():
    board = find_board("arduino-uno", boards_dir())

    with pytest.raises(BoardError) as caught:
        refuse_board(board, read_cores(boards_dir())[board.core])

    assert str(caught.value) == (
        "arduino-uno: its atmega328p is an 8-bit AVR with pointers of 16 bits, and TensorFlow "
        "Lite Micro needs 32. Use --runtime engine, or a board with a 32-bit core."
    )


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_a_model_with_other_ends_is_refused(kind):
    graph = replace(sample_graph(Shape((4,))), input_type=kind)

    with pytest.raises(ModelError, match=f"the model has {kind} at its ends"):
        refuse_other_ends(graph)


def test_a_layout_says_what_lies_in_flash_and_what_in_ram(rendered):
    layout = read_layout(rendered.content, "recipe")

    lstm = layout.nodes[0]
    kinds = [layout.tensors[place].kind for place in lstm.inputs]
    assert kinds == ["activation", *["constant"] * 12, "variable", "variable"]
    assert [layout.tensors[place].bytes for place in lstm.inputs[-2:]] == [5, 10]
    assert layout.tensors[layout.inputs[0]].bytes == 6
    assert layout.tensors[layout.outputs[0]].shape[-1] == 1
