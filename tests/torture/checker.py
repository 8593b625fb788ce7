"""What must be so in the end, whatever was killed: judged by what clients were told, and the disk.

Written before the injector, and apart from the code that is to hold it: this reads the tables and
the folders of a service that has been stopped, and calls none of its code.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPRODUCES = "Reproduces job "
ADAPTER = "adapter_model.safetensors"
STUCK_SECONDS = 120.0  # two leases


@dataclass(slots=True)
class Told:
    """What clients heard while processes were killed; threads may write it."""

    acknowledged: set[str] = field(default_factory=set)  # the names of jobs
    complaints: list[str] = field(default_factory=list)  # of what no client should meet
    idle_seconds: dict[str, float] = field(default_factory=dict)  # the longest without news, by job


@dataclass(slots=True, kw_only=True)
class JobFacts:
    name: str
    recipe: str
    status: str
    steps: list[int]  # of the metric events, as they were stored
    total_steps: int
    tokens: int  # of these steps
    tokens_counted: int  # as the job has it
    num_successes: int
    num_models: int
    num_results: int  # rows of its result file
    adapter: str | None  # the SHA-256 of its weights
    attempts: int
    is_ordered: bool  # whether each event is later than the one before


@dataclass(slots=True, kw_only=True)
class Facts:
    jobs: list[JobFacts]
    unbroken: Mapping[str, str]  # by recipe, the SHA-256 of the weights that nobody disturbed
    num_waiting: int
    tokens_by_day: int
    tokens_of_steps: int
    database: list[str]  # what SQLite finds wrong with its file
    blobs: list[str]  # what is wrong with the bytes
    num_blobs: int


def violations(told: Told, facts: Facts) -> list[str]:
    """Empty where nothing was lost, doubled, torn or stuck."""
    return [
        *told.complaints,
        *facts.database,
        *facts.blobs,
        *_of_all(told, facts),
        *(wrong for job in facts.jobs for wrong in _of_one(job, facts.unbroken)),
    ]


def _of_all(told: Told, facts: Facts) -> Iterator[str]:
    counted = Counter(job.name for job in facts.jobs)
    for name in sorted(told.acknowledged - set(counted)):
        yield f"{name}: it was acknowledged, and is gone"
    for name in sorted(set(counted) - told.acknowledged):
        yield f"{name}: nobody was told of it"
    for name, times in sorted(counted.items()):
        if times > 1:
            yield f"{name}: there are {times} of it, for one request"
    for name, seconds in sorted(told.idle_seconds.items()):
        if seconds > STUCK_SECONDS:
            yield f"{name}: nothing was heard of it for {seconds:.0f} s"
    if facts.num_waiting:
        yield f"{facts.num_waiting} entries of the queue are left"
    if facts.tokens_by_day != facts.tokens_of_steps:
        yield f"{facts.tokens_of_steps} tokens were trained, {facts.tokens_by_day} were counted"


def _of_one(job: JobFacts, unbroken: Mapping[str, str]) -> Iterator[str]:
    if job.status != "succeeded":
        yield f"{job.name}: it is {job.status}"
        return
    if job.num_successes != 1 or job.num_models != 1:
        yield f"{job.name}: {job.num_successes} times at its end, with {job.num_models} models"
    if job.steps != list(range(1, job.total_steps + 1)):
        doubled = sorted(step for step, times in Counter(job.steps).items() if times > 1)
        missing = sorted(set(range(1, job.total_steps + 1)) - set(job.steps))
        yield f"{job.name}: steps doubled {doubled}, missing {missing}, or out of order"
    if job.num_results != job.total_steps:
        yield f"{job.name}: {job.num_results} rows of results for {job.total_steps} steps"
    if job.tokens_counted != job.tokens:
        yield f"{job.name}: {job.tokens} tokens were trained, {job.tokens_counted} were counted"
    if not job.is_ordered:
        yield f"{job.name}: its events are not in order"
    if job.recipe not in unbroken:
        yield f"{job.name}: there is no unbroken run to compare it with"
    elif job.adapter != unbroken[job.recipe]:
        yield f"{job.name}: its weights differ from those of an unbroken run"


def succeeded_by_recipe(data_dir: Path) -> dict[str, str]:
    """One job's id for each recipe, while the server runs."""
    with _reading(data_dir) as database:
        rows = database.execute("SELECT * FROM jobs WHERE status = 'succeeded'").fetchall()
    return {_recipe(row): row["id"] for row in rows}


