"""Run a program that may crash or hang, and say in one line how it ended."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.endings import signal_name
from toolchain.errors import ModelError

# What is not the reason: frames of a traceback, the source lines under them, log lines of a start.
_NOISE = re.compile(
    r"^\s|^Traceback |^WARNING|^[IW]\d{4} |^\d{4}-\d\d-\d\d .*: [IW] |^INFO|^warn|^fully_quantize"
    r"|^\[libprotobuf|^Fatal Python error|^Current thread|^Thread 0x|^Extension modules"
)


@dataclass(frozen=True)
class Ending:
    """How a program ended."""

    how: str
    """`exit code 1`, `SIGSEGV` or `time limit of 600 s`; empty when it ended well."""

    log: str
    """All that it wrote."""

    @property
    def reason(self) -> str:
        """Return the last line that says something, or nothing."""
        lines = [line.strip() for line in self.log.splitlines() if line and not _NOISE.match(line)]
        return lines[-1] if lines else ""


def run_child(command: Sequence[str], *, time_limit_s: float) -> Ending:
    """Run `command` to its end, without input; kill it at the time limit and on Ctrl-C."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as child:
        try:
            log, _ = child.communicate(timeout=time_limit_s)
        except subprocess.TimeoutExpired:
            child.kill()
            log, _ = child.communicate()
            return Ending(f"time limit of {time_limit_s:g} s", log)
        except BaseException:
            child.kill()
            raise
    return Ending(_how(child.returncode), log)


def model_error(ending: Ending) -> ModelError | None:
    """Return the ModelError that ended a child of ours, or None when it ended otherwise."""
    known = f"{ModelError.__module__}.{ModelError.__qualname__}: "
    if not ending.reason.startswith(known):
        return None
    return ModelError(ending.reason.removeprefix(known))


def _how(code: int) -> str:
    if code == 0:
        return ""
    return f"exit code {code}" if code > 0 else signal_name(-code)
