"""Ports, flashers and the doctor, as the user of the command meets them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

# One worker runs these: they share a project that is trained once.
pytestmark = pytest.mark.xdist_group("deployed")


@pytest.fixture
def emulated_at_a_port(deployed_copy, tmp_path):
    """A board on a socket and a `dfu-util` on PATH that flashes it, as a cable and USB would.

    The stand-in writes into the emulator through its debug port, which the real one cannot.
    """
    from toolchain.board import boards_dir, find_board
    from toolchain.device.qemu import QemuBoard

    if shutil.which("qemu-system-arm") is None:
        pytest.skip("qemu-system-arm is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    tool = folder / "dfu-util"
    tool.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >{folder}/arguments\necho File downloaded successfully\n'
    )
    tool.chmod(0o755)
    elf = deployed_copy.folder / "runs/small/netduinoplus2/image/firmware.elf"
    with QemuBoard(find_board("netduinoplus2", boards_dir())) as board:
        board.flash(elf)
        board.start()
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        yield board.port, path, folder / "arguments"


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1].removeprefix("error: ")


@pytest.mark.parametrize("verb", ["ports", "doctor"])
def test_the_verbs_teach(shell, verb):
    result = shell.run(verb, "--help")

    assert result.returncode == 0
    assert len(result.stdout.splitlines()) > 5


def test_ports_are_rows(shell):
    result = shell.run("ports", "--json")

    assert result.returncode == 0
    for row in json.loads(result.stdout)["rows"]:
        assert set(row) == {"port", "usb", "serial", "location", "description", "boards"}


def test_a_dry_run_prints_the_exact_command_and_runs_nothing(deployed_copy, tmp_path):
    image = Path("runs/small/netduinoplus2/image/firmware.bin")
    command = (
        f"dfu-util --device 0483:df11 --alt 0 --dfuse-address 0x08000000:leave --download {image}"
    )
    empty = tmp_path / "bin"
    empty.mkdir()

    text = deployed_copy.run("flash", "--dry-run", PATH=str(empty))
    values = deployed_copy.run("flash", "--dry-run", "--port", "/dev/ttyX", "--json")

    assert (text.returncode, text.stdout, text.stderr) == (0, f"{command}\n", "")
    assert json.loads(values.stdout) == {
        "board": "netduinoplus2",
        "flasher": "dfu-util",
        "port": "/dev/ttyX",
        "commands": [command.split()],
        "scripts": {},
    }


def test_a_dry_run_needs_an_image(deployed_copy):
    result = deployed_copy.run("flash", "--dry-run", "--board", "stm32vldiscovery")

    assert result.returncode == 2
    assert error_of(result) == (
        "runs/small/stm32vldiscovery/image/firmware.elf: not there yet. `shelfcast build --board "
        "stm32vldiscovery` makes it."
    )


def test_a_board_at_a_port_is_flashed_and_answers(deployed_copy, emulated_at_a_port):
    port, path, arguments = emulated_at_a_port

    result = deployed_copy.run("flash", "--port", port, "--json", PATH=path)

    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)
    assert (values["board"], values["emulated"], values["port"]) == ("netduinoplus2", False, port)
    assert arguments.read_text().splitlines()[:2] == ["--device", "0483:df11"]


def test_deploy_flashes_the_board_at_the_port_before_it_asks_it(deployed_copy, emulated_at_a_port):
    port, path, arguments = emulated_at_a_port

    result = deployed_copy.run("deploy", "--port", port, PATH=path)

    assert result.returncode == 0, result.stderr
    stages = [line.split()[0] for line in result.stderr.splitlines() if line]
    assert stages.index("flash") < stages.index("validate")
    assert arguments.exists()
    assert "netduinoplus2: PASS" in result.stdout


def test_a_missing_flasher_says_how_to_get_it(deployed_copy, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()

    result = deployed_copy.run("flash", "--port", "/dev/ttyNOPE0", PATH=str(empty))

    assert result.returncode == 3
    assert error_of(result).startswith(
        "dfu-util: not installed, and netduinoplus2 is flashed with it. Get it: "
    )


def test_a_port_that_is_absent_is_noticed_before_anything_is_written(deployed_copy, tmp_path):
    tool = tmp_path / "dfu-util"
    tool.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    tool.chmod(0o755)

    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    result = deployed_copy.run("flash", "--port", "/dev/ttyNOPE0", PATH=path)

    assert result.returncode == 4
    assert error_of(result).startswith("/dev/ttyNOPE0: no such port. ")
    assert not (tmp_path / "ran").exists()


def test_a_port_that_cannot_be_told_is_an_error_without_a_terminal(deployed_copy):
    result = deployed_copy.run("flash", "--port", "auto")

    assert result.returncode == 4
    message = error_of(result)
    assert message.startswith("netduinoplus2: ")
    assert message.endswith("--port.")


def test_the_doctor_says_what_is_there(shell, tmp_path):
    healthy = shell.run("doctor", "--json")
    empty = tmp_path / "bin"
    empty.mkdir()
    ill = shell.run("doctor", "--board", "stm32vldiscovery", "--json", PATH=str(empty))

    found = json.loads(healthy.stdout)
    assert (healthy.returncode == 0) == found["healthy"]
    assert found["board"] == "netduinoplus2"
    assert ill.returncode == 3
    values = json.loads(ill.stdout)
    assert (values["board"], values["healthy"]) == ("stm32vldiscovery", False)
    missing = {row["name"] for row in values["rows"] if row["needed"] and not row["found"]}
    assert missing == {"arm-none-eabi-gcc", "make", "qemu-system-arm"}


def test_the_doctor_looks_for_what_the_project_here_needs(shell):
    (shell.folder / "shelfcast.toml").write_text(
        'name = "p"\n[data]\nsource = "synthetic"\n[board]\nname = "stm32vldiscovery"\n'
    )

    assert json.loads(shell.run("doctor", "--json").stdout)["board"] == "stm32vldiscovery"
