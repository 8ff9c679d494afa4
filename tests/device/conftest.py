"""A device in Python to inject faults into, a bad cable, and a tiny real firmware."""

from __future__ import annotations

import os
import pty
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tty
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from tflite_writer import Recipe, write_forecaster

from toolchain.board import Board, boards_dir, find_board, read_cores
from toolchain.device.emulator import EmulatedBoard
from toolchain.device.link import Link
from toolchain.device.protocol import float_to_bits, sealed
from toolchain.firmware.build import build
from toolchain.firmware.render import render
from toolchain.graph.tflite_file import load_graph
from toolchain.graph.types import Graph

STEPS, FEATURES, HIDDEN = 5, 3, 4
MODEL_CRC = 0x5EED0001

Reply = Callable[[bytes], bytes]


class ToyDevice:
    """The protocol over an arithmetic simple enough to repeat by hand."""

    def __init__(self, *, line_bytes: int = 96, whole_sequence: bool = False) -> None:
        self.values = {
            "protocol": "1",
            "firmware": "0.1.0",
            "board": "netduinoplus2",
            "engine": "1",
            "model": f"{MODEL_CRC:08x}",
            "steps": str(STEPS),
            "features": str(FEATURES),
            "outputs": "1",
            "hidden": str(HIDDEN),
            "sequence": str(int(whole_sequence)),
            "in_scale": float_to_bits(0.25),
            "in_zero": "-3",
            "out_scale": float_to_bits(0.5),
            "out_zero": "7",
            "line": str(line_bytes),
            "clock": "168000000",
            "ram": "1234",
            "stack": "4096",
        }
        self.line_bytes = line_bytes
        self.whole_sequence = whole_sequence
        self.executed: list[str] = []
        self.restart()

    def restart(self) -> bytes:
        """Lose everything; return what is printed at boot."""
        self.window = bytearray(STEPS * FEATURES)
        self.state = 0
        self.out = b"\0"
        self.ticks = 0
        self.last = (0, 0)
        return b"# shelfcast 0.1.0 on netduinoplus2\n" + sealed(b"ready " + self.greeting())

    def greeting(self) -> bytes:
        return " ".join(f"{key}={value}" for key, value in self.values.items()).encode()

    def feed(self, sample: bytes) -> None:
        for value in sample:
            self.state = (self.state * 3 + value + 1) % 251

    def answer(self, line: bytes) -> bytes:
        """Answer one line, given without its newline."""
        if not line:
            return b""
        if len(line) + 1 > self.line_bytes:
            return sealed(b"err length the line is too long")
        body, star, seal = line.rpartition(b" *")
        if line.startswith(b"@") or star:
            if not star or len(seal) != 8 or b"%08x" % zlib.crc32(body) != seal:
                return sealed(b"err crc damaged")
        else:
            body = line
        words = body.decode("ascii", "replace").split(" ")
        seq = 0
        if words[0].startswith("@"):
            seq = int(words.pop(0)[1:])
        repeated = seq != 0 and self.last == (seq, zlib.crc32(body))
        mark = f"@{seq} " if seq else ""
        words = words or [""]
        result = self.execute(words[0], words[1:], repeated)
        if not result.startswith("err"):
            self.last = (seq, zlib.crc32(body))
        return sealed((mark + result).encode())

    def execute(self, verb: str, arguments: list[str], repeated: bool) -> str:
        if not repeated:
            self.executed.append(verb)
        try:
            return getattr(self, f"do_{verb}")(repeated, *arguments)
        except AttributeError:
            return "err verb no such verb"
        except (TypeError, ValueError):
            return f"err args {verb} takes other arguments"

    def do_hello(self, repeated: bool) -> str:
        return "ok hello " + self.greeting().decode()

    def do_reset(self, repeated: bool) -> str:
        self.state = 0
        return "ok reset"

    def do_load(self, repeated: bool, offset: str, text: str) -> str:
        data = bytes.fromhex(text)
        if int(offset) + len(data) > len(self.window):
            return f"err range {len(data)} values from {offset} end past the window"
        self.window[int(offset) : int(offset) + len(data)] = data
        return f"ok load bytes={len(data)}"

    def do_run(self, repeated: bool, keep: str = "") -> str:
        if not repeated:
            self.state = self.state if keep else 0
            self.feed(self.window)
            self.out = bytes([self.state % 256])
            self.ticks = 1000 + self.state
        return f"ok run out={self.out.hex()} ticks={self.ticks}"

    def do_step(self, repeated: bool, text: str) -> str:
        if not repeated:
            self.feed(bytes.fromhex(text))
            self.out = bytes([self.state % 256])
            self.ticks = 100 + self.state
        out = "" if self.whole_sequence else f" out={self.out.hex()}"
        return f"ok step{out} ticks={self.ticks}"

    def do_state(self, repeated: bool, layer: str) -> str:
        if int(layer) != 0:
            return "err range one layer"
        cells = struct.pack(f"<{HIDDEN}h", *(self.state - 1000 * i for i in range(HIDDEN)))
        return f"ok state h={bytes([self.state % 128] * HIDDEN).hex()} c={cells.hex()}"

    def do_input(self, repeated: bool, offset: str, count: str) -> str:
        return f"ok input hex={self.window[int(offset) : int(offset) + int(count)].hex()}"

    def do_stack(self, repeated: bool) -> str:
        return "ok stack size=4096 used=612"