def has_succeeded(data_dir: Path, job_id: str) -> bool:
    """While the server runs."""
    with _reading(data_dir) as database:
        row = database.execute("SELECT status FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return bool(row["status"] == "succeeded")


def gather(data_dir: Path) -> Facts:
    """From a data folder whose server has been stopped."""
    with _reading(data_dir) as database:
        rows = database.execute("SELECT * FROM jobs ORDER BY seq").fetchall()
        facts = {row["id"]: _job(database, data_dir, row) for row in rows}
        controls = {row["id"] for row in rows if _is_control(row)}
        unbroken = {facts[id_].recipe: facts[id_].adapter or "" for id_ in controls}
        broken, num_blobs = _blobs(database, data_dir / "blobs")
        return Facts(
            jobs=[job for id_, job in facts.items() if id_ not in controls],
            unbroken=unbroken,
            num_waiting=_number(database, "SELECT COUNT(*) FROM queue"),
            tokens_by_day=_number(database, "SELECT SUM(tokens) FROM trained_tokens"),
            tokens_of_steps=sum(job.tokens for job in facts.values()),
            database=_complaints_of(database),
            blobs=broken,
            num_blobs=num_blobs,
        )


@contextmanager
def _reading(data_dir: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(data_dir / "tunesmith.db")
    database.row_factory = sqlite3.Row
    try:
        yield database
    finally:
        database.close()


def _job(database: sqlite3.Connection, data_dir: Path, row: sqlite3.Row) -> JobFacts:
    where = "FROM events WHERE job_id = ?"
    stored = database.execute(f"SELECT * {where} ORDER BY seq", (row["id"],)).fetchall()
    points = [json.loads(event["data"]) for event in stored if event["kind"] == "step"]
    models = database.execute(
        "SELECT artifacts FROM tuned_models WHERE job_id = ? AND step IS NULL", (row["id"],)
    ).fetchall()
    artifacts = json.loads(models[0]["artifacts"]) if models else []
    weights = [artifact["blob"]["sha256"] for artifact in artifacts if artifact["name"] == ADAPTER]
    progress = json.loads(row["progress"] or "null") or {}
    moments = [event["logged_ms"] for event in stored]
    return JobFacts(
        name=row["name"],
        recipe=_recipe(row),
        status=row["status"],
        steps=[int(point["step"]) for point in points],
        total_steps=int(progress.get("total_steps", 0)),
        tokens=sum(int(point["tokens"]) for point in points),
        tokens_counted=int(progress.get("tokens", 0)),
        num_successes=sum(event["kind"] == "succeeded" for event in stored),
        num_models=len(models),
        num_results=_num_results(database, data_dir, row["results_file_id"]),
        adapter=weights[0] if weights else None,
        attempts=row["attempt"],
        is_ordered=moments == sorted(set(moments)),
    )


def _recipe(row: sqlite3.Row) -> str:
    """What decides a job's weights."""
    columns = ("base_model", "training_sha256", "hyperparameters", "seed", "method")
    return " ".join(str(row[name]) for name in columns)


def _is_control(row: sqlite3.Row) -> bool:
    return str(row["description"] or "").startswith(REPRODUCES)


def _num_results(database: sqlite3.Connection, data_dir: Path, file_id: str | None) -> int:
    row = database.execute("SELECT sha256 FROM files WHERE id = ?", (file_id,)).fetchone()
    if row is None:
        return 0
    path = _place(data_dir / "blobs", row["sha256"])
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


def _complaints_of(database: sqlite3.Connection) -> list[str]:
    found = [str(row[0]) for row in database.execute("PRAGMA integrity_check")]
    strays = [tuple(row) for row in database.execute("PRAGMA foreign_key_check")]
    return [line for line in found if line != "ok"] + [f"a row refers to none: {s}" for s in strays]


def _blobs(database: sqlite3.Connection, folder: Path) -> tuple[list[str], int]:
    """Whatever can be read is whole, and whatever a row names can be read."""
    there = {path.name: path for path in folder.glob("??/*")}
    torn = [f"blob {name} has other bytes" for name, path in there.items() if _sha(path) != name]
    named = dict(_named(database))
    for sha256, size_bytes in named.items():
        if sha256 not in there:
            torn.append(f"blob {sha256} is named, and is gone")
        elif there[sha256].stat().st_size != size_bytes:
            torn.append(f"blob {sha256} has another size than is told of it")
    return torn, len(named)


def _named(database: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    for table in ("files", "upload_parts"):
        for row in database.execute(f"SELECT sha256, size_bytes FROM {table}"):
            yield row["sha256"], row["size_bytes"]
    for table in ("checkpoints", "tuned_models"):
        for row in database.execute(f"SELECT artifacts FROM {table}"):
            artifacts: list[dict[str, Any]] = json.loads(row["artifacts"])
            for artifact in artifacts:
                yield artifact["blob"]["sha256"], artifact["blob"]["size_bytes"]


def _place(folder: Path, sha256: str) -> Path:
    return folder / sha256[:2] / sha256


def _sha(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _number(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0] or 0)
