r"""The wire, declared once: lines of text, each with its CRC. `docs/protocol.md` shows the bytes.

::

    request   [@seq ]verb[ arguments][ *crc32]\n
    answer    [@seq ]ok verb[ key=value ...] *crc32\n
              [@seq ]err code words *crc32\n
    boot      ready key=value ... *crc32\n
    log       # anything\n

`protocol.h` of the firmware is rendered from the tables here.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PROTOCOL_VERSION = 1

MIN_SEQ = 1
MAX_SEQ = 65_535
"""Sequence numbers of requests; after the last comes the first again."""

MIN_LINE_BYTES = 96
"""The shortest request line, newline included, that every board takes."""


@dataclass(frozen=True)
class Verb:
    """Something a device can be asked; all texts are ASCII without quotes or backslashes."""

    name: str
    arguments: str
    """As a person would type them; empty: none."""
    answer: str
    """What follows `ok <name>`; empty: nothing."""
    meaning: str


@dataclass(frozen=True)
class ErrorCode:
    """Why a device refuses a request."""

    name: str
    meaning: str


VERBS = (
    Verb(
        "hello",
        "",
        "protocol= firmware= board= engine= model= steps= features= outputs= hidden= sequence= "
        "in_scale= in_zero= out_scale= out_zero= line= clock= ram= stack=",
        "say what runs here",
    ),
    Verb("help", "", "", "list the verbs, as log lines"),
    Verb("reset", "", "", "put every LSTM layer into its zero state"),
    Verb("load", "<offset> <hex>", "bytes=", "write int8 values into the window"),
    Verb("run", "[keep]", "out= ticks=", "forecast from the window; keep: states are not reset"),
    Verb("step", "<hex>", "[out=] ticks=", "feed one sample; states are kept"),
    Verb("save", "", "hex=", "keep a copy of the states, and show it as forecast_save writes it"),
    Verb("restore", "", "", "go back to the copy"),
    Verb("state", "<layer>", "h= c=", "show one layer: hidden int8, cells int16 little-endian"),
    Verb("input", "<offset> <n>", "hex=", "show n values of the window"),
    Verb("stack", "", "size= used=", "show the stack and the most of it ever used"),
)

WINDOW_VERBS = frozenset({"load", "run", "save", "restore", "input", "history"})
"""Those that a shelf's firmware made for size leaves out: `reset` and `step` tell as much about the
model."""

SHELF_VERBS = (
    Verb(
        "shelf",
        "",
        "name= mean= deviation= lead= safety= minimum= horizon= forecast= storage= writes=",
        "show the settings of this shelf",
    ),
    Verb(
        "set",
        "<name> <mean> <deviation> <lead> <safety> <minimum>",
        "saved=",
        "set up this shelf; its history is kept",
    ),
    Verb(
        "day",
        "<date> <units> <stock>",
        "date= stock= forecast= need= alert= quantity= out= known= flags= lost= saved=",
        "take a day: units sold, and the stock at its end",
    ),
    Verb(
        "report",
        "",
        "date= stock= forecast= need= alert= quantity= out= known= flags= lost= saved=",
        "show what the last day came to",
    ),
    Verb("history", "", "date= units=", "show the days of the window, oldest first"),
    Verb("restart", "", "saved=", "forget all days; the settings are kept"),
)
"""Of the shelf application, besides those of the console."""

ALERTS = ("none", "restock", "waiting", "clear")
"""Of a day: nothing to do; order now; ordered, and not there yet; there is enough again."""

FLAGS = ("short", "gaps", "stock", "unsaved")
"""What is doubtful about a day: fewer days than a window so far; days that never came were filled
with forecasts; units are missing from the stock; the day would not outlive a power cut."""

ERROR_CODES = (
    ErrorCode("crc", "the CRC is absent or wrong; nothing was executed"),
    ErrorCode("verb", "no such verb"),
    ErrorCode("args", "arguments are absent, too many or malformed"),
    ErrorCode("range", "a number is outside what the model or the board has"),
    ErrorCode("state", "there is no copy of the states, or no room for one"),
    ErrorCode("length", "the line is longer than the board takes; nothing was executed"),
    ErrorCode("internal", "the engine refused"),
    ErrorCode("runtime", "the interpreter cannot do it, or failed"),
    ErrorCode("unset", "the shelf has not been set up"),
    ErrorCode("empty", "the shelf has seen no day yet"),
    ErrorCode("date", "not a day of the calendar from 1971 to 2148"),
    ErrorCode("repeated", "the day has been taken already"),
    ErrorCode("order", "the day lies before the last one"),
    ErrorCode("gap", "the day lies more than a window after the last one"),
    ErrorCode("units", "units are negative, no number, or absurd for this shelf"),
    ErrorCode("stock", "the stock is negative or no number"),
)

_VERB_NAMES = frozenset(verb.name for verb in VERBS + SHELF_VERBS)
_CODE_NAMES = frozenset(code.name for code in ERROR_CODES)

_CRC = re.compile(rb"(.*) \*([0-9a-f]{8})", re.DOTALL)
_SEQ = re.compile(r"@([1-9][0-9]{0,4}) ")


class DamagedLine(ValueError):
    """A line that is not, or no longer, what a device of this protocol sends."""


@dataclass(frozen=True)
class Answer:
    """One line of the device, its CRC checked."""

    seq: int | None
    kind: Literal["ok", "err", "ready"]
    name: str
    """`ok`: the verb; `err`: the code; `ready`: empty."""
    values: Mapping[str, str]
    words: str
    """`err`: the reason, for people."""


@dataclass(frozen=True)
class Greeting:
    """What a device says about itself: the answer to `hello`, and the line `ready` at boot."""

    protocol: int
    firmware: str
    board: str
    engine: int
    model_crc: int
    steps: int
    features: int
    outputs: int
    hidden: tuple[int, ...]
    """Hidden size of each LSTM layer."""
    whole_sequence: bool
    """The head reads every step's hidden state: there is no forecast before the last step."""
    input_scale: float
    input_zero_point: int
    output_scale: float
    output_zero_point: int
    line_bytes: int
    """The longest request line the device takes, newline included."""
    clock_hz: int
    """Frequency of the counter behind `ticks`."""
    ram_bytes: int
    """Statically allocated."""
    stack_bytes: int
    """Available to the stack."""
    runtime: str = "engine"
    """`tflm`: TensorFlow Lite Micro's interpreter, which has no steps and shows no states."""
    arena_bytes: int | None = None
    """`tflm`: what the interpreter was given."""
    arena_used_bytes: int | None = None
    """`tflm`: what it uses of that."""

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Greeting:
        """Build from the key=values of an answer.

        Raises:
            ValueError: a key is absent or its value malformed; the message names it.
        """

        def field(key: str) -> str:
            if key not in values:
                raise ValueError(f"{key}= is absent")
            return values[key]

        def number(key: str, base: int = 10) -> int:
            text = field(key)
            try:
                return int(text, base)
            except ValueError as cause:
                raise ValueError(f"{key}={text} is not a number") from cause

        def scale(key: str) -> float:
            text = field(key)
            try:
                return float_from_bits(text)
            except ValueError as cause:
                raise ValueError(f"{key}={text} is not the 8 hex digits of a float32") from cause

        if number("protocol") != PROTOCOL_VERSION:
            raise ValueError(f"protocol={values['protocol']} is not {PROTOCOL_VERSION}")
        if number("line") < MIN_LINE_BYTES:
            raise ValueError(f"line={values['line']} is less than {MIN_LINE_BYTES}")
        if re.fullmatch(r"\d+(,\d+)*", field("hidden")) is None:
            raise ValueError(f"hidden={values['hidden']} is not a list")
        return cls(
            protocol=number("protocol"),
            firmware=field("firmware"),
            board=field("board"),
            engine=number("engine"),
            model_crc=number("model", 16),
            steps=number("steps"),
            features=number("features"),
            outputs=number("outputs"),
            hidden=tuple(int(size) for size in values["hidden"].split(",")),
            whole_sequence=number("sequence") == 1,
            input_scale=scale("in_scale"),
            input_zero_point=number("in_zero"),
            output_scale=scale("out_scale"),
            output_zero_point=number("out_zero"),
            line_bytes=number("line"),
            clock_hz=number("clock"),
            ram_bytes=number("ram"),
            stack_bytes=number("stack"),
            runtime=values.get("runtime", "engine"),
            arena_bytes=number("arena") if "arena" in values else None,
            arena_used_bytes=number("arena_used") if "arena_used" in values else None,
        )


