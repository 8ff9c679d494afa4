"""The rows of a study: what each model costs and achieves, mean and spread over its seeds."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from toolchain.project import Budget
from toolchain.study.choice import Baseline, Choice, Contender, choose, pareto
from toolchain.study.measure import Cost
from toolchain.study.training import Outcome, Trained

FLOAT, INT8 = "float", "int8"
ERRORS = ("mae", "rmse", "wape_percent", "mape_percent", "bias")
_FLOAT_BYTES = 4


def row_name(trial: str, kind: str) -> str:
    """Return what a trial's float or integer model is called."""
    return f"{trial}-{kind}"


def make_results(
    outcome: Outcome,
    baseline: str,
    costs: Mapping[str, Cost | str],
    budget: Budget,
    board: str,
    profile: str,
    simple_rules: Mapping[str, Mapping[str, float | None]],
    model_bytes: Mapping[str, int],
) -> dict[str, Any]:
    """Put everything together, as JSON values.

    Args:
        outcome: the trained models; the baseline's among them.
        baseline: name of the trial whose float model is the baseline.
        costs: by trial; a string says why there is none.
        budget: what is picked by.
        board: the board that was built for.
        profile: what its firmware was made for: speed or size.
        simple_rules: errors of the simple forecasts on the test days.
        model_bytes: by trial, the size of the .tflite.
    """
    trained = outcome.trained
    contenders = {
        name: Contender(
            row_name(name, INT8),
            cost.flash_bytes,
            _mean(trained[name], INT8, "validation", "mae") or 0.0,
            _mean(trained[name], INT8, "validation", "mape_percent"),
        )
        for name, cost in costs.items()
        if isinstance(cost, Cost)
    }
    by_mape = budget.mape_points is not None
    front = dict(
        zip(
            contenders,
            pareto([(it.flash_bytes, _error(it, by_mape=by_mape)) for it in contenders.values()]),
            strict=True,
        )
    )
    base = trained[baseline]
    reference = Baseline(
        _mean(base, FLOAT, "validation", "mae") or 0.0,
        _mean(base, FLOAT, "validation", "mape_percent"),
    )
    choice = choose(list(contenders.values()), reference, budget)
    rows = []
    for name, it in trained.items():
        cost = costs.get(name)
        rows.append({**_row(it, FLOAT), "pareto": False, "why": None})
        rows.append(
            {
                **_row(it, INT8),
                "model_bytes": model_bytes.get(name),
                **(_cost(cost) if isinstance(cost, Cost) else {}),
                "pareto": front.get(name, False),
                "why": cost if isinstance(cost, str) else None,
            }
        )
    return {
        "board": board,
        "profile": profile,
        "baseline": row_name(baseline, FLOAT),
        "metric": "mape_percent" if by_mape else "mae",
        "budget": budget.model_dump(),
        "rows": rows,
        "picked": choice.picked,
        "reason": choice.reason,
        "nearest": choice.nearest,
        "picked_seed": _seed_of(choice, rows),
        "references": dict(simple_rules),
        "failed": [asdict(failure) for failure in outcome.failures],
        "retrained": outcome.damaged,
    }


def _seed_of(choice: Choice, rows: Sequence[Mapping[str, Any]]) -> int | None:
    return next((row["seed"] for row in rows if row["name"] == choice.picked), None)


def _error(contender: Contender, *, by_mape: bool) -> float:
    if by_mape and contender.mape_percent is not None:
        return contender.mape_percent
    return contender.mae


def _row(it: Trained, kind: str) -> dict[str, Any]:
    """Describe a trial's float or integer model; what it costs on a board is not known yet."""
    candidate, about = it.trial.candidate, it.chosen.about
    return {
        "name": row_name(it.trial.name, kind),
        "model": it.trial.name,
        "hidden": list(candidate.hidden),
        "features": list(candidate.features),
        "window": candidate.window,
        "structure": candidate.structure,
        "sparsity": candidate.sparsity,
        "aware": candidate.aware,
        "quantized": kind == INT8,
        "parameters": about["parameters"],
        "nonzero": about["nonzero"],
        # As the published table counts: no scales, no indices, no container.
        "paper_bytes": about["nonzero"] * (1 if kind == INT8 else _FLOAT_BYTES),
        "model_bytes": None,
        **dict.fromkeys(
            (
                "flash_bytes", "weight_bytes", "table_bytes", "engine_bytes", "image_bytes",
                "ram_bytes", "stack_bytes", "instructions", "cycles", "checked_windows",
            )
        ),
        **{error: _mean(it, kind, "test", error) for error in ERRORS},
        "spread": {error: _spread(it, kind, "test", error) for error in ERRORS},
        "validation": {error: _mean(it, kind, "validation", error) for error in ERRORS},
        "validation_spread": {error: _spread(it, kind, "validation", error) for error in ERRORS},
        "seeds": sorted(it.entries),
        "seed": it.chosen_seed,
        "seconds": [it.entries[seed].about["seconds"] for seed in sorted(it.entries)],
    }  # fmt: skip


def _cost(cost: Cost) -> dict[str, Any]:
    values = asdict(cost)
    return {"flash_bytes": cost.flash_bytes, "checked_windows": values.pop("windows"), **values}


def _values(it: Trained, kind: str, days: str, error: str) -> list[float]:
    found = [entry.about["scores"][f"{kind}_{days}"][error] for entry in it.entries.values()]
    return [float(value) for value in found if value is not None]


def _mean(it: Trained, kind: str, days: str, error: str) -> float | None:
    values = _values(it, kind, days, error)
    return statistics.fmean(values) if values else None


def _spread(it: Trained, kind: str, days: str, error: str) -> float | None:
    """Return the standard deviation over the seeds; None for one seed."""
    values = _values(it, kind, days, error)
    return statistics.stdev(values) if len(values) > 1 else None


def to_csv(results: Mapping[str, Any]) -> str:
    """Write the rows for a spreadsheet: nested figures as columns of their own."""
    rows = [_flat(row) for row in results["rows"]]
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{key}_{inner}": it for inner, it in value.items()}
        elif isinstance(value, list):
            flat[key] = " ".join(map(str, value))
        else:
            flat[key] = value
    return flat
