"""The console around an interpreter: what it answers, and what it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from strict_c import SANITIZERS, WARNINGS
from tflite_writer import Recipe
from tflm import render_recipe

from toolchain.device.protocol import Greeting, encode_request

HERE = Path(__file__).parent
RECIPE = Recipe(hidden=(5,), features=2, steps=3, dense=(1,))


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Compile the console with a runtime whose forecasts end in a status; return how to ask it."""
    programs = {}

    def ask(*lines: str, status: str = "FORECAST_OK") -> list[str]:
        if status not in programs:
            folder = tmp_path_factory.mktemp("console")
            sources = render_recipe(RECIPE, "netduinoplus2", folder).sources
            files = [*(sources / "app").glob("*.c"), sources / "model.c", HERE / "forecast_stub.c",
                     HERE.parent / "engine" / "host_port.c"]  # fmt: skip
            folders = [f"-I{sources / part}" for part in (".", "app", "tflm")]
            subprocess.run(
                ["cc", "-std=c99", *WARNINGS, *SANITIZERS, *folders, "-DTFLM_CMSIS_NN=0",
                 f"-DSTUB_STATUS={status}", *files, "-o", folder / "console"],
                check=True,
            )  # fmt: skip
            programs[status] = folder / "console"
        data = "".join(f"{line}\n" for line in lines).encode()
        result = subprocess.run([programs[status]], input=data, capture_output=True, check=True)
        return [line[: -len(" *00000000")].decode() for line in result.stdout.splitlines()[2:]]

    return ask


def test_hello_tells_the_runtime_and_its_arena(talk):
    (answer,) = talk("hello")

    found = dict(word.split("=") for word in answer.split()[2:])
    greeting = Greeting.parse(found)
    assert (greeting.runtime, greeting.engine) == ("tflm", 0)
    assert greeting.arena_bytes == 2_608
    assert greeting.arena_used_bytes == 1_234


def test_windows_are_loaded_and_run_with_the_state_kept_or_not(talk):
    answers = talk("load 0 010203040506", "run", "run keep", "run")

    assert answers == [
        "ok load bytes=6",
        "ok run out=15 ticks=1",
        "ok run out=16 ticks=2",
        "ok run out=15 ticks=3",
    ]


@pytest.mark.parametrize("line", ["step 0102", "save", "restore", "state 0"])
def test_what_needs_single_steps_or_states_is_refused_by_name(talk, line):
    assert talk(line) == ["err runtime the interpreter runs whole windows and shows no state"]


def test_an_arena_that_was_too_small_is_told_with_both_numbers(talk):
    assert talk("run", status="FORECAST_ERR_SETUP") == [
        "err runtime the interpreter could not place the model in its arena of 2608 bytes, "
        "1234 of them used when it gave up"
    ]


def test_a_failure_in_the_middle_of_the_model_is_told(talk):
    assert talk("run", status="FORECAST_ERR_INVOKE") == [
        "err runtime the interpreter failed in the middle of the model"
    ]


def test_a_repeated_request_is_not_run_again(talk):
    run = encode_request(7, "run").decode().rstrip()

    first, again = talk(run, run)

    assert first == again == "@7 ok run out=00 ticks=1"
