"""Logs the figures of jobs to Weights & Biases, through its own library in a process of its own.

The library starts threads and a helper, and waits for its server for hours; none of that can
disturb a server that starts a short-lived process for each batch, and kills it when it hangs.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool

from tunesmith.domain.integrations import Batch, RunLabel
from tunesmith.domain.jobs import Integration, Job, JobStatus
from tunesmith.http import Foundation
from tunesmith.outbox.rounds import Work, keep_busy
from tunesmith.services import integrations

log = structlog.get_logger()

LOOK_SECONDS = 2.0
MAX_SECONDS = 120.0  # for a batch
MAX_AT_ONCE = 2
MAX_REASON_LENGTH = 300

# The library ends well all the same when its server refused figures, and only says this.
_FIGURES_REFUSED = "Fatal error while uploading data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a dialect calls a run, and its figures."""

    label: Callable[[Job, Integration], RunLabel]
    figures: Callable[[Mapping[str, Any]], dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wandb:
    """How to reach it; `api_key` is None where the operator has given none."""

    api_key: str | None
    base_url: str

    @property
    def missing(self) -> str | None:
        """What the operator would have to do first."""
        if self.api_key is None:
            return "the server has no key for it; set TUNESMITH_WANDB_API_KEY."
        if find_spec("wandb") is None:
            return "its library is not installed; run `pip install 'tunesmith[wandb]'`."
        return None

    async def log(self, batch: Batch, words: Words) -> str | None:
        """Returns once the figures have been taken, or why they were not."""
        with TemporaryDirectory(prefix="tunesmith-wandb-", ignore_cleanup_errors=True) as folder:
            order = {**_order(batch, words), "folder": folder, "base_url": self.base_url}
            order["api_key"] = self.api_key
            reason = await _run(json.dumps(order).encode(), _environment(Path(folder)))
        return None if reason is None else reason.replace(self.api_key or "", "…")


async def log_runs(foundation: Foundation, wandb: Wandb, words: Words) -> None:
    """Runs until cancelled; a batch that is on its way then is sent again after the next start."""

    async def claim(limit: int) -> Sequence[Work]:
        now = foundation.house.now()
        async with foundation.reading() as store:
            if not await run_in_threadpool(store.integrations.has_due, now):
                return ()
        async with foundation.writing() as store:
            batches = await run_in_threadpool(integrations.claim, store, now, limit)
        return [_log_one(foundation, wandb, words, batch) for batch in batches]

    await keep_busy(
        "logging to Weights & Biases", claim, max_at_once=MAX_AT_ONCE, look_seconds=LOOK_SECONDS
    )


async def _log_one(foundation: Foundation, wandb: Wandb, words: Words, batch: Batch) -> None:
    missing = wandb.missing
    reason = None if missing else await wandb.log(batch, words)
    now = foundation.house.now()
    async with foundation.writing() as store:
        if missing is not None:
            await run_in_threadpool(integrations.unavailable, store, batch, missing, now)
        elif reason is not None:
            await run_in_threadpool(integrations.missed, store, batch, reason, now)
        else:
            await run_in_threadpool(integrations.logged, store, batch, now)
    log.info(
        "wandb",
        job=str(batch.job.id),
        steps=len(batch.metrics),
        is_last=batch.is_last,
        problem=missing or reason,
    )


def _order(batch: Batch, words: Words) -> dict[str, Any]:
    label = words.label(batch.job, batch.integration)
    position = batch.run.position
    succeeded = batch.job.status is JobStatus.SUCCEEDED
    return {
        "project": batch.integration.project,
        "entity": batch.integration.entity,
        "run_id": label.id if position == 0 else f"{label.id}-{position + 1}",
        "name": label.name,
        "tags": label.tags,
        "steps": [(metrics["step"], words.figures(metrics)) for metrics in batch.metrics],
        "exit_code": None if not batch.is_last else 0 if succeeded else 1,
    }


async def _run(order: bytes, environment: dict[str, str]) -> str | None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tunesmith.outbox.wandb_log"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(MAX_SECONDS):
            _, said = await process.communicate(order)
    except TimeoutError:
        return "no answer in time"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its helper, too
        await process.wait()
    lines = said.decode(errors="replace").strip().splitlines()
    if process.returncode != 0:
        return lines[-1][:MAX_REASON_LENGTH] if lines else "its library ended without a word"
    refused = [line for line in lines if _FIGURES_REFUSED in line]
    return refused[0][:MAX_REASON_LENGTH] if refused else None


def _environment(folder: Path) -> dict[str, str]:
    """Without this server's secrets and the user's own settings of the library."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TUNESMITH_", "WANDB_"))
    }
    return {**kept, "HOME": str(folder), "WANDB_ERROR_REPORTING": "false"}
