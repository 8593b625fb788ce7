"""What lies beyond one supervised job, through OpenAI's Python client, of any version.

Uploads in parts, preferences, pauses, permissions, graders, tools, schemas, responses, embeddings.
Run with the paths of conversations and of pairs of answers; says as JSON what the client saw.
"""

import json
import sys
import time
from operator import mul
from pathlib import Path
from typing import Any

import openai

BASE = "tunesmith-tiny"
QUESTION = [{"role": "user", "content": "Item 3 is black."}]
ENDS = ("succeeded", "failed", "cancelled")
GRADER: Any = {
    "type": "text_similarity",
    "name": "alike",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "rouge_l",
}
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "black"]}},
    "required": ["colour"],
    "additionalProperties": False,
}

client = openai.OpenAI()
seen: dict[str, Any] = {}


def wait_for(job_id: str, *statuses: str) -> Any:
    while True:
        job = client.fine_tuning.jobs.retrieve(job_id)
        if job.status in (*statuses, *ENDS):
            return job
        time.sleep(0.1)


def upload_in_parts(path: str) -> Any:
    size = Path(path).stat().st_size
    upload = client.uploads.upload_file_chunked(
        file=Path(path), mime_type="application/jsonl", purpose="fine-tune", part_size=size // 3
    )
    assert upload.file is not None
    seen["upload"] = [upload.status, upload.file.bytes == size, upload.file.purpose]
    is_same = client.files.content(upload.file.id).read() == Path(path).read_bytes()
    seen["parts are one file"] = is_same
    other = client.uploads.create(
        bytes=3, filename="a", mime_type="text/plain", purpose="fine-tune"
    )
    part = client.uploads.parts.create(other.id, data=b"abc")
    seen["part"] = [part.object, part.upload_id == other.id]
    seen["upload is cancelled"] = client.uploads.cancel(other.id).status
    return upload.file


def prefer(file: Any, pairs: Any) -> str:
    """Supervised first, then by preferences; the tuned model's name."""
    brief = {"n_epochs": 1, "batch_size": 8}
    first = client.fine_tuning.jobs.create(model=BASE, training_file=file.id, hyperparameters=brief)
    tuned = str(wait_for(first.id).fine_tuned_model)
    job = client.fine_tuning.jobs.create(
        model=tuned,
        training_file=pairs.id,
        suffix="preferred",
        method={"type": "dpo", "dpo": {"hyperparameters": {**brief, "beta": 0.2}}},
    )
    job = wait_for(job.id)
    method = job.to_dict()["method"]["dpo"]["hyperparameters"]
    seen["preferences"] = [job.status, job.model == tuned, method["beta"], method["n_epochs"]]
    events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
    (first_step,) = [e for e in events if e.type == "metrics" and e.data["step"] == 1]
    seen["a pair's loss at first"] = round(first_step.data["train_loss"], 2)
    seen["rewards are told"] = "train_mean_reward_margin" in first_step.data
    return str(job.fine_tuned_model)


def pause(file: Any) -> None:
    jobs = client.fine_tuning.jobs
    long = {"n_epochs": 50, "batch_size": 1}
    job = jobs.create(model=BASE, training_file=file.id, hyperparameters=long)
    wait_for(job.id, "running")
    while not [e for e in jobs.list_events(job.id).data if e.type == "metrics"]:
        time.sleep(0.1)
    seen["pausing"] = jobs.pause(job.id).status
    seen["paused"] = wait_for(job.id, "paused").status
    (snapshot,) = [p for p in jobs.checkpoints.list(job.id).data][:1]
    model = snapshot.fine_tuned_model_checkpoint
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=2)
    seen["its snapshot answers"] = answer.model == model
    seen["resumed"] = jobs.resume(job.id).status
    seen["runs again"] = wait_for(job.id, "running").status
    seen["cancelled"] = jobs.cancel(job.id).status


def permit(model: str) -> None:
    permissions = client.fine_tuning.checkpoints.permissions
    given = permissions.create(model, project_ids=["proj_a", "proj_b"]).data
    seen["permissions"] = [one.project_id for one in given]
    seen["permission is taken back"] = permissions.delete(
        given[0].id, fine_tuned_model_checkpoint=model
    ).deleted
    left = client.get(f"/fine_tuning/checkpoints/{model}/permissions", cast_to=object)
    seen["permissions left"] = [one["project_id"] for one in left["data"]]


def grade() -> None:
    graders = client.fine_tuning.alpha.graders
    seen["grader"] = graders.validate(grader=GRADER).grader.type
    run = graders.run(grader=GRADER, model_sample="a b c", item={"answer": "a b c"})
    seen["reward"] = run.reward


def call(model: str) -> None:
    tool = {"type": "function", "function": {"name": "paint", "parameters": SCHEMA}}
    words: Any = {
        "model": model,
        "messages": QUESTION,
        "tools": [tool],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "temperature": 0,
    }
    whole = client.chat.completions.create(**words)
    (called,) = whole.choices[0].message.tool_calls
    seen["call"] = [called.function.name, list(json.loads(called.function.arguments))]
    arguments, name, reason = "", "", None
    for part in client.chat.completions.create(**words, stream=True):
        for piece in part.choices[0].delta.tool_calls or ():
            name += piece.function.name or ""
            arguments += piece.function.arguments or ""
        reason = part.choices[0].finish_reason or reason
    seen["streamed call"] = [name, arguments == called.function.arguments, reason]
    form: Any = {"type": "json_schema", "json_schema": {"name": "paint", "schema": SCHEMA}}
    shaped = client.chat.completions.create(model=model, messages=QUESTION, response_format=form)
    seen["answer in a schema"] = list(json.loads(shaped.choices[0].message.content))


def respond(model: str) -> None:
    words: Any = {"model": model, "input": "Item 3 is black.", "temperature": 0}
    whole = client.responses.create(**words, max_output_tokens=9)
    seen["response"] = [whole.object, whole.model == model, whole.usage.output_tokens <= 9]
    events = list(client.responses.create(**words, max_output_tokens=9, stream=True))
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    seen["a response's stream says the same"] = text == whole.output_text
    seen["its first event"] = events[0].type
    numbers = [event.sequence_number for event in events]
    seen["events are numbered"] = numbers == list(range(len(events)))


def embed(model: str) -> None:
    made = client.embeddings.create(model=model, input=["red", "black", "red"]).data
    vectors = [one.embedding for one in made]
    seen["length of an embedding"] = round(sum(x * x for x in vectors[0]), 3)
    alike, unlike = (sum(map(mul, vectors[0], vectors[i])) for i in (2, 1))
    seen["alike are alike"] = [round(alike, 3) == 1, alike > unlike]
    short = client.embeddings.create(
        model=model, input="red", dimensions=8, encoding_format="float"
    )
    seen["dimensions"] = len(short.data[0].embedding)


def main() -> None:
    file, pairs = (upload_in_parts(path) for path in sys.argv[1:3])
    model = prefer(file, pairs)
    pause(file)
    permit(model)
    grade()
    call(model)
    respond(model)
    embed(model)
    print(json.dumps(seen))


main()
