"""Forecasts of a real TensorFlow Lite Micro on emulated boards, where the environment names one."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from recipes import ALL, STRESS
from tflm import render_recipe

from toolchain.device.running import open_device
from toolchain.errors import CompileError
from toolchain.firmware.arena import plan_arena
from toolchain.firmware.build import build
from toolchain.firmware.tflm import INCLUDE_VARIABLE, LIB_VARIABLE, find_tflm
from toolchain.graph.tflite_file import read_layout
from toolchain.verdict.plan import make_plan
from toolchain.verdict.replay import replay

pytestmark = [
    pytest.mark.skipif(
        not (os.environ.get(INCLUDE_VARIABLE) and os.environ.get(LIB_VARIABLE)),
        reason=f"{INCLUDE_VARIABLE} and {LIB_VARIABLE} name no TensorFlow Lite Micro",
    ),
    pytest.mark.xdist_group("tflm"),
]

OTHER_ENDS = {
    name for name, recipe in ALL.items() if {recipe.input_type, recipe.output_type} != {"int8"}
}
RECIPES = sorted(set(ALL) - OTHER_ENDS)
SATURATED = {"coarse tanh saturates", *STRESS}
"""Where gates saturate, CMSIS-NN's kernels forecast something else than TensorFlow's."""


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("board", ["netduinoplus2", "stm32vldiscovery"])
def test_every_forecast_is_the_hosts_in_the_computed_arena(board, name, tmp_path):
    rendered = render_recipe(ALL[name], board, tmp_path)
    try:
        image = build(
            rendered.sources, rendered.board, rendered.core, tflm=find_tflm(None, None)
        )  # fmt: skip
    except CompileError as refused:
        if "was built for another core" in str(refused):
            pytest.skip("the library is for another core")
        raise
    graph = rendered.graph
    rng = np.random.default_rng(1)
    windows = rng.integers(-128, 128, (25, graph.steps, graph.features)).astype(np.int8)
    plan = make_plan(np.zeros(25, int), windows=None, state_windows=2, sequences=2)

    with open_device(rendered.board, image.path, runtime="tflm") as session:
        found = replay(session, replace(graph, oracle="float32"), windows, plan)

    layout = read_layout(rendered.content, name)
    arenas = {kernels: plan_arena(layout, kernels) for kernels in ("reference", "cmsis_nn")}
    assert (found.arena_bytes, found.arena_used_bytes) in [
        (arena.bytes, arena.used_bytes) for arena in arenas.values()
    ]
    if "sequences" in found.skipped and name in SATURATED:
        return
    assert 0 in (found.mismatches, found.other_oracle_mismatches)
    assert found.sequence_mismatches == 0
