"""Jobs, from anywhere: list, show, watch, steer and compare them."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from tunesmith.cli.following import duration, follow
from tunesmith.cli.options import AsJson, DataDir, Exit, fail, print_json
from tunesmith.cli.output import Console, Table, harmless
from tunesmith.cli.remote import Remote, connected, job_path, platform_job_path
from tunesmith.cli.reproduce import reproduce
from tunesmith.dialects import openai

app = typer.Typer(help="Fine-tuning jobs.", no_args_is_help=True)
app.command("reproduce")(reproduce)

JobId = Annotated[str, typer.Argument(help="As `tunesmith jobs list` or any API shows it.")]

_ID_WIDTH = 30  # an id is whole on the narrowest terminal, to be copied
_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}
_LOOK_SECONDS = 1.0
_MOST_LISTED = 10_000
_WIDE = 120  # letters of a terminal that has room for the names of models
_LOG_LINES = 5000


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    status: Annotated[
        str | None, typer.Option(help="Only these: queued, running, paused, succeeded, …")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List the newest jobs."""
    with connected(data_dir) as remote:
        most = limit if status is None else _MOST_LISTED
        found = remote.pages(f"{openai.PREFIX}/fine_tuning/jobs", most)
        jobs = [job for job in found if status in (None, job["status"])][:limit]
    if as_json:
        print_json(jobs)
        return
    if not jobs:
        typer.echo("No jobs. `tunesmith tune FILE --model NAME` makes one.")
        return
    console = Console()
    is_wide = console.width >= _WIDE
    table = Table()
    for name in ("job", "status", "base", "tokens", "created"):
        width = _ID_WIDTH if name == "job" else None
        table.add_column(name, no_wrap=name != "base", overflow="fold", min_width=width)
    if is_wide:
        table.add_column("tuned model", overflow="fold")
    for job in jobs:
        tuned = [job["fine_tuned_model"] or ""] if is_wide else []
        table.add_row(
            job["id"],
            Text(job["status"], _STYLES.get(job["status"], "")),
            job["model"],
            f"{job['trained_tokens']:,}" if job["trained_tokens"] else "",
            f"{duration(time.time() - job['created_at'])} ago",
            *tuned,
        )
    console.print(table)


