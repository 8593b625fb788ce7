"""Records -> the figures and tables of docs/performance.md."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

Results = dict[str, Any]
Record = dict[str, Any]
OURS = "tunesmith"
ALL_THERE_IS = "+ shared prefixes once"  # the row of the ablation with everything
MAX_GRADIENT_ERROR = 1e-5
MAX_LOGITS_ERROR = 1e-4
LOSS_MARGIN = 0.005  # of the loss: peers draw other first weights than we do


@dataclass(frozen=True)
class Spread:
    """A median of several runs, and their range."""

    values: list[float]

    @property
    def middle(self) -> float:
        return median(self.values)

    def text(self, form: Callable[[float], str]) -> str:
        if len(self.values) == 1:
            return form(self.middle)
        return f"{form(self.middle)} ({form(min(self.values))} to {form(max(self.values))})"


@dataclass(frozen=True)
class Duel:
    """Ours and the best peer setting on one workload, by turns."""

    model: str
    workload: str
    peer: str
    ours_rate: Spread
    peer_rate: Spread
    ours_peak: Spread
    peer_peak: Spread
    doubts: list[str]  # what the checks of equal results have against it

    @property
    def ratio(self) -> float:
        return self.ours_rate.middle / self.peer_rate.middle

    @property
    def memory_ratio(self) -> float:
        return self.ours_peak.middle / self.peer_peak.middle


def rate(results: Results, record: Record) -> float:
    found = record["result"]
    return float(found["num_tokens"] / found[f"{results['clock']}_seconds"])


def measured(results: Results, part: str, **wanted: Any) -> list[Record]:
    """The records of a part that have a result, in order."""
    return [
        record
        for record in results["records"]
        if record["part"] == part
        and "failure" not in record
        and all(record[key] == value for key, value in wanted.items())
    ]


def duels(results: Results) -> Iterator[Duel]:
    in_order = [*measured(results, "sweep"), *measured(results, "turns")]
    for model, workload in _distinct(in_order, "model", "workload"):
        of_both = measured(results, "turns", model=model, workload=workload)
        ours = [r for r in of_both if r["configuration"] == OURS]
        theirs = [r for r in of_both if r["configuration"] != OURS]
        if not ours or not theirs:
            continue
        yield Duel(
            model=model,
            workload=workload,
            peer=theirs[0]["configuration"],
            ours_rate=Spread([rate(results, r) for r in ours]),
            peer_rate=Spread([rate(results, r) for r in theirs]),
            ours_peak=Spread([r["result"]["peak_bytes"] for r in ours]),
            peer_peak=Spread([r["result"]["peak_bytes"] for r in theirs]),
            doubts=doubts(results, model, workload),
        )


def doubts(results: Results, model: str, workload: str) -> list[str]:
    """Why the results of ours and of peers may not be called equal; empty where they may."""
    found = []
    checks = measured(results, "checks", model=model, workload=workload)
    if not checks:
        found.append("not checked")
    elif checks[-1]["gradient_error"] > MAX_GRADIENT_ERROR:
        found.append(f"gradient differs by {checks[-1]['gradient_error']:.1e}")
    elif checks[-1]["logits_error"] > MAX_LOGITS_ERROR:
        found.append(f"adapter's logits differ by {checks[-1]['logits_error']:.1e}")
    distance = loss_distance(results, model, workload)
    if distance is None:
        found.append("no losses to compare")
    elif distance > LOSS_MARGIN:
        found.append(f"losses differ by {distance:.1%}")
    return found


def loss_distance(results: Results, model: str, workload: str) -> float | None:
    """How far our losses leave the range of the peers' at the same step, relatively, at most."""
    runs = [
        record
        for part in ("losses", "turns")
        for record in measured(results, part, model=model, workload=workload)
        if _meets_examples_in_our_order(record["options"])
    ]
    distances = []
    for ours in (r["result"] for r in runs if r["configuration"] == OURS):
        # Runs of another length meet the examples in another order.
        same = [r["result"]["losses"] for r in runs if _is_like(r, ours)]
        for step, loss in enumerate(ours["losses"]):
            peers = [losses[step] for losses in same]
            if peers:
                outside = max(min(peers) - loss, loss - max(peers), 0.0)
                distances.append(outside / abs(loss))
    return max(distances, default=None)


def _is_like(record: Record, ours: dict[str, Any]) -> bool:
    same_length = len(record["result"]["losses"]) == len(ours["losses"])
    return record["configuration"] != OURS and same_length


def _meets_examples_in_our_order(options: dict[str, Any]) -> bool:
    return "sampling" not in options and "packing" not in options


