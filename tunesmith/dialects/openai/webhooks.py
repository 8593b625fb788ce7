"""A job's end in the words of OpenAI's webhooks."""

import json

from tunesmith.dialects.openai import translate, translate_jobs
from tunesmith.domain.webhooks import JobEnded, Message


def render(event: JobEnded) -> Message:
    event_id = translate.outer_id("evt_", event.id)
    body = {
        "id": event_id,
        "object": "event",
        "type": f"fine_tuning.job.{translate_jobs.status(event.outcome)}",
        "created_at": translate.seconds(event.created_at),
        "data": {"id": translate.outer_id("ftjob-", event.job_id)},
    }
    return Message(id=event_id, body=json.dumps(body).encode())