def toy_forecast(window: NDArray[np.int8], state: int = 0) -> int:
    """What a `ToyDevice` in `state` forecasts, and the state it is in then."""
    for value in window.astype(np.int8).tobytes():
        state = (state * 3 + value + 1) % 251
    return state


def as_int8(state: int) -> int:
    return int(np.uint8(state).astype(np.int8))


@dataclass
class Noise:
    """What a bad cable does to bytes; all of it follows from the seed."""

    seed: int
    flip: float = 0.0
    drop: float = 0.0
    lose_line: float = 0.0
    repeat_line: float = 0.0
    garbage: float = 0.0
    random: random.Random = field(init=False)
    partial: bytes = b""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def relay(self, data: bytes) -> bytes:
        """Spoil whole lines, however the network cut them; hold back what has no end yet."""
        whole, newline, self.partial = (self.partial + data).rpartition(b"\n")
        return self.spoil(whole + newline)

    def spoil(self, data: bytes) -> bytes:
        out = bytearray()
        for line in data.splitlines(keepends=True):
            if self.random.random() < self.garbage:
                out += self.random.randbytes(self.random.randint(1, 12))
            if self.random.random() < self.lose_line:
                continue
            copies = 2 if self.random.random() < self.repeat_line else 1
            for byte in line * copies:
                chance = self.random.random()
                if chance < self.drop:
                    continue
                if chance < self.drop + self.flip:
                    byte ^= 1 << self.random.randrange(8)
                out.append(byte)
        return bytes(out)


class DirectPort:
    """A port straight into a function that answers lines: no thread, no socket."""

    def __init__(self, reply: Reply, *, there: Noise | None = None, back: Noise | None = None):
        self.reply = reply
        self.there = there or Noise(0)
        self.back = back or Noise(0)
        self.partial = b""
        self.pending = b""
        self.closed = False

    def read(self, timeout_s: float) -> bytes:
        if not self.pending:
            time.sleep(min(timeout_s, 0.002))
        data, self.pending = self.pending, b""
        return data

    def write(self, data: bytes) -> None:
        *lines, self.partial = (self.partial + self.there.spoil(data)).split(b"\n")
        for line in lines:
            self.pending += self.back.spoil(self.reply(line.removesuffix(b"\r")))

    def close(self) -> None:
        self.closed = True


def direct_link(port: DirectPort) -> Link:
    """A link that is too fast for the wire's time to count."""
    return Link(port, "toy", 10_000_000)


@contextmanager
def serving(reply: Reply, *, boot: bytes = b"") -> Iterator[str]:
    """Serve a device over TCP, one connection after the other; yield its `socket://`."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, reply, boot, stop))
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        yield "socket://{}:{}".format(*listener.getsockname())


def _serve(listener: socket.socket, reply: Reply, boot: bytes, stop: threading.Event) -> None:
    while not stop.is_set():
        if not select.select([listener], [], [], 0.02)[0]:
            continue
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(boot)
            partial = b""
            while not stop.is_set():
                if not select.select([connection], [], [], 0.02)[0]:
                    continue
                data = connection.recv(4096)
                if not data:
                    break
                *lines, partial = (partial + data).split(b"\n")
                for line in lines:
                    connection.sendall(reply(line))


@contextmanager
def proxying(port: str, there: Noise, back: Noise) -> Iterator[str]:
    """Put a bad cable in front of a `socket://`; yield the name of its other end."""
    host, number = port.removeprefix("socket://").split(":")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stop = threading.Event()
        thread = threading.Thread(
            target=_relay, args=(listener, (host, int(number)), there, back, stop)
        )
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        yield "socket://{}:{}".format(*listener.getsockname())


def _relay(
    listener: socket.socket,
    address: tuple[str, int],
    there: Noise,
    back: Noise,
    stop: threading.Event,
) -> None:
    with socket.create_connection(address) as board, suppress(OSError):
        board.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not select.select([listener], [], [], 0.02)[0]:
            if stop.is_set():
                return
        host, _ = listener.accept()
        with host:
            host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not stop.is_set():
                for source in select.select([host, board], [], [], 0.02)[0]:
                    data = source.recv(4096)
                    if not data:
                        return
                    if source is host:
                        board.sendall(there.relay(data))
                    else:
                        host.sendall(back.relay(data))


@contextmanager
def on_a_pty(reply: Reply) -> Iterator[str]:
    """Serve a device on a pseudo terminal, which is what a /dev/tty looks like; yield its name."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    stop = threading.Event()
    thread = threading.Thread(target=_serve_pty, args=(master, reply, stop))
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        stop.set()
        thread.join()
        os.close(slave)
        os.close(master)


