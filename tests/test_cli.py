"""The command as its user runs it: exit codes, messages, JSON, interruptions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import wait_for

from toolchain.demand.windows import load_dataset

# One worker runs these: they share a project that is trained once.
pytestmark = pytest.mark.xdist_group("deployed")

VERBS = ["init", "prepare", "train", "quantize", "compress", "inspect", "render", "build", "flash",
         "validate", "deploy", "boards"]  # fmt: skip


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line an error ends in."""
    last = result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert last.startswith("error: "), result.stderr
    return last.removeprefix("error: ")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_teaches(shell, verb):
    result = shell.run(verb, "--help")

    assert result.returncode == 0
    assert len(result.stdout.splitlines()) > 5


@pytest.mark.parametrize("arguments", [["--help"], ["boards"], ["flash", "--help"]])
def test_quick_answers_do_not_wait_for_heavy_packages(shell, arguments):
    code = (
        "import sys; sys.argv = ['shelfcast', *sys.argv[1:]]\n"
        "from toolchain.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {'tensorflow', 'pandas', 'matplotlib', 'tf_keras', 'scipy', 'serial'}\n"
        "    found = heavy & set(sys.modules)\n"
        "    print('HEAVY', sorted(found), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=shell.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert result.stderr.strip().splitlines()[-1] == "HEAVY []"


def test_validate_never_imports_tensorflow(deployed_copy):
    result = deployed_copy.run("validate", "--windows", "2", PYTHONPROFILEIMPORTTIME="1")

    assert result.returncode == 0
    assert "toolchain.verdict.replay" in result.stderr, "the import log must be there"
    assert "tensorflow" not in result.stderr.replace("toolchain.network", "")


def test_deploy_prints_one_json_object(deployed_copy):
    result = deployed_copy.run("deploy", "--json")

    assert result.returncode == 0
    verdict = json.loads(result.stdout)
    assert verdict["verdict"] == "pass"
    assert verdict["board"] == "netduinoplus2"
    assert verdict["parity"] == {
        "windows": 60,
        "mismatches": 0,
        "max_lsb": 0,
        "state_windows": 4,
        "state_values": 4 * 14 * 6 * 2,
        "state_mismatches": 0,
        "sequences": 3,
        "sequence_windows": 15,
        "sequence_mismatches": 0,
        "stream_samples": 30,
        "stream_mismatches": 0,
        "saved_state_differs": False,
        "skipped": {},
    }
    assert set(verdict["accuracy"]) == {"float", "litert", "host", "device"}
    assert verdict["accuracy"]["device"] == verdict["accuracy"]["host"]
    assert verdict["latency"]["instructions"] > verdict["latency"]["macs"]
    assert verdict["latency"]["cycles"] is None, "emulated: nothing has cycles"
    flash = verdict["flash"]
    assert flash["weights"] + flash["tables"] + flash["code"] == flash["total"] <= flash["budget"]
    assert 0 < verdict["ram"]["stack_measured"] < 1024


def test_a_second_deploy_skips_what_is_done(deployed_copy):
    result = deployed_copy.run("deploy")

    assert result.returncode == 0
    for stage in ("prepare", "train", "quantize", "render", "build", "validate"):
        line = next(line for line in result.stderr.splitlines() if line.startswith(stage))
        assert line.endswith("(unchanged)")


def test_a_changed_board_reuses_the_network(deployed_copy):
    result = deployed_copy.run("deploy", "--board", "stm32vldiscovery")

    assert result.returncode == 0
    lines = {line.split()[0]: line for line in result.stderr.splitlines() if line}
    assert lines["quantize"].endswith("(unchanged)")
    assert not lines["validate"].endswith("(unchanged)")
    assert "stm32vldiscovery: PASS  (emulated, not measured on hardware)" in result.stdout


def test_every_stage_can_be_done_alone(shell, deployed):
    (shell.folder / "shelfcast.toml").write_bytes((deployed / "shelfcast.toml").read_bytes())
    for verb in ("prepare", "train", "quantize", "render", "build", "flash", "validate"):
        result = shell.run(verb, "--json")
        assert result.returncode == 0, result.stderr
        json.loads(result.stdout)

    # The same seed in another folder gives the same sources and the same image, byte for byte.
    for path in ("model.tflite", "netduinoplus2/image/firmware.elf"):
        mine, theirs = (folder / "runs" / "small" / path for folder in (shell.folder, deployed))
        assert mine.read_bytes() == theirs.read_bytes()
    sources = Path("runs/small/netduinoplus2/sources")
    for file in sorted((deployed / sources).rglob("*")):
        if file.is_file():
            copy = shell.folder / sources / file.relative_to(deployed / sources)
            assert copy.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("quantize", "runs/small/windows.npz: not there yet. `shelfcast prepare` makes it."),
        ("render", "runs/small/model.tflite: not there yet. `shelfcast quantize` makes it."),
        (
            "build",
            "runs/small/netduinoplus2/sources: not there yet. "
            "`shelfcast render --board netduinoplus2` makes it.",
        ),
        (
            "flash",
            "runs/small/netduinoplus2/image/firmware.elf: not there yet. "
            "`shelfcast build --board netduinoplus2` makes it.",
        ),
        ("validate", "runs/small/windows.npz: not there yet. `shelfcast prepare` makes it."),
    ],
)
def test_a_stage_before_its_time(shell, deployed, verb, words):
    (shell.folder / "shelfcast.toml").write_bytes((deployed / "shelfcast.toml").read_bytes())

    result = shell.run(verb)

    assert result.returncode == 2
    assert error_of(result) == words


