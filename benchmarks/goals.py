"""What the project wants to reach on two CPU cores, against the best peer; and where it stands."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.tables import OURS, Results, duels, measured, table

MODEL = "S"


@dataclass(frozen=True)
class Goal:
    """`ratio` is that of the results, None where they do not have it."""

    name: str
    wanted: float
    ratio: Callable[[Results], float | None]


def _speed(workload: str) -> Callable[[Results], float | None]:
    def ratio(results: Results) -> float | None:
        found = [duel.ratio for duel in duels(results) if duel.workload == workload]
        return found[0] if found else None

    return ratio


def _makespan_of_eight(results: Results) -> float | None:
    records = measured(results, "makespan", jobs="8 equal", workload="gsm8k")
    ours = [r["seconds"] for r in records if r["configuration"] == OURS]
    theirs = [r["seconds"] for r in records if r["configuration"].endswith("in turn")]
    return min(theirs) / median(ours) if ours and theirs else None


def _warm_start(results: Results) -> float | None:
    seconds = _starts(results)
    theirs = [median(took) for name, took in seconds.items() if not name.startswith(f"{OURS} ")]
    ours = seconds.get(f"{OURS} warm")
    return min(theirs) / median(ours) if ours and theirs else None


def _one_warm_second(results: Results) -> float | None:
    """A second over what it took, so that more is better here, too."""
    ours = _starts(results).get(f"{OURS} warm")
    return 1 / median(ours) if ours else None


def _starts(results: Results) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {}
    for record in measured(results, "starts"):
        seconds.setdefault(record["configuration"], []).append(record["seconds"])
    return seconds


def _memory(results: Results) -> float | None:
    """Of the workload where it is worst: theirs over ours."""
    found = [1 / duel.memory_ratio for duel in duels(results)]
    return min(found, default=None)


GOALS = (
    Goal("BANKING77 with its intents in the system message", 8.0, _speed("banking77")),
    Goal("a shared system message of 200 tokens", 3.0, _speed("replies")),
    Goal("GSM8K, nothing shared", 1.5, _speed("gsm8k")),
    Goal("plain text, every token supervised", 1.1, _speed("shakespeare")),
    Goal("DPO pairs", 2.0, _speed("gsm8k-pairs")),
    Goal("8 small jobs, start-up included, vs in turn", 3.0, _makespan_of_eight),
    Goal("submit to first step, warm, vs a peer's process", 10.0, _warm_start),
    Goal("the same within one second", 1.0, _one_warm_second),
    Goal("peak memory of the worst workload, theirs over ours", 2.0, _memory),
)


def goals_table(results: Results) -> str:
    of_model = [record for record in results["records"] if record.get("model") == MODEL]
    results = {**results, "records": of_model}
    rows = []
    for goal in GOALS:
        ratio = goal.ratio(results)
        reached = "" if ratio is None else "yes" if ratio >= goal.wanted else "no"
        shown = "not measured" if ratio is None else f"{ratio:.1f}"
        rows.append([goal.name, f"≥ {goal.wanted:g}", shown, reached])
    return table(["Goal", "Ratio wanted", "Measured", "Reached"], rows)
