"""Which models are worth a look, and which one is picked; from the validation days alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.project import Budget


@dataclass(frozen=True)
class Contender:
    """What one integer model costs and achieves on the validation days, mean over the seeds."""

    name: str
    flash_bytes: int
    mae: float
    mape_percent: float | None


@dataclass(frozen=True)
class Baseline:
    """What the float baseline achieves there."""

    mae: float
    mape_percent: float | None


@dataclass(frozen=True)
class Choice:
    """What was picked, and why."""

    picked: str | None
    """None: no model is within the budget."""
    reason: str
    """One sentence."""
    nearest: str | None = None
    """When none is picked: the model that misses the budget least."""


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Say of each point (cost, error) whether no other is at least as good in both.

    >>> pareto([(1, 9.0), (2, 7.0), (3, 8.0), (2, 7.0)])
    [True, True, False, True]
    """
    return [
        not any(
            cost <= mine[0] and error <= mine[1] and (cost, error) != mine for cost, error in points
        )
        for mine in points
    ]


def choose(contenders: Sequence[Contender], baseline: Baseline, budget: Budget) -> Choice:
    """Pick the smallest model within the accuracy budget, or the most accurate one.

    Within the budget of flash, if there is one; the contenders are those that fit the board.
    """
    if not contenders:
        return Choice(None, "no model fits the board, so there is nothing to pick from.")
    judged = [_Judged(it, baseline, budget) for it in contenders]
    within = [it for it in judged if it.too_much == 0 and it.too_large == 0]
    limits = _limits(budget)
    if not within:
        near = min(judged, key=lambda it: (it.too_large > 0, it.too_much, it.too_large, it.order))
        return Choice(
            None,
            f"no model is within the budget of {limits}: {near.contender.name} comes nearest, with "
            f"{near.described}.",
            near.contender.name,
        )
    if budget.mape_points is None and budget.mae_percent is None:
        best = min(within, key=lambda it: (it.contender.mae, it.order))
        where = f"within {limits}" if limits else "that fits the board"
        words = f"is the most accurate of {len(within)} models {where}"
    else:
        best = min(within, key=lambda it: (*it.order, it.contender.mae))
        words = f"is the smallest of {len(within)} models within the budget of {limits}"
    return Choice(best.contender.name, f"{best.contender.name} {words}, with {best.described}.")


class _Judged:
    """A contender beside the baseline and the budget."""

    def __init__(self, contender: Contender, baseline: Baseline, budget: Budget) -> None:
        self.contender = contender
        self.order = (contender.flash_bytes, contender.name)
        self._mae_percent = 100 * (contender.mae / baseline.mae - 1) if baseline.mae else 0.0
        self._mape_points = (
            contender.mape_percent - baseline.mape_percent
            if contender.mape_percent is not None and baseline.mape_percent is not None
            else None
        )
        self._shows_mape = budget.mape_points is not None
        self.too_large = max(
            0, contender.flash_bytes - (budget.flash_bytes or contender.flash_bytes)
        )
        excess = [0.0]
        if budget.mae_percent is not None:
            excess.append(self._mae_percent - budget.mae_percent)
        if budget.mape_points is not None:
            # Without sales there is no MAPE: nothing is within a budget of it.
            points = float("inf") if self._mape_points is None else self._mape_points
            excess.append(points - budget.mape_points)
        self.too_much = max(excess)

    @property
    def described(self) -> str:
        losses = [f"{_signed(self._mae_percent)}% MAE"]
        if self._mape_points is not None and self._shows_mape:
            losses.insert(0, f"{_signed(self._mape_points)} points of MAPE")
        return (
            f"{' and '.join(losses)} against the float baseline on the validation days, in "
            f"{self.contender.flash_bytes:,} bytes of flash"
        )


def _limits(budget: Budget) -> str:
    """Say a budget in words; empty: there is none."""
    parts = []
    if budget.mape_points is not None:
        parts.append(f"+{budget.mape_points:g} points of MAPE")
    if budget.mae_percent is not None:
        parts.append(f"+{budget.mae_percent:g}% MAE")
    if budget.flash_bytes is not None:
        parts.append(f"{budget.flash_bytes:,} bytes of flash")
    return " and ".join(parts)


def _signed(value: float) -> str:
    """Write a difference.

    >>> _signed(0.254), _signed(-1.0)
    ('+0.25', '-1.00')
    """
    return f"{value:+.2f}"
