from __future__ import annotations

import sys

import pytest

from toolchain.device.flashers.process import Hung, run


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-u", "-c", code


def test_all_that_a_program_says_is_returned_with_its_code() -> None:
    code, output = run(python("import sys; print('out'); sys.stderr.write('err'); sys.exit(9)"))

    assert code == 9
    assert output.replace("\r", "") == "out\nerr"


def test_progress_follows_a_bar_without_line_ends() -> None:
    told: list[tuple[float, str]] = []
    bar = (
        "import sys, time\n"
        "for n in (10, 50, 100):\n"
        "    sys.stdout.write(f'\\rWriting | {n} % of flash')\n"
        "    sys.stdout.flush()\n"
        "    time.sleep(0.1)\n"
    )
    run(python(bar), lambda fraction, words: told.append((fraction, words)))

    assert told == [
        (0.1, "Writing | 10 % of flash"),
        (0.5, "Writing | 50 % of flash"),
        (1.0, "Writing | 100 % of flash"),
    ]


def test_a_program_has_nothing_to_read() -> None:
    assert run(python("print(repr(input.__self__ and __import__('sys').stdin.read()))")) == (
        0,
        "''\n",
    )


def test_a_silent_program_is_ended_with_what_it_said() -> None:
    with pytest.raises(Hung) as caught:
        run(python("import time; print('waiting'); time.sleep(60)"), silence_s=2.0)

    assert caught.value.output == "waiting\n"


def test_an_interruption_ends_the_program() -> None:
    def interrupt(fraction: float, words: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(python("import time; print('begin'); time.sleep(60)"), interrupt)
