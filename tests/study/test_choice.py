from __future__ import annotations

from toolchain.project import Budget
from toolchain.study.choice import Baseline, Contender, choose

SMALL = Contender("small-int8", 1_000, mae=6.6, mape_percent=14.0)
MIDDLE = Contender("middle-int8", 2_000, mae=6.2, mape_percent=13.2)
LARGE = Contender("large-int8", 4_000, mae=6.0, mape_percent=12.9)
ALL = [LARGE, SMALL, MIDDLE]
BASE = Baseline(mae=6.0, mape_percent=13.0)


def test_the_smallest_within_the_accuracy_budget():
    choice = choose(ALL, BASE, Budget(mape_points=0.3))

    assert choice.picked == "middle-int8"
    assert choice.reason == (
        "middle-int8 is the smallest of 2 models within the budget of +0.3 points of MAPE, with "
        "+0.20 points of MAPE and +3.33% MAE against the float baseline on the validation days, in "
        "2,000 bytes of flash."
    )


def test_the_most_accurate_within_the_flash():
    choice = choose(ALL, BASE, Budget(flash_bytes=2_500))

    assert choice.picked == "middle-int8"
    assert choice.reason.startswith(
        "middle-int8 is the most accurate of 2 models within 2,500 bytes of flash, with +3.33% MAE"
    )


def test_without_a_budget_the_most_accurate():
    choice = choose(ALL, BASE, Budget())

    assert choice.picked == "large-int8"
    assert "the most accurate of 3 models that fits the board" in choice.reason


def test_a_budget_is_met_at_its_limit():
    assert choose(ALL, BASE, Budget(mae_percent=0.0)).picked == "large-int8"


def test_both_errors_have_to_be_within_their_budgets():
    choice = choose(ALL, BASE, Budget(mape_points=2.0, mae_percent=4.0))

    assert choice.picked == "middle-int8"
    assert "+2 points of MAPE and +4% MAE" in choice.reason


def test_of_two_of_one_size_the_first_by_name():
    twin = Contender("another-int8", 1_000, mae=6.6, mape_percent=14.0)

    assert choose([SMALL, twin], BASE, Budget(mae_percent=50)).picked == "another-int8"


def test_nothing_is_accurate_enough():
    choice = choose([SMALL, MIDDLE], BASE, Budget(mape_points=0.1))

    assert choice.picked is None
    assert choice.nearest == "middle-int8"
    assert choice.reason.startswith(
        "no model is within the budget of +0.1 points of MAPE: middle-int8 comes nearest, with "
        "+0.20 points of MAPE"
    )


def test_nothing_is_small_enough():
    choice = choose(ALL, BASE, Budget(flash_bytes=900))

    assert (choice.picked, choice.nearest) == (None, "small-int8")


def test_nothing_is_both():
    """What fits is nearer than what is accurate: it runs."""
    choice = choose(ALL, BASE, Budget(flash_bytes=1_500, mae_percent=1))

    assert (choice.picked, choice.nearest) == (None, "small-int8")


def test_without_sales_no_model_has_a_mape():
    silent = Contender("silent-int8", 1_000, mae=6.0, mape_percent=None)

    choice = choose([silent], Baseline(6.0, None), Budget(mape_points=1))

    assert (choice.picked, choice.nearest) == (None, "silent-int8")


def test_nothing_fits_the_board():
    choice = choose([], BASE, Budget())

    assert choice.picked is None
    assert choice.reason == "no model fits the board, so there is nothing to pick from."
