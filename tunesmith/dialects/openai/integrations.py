"""A job's figures elsewhere, under the names that OpenAI gives them."""

from collections.abc import Mapping
from typing import Any

from tunesmith.dialects.openai import translate_jobs
from tunesmith.domain.integrations import RunLabel
from tunesmith.domain.jobs import Integration, Job

_MAX_TAG_LENGTH = 64  # longer ones are refused, together with the run
_KNOWN_OTHERWISE = {"step", "total_steps"}


def label(job: Job, integration: Integration) -> RunLabel:
    job_id = translate_jobs.job_id(job)
    ours = ("openai/finetune", f"openai/{job.base_model}", f"openai/{job_id}")
    return RunLabel(
        id=job_id,
        name=integration.name or job_id,
        tags=tuple(dict.fromkeys((*integration.tags, *(tag[:_MAX_TAG_LENGTH] for tag in ours)))),
    )


def figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    named = translate_jobs.renamed(metrics)
    return {name: value for name, value in named.items() if name not in _KNOWN_OTHERWISE}
