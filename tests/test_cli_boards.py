"""`shelfcast boards` as its user runs it."""

from __future__ import annotations

import json
import os
import pty
import subprocess

import pytest


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1].removeprefix("error: ")


def test_lists_every_board_with_what_programs_rely_on(shell):
    rows = json.loads(shell.run("boards", "--json").stdout)["rows"]

    assert len(rows) == 26
    assert sum(row["tier"] == 1 for row in rows) == 14
    (uno,) = [row for row in rows if row["name"] == "arduino-uno"]
    assert uno == {
        "name": "arduino-uno",
        "vendor": "Arduino",
        "mcu": "ATmega328P",
        "core": "atmega328p",
        "family": "avr",
        "tier": 1,
        "flash_bytes": 32_256,
        "ram_bytes": 2_048,
        "flasher": "avrdude",
        "emulator": "simavr",
    }


def test_shows_one_board_wholly(shell):
    result = shell.run("boards", "pico")

    assert result.returncode == 0
    assert "0x10200000 ┌" in result.stdout
    assert "TX  GP0  ────────▶  RX" in result.stdout


def test_a_new_board_by_flags(shell):
    result = shell.run(
        "boards", "new", "shelf", "--like", "bluepill-f103c8", "--mcu", "STM32F103RB",
        "--flash", "131072",
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        "boards/stm32f1/shelf.toml is ready. "
        "Next: shelfcast boards shelf --check --boards-dir boards\n"
    )
    check = shell.run("boards", "shelf", "--check", "--boards-dir", "boards", "--json")
    assert json.loads(check.stdout)["checks"][0]["passed"], check.stderr


def test_a_new_board_by_questions(shell):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [shell.program, "boards", "new", "shelf"],
        cwd=shell.folder, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, b"netduinoplus2\nShelf sensor\nAcme\nSTM32F407VG\n524288\n\n\n")
        output, errors = process.communicate(timeout=60)
    os.close(ours)

    assert process.returncode == 0, errors
    assert "The chip on it [STM32F405RG]:" in errors
    assert output.strip().startswith("boards/stm32f4/shelf.toml is ready.")
    text = (shell.folder / "boards/stm32f4/shelf.toml").read_text()
    for line in ('title = "Shelf sensor"', 'vendor = "Acme"', 'mcu = "STM32F407VG"'):
        assert line in text
    assert "bytes = 524_288" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["new"],
            "boards new: needs a name, such as: shelfcast boards new shop --like pico",
        ),
        (
            ["new", "shop"],
            "boards new shop: --like names a board of the same family; `shelfcast boards` lists "
            "them.",
        ),
        (["new", "shop", "--like", "picco"], 'unknown board "picco"; did you mean pico? '),
        (["arduino"], 'unknown board "arduino"; did you mean arduino-uno? '),
    ],
)
def test_what_cannot_be_done_is_said(shell, arguments, words):
    result = shell.run("boards", *arguments)

    assert result.returncode == 2
    assert error_of(result).startswith(words)
