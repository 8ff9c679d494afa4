from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.device import protocol
from toolchain.device.protocol import (
    DamagedLine,
    Greeting,
    decode_answer,
    encode_request,
    float_from_bits,
    float_to_bits,
    load_chunk_bytes,
    sealed,
)

VALUES = {
    "protocol": "1",
    "firmware": "0.1.0",
    "board": "netduinoplus2",
    "engine": "1",
    "model": "00c0ffee",
    "steps": "28",
    "features": "5",
    "outputs": "1",
    "hidden": "32,16",
    "sequence": "0",
    "in_scale": "3c23d70a",
    "in_zero": "-128",
    "out_scale": "3dcccccd",
    "out_zero": "11",
    "line": "512",
    "clock": "168000000",
    "ram": "2048",
    "stack": "4096",
}


def test_a_request_is_number_verb_arguments_crc_and_newline() -> None:
    assert encode_request(7, "load", 0, "0aff") == b"@7 load 0 0aff *%08x\n" % zlib.crc32(
        b"@7 load 0 0aff"
    )
    assert encode_request(1, "hello") == b"@1 hello *b535e7cf\n"


def test_an_unknown_verb_is_not_sent() -> None:
    with pytest.raises(ValueError, match="no verb 'halo'"):
        encode_request(1, "halo")


@pytest.mark.parametrize("seq", [0, 65_536])
def test_a_sequence_number_is_1_to_65535(seq: int) -> None:
    with pytest.raises(ValueError, match=r"outside 1\.\.65535"):
        encode_request(seq, "hello")


def test_an_answer_gives_its_number_verb_and_values() -> None:
    answer = decode_answer(sealed(b"@7 ok run out=0aff ticks=123"))

    assert (answer.seq, answer.kind, answer.name) == (7, "ok", "run")
    assert dict(answer.values) == {"out": "0aff", "ticks": "123"}


def test_an_answer_without_values_is_an_answer() -> None:
    assert decode_answer(sealed(b"@65535 ok reset")).name == "reset"


def test_a_refusal_gives_its_code_and_words() -> None:
    answer = decode_answer(sealed(b"err crc the line is damaged"))

    assert (answer.seq, answer.kind, answer.name) == (None, "err", "crc")
    assert answer.words == "the line is damaged"


def test_ready_carries_what_hello_answers() -> None:
    line = b"ready " + " ".join(f"{key}={value}" for key, value in VALUES.items()).encode()

    assert dict(decode_answer(sealed(line)).values) == VALUES


def test_the_end_of_line_of_a_terminal_is_accepted() -> None:
    assert decode_answer(sealed(b"@1 ok reset").replace(b"\n", b"\r\n")).name == "reset"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "no CRC"),
        (b"@1 ok reset", "no CRC"),
        (b"@1 ok reset *1234567", "no CRC"),
        (b"@1 ok reset *00000000", "CRC is a96624c8, the line says 00000000"),
        (sealed(b"@1 maybe reset"), "not an answer"),
        (sealed(b"@1 ok dance"), "not an answer"),
        (sealed(b"@1 err sulk no"), "not an answer"),
        (sealed(b"@1 ready protocol=1"), "not an answer"),
        (sealed(b"@0 ok reset"), "not an answer"),
        (sealed(b"@1 ok run out"), "'out' is not key=value"),
        (sealed(b"@1 ok run out=1 out=2"), "'out=2' is not key=value"),
        (sealed(b"@1 ok run  out=1"), "'' is not key=value"),
        (sealed("@1 ok run out=é".encode()), "not ASCII"),
    ],
)
def test_a_line_outside_the_grammar_is_damaged(line: bytes, why: str) -> None:
    with pytest.raises(DamagedLine) as caught:
        decode_answer(line)

    assert str(caught.value) == why


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_a_damaged_line(line: bytes) -> None:
    with pytest.raises(DamagedLine):
        decode_answer(line)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(place: int, bit: int) -> None:
    line = bytearray(sealed(b"@7 ok run out=0aff ticks=123")[:-1])
    line[place % len(line)] ^= 1 << bit

    with pytest.raises(DamagedLine):
        decode_answer(bytes(line))


