from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from tflite_writer import Recipe

from toolchain.device.protocol import VERBS, Greeting, decode_answer, encode_request, sealed
from toolchain.graph import reference

PLAIN = Recipe(hidden=(5, 4), features=2, steps=6, dense=(3, 2))
WHOLE = Recipe(hidden=(5,), steps=4, whole_sequence=True, dense=(1,))


def hexed(values: np.ndarray) -> str:
    return values.astype(values.dtype.newbyteorder("<")).tobytes().hex()


@pytest.fixture
def console(compile_console):
    return compile_console(PLAIN)


@pytest.fixture
def ask(console) -> Callable[[str], str]:
    """Type one line at a console that has just started; return the answer, its CRC checked."""

    def type_it(line: str) -> str:
        (answer,) = console.talk(line.encode() + b"\n")
        decode_answer(answer)
        return answer[: -len(" *00000000")].decode()

    return type_it


def test_boot_says_who_is_here_as_hello_does(console):
    log, ready, hello = console.boot_and_talk(encode_request(7, "hello"))
    assert log == b"# shelfcast 0.1.0 on netduinoplus2"
    assert decode_answer(ready).kind == "ready"
    assert decode_answer(ready).values == decode_answer(hello).values
    assert decode_answer(hello).seq == 7
    greeting = Greeting.parse(decode_answer(hello).values)
    graph = console.graph
    assert greeting.model_crc == graph.crc32
    assert (greeting.steps, greeting.features, greeting.outputs) == (6, 2, 2)
    assert greeting.hidden == (5, 4)
    assert not greeting.whole_sequence
    assert greeting.input_scale == graph.input.scale
    assert greeting.input_zero_point == graph.input.zero_point
    assert greeting.output_scale == graph.output.scale
    assert greeting.output_zero_point == graph.output.zero_point
    assert (greeting.line_bytes, greeting.clock_hz) == (96, 1_000_000)
    assert (greeting.ram_bytes, greeting.stack_bytes) == (1234, 4096)


def test_help_shows_every_verb_as_a_log_line(console):
    *lines, last = console.talk(b"help\n")
    assert lines == [
        f"# {verb.name}{' ' + verb.arguments if verb.arguments else ''}  {verb.meaning}".encode()
        for verb in VERBS
    ]
    assert decode_answer(last).name == "help"


@pytest.mark.parametrize("recipe", [PLAIN, WHOLE], ids=["stacked", "whole sequence"])
def test_forecasts_equal_the_reference(recipe, compile_console, make_windows):
    console = compile_console(recipe)
    graph = console.graph
    windows = make_windows(graph, 5)
    expected = reference.run(graph, windows)
    requests = [
        request
        for i, window in enumerate(windows)
        for request in (
            encode_request(2 * i + 1, "load", 0, hexed(window)),
            encode_request(2 * i + 2, "run"),
        )
    ]
    answers = [decode_answer(line) for line in console.talk(b"".join(requests))]
    got = [answer.values["out"] for answer in answers if answer.name == "run"]
    assert got == [hexed(row) for row in expected.outputs]


def test_keep_carries_the_state_over(console, make_windows):
    graph = console.graph
    windows = make_windows(graph, 4)
    lines = ["reset"]
    for window in windows:
        lines += [f"load 0 {hexed(window)}", "run keep"]
    answers = [decode_answer(line) for line in console.talk("\n".join([*lines, ""]).encode())]
    state, expected = None, []
    for window in windows:
        result = reference.run(graph, window[np.newaxis], initial=state)
        state = result.state
        expected.append(hexed(result.outputs[0]))
    assert [answer.values["out"] for answer in answers if answer.name == "run"] == expected


