"""Results -> docs/performance.md and its plots: `python -m benchmarks.report`."""

import json
from pathlib import Path
from statistics import median

from benchmarks import plots, tables
from benchmarks.goals import goals_table
from benchmarks.plots import Bar
from benchmarks.serving import report as serving
from benchmarks.tables import OURS, Results

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "cpu.json"
ABLATION = RESULTS.with_name("ablation.json")  # on one thread, of which CPU seconds can be told
PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"
_SECONDS = {"wall": "a second", "cpu": "a second of processor time"}


def write() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    (images / "throughput.svg").write_text(throughput_plot(results), encoding="utf-8")
    if tables.measured(results, "makespan"):
        (images / "makespan.svg").write_text(makespan_plot(results), encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n\n{section(results)}\n{_END}{after}", encoding="utf-8")


def section(results: Results) -> str:
    parts = [
        about(results),
        "### Goals\n\nRatios to the best setting of the best peer, on model S.",
        goals_table(results),
        "### One job\n\nOriginal tokens " + _SECONDS[results["clock"]] + ", medians and ranges; "
        "peaks are of resident memory during the measured steps. The last column says whether the "
        "checks of equal results passed.",
        tables.throughput_table(results),
        "![Throughput](images/throughput.svg)",
        "### All settings that were tried\n\nThe same figures, one run each.",
        tables.sweep_table(results),
    ]
    if ABLATION.exists():
        apart: Results = json.loads(ABLATION.read_text(encoding="utf-8"))
        parts += ["### Where it comes from", ablation_about(apart), tables.ablation_table(apart)]
    if tables.measured(results, "starts"):
        parts += ["### Start", tables.starts_table(results)]
    if tables.measured(results, "makespan"):
        parts += ["### Several jobs", tables.makespan_table(results)]
        parts += ["![Makespan](images/makespan.svg)"]
    if tables.measured(results, "answers"):
        parts += ["### Answers while it trains", tables.answers_table(results)]
    if many := serving.section():
        parts += ["### Answers of many adapters", many]
    return "\n\n".join(parts) + "\n"


def about(results: Results) -> str:
    machine = results["machine"]
    first = "**Preliminary: on a machine that others used, too.** " if _is_rough(results) else ""
    memory = machine["memory_bytes"] / 1e9
    flags = ", ".join(machine["matrix_flags"])
    lines = [
        f"{first}Measured {results['made_at']} at commit `{results['commit']}`: {machine['cpu']}, "
        f"{machine['cores']} cores ({flags}), {memory:.0f} GB; {results['threads']} thread(s); "
        f"clock: {results['clock']}; load {machine['load_at_start']:.1f} at the start, "
        f"{results['load_at_end']:.1f} at the end."
    ]
    lines += [f"- {who}: {versions}" for who, versions in _versions(results).items()]
    return "\n".join(lines)


def ablation_about(results: Results) -> str:
    unit = f"Original tokens {_SECONDS[results['clock']]}, {results['threads']} thread(s)"
    return f"{unit}, medians and ranges; at commit `{results['commit']}`."


def _is_rough(results: Results) -> bool:
    return bool(results["is_preliminary"])


def _versions(results: Results) -> dict[str, str]:
    found = {}
    for record in results["records"]:
        if "versions" in record.get("result", {}):
            who = record["configuration"].split()[0]
            versions = record["result"]["versions"]
            found[who] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return {who: found[who] for who in (OURS, "TRL", "Unsloth") if who in found}


def throughput_plot(results: Results) -> str:
    groups = []
    for duel in tables.duels(results):
        ours, theirs = duel.ours_rate.middle, duel.peer_rate.middle
        label = f"{duel.model} {duel.workload}"
        groups.append(
            [
                Bar(label, ours, f"{ours:,.0f}", is_ours=True),
                Bar(duel.peer, theirs, f"{theirs:,.0f}", is_ours=False),
            ]
        )
    seconds = _SECONDS[results["clock"]]
    return plots.bars(f"Original tokens {seconds}: Tunesmith and the best peer", groups)


def makespan_plot(results: Results) -> str:
    records = tables.measured(results, "makespan")
    groups: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for record in sorted(records, key=tables.size_of_makespan):
        of_jobs = groups.setdefault((record["model"], record["workload"], record["jobs"]), {})
        of_jobs.setdefault(record["configuration"], []).append(record["seconds"])
    return plots.bars(
        "Seconds from the first submission to the last adapter",
        [
            [
                Bar(f"{jobs}, {name}", median(took), f"{median(took):.1f} s", name.startswith(OURS))
                for name, took in by_name.items()
            ]
            for (_, _, jobs), by_name in groups.items()
        ],
    )


if __name__ == "__main__":
    write()
