"""A verdict as text that a person reads at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolchain.table import aligned

_NAMES = {
    "naive": "yesterday's sales",
    "seasonal_naive": "sales a week ago",
    "weekday_mean": "mean of last 4 same weekdays",
    "float": "LSTM, float32, host",
    "litert": "LSTM, int8, LiteRT",
    "host": "LSTM, int8, host reference",
    "device": "LSTM, int8, device",
}


_WHERE = {
    True: "  (emulated, not measured on hardware)",
    False: "",
    None: "  (behind a socket: hardware or not, nobody knows)",
}


_RUNTIMES = {"shelfcast": "", "tflm": ", TensorFlow Lite Micro"}


def summarize(verdict: dict[str, Any], files: dict[str, str]) -> str:
    """Write what `Validation.to_json` holds, and where the run's files are."""
    parity, flash, ram = verdict["parity"], verdict["flash"], verdict["ram"]
    passed = "PASS" if verdict["verdict"] == "pass" else "FAIL"
    lines = [
        "",
        f"{verdict['board']}{_RUNTIMES[verdict['runtime']]}: {passed}{_WHERE[verdict['emulated']]}",
        "",
        f"  parity     {parity['windows']:>9,} forecasts     {parity['mismatches']:>7,} differ "
        "from the host",
        *_states(parity),
        *_sequences(parity),
        *_stream(parity),
        *_skipped(parity["skipped"]),
        "",
        *(_errors(verdict) if verdict["accuracy"] else _distance(verdict["from_float"])),
        "",
        f"  flash      {flash['total']:>9,} of {flash['budget']:,} bytes: model "
        f"{flash['weights']:,}, tables {flash['tables']:,}, code {flash['code']:,}",
        f"  RAM        {ram['static']:>9,} of {ram['budget']:,} bytes static, "
        f"{ram['stack_measured']:,} of stack used"
        + ("" if ram["stack_predicted"] is None else f", {ram['stack_predicted']:,} at most"),
        *_arena(ram),
        f"  time       {_latency(verdict['latency'], verdict['emulated'])} a forecast, "
        f"{verdict['latency']['macs']:,} multiply-accumulates",
    ]
    lines += [f"  {name:<10} {path}" for name, path in files.items()]
    if verdict["reasons"]:
        lines += ["", *(f"  because    {reason}" for reason in verdict["reasons"])]
    return "\n".join(lines)


def _errors(verdict: dict[str, Any]) -> list[str]:
    """Write the errors in sales units, and how they compare."""
    gain = verdict["gain_percent"]
    lines = ["  error in units a day              MAE     RMSE   WAPE %   MAPE %     bias"]
    for group in ("references", "accuracy"):
        lines += [_row(_NAMES[name], values) for name, values in verdict[group].items()]
    words = (
        f"  by MAE, the device is {_compared(None if gain is None else -gain)} the best simple rule"
    )
    if "float" in verdict["accuracy"]:
        words += f" and {_compared(verdict['mae_loss_percent'])} the float network"
    return [*lines, "", words]


def _distance(difference: dict[str, float] | None) -> list[str]:
    """Write what is known of a model's accuracy without sales."""
    lines = ["  accuracy   not judged: a model without a project has no sales to be compared with"]
    if difference is not None:
        lines.append(
            f"  INT8       {difference['mean']:.3g} from the float network on average, "
            f"{difference['largest']:.3g} at most (a step is {difference['step']:.3g})"
        )
    return lines


def _states(parity: dict[str, Any]) -> list[str]:
    """Write the line of the states, where the runtime shows them."""
    if parity["state_values"] is None:
        return []
    return [
        f"             {parity['state_values']:>9,} states h, c   "
        f"{parity['state_mismatches']:>7,} differ ({parity['state_windows']} windows, every step)"
    ]


def _sequences(parity: dict[str, Any]) -> list[str]:
    """Write the line of the sequences, where the runtime carries its state over."""
    if parity["sequence_windows"] is None:
        return []
    return [
        f"             {parity['sequence_windows']:>9,} in sequence   "
        f"{parity['sequence_mismatches']:>7,} differ (state carried over)"
    ]


def _skipped(skipped: dict[str, str]) -> list[str]:
    """Write what was not compared, and why: once for each reason."""
    lines = []
    for why in dict.fromkeys(skipped.values()):
        names = " and ".join(name for name in skipped if skipped[name] == why)
        lines.append(f"             not compared: {names} ({why})")
    return lines