def test_steps_show_every_state_and_end_in_the_forecast_of_the_window(console, make_windows):
    graph = console.graph
    window = make_windows(graph, 1)
    expected = reference.run(graph, window, trace=True)
    lines = ["reset"]
    for sample in window[0]:
        lines += [f"step {hexed(sample)}", "state 0", "state 1"]
    answers = [decode_answer(line) for line in console.talk("\n".join([*lines, ""]).encode())]
    shown = [answer.values for answer in answers if answer.name == "state"]
    assert shown == [
        {"h": hexed(expected.hidden[layer][0, step]), "c": hexed(expected.cells[layer][0, step])}
        for step in range(graph.steps)
        for layer in (0, 1)
    ]
    assert answers[-3].values["out"] == hexed(expected.outputs[0])


def test_a_head_over_the_whole_sequence_forecasts_in_run_alone(compile_console):
    answers = [
        decode_answer(line) for line in compile_console(WHOLE).talk(b"reset\n" + b"step 05\n" * 5)
    ]
    assert [dict(answer.values).keys() for answer in answers[1:5]] == [{"ticks"}] * 4
    assert answers[5].name == "range"
    assert answers[5].words == "the window has all its steps: reset first"


def test_the_window_is_loaded_in_pieces_and_can_be_read_back(console):
    *_, middle, whole = console.talk(b"load 0 0102\nload 9 0a0b7f\ninput 8 4\ninput 0 12\n")
    assert decode_answer(middle).values == {"hex": "000a0b7f"}
    assert decode_answer(whole).values == {"hex": "0102000000000000000a0b7f"}


def test_stack_shows_size_and_high_water_mark(ask):
    assert ask("stack") == "ok stack size=4096 used=612"


@pytest.mark.parametrize("verb", ["run", "run keep", "step 0102", "step ffee"])
def test_a_repeated_request_is_answered_again_but_not_carried_out_again(console, verb):
    request = encode_request(9, *verb.split())
    state = encode_request(10, "state", 0)
    once = console.talk(b"reset\n" + request + state)
    thrice = console.talk(b"reset\n" + request * 3 + state)
    # The host's clock counts measurements: `ticks` itself shows how often there was one.
    assert thrice == [once[0], once[1], once[1], once[1], once[2]]


def test_the_same_number_on_another_request_is_another_request(console):
    first, other = encode_request(9, "step", "0102"), encode_request(9, "step", "0103")
    answers = console.talk(first + other)
    assert [decode_answer(line).values["ticks"] for line in answers] == ["1", "2"]


def test_a_refused_request_was_not_carried_out_so_its_repetition_is_refused_again(console):
    answers = console.talk(encode_request(9, "step", "01") * 2)
    assert answers[0] == answers[1]
    assert decode_answer(answers[0]).name == "args"


def test_a_request_without_a_number_is_carried_out_each_time(console):
    assert len(set(console.talk(b"step 0102\n" * 3))) == 3


