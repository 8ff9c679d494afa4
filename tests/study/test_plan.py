from __future__ import annotations

import pytest

from toolchain.errors import ProjectError
from toolchain.project import read_project
from toolchain.study.plan import make_plan, parameters_of

PROJECT = """\
name = "shop"
[data]
source = "synthetic"
[network]
hidden = [64]
features = ["units", "weekday"]
epochs = 12
[study]
hidden = [8, 16]
sparsity = [0.0, 0.7]
"""


def plan_of(tmp_path, text: str, *, quick: bool = False):
    (tmp_path / "shelfcast.toml").write_text(text)
    return make_plan(read_project(tmp_path), quick=quick)


def names_of(tmp_path, text: str) -> list[str]:
    return [trial.name for trial in plan_of(tmp_path, text).trials]


def test_the_projects_network_comes_first_then_every_combination(tmp_path):
    assert names_of(tmp_path, PROJECT) == [
        "lstm64+weekday",
        "lstm8+weekday",
        "lstm8+weekday-blocks70",
        "lstm16+weekday",
        "lstm16+weekday-blocks70",
    ]


def test_each_model_comes_once(tmp_path):
    text = PROJECT + 'structures = ["blocks", "scattered"]\n[[study.models]]\nhidden = [8]\n'

    names = names_of(tmp_path, text.replace("[8, 16]", "[8, 64]"))

    assert names == [
        "lstm64+weekday",
        "lstm8+weekday",
        "lstm8+weekday-blocks70",
        "lstm8+weekday-scattered70",
        "lstm64+weekday-blocks70",
        "lstm64+weekday-scattered70",
    ]


def test_layers_inputs_and_aware_training_are_combined_too(tmp_path):
    text = PROJECT.replace("[0.0, 0.7]", "[0.0]").replace("[8, 16]", "[8]") + (
        'layers = [1, 2]\naware = [false, true]\nfeatures = [["units"], ["units", "month"]]\n'
    )

    plan = plan_of(tmp_path, text)

    assert len(plan.trials) == 1 + 2 * 2 * 2
    assert plan.trials[-1].name == "lstm8-8+month-aware"
    assert plan.trials[-1].candidate.hidden == (8, 8)
    assert plan.features == ("units", "weekday", "month")


def test_a_share_of_all_parameters_is_taken_from_the_weights(tmp_path):
    text = PROJECT + (
        '[[study.models]]\nname = "half"\nhidden = [32]\nfeatures = ["units"]\n'
        'structure = "scattered"\nsparsity = 0.5\nsparsity_of = "parameters"\n'
    )

    half = plan_of(tmp_path, text).trials[-1]

    parameters, weights = parameters_of((32,), 1)
    assert half.name == "half"
    assert half.candidate.sparsity * weights == pytest.approx(0.5 * parameters)


def test_more_zeros_than_weights(tmp_path):
    text = PROJECT + (
        '[[study.models]]\nhidden = [1]\nfeatures = ["units"]\nstructure = "scattered"\n'
        'sparsity = 0.9\nsparsity_of = "parameters"\n'
    )

    with pytest.raises(ProjectError, match=r"0\.9 of 14 parameters cannot be zero: only the 8 "):
        plan_of(tmp_path, text)


def test_two_models_of_one_name(tmp_path):
    model = '[[study.models]]\nname = "mine"\nhidden = [{}]\n'

    with pytest.raises(ProjectError, match='two different models are called "mine"'):
        plan_of(tmp_path, PROJECT + model.format(4) + model.format(5))


def test_a_quick_study_has_fewer_epochs_and_seeds(tmp_path):
    plan = plan_of(tmp_path, PROJECT + "[study.quick]\nepochs = 2\n", quick=True)

    assert {trial.candidate.epochs for trial in plan.trials} == {2}
    assert plan.seeds == (1,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("hidden = [8, 16]", "hiden = [8]"),
            "study.hiden: unknown key; did you mean hidden? Known: hidden, aware, budget, features,"
            " layers, margin_percent, models, quick, search, seeds, sparsity, structures.",
        ),
        (
            ("hidden = [8, 16]", "budget = { mape = 1 }"),
            "study.budget.mape: unknown key; did you mean mape_points? Known: mape_points, "
            "flash_bytes, mae_percent.",
        ),
        (
            ("hidden = [8, 16]", "seeds = [1, 1]"),
            "study.seeds: a seed is named twice; the spread over seeds needs different ones.",
        ),
        (
            ("sparsity = [0.0, 0.7]", "sparsity = [1.0]"),
            "study.sparsity.0: Input should be less than 1 (got 1.0).",
        ),
        (
            ("sparsity = [0.0, 0.7]", "models = [{ sparsity = 0.5 }]"),
            'study.models.0: sparsity 0.5 and structure "dense" do not go together: zeros are '
            '"scattered" or in "blocks".',
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, change, words):
    with pytest.raises(ProjectError) as caught:
        plan_of(tmp_path, PROJECT.replace(*change))

    assert str(caught.value).removeprefix(f"{tmp_path / 'shelfcast.toml'}: ") == words
