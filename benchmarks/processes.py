"""Programs in fresh processes, each in its own environment, all with the same settings."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.job import Job, as_argument
from tunesmith.compute.local import ALLOCATOR, CODE_CACHE

ROOT = Path(__file__).parent.parent
TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True)
class Program:
    """A module to run on a job; `environment` names a folder of `benchmarks.peers.environments`."""

    module: str
    environment: str | None = None  # or ours
    variables: dict[str, str] = field(default_factory=dict)


class Failed(Exception):
    """A program ended without a result; the message is the end of what it said."""


def start(
    program: Program, job: Job, environments: Path, log: Path, *, allocator: bool = True
) -> "subprocess.Popen[bytes]":
    """Begin; what it prints goes to `log`."""
    job = replace(job, started_at=time.monotonic())
    with log.open("wb") as out:
        return subprocess.Popen(
            [_python(program, environments), "-m", program.module, as_argument(job)],
            cwd=job.output,
            env=_variables(job, allocator=allocator) | program.variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def run(
    program: Program, job: Job, environments: Path, *, allocator: bool = True
) -> dict[str, Any]:
    """The result of a program that runs alone. Raises `Failed`."""
    log = Path(job.output) / "log.txt"
    process = start(program, job, environments, log, allocator=allocator)
    try:
        code = process.wait(TIMEOUT_SECONDS)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return result(log, code)


def result(log: Path, code: int) -> dict[str, Any]:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in reversed(lines):
        if code == 0 and line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    raise Failed(f"exit code {code}: " + "\n".join(lines[-5:]))


def _python(program: Program, environments: Path) -> str:
    if program.environment is None:
        return sys.executable
    return str((environments / program.environment / "bin" / "python").absolute())


def _variables(job: Job, *, allocator: bool) -> dict[str, str]:
    threads = str(job.threads)
    return {
        **{k: v for k, v in os.environ.items() if k not in ALLOCATOR},
        **(ALLOCATOR if allocator else {}),
        **CODE_CACHE,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "UNSLOTH_DISABLE_STATISTICS": "1",
    }
