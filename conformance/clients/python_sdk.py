"""A whole fine-tuning through OpenAI's Python client, of any version.

Run with the path of the training data; says as JSON what the client saw. The address and the key
come from OPENAI_BASE_URL and OPENAI_API_KEY, as in anybody's program.
"""

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

import openai

BASE = "tunesmith-tiny"
QUESTION = [
    {"role": "system", "content": "Answer with the code of the colour."},
    {"role": "user", "content": "Item 3 is black."},
]
HYPERPARAMETERS = {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 2}
OLDER = {"n_epochs": 1, "batch_size": 8}

client = openai.OpenAI()
seen: dict[str, Any] = {"version": openai.__version__}


def wait_for(job_id: str) -> Any:
    while True:
        job = client.fine_tuning.jobs.retrieve(job_id)
        if job.status in ("succeeded", "failed", "cancelled"):
            return job
        time.sleep(0.2)


def error_of(call: Any, *arguments: Any, **named: Any) -> list[Any]:
    """Class, code and message of the error with which a call ends."""
    try:
        call(*arguments, **named)
    except openai.APIStatusError as error:
        return [type(error).__name__, error.code, str(error)]
    return []


def upload() -> Any:
    path = Path(sys.argv[1])
    with path.open("rb") as data:
        file = client.files.create(purpose="fine-tune", file=data)
    seen["file"] = [file.filename, file.purpose, file.status, file.bytes == path.stat().st_size]
    seen["content is the same"] = client.files.content(file.id).read() == path.read_bytes()
    seen["file is listed"] = file.id in [f.id for f in client.files.list(purpose="fine-tune")]
    return file


def create(file: Any) -> tuple[Any, Any, Any]:
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file.id,
        validation_file=file.id,
        suffix="my_colours",
        seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": HYPERPARAMETERS}},
        metadata={"client": openai.__version__},
    )
    older = client.fine_tuning.jobs.create(
        model=BASE, training_file=file.id, hyperparameters=OLDER, seed=7
    )
    last = client.fine_tuning.jobs.create(model=BASE, training_file=file.id)
    seen["created"] = [job.status, job.object, job.seed, job.error, job.fine_tuned_model]
    listed = [j.id for j in client.fine_tuning.jobs.list(limit=1)]
    seen["jobs are listed, newest first"] = listed[:3] == [last.id, older.id, job.id]
    by_metadata = client.fine_tuning.jobs.list(extra_query={"metadata[client]": openai.__version__})
    seen["jobs are found by metadata"] = [j.id for j in by_metadata] == [job.id]
    return job, older, last


def cancel(last: Any) -> None:
    seen["cancelled"] = client.fine_tuning.jobs.cancel(last.id).status
    seen["cancelled again"] = error_of(client.fine_tuning.jobs.cancel, last.id)


def follow(job: Any) -> Any:
    job = wait_for(job.id)
    seen["job"] = [job.status, job.error, job.hyperparameters.n_epochs, len(job.result_files)]
    seen["job has ended"] = bool(job.finished_at and job.trained_tokens)
    name = str(job.fine_tuned_model).rsplit(":", 1)
    seen["model"] = [name[0], len(name[1])]
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
    seen["events are different ones"] = len({event.id for event in events}) == len(events)
    seen["newest event"] = events[0].message
    seen["oldest event"] = events[-1].message.split(":")[0]
    steps = [event.data["step"] for event in events if event.type == "metrics"]
    seen["steps, newest first"] = steps
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    seen["checkpoints"] = [point.step_number for point in checkpoints]
    seen["checkpoint is the model"] = (
        checkpoints[0].fine_tuned_model_checkpoint == job.fine_tuned_model
    )
    rows = base64.b64decode(client.files.content(job.result_files[0]).read()).decode().splitlines()
    seen["results"] = [rows[0].split(",")[:3], len(rows)]
    return job


def ask(job: Any) -> None:
    words = {"model": job.fine_tuned_model, "messages": QUESTION, "temperature": 0, "max_tokens": 9}
    whole = client.chat.completions.create(**words)
    parts = list(client.chat.completions.create(**words, stream=True))
    streamed = "".join(part.choices[0].delta.content or "" for part in parts)
    seen["answer"] = [whole.object, whole.model == job.fine_tuned_model, whole.usage is not None]
    seen["a stream says the same"] = streamed == whole.choices[0].message.content
    seen["the model is listed"] = job.fine_tuned_model in [m.id for m in client.models.list()]


def delete(job: Any, file: Any) -> None:
    seen["model deleted"] = client.models.delete(job.fine_tuned_model).deleted
    seen["deleted model"] = error_of(client.models.retrieve, job.fine_tuned_model)[:2]
    seen["base model"] = error_of(client.models.delete, BASE)[0]
    seen["file deleted"] = client.files.delete(file.id).deleted
    seen["deleted file"] = error_of(client.files.retrieve, file.id)[0]


def main() -> None:
    file = upload()
    job, older, last = create(file)
    cancel(last)
    job = follow(job)
    seen["older hyperparameters"] = wait_for(older.id).hyperparameters.n_epochs
    ask(job)
    delete(job, file)
    print(json.dumps(seen))


main()
