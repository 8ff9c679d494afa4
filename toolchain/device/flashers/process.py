"""Run a tool, show what it says while it works, and end it when it hangs or we are interrupted."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
from typing import IO

from toolchain.progress import Progress, silent

SILENCE_S = 120.0
"""Erasing a large flash is the longest a tool is silent for."""
_STOP_S = 3.0
_SHOWN = 60
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?) ?%")
_KEPT = 200_000
"""Bytes of output kept to explain a failure by."""


class Hung(Exception):
    """The tool said nothing for too long and was ended."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


def run(
    argv: tuple[str, ...], progress: Progress = silent, *, silence_s: float = SILENCE_S
) -> tuple[int, str]:
    """Run a program to its end; return its exit code and all it said.

    Raises:
        Hung: nothing came for `silence_s`.
        OSError: it cannot be started.
    """
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        pieces: queue.Queue[bytes] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout, pieces), daemon=True)
        reader.start()
        output = b""
        fraction = 0.0
        try:
            while True:
                try:
                    piece = pieces.get(timeout=silence_s)
                except queue.Empty:
                    raise Hung(_text(output)) from None
                if not piece:
                    break
                output = (output + piece)[-_KEPT:]
                fraction, words = _where(_text(output[-400:]), fraction)
                progress(fraction, words)
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            reader.join(_STOP_S)
    return code, _text(output)


def _read(stream: IO[bytes], pieces: queue.Queue[bytes]) -> None:
    """Pass on what comes, whether its line is complete or not: progress bars have no line ends."""
    while piece := stream.read1(4096):  # type: ignore[attr-defined]
        pieces.put(piece)
    pieces.put(b"")


def _where(recent: str, before: float) -> tuple[float, str]:
    """Return how far a tool is, by the last percentage it printed, and its last words."""
    lines = [line.strip() for line in re.split(r"[\r\n\b]+", recent) if line.strip()]
    words = lines[-1][-_SHOWN:] if lines else ""
    found = _PERCENT.findall(words)
    return (min(float(found[-1]) / 100, 1.0) if found else before), words


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