def test_a_request_typed_in_between_makes_a_repetition_a_new_request(console):
    request = encode_request(9, "step", "0102")
    answers = console.talk(request + b"reset\n" + request)
    assert decode_answer(answers[2]).values["ticks"] == "2"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("foo", "err verb no such verb, help lists them"),
        ("HELLO", "err verb no such verb, help lists them"),
        ("hello there", "err args hello takes no arguments"),
        ("load", "err args load takes <offset> <hex>: the offset is a number"),
        ("load x 00", "err args load takes <offset> <hex>: the offset is a number"),
        ("load -1 00", "err args load takes <offset> <hex>: the offset is a number"),
        ("load 0", "err args load takes <offset> <hex>: two digits for each value"),
        ("load 0 0", "err args load takes <offset> <hex>: two digits for each value"),
        ("load 0 0g", "err args load takes <offset> <hex>: two digits for each value"),
        ("load 0 00 00", "err args load takes <offset> <hex>: two digits for each value"),
        ("load 11 0000", "err range 2 values from 11 end past the window of 12"),
        ("load 4294967295 00", "err range 1 values from 4294967295 end past the window of 12"),
        ("load 4294967297 00", "err range 1 values from 4294967295 end past the window of 12"),
        ("run keeps", "err args run takes [keep]"),
        ("run keep it", "err args run takes [keep]"),
        ("step", "err args step takes <hex>: two digits per value, 2 per sample"),
        ("step 00", "err args step takes <hex>: two digits per value, 2 per sample"),
        ("step 0000 00", "err args step takes <hex>: two digits per value, 2 per sample"),
        ("state", "err args state takes <layer>: a number"),
        ("state x", "err args state takes <layer>: a number"),
        ("state 2", "err range there is no layer 2, the last is 1"),
        ("state 256", "err range there is no layer 256, the last is 1"),
        ("input 0", "err args input takes <offset> <n>: two numbers, n at least 1"),
        ("input 0 0", "err args input takes <offset> <n>: two numbers, n at least 1"),
        ("input 0 13", "err range 13 values from 0 end past the window of 12"),
        ("stack now", "err args stack takes no arguments"),
        ("@5 hello", "err crc a line with a sequence number needs a CRC"),
        ("@ hello", "err crc a line with a sequence number needs a CRC"),
        ("hello *00000000", "err crc the line arrived damaged"),
        ("hello *0000000", "err crc the line arrived damaged"),
        ("hello *", "err crc the line arrived damaged"),
        (" *", "err crc the line arrived damaged"),
        ("x" * 96, "err length lines are at most 96 bytes, newline included"),
        ("x" * 5000, "err length lines are at most 96 bytes, newline included"),
        ("x" * 70_000, "err length lines are at most 96 bytes, newline included"),
        ("hello" + "\0" * 3, "err verb no such verb, help lists them"),
        ("hell\x80", "err verb no such verb, help lists them"),
    ],
    ids=repr,
)  # fmt: skip
def test_refuses_with_words_that_help(ask, line, answer):
    assert ask(line) == answer


@pytest.mark.parametrize("number", ["@0", "@65536", "@4294967297", "@-1", "@x", "@"])
def test_refuses_a_sequence_number_out_of_range(console, number):
    (answer,) = console.talk(sealed(number.encode() + b" hello"))
    assert decode_answer(answer).seq is None
    assert decode_answer(answer).words == "sequence numbers are 1 to 65535"


def test_the_longest_line_is_taken(console):
    spaces = 96 - len("load 0 0102\n")
    (answer,) = console.talk(b"load 0" + b" " * (spaces + 1) + b"0102\n")
    assert decode_answer(answer).values == {"bytes": "2"}


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"   \n", b"\n\n\n"], ids=repr)
def test_an_empty_line_is_no_request(console, line):
    assert console.talk(line) == []


def test_carriage_returns_and_spaces_of_a_terminal_do_not_matter(console):
    plain, spaced = console.talk(b"input 0 2\n  input  0   2  \r\n")
    assert plain == spaced


def test_a_crc_may_be_typed_in_capitals(console):
    request = encode_request(1, "stack").decode()
    body, crc = request.rstrip().split(" *")
    (answer,) = console.talk(f"{body} *{crc.upper()}\n".encode())
    assert decode_answer(answer).kind == "ok"


def test_a_line_after_a_bad_one_is_taken(console):
    damaged = bytearray(encode_request(3, "hello"))
    damaged[4] ^= 4
    answers = [
        decode_answer(line)
        for line in console.talk(bytes(damaged) + b"y" * 300 + b"\n" + encode_request(4, "stack"))
    ]
    assert [answer.name for answer in answers] == ["crc", "length", "stack"]
    assert [answer.seq for answer in answers] == [None, None, 4]


def test_noise_is_answered_by_nothing_but_errors_and_does_no_harm(compile_console):
    console = compile_console(PLAIN)
    noise = random.Random(3)
    requests = [b"hello\n", b"step 0102\n", encode_request(5, "load", 0, "00" * 12)]
    data = bytearray()
    for _ in range(4000):
        line = bytearray(noise.choice(requests))
        for _ in range(noise.randrange(4)):
            line[noise.randrange(len(line))] = noise.randrange(256)
        data += line
    answers = console.talk(bytes(data) + b"\n" + encode_request(6, "stack"))
    for line in answers:
        decode_answer(line)
    assert decode_answer(answers[-1]).seq == 6