def _arena(ram: dict[str, Any]) -> list[str]:
    """Write the line of the interpreter's arena, where there is one."""
    if ram["arena"] is None:
        return []
    return [f"             {ram['arena']:>9,} of them the arena, {ram['arena_used']:,} used"]


def _stream(parity: dict[str, Any]) -> list[str]:
    """Write the line of the stream, where the network can be streamed."""
    if not parity["stream_samples"]:
        return []
    how = "its saved state differs" if parity["saved_state_differs"] else "saved, reset, restored"
    return [
        f"             {parity['stream_samples']:>9,} in a stream   "
        f"{parity['stream_mismatches']:>7,} differ (a forecast a day; {how})"
    ]


def _row(name: str, values: dict[str, float | None]) -> str:
    columns = [values[key] for key in ("mae", "rmse", "wape_percent", "mape_percent", "bias")]
    numbers = "".join(f"{'' if value is None else f'{value:.2f}':>9}" for value in columns)
    return f"    {name:<28}{numbers}"


def _compared(percent: float | None) -> str:
    """Say how much larger an error is than another; None: the other is 0, and no figure exists.

    >>> _compared(-9.6), _compared(0.12), _compared(None)
    ('9.60% better than', '0.12% worse than', 'not better than')
    """
    if percent is None:
        return "not better than"
    return f"{abs(percent):.2f}% {'worse' if percent > 0 else 'better'} than"


def _latency(latency: dict[str, int | None], emulated: bool | None) -> str:
    if latency["instructions"] is not None:
        return f"{latency['instructions']:>9,} instructions"
    if latency["cycles"] is not None:
        if emulated:
            return f"{latency['cycles']:>9,} cycles, emulated ({latency['us']:,} us)"
        return f"{latency['cycles']:>9,} cycles, {latency['us']:,} us"
    return f"{'not known':>9}"


def summarize_study(results: dict[str, Any], files: dict[str, str]) -> str:
    """Write what a study found: a line per model, what was picked, and where the files are."""
    baseline = next(row for row in results["rows"] if row["name"] == results["baseline"])
    rows = [baseline, *(row for row in results["rows"] if row["quantized"])]
    floats = {row["model"]: row for row in results["rows"] if not row["quantized"]}
    work = "cycles" if any(row["cycles"] is not None for row in rows) else "instructions"
    head = (
        "", "model", "paper", ".tflite", "weights", "flash", "RAM", work, "MAE", "+-", "MAPE %",
        "+-", "bias", "float MAE",
    )  # fmt: skip
    table = [head]
    for row in rows:
        mark = ">" if row["name"] == results["picked"] else "*" if row["pareto"] else ""
        table.append(
            (
                mark,
                row["name"],
                *(
                    _count(row[key])
                    for key in (
                        "paper_bytes", "model_bytes", "weight_bytes", "flash_bytes", "ram_bytes",
                        work,
                    )
                ),
                _number(row["mae"]),
                _number(row["spread"]["mae"]),
                _number(row["mape_percent"]),
                _number(row["spread"]["mape_percent"]),
                _number(row["bias"]),
                _number(floats[row["model"]]["mae"]),
            )
        )  # fmt: skip
    lines = [
        "",
        aligned(table, words={0, 1}),
        "",
        "  *  no model is both smaller and better on the validation days    >  picked",
        f"     sizes in bytes, for {results['board']} (made for {results['profile']}); errors in "
        "units a day on the test days: mean over the seeds, +- spread",
        "",
        f"  {'picked' if results['picked'] else 'nothing picked'}: {results['reason']}",
        f"  best rule  {_best_rule(results['references'])}",
        *(f"  {name:<10} {path}" for name, path in files.items()),
        *(f"  too large  {row['name']}: {row['why']}" for row in rows if row["why"]),
        *(
            f"  failed     {it['name']} with seed {it['seed']}: {it['why']}"
            for it in results["failed"]
        ),
        *(f"  made again {words}" for words in results["retrained"]),
    ]
    return "\n".join(lines)


def _best_rule(rules: Mapping[str, Mapping[str, float]]) -> str:
    """Name the simple rule that is least wrong on the test days: what any network has to beat."""
    best = min(rules, key=lambda name: rules[name]["mae"])
    return f"{_NAMES[best]}, MAE {rules[best]['mae']:.2f} units"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