def test_no_project(shell):
    result = shell.run("deploy")

    assert result.returncode == 2
    assert error_of(result) == (
        "shelfcast.toml: no such file. `shelfcast init` makes a project that runs as it is."
    )


def test_an_error_is_an_object_for_programs(shell):
    result = shell.run("deploy", "--json")

    assert result.returncode == 2
    assert json.loads(result.stdout) == {
        "error": "ProjectError",
        "message": "shelfcast.toml: no such file. `shelfcast init` makes a project that runs as "
        "it is.",
    }


@pytest.mark.parametrize(
    "arguments", [["bake"], ["deploy", "--oven"], ["validate", "--windows", "0"]]
)
def test_wrong_usage(shell, arguments):
    result = shell.run(*arguments)

    assert result.returncode == 2
    assert error_of(result)


def test_an_unknown_board_names_the_nearest(shell, deployed):
    (shell.folder / "shelfcast.toml").write_bytes((deployed / "shelfcast.toml").read_bytes())

    result = shell.run("render", "--board", "netduino")

    assert result.returncode == 2
    assert error_of(result).startswith(
        'unknown board "netduino"; did you mean netduino2? Known: netduino2, arduino-mega2560, '
    )


def test_init_makes_a_project_and_leaves_one_alone(shell):
    assert shell.run("init", "shop").returncode == 0
    assert (shell.folder / "shop" / "shelfcast.toml").exists()
    (shell.folder / "shop" / "shelfcast.toml").write_text("mine")

    result = shell.run("init", "shop")

    assert result.returncode == 2
    assert error_of(result) == "shop/shelfcast.toml: is there already; it was left as it is."
    assert (shell.folder / "shop" / "shelfcast.toml").read_text() == "mine"


def test_inspect_shows_the_operators(deployed_copy):
    model = "runs/small/model.tflite"

    text = deployed_copy.run("inspect", model)
    values = deployed_copy.run("inspect", model, "--json")

    assert "UNIDIRECTIONAL_SEQUENCE_LSTM  1x14x1 -> 1x14x6" in text.stdout
    assert json.loads(values.stdout)["hidden"] == [6]
    assert "fits, as predicted: " in text.stdout
    assert json.loads(values.stdout)["boards"]["netduinoplus2"] is True


