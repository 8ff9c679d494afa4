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


_WHERE = {
    True: "  (emulated, not measured on hardware)",
    False: "",
    None: "  (behind a socket: hardware or not, nobody knows)",
}


def summarize(verdict: dict[str, Any], files: dict[str, str]) -> str:
    """Write what `Validation.to_json` holds, and where the run's files are."""
    parity, flash, ram = verdict["parity"], verdict["flash"], verdict["ram"]
    gain = verdict["gain_percent"]
    lines = [
        "",
        f"{verdict['board']}: {'PASS' if verdict['verdict'] == 'pass' else 'FAIL'}"
        f"{_WHERE[verdict['emulated']]}",
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
        f"  by MAE, the device is {_compared(None if gain is None else -gain)} the best simple "
        f"rule and {_compared(verdict['mae_loss_percent'])} the float network",
        "",
        f"  flash      {flash['total']:>9,} of {flash['budget']:,} bytes: model "
        f"{flash['weights']:,}, tables {flash['tables']:,}, code {flash['code']:,}",
        f"  RAM        {ram['static']:>9,} of {ram['budget']:,} bytes static, "
        f"{ram['stack_measured']:,} of stack used",
        f"  time       {_latency(verdict['latency'], verdict['emulated'])} a forecast, "
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
