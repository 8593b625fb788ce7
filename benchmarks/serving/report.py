"""Figures of answers -> tables of docs/performance.md."""

import json
from pathlib import Path
from typing import Any

from benchmarks.serving.subjects import ROWS
from benchmarks.tables import table

RESULTS = Path(__file__).parent.parent / "results" / "serving.json"
Runs = dict[str, dict[str, Any]]  # by model and precision
_ROWS = f"{ROWS} rows"


def section() -> str:
    """All tables; empty where nothing was measured yet."""
    runs: Runs = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return "\n\n".join([_about(runs), _speed(runs), _equality(runs)]) if runs else ""


def _about(runs: Runs) -> str:
    measured = "; ".join(
        f"{name} at {run['made_at'][:16]} of `{run['commit']}`" for name, run in runs.items()
    )
    return f"Measured: {measured}."


def _speed(runs: Runs) -> str:
    names = list(dict.fromkeys(name for run in runs.values() for name in run["figures"]))
    shown = [name for name in names if not name.startswith("equal rows")]
    rows = [[name, *(_cell(run["figures"], name) for run in runs.values())] for name in shown]
    rows += [
        [name, *(f"**{_ratio(run['figures'], *pair):.2f}**" for run in runs.values())]
        for name, pair in _RATIOS.items()
    ]
    return table(["tokens per CPU second", *runs], rows)


def _equality(runs: Runs) -> str:
    exact = {name: run for name, run in runs.items() if name.endswith("fp32")}
    names = dict.fromkeys(
        name for run in exact.values() for name in run["figures"] if name.startswith("equal rows")
    )
    rows = [
        [name, *(f"{run['figures'][name]:.0f} of {ROWS}" for run in exact.values())]
        for name in names
    ]
    return table(["greedy answers", *exact], rows)


_RATIOS = {
    "8 adapters to the base": (f"ours, {_ROWS}, 8 adapters", f"ours, {_ROWS}, 0 adapters"),
    "the base to `generate`": (f"ours, {_ROWS}, 0 adapters", f"generate, {_ROWS}, 0 adapters"),
    "8 adapters to PEFT": (f"ours, {_ROWS}, 8 adapters", f"PEFT, {_ROWS}, 8 adapters"),
}


def _ratio(figures: dict[str, float], some: str, other: str) -> float:
    return figures[some] / figures[other]


def _cell(figures: dict[str, float], name: str) -> str:
    if name not in figures:
        return ""
    return f"{figures[name]:.3f}" if name.endswith("seconds") else f"{figures[name]:.0f}"