def test_a_port_that_is_absent(deployed_copy):
    result = deployed_copy.run("validate", "--port", "/dev/ttyNOPE0")

    assert result.returncode == 4
    assert "/dev/ttyNOPE0" in error_of(result)


def test_a_missing_compiler(deployed_copy, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    (deployed_copy.folder / "runs/small/netduinoplus2/image/firmware.elf").unlink()

    result = deployed_copy.run("build", PATH=str(empty))

    assert result.returncode == 3
    assert error_of(result) == (
        "arm-none-eabi-gcc: not found. Install it: sudo apt-get install gcc-arm-none-eabi "
        "libnewlib-arm-none-eabi"
    )


def test_a_missing_emulator(deployed_copy, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()

    result = deployed_copy.run("validate", PATH=str(empty))

    assert result.returncode == 3
    assert error_of(result) == (
        "qemu-system-arm: not installed, and netduinoplus2 is emulated by it. "
        "Run: sudo apt install qemu-system-arm; or name a real board with --port."
    )


def test_a_limit_that_is_not_met(deployed_copy):
    run = deployed_copy.folder / "runs/small"
    stored = dict(np.load(run / "forecasts.npz"))
    # A float network that is never wrong: any other loses against it.
    stored["float"] = load_dataset(run / "windows.npz").test.targets.astype(np.float64) + 1e-3
    np.savez(run / "forecasts.npz", **stored)

    result = deployed_copy.run("validate", "--limit", "5", "--windows", "20")

    assert result.returncode == 1
    assert "netduinoplus2: FAIL" in result.stdout
    assert "above the float network's; the limit is 5%" in result.stdout


def _emulators(folder: Path) -> list[str]:
    """List the emulators that run for the command in `folder`: they inherit its environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().decode(errors="replace").replace("\0", " ")
            environment = (entry.parent / "environ").read_bytes()
        except OSError:
            continue
        if "qemu-system" in command and f"SHELFCAST_TEST={folder}".encode() in environment:
            found.append(f"{entry.parent.name} {command}")
    return found


@pytest.mark.parametrize(
    ("stage", "output"),
    [
        ("prepare", "windows.npz"),
        ("train", "float.h5"),
        ("quantize", "model.tflite"),
        ("build", "netduinoplus2/image/firmware.elf"),
        ("validate", "netduinoplus2/validation.json"),
    ],
)
def test_ctrl_c_leaves_nothing_half_done(deployed_copy, stage, output):
    folder = deployed_copy.folder
    (folder / "runs/small" / output).unlink()
    if stage == "prepare":
        _give_it_a_long_file(folder)
    if stage == "build":
        shutil.rmtree(folder / "runs/small/netduinoplus2/image")
    process = deployed_copy.start("deploy")
    _wait_until_busy(process, stage)

    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.endswith(
        "interrupted; what was finished is kept, the next call goes on from there\n"
    )
    leftovers = [path for path in (folder / "runs").rglob("*") if path.name.startswith(".")]
    assert leftovers == []
    assert not (folder / "runs/small" / output).exists()
    # Whoever adopts a process may take a moment to notice its end.
    assert wait_for(lambda: _emulators(folder) == [], 20), "no emulator outlives its command"
    if stage != "prepare":
        again = deployed_copy.run("deploy")
        assert again.returncode == 0, "the next call goes on from there"


def _give_it_a_long_file(folder: Path) -> None:
    days = np.arange("2020-01-01", "2022-01-01", dtype="datetime64[D]")
    rows = [f"{day},{shelf},{shelf % 7}" for shelf in range(600) for day in days]
    (folder / "long.csv").write_text("\n".join(["date,shelf,sales", *rows]))
    project = folder / "shelfcast.toml"
    source = 'source = "long.csv"\nkeys = ["shelf"]'
    project.write_text(project.read_text().replace('source = "synthetic"', source))


def _wait_until_busy(process: subprocess.Popen[str], stage: str) -> None:
    """Wait for the first line of progress of a stage."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(stage) and line.split()[1].endswith("%"):
            return
    raise AssertionError(f"ended before {stage} said how far it is")
