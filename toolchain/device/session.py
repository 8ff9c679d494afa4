"""A conversation with a device that runs our firmware: every answer checked, every failure named.

A request is repeated when its answer is damaged or absent. That is always safe: the device
remembers the last sequence number it executed, and answers a repetition without executing it again.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from toolchain import __version__
from toolchain.device.link import Link
from toolchain.device.port import PortClosed
from toolchain.device.protocol import (
    MAX_SEQ,
    MIN_SEQ,
    Answer,
    DamagedLine,
    Greeting,
    decode_answer,
    encode_request,
    load_chunk_bytes,
)
from toolchain.errors import (
    DeviceRefused,
    DeviceReset,
    LinkCorrupt,
    NoAnswer,
    PortError,
    WrongFirmware,
    WrongModel,
)
from toolchain.graph.saved import saved_bytes

TRIES = 3
ANSWER_TIMEOUT_S = 2.0
"""For one try at a request that takes the device no time worth mentioning."""
HELLO_TIMEOUT_S = 6.0
"""For the first words: some boards sit in their boot loader for seconds after the port opened."""

_HELLO_EVERY_S = 0.5
_SETTLE_S = 0.1
"""After a damaged line: silence this long, and the answer is not coming any more."""
_FORECAST_S = 10.0
_CYCLES_PER_MAC = 200
"""Our engine takes 5 to 12 instructions on a Cortex-M; an 8-bit core takes several times that."""
_BITS_PER_BYTE = 10
"""On the wire: start bit, eight, stop bit."""
_LONGEST_ANSWER = 1_700
"""Bytes: the state of a layer of 256, in hex."""
_ALIVE_EVERY_S = 0.25
_DYING_S = 1.0
_BOOT_S = 0.5
_LOG_LINES = 32
_SHOWN = 100
"""Characters of foreign text worth showing in a message."""

# What the device's boot lines look like, even when noise has hit them.
_BOOT = re.compile(rb"ready protocol=|# shelfcast ")
# What is left of our answers when noise has hit them.
_OURS = re.compile(rb"^@\d+ |\bok [a-z]+|\berr [a-z]+ | \*[0-9a-f]{8}$")


class Session:
    """The host's end of a conversation; closes the link when it ends."""

    def __init__(
        self,
        link: Link,
        *,
        alive: Callable[[], None] | None = None,
        tries: int = TRIES,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """Talk over `link`.

        Args:
            link: closed when the session ends.
            alive: raises when nobody can answer any more, such as a dead emulator; asked
                while an answer is late, and when the port went away.
            tries: how often a request is sent before giving up.
            timeout_s: for one try at a short request; a slow line's own time is added.
        """
        self._link = link
        self._alive = alive
        self._tries = tries
        self._timeout_s = timeout_s
        self._seq = 0
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._greeting: Greeting | None = None
        self._slowest_s = 0.0
        self.repeats = 0
        """Requests that had to be sent again."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the link."""
        self._link.close()

    @property
    def port(self) -> str:
        """The name of the port."""
        return self._link.name

    @property
    def log(self) -> tuple[str, ...]:
        """The last log lines of the device, oldest first, without their `# `."""
        return tuple(self._log)

    @property
    def greeting(self) -> Greeting:
        """What the device said about itself; asks when it has not been asked yet."""
        return self._greeting if self._greeting is not None else self.hello()

    def hello(self, timeout_s: float = HELLO_TIMEOUT_S) -> Greeting:
        """Wait until the device answers, and learn what it is.

        Boot text, halves of lines and a restart are expected here: opening a port resets many
        boards.

        Raises:
            NoAnswer: silence.
            WrongFirmware: something else answers, or another version.
            LinkCorrupt: answers arrive, all damaged.
        """
        line = encode_request(self._next_seq(), "hello")
        expected = self._seq
        foreign: list[bytes] = []
        received_before = self._link.received
        every_s = _HELLO_EVERY_S + self._wire_s(len(line))
        deadline = time.monotonic() + timeout_s
        sent = 0
        while time.monotonic() < deadline:
            # A newline first: what the device has of an earlier, unfinished line ends here.
            self._write(b"\n" + line)
            sent += 1
            until = min(deadline, time.monotonic() + every_s)
            while (came := self._read_line(until)) is not None:
                if came.startswith(b"#"):
                    self._keep_log(came)
                    continue
                try:
                    answer = decode_answer(came)
                except DamagedLine:
                    foreign.append(came)
                    until = min(until, time.monotonic() + _SETTLE_S + self._wire_s(0))
                    continue
                if answer.kind == "ready":
                    break  # it has just started: what was sent before is lost
                if answer.seq != expected:
                    continue
                if answer.kind == "err":
                    raise WrongFirmware(
                        f"{self.port}: refuses hello: {answer.name}: {answer.words}. {_FLASH}"
                    )
                self._greeting = self._parse_greeting(answer.values)
                return self._greeting
        foreign.append(self._link.unfinished)
        raise self._no_greeting(line, foreign, sent, self._link.received - received_before)

    def expect(
        self,
        *,
        board: str | None = None,
        model_crc: int | None = None,
        engine: int | None = None,
        firmware: str | None = __version__,
        runtime: str | None = None,
    ) -> Greeting:
        """Refuse a device that is not the one that is meant; None: whatever it is.

        Raises:
            WrongFirmware: another board's image, engine, runtime or version.
            WrongModel: our firmware with another model.
        """
        greeting = self.greeting
        if board is not None and greeting.board != board:
            raise WrongFirmware(
                f"{self.port}: runs the firmware of {greeting.board}, expected {board}. "
                f"Check --board and --port, or flash it: shelfcast flash --board {board}."
            )
        for name, found, wanted in (
            ("firmware", greeting.firmware, firmware),
            ("engine", greeting.engine, engine),
            ("runtime", greeting.runtime, runtime),
        ):
            if wanted is not None and found != wanted:
                raise WrongFirmware(
                    f"{self.port}: runs {name} {found}, this tool needs {wanted}. {_FLASH}"
                )
        if model_crc is not None and greeting.model_crc != model_crc:
            raise WrongModel(
                f"{self.port}: holds the model {greeting.model_crc:08x}, "
                f"expected {model_crc:08x}. {_FLASH}"
            )
        return greeting

    def reset(self) -> None:
        """Put every LSTM layer into its zero state."""
        self.request("reset")

    def load(self, window: NDArray[np.int8]) -> None:
        """Write a whole window (steps, features) into the device, in pieces its lines can carry."""
        greeting = self.greeting
        data = _int8(window, (greeting.steps, greeting.features)).tobytes()
        piece = load_chunk_bytes(greeting.line_bytes)
        for offset in range(0, len(data), piece):
            part = data[offset : offset + piece]
            answer = self.request("load", offset, part.hex())
            if self._number(answer, "bytes") != len(part):
                raise self._nonsense(answer, f"{len(part)} values were sent")

    def read_input(self) -> NDArray[np.int8]:
        """Read back the window (steps, features) the device holds."""
        greeting = self.greeting
        size = greeting.steps * greeting.features
        piece = load_chunk_bytes(greeting.line_bytes)
        data = b""
        for offset in range(0, size, piece):
            count = min(piece, size - offset)
            data += self._bytes(self.request("input", offset, count), "hex", count)
        return _from_bytes(data).reshape(greeting.steps, greeting.features)

    def run(
        self, *, keep: bool = False, timeout_s: float | None = None
    ) -> tuple[NDArray[np.int8], int]:
        """Forecast from the window that was loaded: (outputs), ticks. `keep`: states go on."""
        words = ("keep",) if keep else ()
        patience_s = self._work_s(self.greeting.steps) if timeout_s is None else timeout_s
        answer = self.request("run", *words, timeout_s=patience_s)
        data = self._bytes(answer, "out", self.greeting.outputs)
        return _from_bytes(data), self._number(answer, "ticks")

    def forecast(
        self,
        window: NDArray[np.int8],
        *,
        keep: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[NDArray[np.int8], int]:
        """Load a window (steps, features) and run it: (outputs), ticks of the device's clock.

        Args:
            window: quantized.
            keep: go on from the states as they are, instead of from the zero state.
            timeout_s: how long the arithmetic alone may take; None: a guess, much too long,
                from the size of the network and the clock of the board.
        """
        self.load(window)
        return self.run(keep=keep, timeout_s=timeout_s)

    def step(
        self, sample: NDArray[np.int8], *, timeout_s: float | None = None
    ) -> tuple[NDArray[np.int8] | None, int]:
        """Feed one sample (features): (outputs), ticks; no outputs from a whole-sequence head."""
        greeting = self.greeting
        data = _int8(sample, (greeting.features,)).tobytes()
        patience_s = self._work_s(1) if timeout_s is None else timeout_s
        answer = self.request("step", data.hex(), timeout_s=patience_s)
        ticks = self._number(answer, "ticks")
        if greeting.whole_sequence:
            return None, ticks
        return _from_bytes(self._bytes(answer, "out", greeting.outputs)), ticks

    def save(self) -> bytes:
        """Let the device keep a copy of its states; return it as `forecast_save` writes it."""
        count = saved_bytes(self.greeting.hidden)
        patience_s = self._timeout_s + 2 * count * _BITS_PER_BYTE / self._link.baud
        return self._bytes(self.request("save", timeout_s=patience_s), "hex", count)

    def restore(self) -> None:
        """Let the device go back to the copy that `save` made."""
        self.request("restore")

    def state(self, layer: int) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
        """Read one layer's hidden state and cells: (hidden_size), (hidden_size)."""
        hidden = self.greeting.hidden
        if not 0 <= layer < len(hidden):
            raise ValueError(f"layer {layer} is outside 0..{len(hidden) - 1}")
        size = hidden[layer]
        answer = self.request("state", layer)
        cells = self._bytes(answer, "c", 2 * size)
        return _from_bytes(self._bytes(answer, "h", size)), np.frombuffer(cells, "<i2").astype(
            np.int16
        )

    def stack(self) -> tuple[int, int]:
        """Read the size of the stack and the most of it that was ever used, in bytes."""
        answer = self.request("stack")
        return self._number(answer, "size"), self._number(answer, "used")

    # The shelf application. Units are decimals, as `toolchain.shelf.decimals` writes them.

    def shelf(self) -> Mapping[str, str]:
        """Read the settings of the shelf."""
        return self._ask_shelf("shelf")

    def set_up(self, *words: str) -> Mapping[str, str]:
        """Give the shelf its settings: name, mean, deviation, lead, safety, minimum."""
        return self._ask_shelf("set", *words)

    def day(self, date: str, units: str, stock: str) -> Mapping[str, str]:
        """Tell the shelf what was sold on a day and is left of it; return what that comes to."""
        return self._ask_shelf("day", date, units, stock)

    def report(self) -> Mapping[str, str]:
        """Return what the last day came to."""
        return self._ask_shelf("report")

    def history(self) -> Mapping[str, str]:
        """Read the days of the window, oldest first; those that never came begin with `~`."""
        return self._ask_shelf("history")

    def restart(self) -> Mapping[str, str]:
        """Let the shelf forget all its days."""
        return self._ask_shelf("restart")

    def _ask_shelf(self, verb: str, *words: str) -> Mapping[str, str]:
        """Ask, with patience for a gap: each missing day is forecast from a window of its own.

        Raises:
            DeviceRefused: with the code that says why; the shelf is as it was.
            WrongFirmware: the device has no shelf application.
        """
        greeting = self.greeting
        try:
            return self.request(
                verb, *words, timeout_s=self._work_s(greeting.steps * (greeting.steps + 32))
            )
        except DeviceRefused as refused:
            if refused.code != "verb":
                raise
            raise WrongFirmware(
                f"{self.port}: the firmware has no shelf application. Put "
                'application = "shelf" under [firmware] of the project, and flash it.'
            ) from refused

    def request(
        self, verb: str, *arguments: int | str, timeout_s: float | None = None
    ) -> Mapping[str, str]:
        """Ask, repeat while the answer is damaged or absent, and return its key=values.

        Args:
            verb: one of `protocol.VERBS`.
            arguments: as the verb takes them.
            timeout_s: for the last try; those before it wait no longer than such requests took
                until now, several times over.

        Raises:
            NoAnswer: silence on every try.
            LinkCorrupt: damaged answers on every try.
            DeviceReset: the device restarted meanwhile.
            DeviceRefused: it answered `err`.
            PortError: the port went away.
            EmulatorDied: what `alive` raises.
        """
        line = encode_request(self._next_seq(), verb, *arguments)
        if self._greeting is not None and len(line) > self._greeting.line_bytes:
            raise DeviceRefused(
                f"{self.port}: `{_shortened(line)}` makes a line of {len(line)} bytes, the board "
                f"takes {self._greeting.line_bytes}. Raise line_bytes in its profile, and flash it."
            )
        wire_s = self._wire_s(len(line))
        patience_s = self._timeout_s if timeout_s is None else timeout_s
        short_s = patience_s
        if timeout_s is not None and self._slowest_s:
            short_s = min(patience_s, max(self._timeout_s, 5 * self._slowest_s))
        damaged = 0
        for attempt in range(self._tries):
            # A repetition starts with a newline: it ends what arrived of the line before.
            self._write(line if attempt == 0 else b"\n" + line)
            self.repeats += attempt > 0
            started = time.monotonic()
            last = attempt == self._tries - 1
            answer, hurt = self._await(verb, started + wire_s + (patience_s if last else short_s))
            damaged += hurt
            if answer is None:
                continue
            if timeout_s is not None:
                self._slowest_s = max(self._slowest_s, time.monotonic() - started)
            if answer.kind == "err":
                raise DeviceRefused(
                    f"{self.port}: refused `{_shortened(line)}`: {answer.name}: {answer.words}.",
                    answer.name,
                )
            return answer.values
        if damaged:
            raise LinkCorrupt(
                f"{self.port} at {self._link.baud:,} baud: {damaged} of {self._tries} tries at "
                f"`{verb}` came back damaged. Check the ground wire, the cable's length, and that "
                "both ends use the same baud rate."
            )
        raise NoAnswer(
            f"{self.port} at {self._link.baud:,} baud: no answer to `{verb}` in {self._tries} "
            f"tries, the last one {patience_s:g} s long.{self._last_words()} "
            "Press reset on the board and try again."
        )

    def _await(self, verb: str, deadline: float) -> tuple[Answer | None, bool]:
        """Wait for the answer to the request sent last: the answer, and whether damage was seen."""
        damaged = False
        until = deadline
        while (line := self._read_line(until)) is not None:
            if line.startswith(b"#"):
                self._keep_log(line)
                if _BOOT.match(line):
                    self._hear_out()
                    raise self._was_reset()
                continue
            try:
                answer = decode_answer(line)
            except DamagedLine:
                if not line:
                    continue
                if _BOOT.search(line):
                    raise self._was_reset() from None
                damaged = True
            else:
                if answer.kind == "ready":
                    raise self._was_reset()
                if answer.seq == self._seq and answer.kind == "err":
                    return answer, damaged
                if answer.seq == self._seq and answer.name == verb:
                    return answer, damaged
                if answer.seq is None and answer.kind == "ok":
                    # Noise cut the number and the CRC off a request, and the rest was executed.
                    raise LinkCorrupt(
                        f"{self.port}: the device executed `{answer.name}` without being asked "
                        "to; its state is unknown. Check the ground wire and the cable."
                    )
                if answer.seq is not None:
                    continue  # the answer to a repetition of an earlier request
                damaged = True  # `err crc`: it was the request that arrived damaged
            # The rest of a torn line may follow; what comes after a pause is not waited for.
            until = min(deadline, time.monotonic() + _SETTLE_S + self._wire_s(0))
        return None, damaged

    def _read_line(self, until: float) -> bytes | None:
        """Return the next line, or None when it is too late for one."""
        try:
            while True:
                late_s = until - time.monotonic()
                line = self._link.read_line(min(max(0.0, late_s), _ALIVE_EVERY_S))
                if line is not None:
                    return line
                if self._alive is not None:
                    self._alive()
                if time.monotonic() >= until:
                    return None
        except PortClosed as cause:
            raise self._lost(cause) from cause

    def _write(self, data: bytes) -> None:
        """Send a line."""
        try:
            self._link.write(data)
        except PortClosed as cause:
            raise self._lost(cause) from cause

    def _lost(self, cause: PortClosed) -> PortError:
        """Find out why the port went away: a process lets go of its ports before it is dead."""
        deadline = time.monotonic() + _DYING_S
        while self._alive is not None and time.monotonic() < deadline:
            self._alive()
            time.sleep(0.02)
        return PortError(
            f"{self.port}: the port went away in the middle of the work: {cause}. "
            "Check the cable, plug it in again, and repeat."
        )

    def _hear_out(self) -> None:
        """Keep the log lines up to `ready`: what a restarted device says about its end."""
        until = time.monotonic() + _BOOT_S
        while (line := self._read_line(until)) is not None and line.startswith(b"#"):
            self._keep_log(line)

    def _was_reset(self) -> DeviceReset:
        """Say that the device restarted, with what it had to say about it."""
        return DeviceReset(
            f"{self.port}: the device restarted in the middle of the work.{self._last_words()} "
            "A fault or the watchdog, or its power is weak."
        )

    def _last_words(self) -> str:
        """Return the last log lines as a sentence, or nothing."""
        lines = [line for line in self._log if line][-3:]
        return f" Its last words: {' | '.join(lines)}." if lines else ""

    def _keep_log(self, line: bytes) -> None:
        self._log.append(_printable(line.removeprefix(b"#").strip()))

    def _parse_greeting(self, values: Mapping[str, str]) -> Greeting:
        try:
            return Greeting.parse(values)
        except ValueError as cause:
            raise WrongFirmware(
                f"{self.port}: another version of the firmware answers: {cause}. {_FLASH}"
            ) from cause

    def _no_greeting(
        self, line: bytes, foreign: list[bytes], sent: int, received: int
    ) -> Exception:
        """Name the reason why nobody introduced itself."""
        where = f"{self.port} at {self._link.baud:,} baud"
        greetings = _count(sent, "greeting")
        words = [came for came in foreign if came.strip()]
        if not received or (not words and not self._log):
            return NoAnswer(
                f"{where}: no answer to {greetings}.{self._last_words()} Check that the "
                "board has power and our firmware (shelfcast flash), that the port is the right "
                "one and no other program uses it; press reset."
            )
        if not words:
            return NoAnswer(
                f"{where}: only log lines came, no answer to {greetings}."
                f"{self._last_words()} Press reset on the board and try again."
            )
        if any(came == line.rstrip(b"\n") for came in words):
            return WrongFirmware(
                f"{where}: whatever is there echoes what it is sent. Check that RX and TX are not "
                "joined, and that the port is not a modem."
            )
        if any(_OURS.search(came) for came in words):
            return LinkCorrupt(
                f"{where}: {_count(len(words), 'damaged line')} came in answer to "
                f"{greetings}. Check "
                "the ground wire, the cable's length, and that both ends use the same baud rate."
            )
        text = b" | ".join(words[-3:])
        if sum(32 <= byte < 127 for byte in text) < 0.9 * len(text):
            return LinkCorrupt(
                f"{where}: {received} bytes came that are no text. Most often that is another "
                "baud rate at the board's end; else check the ground wire."
            )
        return WrongFirmware(
            f"{where}: something else than our firmware answers: "
            f'"{_printable(text[-_SHOWN:])}". {_FLASH}'
        )

    def _nonsense(self, values: Mapping[str, str], why: str) -> WrongFirmware:
        shown = " ".join(f"{key}={value[:16]}" for key, value in values.items()) or "nothing"
        return WrongFirmware(f"{self.port}: answers {shown}, but {why}. {_FLASH}")

    def _number(self, values: Mapping[str, str], key: str) -> int:
        try:
            return int(values[key])
        except (KeyError, ValueError):
            raise self._nonsense(values, f"{key}= should be a number") from None

    def _bytes(self, values: Mapping[str, str], key: str, size: int) -> bytes:
        try:
            data = bytes.fromhex(values[key])
        except (KeyError, ValueError):
            data = b""
        if len(data) != size:
            raise self._nonsense(values, f"{key}= should be {_count(size, 'byte')} in hex")
        return data

    def _next_seq(self) -> int:
        self._seq = self._seq + 1 if self._seq < MAX_SEQ else MIN_SEQ
        return self._seq

    def _work_s(self, steps: int) -> float:
        """Return a time in which any board that works has done `steps` steps."""
        greeting = self.greeting
        macs = 0
        inputs = greeting.features
        for size in greeting.hidden:
            macs += 4 * size * (inputs + size)
            inputs = size
        return _FORECAST_S + steps * macs * _CYCLES_PER_MAC / greeting.clock_hz

    def _wire_s(self, sent: int) -> float:
        """Return how long a request and the longest answer take on the wire."""
        return (sent + _LONGEST_ANSWER) * _BITS_PER_BYTE / self._link.baud


_FLASH = "Put this tool's firmware on it: shelfcast flash."


def _int8(values: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Check what is about to be sent."""
    if values.dtype != np.int8 or values.shape != shape:
        raise ValueError(f"needs int8 {shape}, got {values.dtype} {values.shape}")
    return values


def _from_bytes(data: bytes) -> NDArray[np.int8]:
    return np.frombuffer(data, np.int8).copy()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _printable(text: bytes) -> str:
    """Show bytes as text, those that are no text as dots."""
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in text)


def _shortened(line: bytes) -> str:
    """Show a request without its number and CRC, and not all of its hex."""
    words = line.decode("ascii").split()[1:-1]
    return " ".join(word if len(word) <= 16 else f"{word[:12]}..." for word in words)