@app.command("show")
def show_job(job_id: JobId, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show all of one job: settings, figures, checkpoints, the last events."""
    with connected(data_dir) as remote:
        job = remote.read(job_path(job_id))
        checkpoints = list(remote.pages(f"{job_path(job_id)}/checkpoints", 20))
        events = remote.read(f"{job_path(job_id)}/events", limit=20)["data"]
        place = remote.read(f"{platform_job_path(job_id)}/queue")
    if as_json:
        print_json({**job, "checkpoints": checkpoints, "queue": place})
        return
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")  # names and ids are whole, to be copied
    for name, value in _facts(job).items():
        table.add_row(name, value)
    if place["waiting"]:
        table.add_row("waits", f"place {place['position']}: starts when {place['startsWhen']}")
    for checkpoint in checkpoints:
        table.add_row("checkpoint", checkpoint["fine_tuned_model_checkpoint"])
    console = Console()
    console.print(table)
    for event in reversed(events):
        if event["type"] == "message":
            said = f"{_when(event['created_at'])}  {event['message']}"
            console.print(said, soft_wrap=True)
    if job["status"] == "failed":
        _tell_failure(job)


@app.command("watch")
def watch_job(job_id: JobId, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Follow a job until it rests, with its curve. Ctrl-C leaves it alone.

    Ends with 0 where it succeeded, with 1 otherwise.
    """
    with connected(data_dir) as remote:
        watch(remote, job_id, as_json=as_json)


def watch(remote: Remote, job_id: str, *, as_json: bool) -> dict[str, Any]:
    """Follow a job; one that has not succeeded ends the program."""
    try:
        job = follow(remote, job_id)
    except KeyboardInterrupt:
        typer.echo(
            f"\nThe job goes on. Watch it again: tunesmith jobs watch {job_id}\n"
            f"Stop it: tunesmith jobs stop {job_id}",
            err=True,
        )
        raise typer.Exit(130) from None
    if as_json:
        print_json(job)
    if job["status"] == "failed":
        _tell_failure(job)
    if job["status"] != "succeeded":
        raise typer.Exit(Exit.FAILED)
    return job


@app.command("logs")
def show_logs(
    job_id: JobId,
    lines: Annotated[int, typer.Option(min=1, max=_LOG_LINES, help="The last so many.")] = 100,
    follows: Annotated[bool, typer.Option("--follow", "-f", help="Until the job rests.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Print a job's log."""
    path = f"{platform_job_path(job_id)}/logs"
    with connected(data_dir) as remote:
        told = _print_log(remote.read(path, lines=lines)["logs"], [])
        while follows and remote.read(job_path(job_id))["status"] in ("queued", "running"):
            time.sleep(_LOOK_SECONDS)
            since = {"since": told[-1]["timestamp"]} if told else {}
            told = _print_log(remote.read(path, lines=_LOG_LINES, **since)["logs"], told)


def _print_log(lines: list[dict[str, Any]], told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that were not told before; what is given back tells so the next time."""
    for line in lines:
        if line not in told:
            typer.echo(harmless(f"{line['timestamp']}  {line['level']:7}  {line['message']}"))
    return lines or told


@app.command("pause")
def pause_job(job_id: JobId, data_dir: DataDir = None) -> None:
    """Stop a job at its next checkpoint, to go on from there later."""
    _steer(job_id, "pause", data_dir)


@app.command("resume")
def resume_job(job_id: JobId, data_dir: DataDir = None) -> None:
    """Let a paused job go on."""
    _steer(job_id, "resume", data_dir)


@app.command("stop")
def stop_job(job_id: JobId, data_dir: DataDir = None) -> None:
    """End a job; its checkpoints stay."""
    _steer(job_id, "cancel", data_dir)


@app.command("restart")
def restart_job(job_id: JobId, data_dir: DataDir = None) -> None:
    """Train a failed or stopped job again."""
    with connected(data_dir) as remote:
        typer.echo(remote.ask("POST", f"{platform_job_path(job_id)}/restart").json()["message"])


def deploy_job(job_id: JobId, data_dir: DataDir = None) -> None:
    """Keep a finished job's model answering."""
    with connected(data_dir) as remote:
        done = remote.ask("POST", f"{platform_job_path(job_id)}/deploy").json()
    typer.echo(f"{done['message']}\nAsk it: tunesmith chat {done['resultModel']}")


def _steer(job_id: str, action: str, data_dir: DataDir) -> None:
    with connected(data_dir) as remote:
        job = remote.ask("POST", f"{job_path(job_id)}/{action}").json()
    typer.echo(f"{job['id']} is {job['status']}.")


@app.command("compare")
def compare_jobs(
    job_ids: Annotated[list[str], typer.Argument(help="Two or more.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show how jobs differ in their settings, and what came of them."""
    if len(job_ids) < 2:
        fail("Name two jobs or more.")
    with connected(data_dir) as remote:
        columns = [_comparable(remote, job_id) for job_id in job_ids]
    if as_json:
        print_json(columns)
        return
    names = list(dict.fromkeys(name for column in columns for name in column))
    table = Table("", *(column["job"] for column in columns))
    for name in names[1:]:
        values = [column.get(name, "") for column in columns]
        if len(set(values)) > 1 or name in ("status", "base"):
            table.add_row(name, *values)
    Console().print(table)


def _comparable(remote: Remote, job_id: str) -> dict[str, str]:
    job = remote.read(job_path(job_id))
    metrics = remote.read(f"{platform_job_path(job_id)}/metrics")["metrics"]
    facts = {**_facts(job), "steps": str(len(metrics["steps"]))}
    for name in ("trainingLoss", "validationLoss"):
        if metrics[name] is not None:
            facts[name] = f"{metrics[name]:.4f}"
    return facts


def _facts(job: dict[str, Any]) -> dict[str, str]:
    """Names and values of what a job is, settings last."""
    method = job["method"]["type"]
    settings = {**job["hyperparameters"], **job["method"][method].get("hyperparameters", {})}
    facts = {
        "job": job["id"],
        "status": job["status"],
        "base": job["model"],
        "tuned model": job["fine_tuned_model"],
        "created": _when(job["created_at"]),
        "finished": _when(job["finished_at"]) if job["finished_at"] else None,
        "took": duration(job["finished_at"] - job["created_at"]) if job["finished_at"] else None,
        "training file": job["training_file"],
        "validation file": job["validation_file"],
        "trained tokens": job["trained_tokens"],
        "method": method,
        "seed": job["seed"],
        "suffix": job["user_provided_suffix"],
        **settings,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _tell_failure(job: dict[str, Any]) -> None:
    error = job.get("error") or {}
    where = f" ({error['param']})" if error.get("param") else ""
    message = harmless(f"Failed{where}: {error.get('message')}")
    typer.secho(message, fg=typer.colors.RED, err=True)


def _when(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
