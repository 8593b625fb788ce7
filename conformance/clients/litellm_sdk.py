"""LiteLLM on OpenAI's API, in the order of its own test; says as JSON what it saw.

It deletes the training file under the live job, and expects `cancel` to answer `cancelled`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import litellm

BASE = "tunesmith-tiny"
LONG = {"n_epochs": 50, "batch_size": 1}
there: dict[str, Any] = {
    "custom_llm_provider": "openai",
    "api_base": sys.argv[2],
    "api_key": sys.argv[3],
}
seen: dict[str, Any] = {}

with Path(sys.argv[1]).open("rb") as data:
    file = litellm.create_file(file=data, purpose="fine-tune", **there)
seen["file"] = [file.object, file.purpose]
job = litellm.create_fine_tuning_job(
    model=BASE, training_file=file.id, hyperparameters=LONG, **there
)
seen["created"] = [job.object, job.model]
while litellm.retrieve_fine_tuning_job(job.id, **there).status != "running":
    time.sleep(0.1)
seen["file deleted"] = litellm.file_delete(file.id, **there).deleted
listed = litellm.list_fine_tuning_jobs(limit=2, **there)
seen["listed"] = job.id in [one.id for one in listed.data]
seen["retrieved"] = litellm.retrieve_fine_tuning_job(job.id, **there).id == job.id
seen["cancelled"] = litellm.cancel_fine_tuning_job(job.id, **there).status
answer = litellm.completion(
    model=f"openai/{BASE}",
    messages=[{"role": "user", "content": "Hi."}],
    max_tokens=5,
    api_base=sys.argv[2],
    api_key=sys.argv[3],
)
seen["answer"] = answer.object
print(json.dumps(seen))
