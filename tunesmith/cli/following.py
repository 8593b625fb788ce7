"""A job, followed until it rests: a live curve in a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from tunesmith.cli.curves import Points, curve
from tunesmith.cli.output import Console, harmless
from tunesmith.cli.remote import Remote, job_path

RESTING = ("succeeded", "failed", "cancelled", "paused")
_LOOK_SECONDS = 0.5
_HISTORY = 2000  # events that are looked at when the watching begins
_CURVE_ROWS = 8
_LINES_OF_STEPS = 20  # over a whole job, where there is no terminal


@dataclass(slots=True)
class Watched:
    """What is known of a job."""

    job: dict[str, Any]
    training: Points = field(default_factory=list)
    validation: Points = field(default_factory=list)
    newest: dict[str, Any] = field(default_factory=dict)  # figures of the last step
    newest_event: str | None = None

    @property
    def rests(self) -> bool:
        return self.job["status"] in RESTING

    @property
    def total_steps(self) -> int:
        return int(self.newest.get("total_steps", 0))

    @property
    def headline(self) -> str:
        said = f"{self.job['id']}  {self.job['model']}  {self.job['status']}"
        tuned = self.job["fine_tuned_model"]
        return f"{said}  {tuned}" if tuned else said

    @property
    def figures(self) -> str:
        figures = self.newest
        if not figures:
            return "waiting"
        said = [f"step {figures['step']}/{self.total_steps}"]
        if "train_loss" in figures:
            said.append(f"loss {figures['train_loss']:.3f}")
        if self.validation:
            said.append(f"validation {self.validation[-1][1]:.3f}")
        if "train_mean_token_accuracy" in figures:
            said.append(f"accuracy {figures['train_mean_token_accuracy']:.1%}")
        if "learning_rate" in figures:
            said.append(f"rate {figures['learning_rate']:.2e}")
        if figures.get("seconds"):
            said.append(f"{figures['tokens'] / figures['seconds']:,.0f} tokens/s")
        finish = self.job.get("estimated_finish")
        if finish and not self.rests:
            said.append(f"{duration(max(0, finish - time.time()))} left")
        return "  ".join(said)


def follow(remote: Remote, job_id: str, *, console: Console | None = None) -> dict[str, Any]:
    """The job once it rests. Shown on standard error, so that standard output stays for results."""
    console = console or Console(stderr=True)
    watched = Watched(remote.read(job_path(job_id)))
    looks = _looks(remote, watched)
    if console.is_terminal:
        _show_live(console, watched, looks)
    else:
        _print_lines(console, watched, looks)
    return watched.job


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def _looks(remote: Remote, watched: Watched) -> Iterator[list[dict[str, Any]]]:
    """The events since the look before, the oldest first, until the job rests."""
    while True:
        watched.job = remote.read(job_path(watched.job["id"]))  # before its events: none is missed
        events = _news(remote, watched)
        for event in events:
            _take(watched, event)
        yield events
        if watched.rests:
            return
        time.sleep(_LOOK_SECONDS)


def _news(remote: Remote, watched: Watched) -> list[dict[str, Any]]:
    found = []
    for event in remote.pages(f"{job_path(watched.job['id'])}/events", _HISTORY):
        if event["id"] == watched.newest_event:
            break
        found.append(event)
    if found:
        watched.newest_event = found[0]["id"]
    return found[::-1]


def _take(watched: Watched, event: dict[str, Any]) -> None:
    if event["type"] != "metrics":
        return
    figures = event["data"]
    step = figures["step"]
    for points in (watched.training, watched.validation):  # after a resumption steps come again
        points[:] = [point for point in points if point[0] < step]
    watched.newest = figures
    if "train_loss" in figures:
        watched.training.append((step, figures["train_loss"]))
    validation = figures.get("full_valid_loss", figures.get("valid_loss"))
    if validation is not None:
        watched.validation.append((step, validation))


def _show_live(console: Console, watched: Watched, looks: Iterator[list[dict[str, Any]]]) -> None:
    with Live(console=console, auto_refresh=False, transient=False) as live:
        for events in looks:
            for event in events:
                if event["type"] == "message":
                    said = f"  {event['message']}"
                    live.console.print(said, style="dim")
            live.update(_picture(watched, console.width), refresh=True)


def _picture(watched: Watched, width: int) -> Group:
    total = watched.total_steps or None
    done = watched.newest.get("step", 0)
    rows: list[Any] = [
        Text(harmless(watched.headline), style="bold", overflow="ellipsis", no_wrap=True)
    ]
    if len(watched.training) > 1:
        drawn = curve(watched.training, watched.validation, min(width, 100), _CURVE_ROWS)
        rows += [Text(line, no_wrap=True) for line in drawn]
    is_waiting = not watched.newest and not watched.rests
    bar = ProgressBar(total, done, width=min(width, 60), pulse=is_waiting)
    return Group(*rows, Padding(bar, 0), Text(watched.figures))  # a bar alone ends no line


def _print_lines(console: Console, watched: Watched, looks: Iterator[list[dict[str, Any]]]) -> None:
    told = 0
    console.print(watched.headline, soft_wrap=True)
    for events in looks:
        for event in events:
            if event["type"] == "message":
                console.print(event["message"], soft_wrap=True)
        step, apart = watched.newest.get("step", 0), max(1, watched.total_steps // _LINES_OF_STEPS)
        if step >= told + apart or (watched.rests and step > told):
            told = step
            console.print(watched.figures, soft_wrap=True)
    console.print(watched.headline, soft_wrap=True)