def crc(text: bytes) -> int:
    """Compute the CRC of a line: that of zlib, PNG and Ethernet."""
    return zlib.crc32(text)


def sealed(text: bytes) -> bytes:
    """Append CRC and newline to a line."""
    return text + b" *%08x\n" % crc(text)


def encode_request(seq: int, verb: str, *arguments: int | str) -> bytes:
    """Write a request as the bytes of its line, newline included."""
    if verb not in _VERB_NAMES:
        raise ValueError(f"no verb {verb!r}")
    if not MIN_SEQ <= seq <= MAX_SEQ:
        raise ValueError(f"sequence number {seq} is outside {MIN_SEQ}..{MAX_SEQ}")
    words = [f"@{seq}", verb, *(str(argument) for argument in arguments)]
    return sealed(" ".join(words).encode("ascii"))


def decode_answer(line: bytes) -> Answer:
    """Read a line of the device, with or without its newline.

    Raises:
        DamagedLine: CRC absent or wrong, or not in the grammar.
    """
    parts = _CRC.fullmatch(line.rstrip(b"\r\n"))
    if parts is None:
        raise DamagedLine("no CRC")
    body, expected = parts[1], int(parts[2], 16)
    if crc(body) != expected:
        raise DamagedLine(f"CRC is {crc(body):08x}, the line says {expected:08x}")
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError as cause:
        raise DamagedLine("not ASCII") from cause
    seq = None
    found = _SEQ.match(text)
    if found is not None:
        seq, text = int(found[1]), text[found.end() :]
    kind, _, rest = text.partition(" ")
    if kind == "ready" and seq is None:
        return Answer(None, "ready", "", _key_values(rest), "")
    name, _, rest = rest.partition(" ")
    if kind == "ok" and name in _VERB_NAMES:
        return Answer(seq, "ok", name, _key_values(rest), "")
    if kind == "err" and name in _CODE_NAMES:
        return Answer(seq, "err", name, MappingProxyType({}), rest)
    raise DamagedLine("not an answer")