def _serve_pty(master: int, reply: Reply, stop: threading.Event) -> None:
    partial = b""
    while not stop.is_set():
        if select.select([master], [], [], 0.02)[0]:
            *lines, partial = (partial + os.read(master, 4096)).split(b"\n")
            for line in lines:
                os.write(master, reply(line))


def is_running(process_id: int) -> bool:
    """Tell whether a process exists and has not ended."""
    try:
        os.kill(process_id, 0)
        # Where there is no /proc, whoever adopts a process that ended collects it at once.
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    return state != "Z"


def wait_until_gone(process_id: int) -> bool:
    deadline = time.monotonic() + 20
    while is_running(process_id) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(process_id)


def interrupt_in_block(board: EmulatedBoard) -> int:
    """Have an exception end a board's block; return the process of its emulator."""
    seen = []

    def interrupted() -> None:
        with board:
            seen.append(board.process_id)
            assert is_running(seen[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    return seen[0]


PARENT = """
import time
from {module} import {kind}
from toolchain.board import boards_dir, find_board

with {kind}(find_board("{name}", boards_dir())) as board:
    {first}
    print(board.process_id, flush=True)
    time.sleep(60)
"""


def end_parent_of(kind: type[EmulatedBoard], name: str, sign: str, *, first: str) -> int:
    """End a process that emulates a board by a signal; return the process of its emulator.

    The signal goes to the whole group, as Ctrl-C in a terminal does; `first` is what the process
    does with `board` until the emulator is up.
    """
    program = PARENT.format(module=kind.__module__, kind=kind.__name__, name=name, first=first)
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    with parent:
        assert parent.stdout is not None
        process_id = int(parent.stdout.readline())
        assert is_running(process_id)
        os.killpg(parent.pid, getattr(signal, sign))
        parent.wait(timeout=10)
    return process_id


# Prints a line when it starts, then echoes every byte: the least that can be flashed and talked to.
ECHO = """
    .syntax unified
    .cpu cortex-m4
    .thumb
    .section .vectors, "a"
    .word 0x20004000
    .word start
    .text
    .global start
    .thumb_func
start:
    ldr r0, =0x40011000
    movw r1, #0x200c
    str r1, [r0, #0xc]
    ldr r2, =words
1:  ldrb r1, [r2], #1
    cbz r1, 2f
    str r1, [r0, #4]
    b 1b
2:  ldr r1, [r0]
    tst r1, #0x20
    beq 2b
    ldr r1, [r0, #4]
    str r1, [r0, #4]
    b 2b
    .ltorg
words:
    .asciz "echo here\\n"
    .balign 4
    .fill 3000, 1, 0x5a
"""


@pytest.fixture(scope="session")
def bench() -> SimpleNamespace:
    """Everything above, for tests: files here cannot import each other."""
    return SimpleNamespace(**globals())


@pytest.fixture(scope="session")
def netduino() -> Board:
    return find_board("netduinoplus2", boards_dir())


@pytest.fixture(scope="session")
def link_echo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Assemble the echo firmware, linked to start at an address."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.s").write_text(ECHO)

    def link(address: int) -> Path:
        elf = folder / f"echo_{address:08x}.elf"
        subprocess.run(
            [
                "arm-none-eabi-gcc",
                "-nostdlib",
                "-Wl,--build-id=none",
                f"-Wl,--section-start=.vectors=0x{address:x}",
                f"-Wl,-Ttext=0x{address + 8:x}",
                "-Wl,-e,start",
                "-o",
                str(elf),
                str(folder / "echo.s"),
            ],
            check=True,
        )
        return elf

    return link


@pytest.fixture(scope="session")
def echo_elf(link_echo: Callable[[int], Path]) -> Path:
    return link_echo(0x0800_0000)


@pytest.fixture(scope="session")
def qemu() -> str:
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("qemu-system-arm is not installed")
    return "qemu-system-arm"


@pytest.fixture(scope="session")
def build_firmware(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Recipe, Board], tuple[Graph, Path]]:
    """Build the firmware of a recipe's forecaster for a board, once each."""
    built: dict[tuple[str, str], tuple[Graph, Path]] = {}

    def make(recipe: Recipe, board: Board) -> tuple[Graph, Path]:
        core = read_cores(boards_dir())[board.core]
        if shutil.which(f"{core.compiler}gcc") is None:
            pytest.skip(f"{core.compiler}gcc is not installed")
        key = (repr(recipe), board.name)
        if key not in built:
            folder = tmp_path_factory.mktemp("firmware")
            (folder / "model.tflite").write_bytes(write_forecaster(recipe))
            graph = load_graph(folder / "model.tflite")
            render(graph, board, core, boards_dir(), folder / "sources")
            built[key] = graph, build(folder / "sources", board, core).path
        return built[key]

    return make