def _distinct(records: Iterable[Record], *keys: str) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(tuple(record[key] for key in keys) for record in records))


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def throughput_table(results: Results) -> str:
    rows = [
        [
            duel.model,
            duel.workload,
            duel.ours_rate.text("{:,.0f}".format),
            duel.peer_rate.text("{:,.0f}".format),
            duel.peer,
            f"**{duel.ratio:.1f}**",
            f"{_gigabytes(duel.ours_peak.middle)} / {_gigabytes(duel.peer_peak.middle)}",
            "; ".join(duel.doubts) or "equal",
        ]
        for duel in duels(results)
    ]
    head = ["Model", "Workload", "Tunesmith", "Best peer", "which", "Ratio", "Peak GB", "Result"]
    return table(head, rows)


def sweep_table(results: Results) -> str:
    """Every setting that was tried: original tokens a second, and the peak of memory."""
    records = [r for r in results["records"] if r["part"] == "sweep"]
    columns = _distinct(records, "model", "workload")
    rows = []
    for (name,) in _distinct(records, "configuration"):
        cells = []
        for model, workload in columns:
            wanted = {"configuration": name, "model": model, "workload": workload}
            tried = [r for r in records if all(r[k] == v for k, v in wanted.items())]
            cells.append(_cell(results, tried))
        rows.append([name, *cells])
    return table(["", *(f"{model} {workload}" for model, workload in columns)], rows)


def _cell(results: Results, tried: list[Record]) -> str:
    if not tried:
        return ""
    if "failure" in tried[-1]:
        return "failed"
    peak = _gigabytes(tried[-1]["result"]["peak_bytes"])
    return f"{rate(results, tried[-1]):,.0f}, {peak} GB"


def ablation_table(results: Results) -> str:
    """Medians; the first row of a workload is what the others are compared to."""
    records = measured(results, "ablation")
    rows = []
    for model, workload in _distinct(records, "model", "workload"):
        of_both = measured(results, "ablation", model=model, workload=workload)
        rates: dict[str, list[float]] = {}
        peaks: dict[str, list[float]] = {}
        for record in of_both:
            rates.setdefault(record["configuration"], []).append(rate(results, record))
            peaks.setdefault(record["configuration"], []).append(record["result"]["peak_bytes"])
        first = median(next(iter(rates.values())))
        everything = median(rates.get(ALL_THERE_IS, [first]))
        for name, of_it in rates.items():
            shown = [f"{model} {workload}", name, Spread(of_it).text("{:,.0f}".format)]
            ratios = [f"{median(of_it) / first:.2f}", f"{median(of_it) / everything:.2f}"]
            rows.append([*shown, *ratios, _gigabytes(median(peaks[name]))])
    head = ["Workload", "With", "Tokens/s", "vs textbook", "vs all", "Peak GB"]
    return table(head, rows)


def starts_table(results: Results) -> str:
    records = measured(results, "starts")
    rows = []
    for model, name in _distinct(records, "model", "configuration"):
        of_it = [r["seconds"] for r in records if (r["model"], r["configuration"]) == (model, name)]
        rows.append([model, name, Spread(of_it).text("{:.2f} s".format)])
    return table(["Model", "", "Submit to first step's end"], rows)


def makespan_table(results: Results) -> str:
    records = sorted(measured(results, "makespan"), key=size_of_makespan)
    rows = []
    for model, workload, jobs in _distinct(records, "model", "workload", "jobs"):
        of_it = measured(results, "makespan", model=model, workload=workload, jobs=jobs)
        seconds = {
            name: Spread([r["seconds"] for r in of_it if r["configuration"] == name])
            for (name,) in _distinct(of_it, "configuration")
        }
        for name, took in sorted(seconds.items(), key=lambda item: not item[0].startswith(OURS)):
            is_compared = not name.startswith(OURS) and OURS in seconds
            ratio = f"{took.middle / seconds[OURS].middle:.1f}" if is_compared else ""
            who = [f"{model} {workload}", jobs, name]
            rows.append([*who, took.text("{:.1f} s".format), ratio])
    return table(["Workload", "Jobs", "", "Makespan", "times ours"], rows)


def size_of_makespan(record: Record) -> tuple[str, str, str, int]:
    """By which its records are shown: equal jobs before mixed ones, few before many."""
    number, kind = record["jobs"].split()
    return record["model"], record["workload"], kind, int(number)


def answers_table(results: Results) -> str:
    rows = []
    for record in measured(results, "answers"):
        first = [answer["first_token_seconds"] for answer in record["answers"]]
        later = [
            (answer["seconds"] - answer["first_token_seconds"]) / (answer["completion_tokens"] - 1)
            for answer in record["answers"]
            if answer["completion_tokens"] > 1
        ]
        rows.append(
            [
                f"{record['model']}, {record['host']}",
                f"{median(first):.3f} s, {max(first):.3f} s",
                f"{1000 * median(later):.0f} ms",
                f"{median(steps):.2f} s" if (steps := record["step_seconds"]) else "",
            ]
        )
    head = ["The host", "First token: median, longest", "Each further token", "A training step"]
    return table(head, rows)


def _gigabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.2f}"
