from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolchain.network.child import Ending, run_child


def python(code: str, *, time_limit_s: float = 60.0) -> Ending:
    return run_child([sys.executable, "-c", code], time_limit_s=time_limit_s)


def test_a_good_end_has_no_cause() -> None:
    assert python("print('done')") == Ending("", "done\n")


def test_an_exception_is_the_reason() -> None:
    ending = python("print('noise'); raise ValueError('no such layer')")

    assert (ending.how, ending.reason) == ("exit code 1", "ValueError: no such layer")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to die from")
def test_a_signal_is_named() -> None:
    ending = python("import os; os.kill(os.getpid(), 11)")

    assert (ending.how, ending.reason) == ("SIGSEGV", "")


def test_frames_of_a_crash_are_not_the_reason() -> None:
    log = (
        "error: 'tfl.while' op is not quantizable\n"
        "Fatal Python error: Segmentation fault\n\n"
        'Current thread 0x00007f (most recent call first):\n  File "lite.py", line 3 in convert\n'
    )

    assert Ending("SIGSEGV", log).reason == "error: 'tfl.while' op is not quantizable"


def test_a_child_that_does_not_end_is_killed() -> None:
    ending = python("import time; print('started', flush=True); time.sleep(60)", time_limit_s=4.0)

    assert ending == Ending("time limit of 4 s", "started\n")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process")
def test_an_interrupt_kills_the_child(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = (
        f"import os, time; open({str(pid_file)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(60)"
    )
    code = (
        "import sys; from toolchain.network.child import run_child; "
        f"run_child([sys.executable, '-c', {child!r}], time_limit_s=60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as parent:
        deadline = time.monotonic() + 30
        while not (pid_file.exists() and pid_file.read_text().endswith(".")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        parent.send_signal(signal.SIGINT)
        parent.wait(30)

    child_id = int(pid_file.read_text().rstrip("."))
    deadline = time.monotonic() + 10
    while _is_there(child_id) and time.monotonic() < deadline:
        time.sleep(0.02)  # whoever adopts a process may take a moment to notice its end
    assert not _is_there(child_id)


def _is_there(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True