def line_bytes_for(features: int, usual: int) -> int:
    """Return how long a device's lines may be: as usual, or as long as one sample needs."""
    sample = len("@65535 step ") + 2 * features + len(" *00000000\n")
    return max(usual, sample)


def load_chunk_bytes(line_bytes: int) -> int:
    """Return how many values one `load` carries when lines are at most `line_bytes` long."""
    frame = len(encode_request(MAX_SEQ, "load", MAX_SEQ, ""))
    return (line_bytes - frame) // 2


def float_from_bits(text: str) -> float:
    """Read 8 hex digits as the bits of a float32.

    >>> float_from_bits("3e800000")
    0.25

    Raises:
        ValueError: not 8 hex digits.
    """
    if len(text) != 8:
        raise ValueError(f"{text!r} is not the 8 hex digits of a float32")
    value: float = struct.unpack(">f", int(text, 16).to_bytes(4, "big"))[0]
    return value


def float_to_bits(value: float) -> str:
    """Write a float32 as the 8 hex digits of its bits.

    >>> float_to_bits(0.25)
    '3e800000'
    """
    return struct.pack(">f", value).hex()


def _key_values(text: str) -> Mapping[str, str]:
    """Read `key=value key=value`."""
    values = {}
    for word in text.split(" ") if text else ():
        key, equals, value = word.partition("=")
        if not key or not equals or key in values:
            raise DamagedLine(f"{word!r} is not key=value")
        values[key] = value
    return MappingProxyType(values)