def test_the_greeting_is_read_into_numbers() -> None:
    assert Greeting.parse(VALUES) == Greeting(
        protocol=1,
        firmware="0.1.0",
        board="netduinoplus2",
        engine=1,
        model_crc=0xC0FFEE,
        steps=28,
        features=5,
        outputs=1,
        hidden=(32, 16),
        whole_sequence=False,
        input_scale=float_from_bits("3c23d70a"),
        input_zero_point=-128,
        output_scale=float_from_bits("3dcccccd"),
        output_zero_point=11,
        line_bytes=512,
        clock_hz=168_000_000,
        ram_bytes=2048,
        stack_bytes=4096,
    )


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("steps", None, "steps= is absent"),
        ("steps", "many", "steps=many is not a number"),
        ("hidden", "32,", "hidden=32, is not a list"),
        ("protocol", "2", "protocol=2 is not 1"),
        ("in_scale", "3c23", "in_scale=3c23 is not the 8 hex digits of a float32"),
        ("in_scale", "3c23d70g", "in_scale=3c23d70g is not the 8 hex digits of a float32"),
        ("line", "40", "line=40 is less than 96"),
    ],
)
def test_a_greeting_that_is_wrong_says_where(key: str, value: str | None, words: str) -> None:
    values = {**VALUES, key: value}
    if value is None:
        del values[key]

    with pytest.raises(ValueError, match="=") as caught:
        Greeting.parse({k: v for k, v in values.items() if v is not None})

    assert str(caught.value) == words


def test_a_newer_protocol_is_named_before_anything_else_is_read() -> None:
    with pytest.raises(ValueError, match="protocol=2 is not 1"):
        Greeting.parse({"protocol": "2"})


@given(st.floats(width=32, allow_nan=False))
def test_the_bits_of_a_float32_survive_the_wire(value: float) -> None:
    assert float_from_bits(float_to_bits(value)) == value


@given(st.integers(protocol.MIN_LINE_BYTES, 1024))
def test_a_load_fills_the_line_and_no_more(line_bytes: int) -> None:
    count = load_chunk_bytes(line_bytes)
    line = encode_request(protocol.MAX_SEQ, "load", 65_535, "ff" * count)

    assert line_bytes - 1 <= len(line) <= line_bytes


def test_texts_can_be_pasted_into_a_c_header() -> None:
    for text in [
        *(
            text
            for verb in protocol.VERBS + protocol.SHELF_VERBS
            for text in (verb.name, verb.arguments, verb.meaning)
        ),
        *(text for code in protocol.ERROR_CODES for text in (code.name, code.meaning)),
    ]:
        assert text.isascii()
        assert text.isprintable() or not text
        assert not set(text) & set('"\\')


# The page that shows the bytes.

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def test_the_page_has_every_verb_and_code() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = "| verb | arguments | answer | meaning |"
    codes = [f"| `{item.name}` | {item.meaning} |" for item in protocol.ERROR_CODES]
    start = 0
    refusals = lines.index("| code | meaning |") + 2

    for table in (protocol.VERBS, protocol.SHELF_VERBS):
        verbs = [
            f"| `{verb.name}` | {code(verb.arguments)} | {code(verb.answer)} | {verb.meaning} |"
            for verb in table
        ]
        start = lines.index(head, start) + 2
        assert lines[start : start + len(verbs) + 1] == [*verbs, ""]
    assert lines[refusals : refusals + len(codes) + 1] == [*codes, ""]


def test_the_pages_conversation_is_in_the_grammar() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    answers = [line[2:].encode() for line in lines if line.startswith("< ") and line[2] != "#"]
    requests = [line[2:].encode() for line in lines if line.startswith("> @")]

    assert {decode_answer(line).kind for line in answers} == {"ok", "err", "ready"}
    for line in requests:
        body, _, seal = line.rpartition(b" *")
        assert seal == b"%08x" % zlib.crc32(body) or seal == b"00000000"


def test_the_pages_bytes_are_those_of_a_greeting() -> None:
    words = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if "68 65" in line)

    assert bytes.fromhex(words.split("    ")[0]) == encode_request(1, "hello")


def test_the_page_names_every_key_of_the_greeting() -> None:
    text = PAGE.read_text(encoding="utf-8")
    hello = next(verb for verb in protocol.VERBS if verb.name == "hello")

    for key in hello.answer.replace("=", "").split():
        assert f"`{key}`" in text
    assert set(VALUES) == set(hello.answer.replace("=", "").split())
