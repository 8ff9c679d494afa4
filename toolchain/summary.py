"""A verdict as text that a person reads at a glance."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "naive": "yesterday's sales",
    "seasonal_naive": "sales a week ago",
    "weekday_mean": "mean of last 4 same weekdays",
    "float": "LSTM, float32, host",
    "litert": "LSTM, int8, LiteRT",
    "host": "LSTM, int8, host reference",
    "device": "LSTM, int8, device",
}


def summarize(verdict: dict[str, Any], files: dict[str, str]) -> str:
    """Write what `Validation.to_json` holds, and where the run's files are."""
    parity, flash, ram = verdict["parity"], verdict["flash"], verdict["ram"]
    lines = [
        "",
        f"{verdict['board']}: {'PASS' if verdict['verdict'] == 'pass' else 'FAIL'}"
        f"{'  (emulated, not measured on hardware)' if verdict['emulated'] else ''}",
        "",
        f"  parity     {parity['windows']:>9,} forecasts     {parity['mismatches']:>7,} differ "
        "from the host",
        f"             {parity['state_values']:>9,} states h, c   "
        f"{parity['state_mismatches']:>7,} differ ({parity['state_windows']} windows, every step)",
        f"             {parity['sequence_windows']:>9,} in sequence   "
        f"{parity['sequence_mismatches']:>7,} differ (state carried over)",
        "",
        "  error in units a day              MAE     RMSE   WAPE %   MAPE %     bias",
    ]
    for group in ("references", "accuracy"):
        lines += [_row(_NAMES[name], values) for name, values in verdict[group].items()]
    lines += [
        "",
        f"  the device forecasts {verdict['gain_percent']:.1f}% better than the best simple rule "
        f"and {abs(verdict['mae_loss_percent']):.2f}% "
        f"{'worse' if verdict['mae_loss_percent'] > 0 else 'better'} than float32 (by MAE)",
        "",
        f"  flash      {flash['total']:>9,} of {flash['budget']:,} bytes: model "
        f"{flash['weights']:,}, tables {flash['tables']:,}, code {flash['code']:,}",
        f"  RAM        {ram['static']:>9,} of {ram['budget']:,} bytes static, "
        f"{ram['stack_measured']:,} of stack used",
        f"  time       {_latency(verdict['latency'])} a forecast, "
        f"{verdict['latency']['macs']:,} multiply-accumulates",
    ]
    lines += [f"  {name:<10} {path}" for name, path in files.items()]
    if verdict["reasons"]:
        lines += ["", *(f"  because    {reason}" for reason in verdict["reasons"])]
    return "\n".join(lines)


def _row(name: str, values: dict[str, float | None]) -> str:
    columns = [values[key] for key in ("mae", "rmse", "wape_percent", "mape_percent", "bias")]
    numbers = "".join(f"{'' if value is None else f'{value:.2f}':>9}" for value in columns)
    return f"    {name:<28}{numbers}"


def _latency(latency: dict[str, int | None]) -> str:
    if latency["instructions"] is not None:
        return f"{latency['instructions']:>9,} instructions"
    return f"{latency['cycles']:>9,} cycles, {latency['us']:,} us"
