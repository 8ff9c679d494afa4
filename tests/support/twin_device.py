"""A shelf in Python: the protocol around the host twin, to inject faults into.

It stands for the device's end of the wire where a test is about the host's end. That a real
firmware answers the same is shown where boards are emulated.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from toolchain import __version__
from toolchain.device.protocol import float_to_bits, sealed
from toolchain.graph.reference import State, Stepper, zero_state
from toolchain.graph.types import Graph
from toolchain.shelf.forecast import ShelfModel
from toolchain.shelf.refusal import Refused
from toolchain.shelf.shelf import Report, new_shelf, report, restart, set_up, take_day


@dataclass
class TwinDevice:
    """Answers lines as a shelf's firmware does."""

    model: ShelfModel
    board: str = "netduinoplus2"
    spoil: Callable[[str, str], str] = lambda verb, answer: answer
    """What a fault makes of an answer; may return a boot line instead."""
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shelf = new_shelf(self.model)
        self.stepper = Stepper(self.model.graph)
        self.state: State = zero_state(self.model.graph, 1)
        self.last: tuple[bytes, bytes] = (b"", b"")

    @property
    def graph(self) -> Graph:
        return self.model.graph

    def greeting(self) -> str:
        graph = self.graph
        values = {
            "protocol": 1, "firmware": __version__, "board": self.board, "engine": 2,
            "model": f"{graph.crc32:08x}", "steps": graph.steps, "features": graph.features,
            "outputs": graph.outputs, "hidden": ",".join(map(str, graph.hidden_sizes)),
            "sequence": 0, "in_scale": float_to_bits(graph.input.scale),
            "in_zero": graph.input.zero_point, "out_scale": float_to_bits(graph.output.scale),
            "out_zero": graph.output.zero_point, "line": 96, "clock": 168_000_000, "ram": 1,
            "stack": 4096,
        }  # fmt: skip
        return " ".join(f"{key}={value}" for key, value in values.items())

    def boot(self) -> str:
        self.__post_init__()
        return f"ready {self.greeting()}"

    def answer(self, line: bytes) -> bytes:
        """Answer one line, given without its newline."""
        if not line:
            return b""
        if line == self.last[0]:
            return self.last[1]
        mark, verb, *words = line.rpartition(b" *")[0].decode().split(" ")
        self.asked.append(verb)
        try:
            body = f"ok {verb} {getattr(self, f'do_{verb}')(*words)}".rstrip()
        except Refused as refused:
            body = f"err {refused.code} {refused.words}"
        body = self.spoil(verb, body)
        said = body if body.startswith("ready") else f"{mark} {body}"
        self.last = (line, sealed(said.encode()))
        return self.last[1]

    def do_hello(self) -> str:
        return self.greeting()

    def do_reset(self) -> str:
        self.state = zero_state(self.graph, 1)
        return ""

    def do_step(self, text: str) -> str:
        sample = np.frombuffer(bytes.fromhex(text), np.int8)[None]
        self.state = self.stepper.step(sample, self.state)
        return f"out={self.stepper.outputs(self.state).tobytes().hex()} ticks=1"

    def do_shelf(self) -> str:
        if self.shelf.settings is None:
            raise Refused("unset", "set it up first")
        names = ("name", "mean", "deviation", "lead", "safety", "minimum")
        pairs = zip(names, self.shelf.settings.words(), strict=True)
        settings = " ".join(f"{name}={word}" for name, word in pairs)
        return f"{settings} horizon={self.model.horizon} forecast={self.model.method} storage=0"

    def do_set(self, *words: str) -> str:
        self.shelf = set_up(self.shelf, words)
        return "saved=0"

    def do_day(self, date: str, units: str, stock: str) -> str:
        self.shelf, told = take_day(self.shelf, date, units, stock)
        return _values(told)

    def do_report(self) -> str:
        return _values(report(self.shelf))

    def do_history(self) -> str:
        history = self.shelf.history
        if history is None:
            raise Refused("empty", "no day has come yet")
        units = ",".join(("~" if it.filled else "") + str(it.units >> 16) for it in history.days)
        return f"date={report(self.shelf).values()['date']} units={units}"

    def do_restart(self) -> str:
        self.shelf = restart(self.shelf)
        return "saved=0"


def _values(told: Report) -> str:
    pairs = " ".join(f"{key}={value}" for key, value in told.values().items())
    return f"{pairs} saved=0"


@contextmanager
def serving(device: TwinDevice) -> Iterator[str]:
    """Serve a device over TCP, one connection after the other; yield its `socket://`."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, device, stop))
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        yield "socket://{}:{}".format(*listener.getsockname())


def _serve(listener: socket.socket, device: TwinDevice, stop: threading.Event) -> None:
    while not stop.is_set():
        if not select.select([listener], [], [], 0.02)[0]:
            continue
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            partial = b""
            while not stop.is_set():
                if not select.select([connection], [], [], 0.02)[0]:
                    continue
                data = connection.recv(4096)
                if not data:
                    break
                *lines, partial = (partial + data).split(b"\n")
                for line in lines:
                    connection.sendall(device.answer(line))
