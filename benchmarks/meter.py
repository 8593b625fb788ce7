"""Seconds, tokens and memory of a training process, step by step."""

import json
import platform
import resource
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.job import Job

PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "unsloth", "unsloth_zoo")
_SELF = Path("/proc/self")


@dataclass(frozen=True)
class Step:
    ended_at: float  # seconds since the process was started
    cpu_seconds: float  # of the process, all threads, up to here
    num_examples: int
    num_tokens: int  # of the original examples: neither padding nor what was computed once for many
    loss: float | None = None


class Meter:
    """Told of every optimizer step; the peak of memory is that of the measured steps alone."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._steps: list[Step] = []
        self._has_own_peak = False

    def step_ended(self, num_examples: int, num_tokens: int, loss: float | None = None) -> None:
        ended_at = time.monotonic() - self._job.started_at
        self._steps.append(Step(ended_at, time.process_time(), num_examples, num_tokens, loss))
        if len(self._steps) == self._job.warmup_steps:
            self._has_own_peak = _reset_peak()

    def result(self, losses: list[float] | None = None, **more: Any) -> dict[str, Any]:
        """All that is to be known of this process, once its steps are over."""
        *_, warm = self._steps[: self._job.warmup_steps]
        measured = self._steps[self._job.warmup_steps :]
        if losses is None:
            losses = [step.loss for step in self._steps if step.loss is not None]
        return {
            "num_steps": len(measured),
            "num_examples": sum(step.num_examples for step in measured),
            "num_tokens": sum(step.num_tokens for step in measured),
            "wall_seconds": measured[-1].ended_at - warm.ended_at,
            "cpu_seconds": measured[-1].cpu_seconds - warm.cpu_seconds,
            "first_step_seconds": self._steps[0].ended_at,
            "peak_bytes": _peak_bytes(),
            "peak_is_of_measured_steps": self._has_own_peak,
            "losses": losses,
            "versions": versions(),
            **more,
        }


def tell(result: dict[str, Any]) -> None:
    """The last line of standard output that is an object is the result."""
    print("\n" + json.dumps(result), flush=True)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _reset_peak() -> bool:
    """Linux forgets the peak of resident memory when asked to; False where it cannot be asked."""
    try:
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_bytes() -> int:
    try:
        for line in (_SELF / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
