"""The main job by the official client: upload, train, ask."""

import base64
import csv
import io
from pathlib import Path

import peft
import torch
import transformers

from tests.e2e.conftest import BASE, conversations
from tests.e2e.service import Service, steps_done, wait_for_job

QUESTION = [
    {"role": "system", "content": "Answer with the code of the colour."},
    {"role": "user", "content": "Item 3 is black."},
]


def test_a_dataset_becomes_a_model_that_answers(
    service: Service, base_folder: Path, tmp_path: Path
) -> None:
    client = service.client
    training = client.files.create(file=("train.jsonl", conversations(40)), purpose="fine-tune")
    validation = client.files.create(
        file=("valid.jsonl", conversations(10, start=100)), purpose="fine-tune"
    )
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=training.id,
        validation_file=validation.id,
        suffix="colours",
        seed=7,
        hyperparameters={"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": 50},
    )
    assert job.status == "validating_files"
    client.files.delete(training.id)  # the job has pinned its bytes

    job = wait_for_job(service, job.id)

    assert job.fine_tuned_model is not None
    assert job.fine_tuned_model.startswith(f"ft:{BASE}:default:colours:")
    assert job.trained_tokens is not None
    assert job.trained_tokens > 0
    assert job.hyperparameters.n_epochs == 4
    assert steps_done(service, job.id) == list(range(1, 21))
    _check_events(service, job.id, job.fine_tuned_model)
    _check_results(service, job.result_files[0])
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert [c.step_number for c in checkpoints] == [20, 15, 10]
    assert checkpoints[0].fine_tuned_model_checkpoint == job.fine_tuned_model
    assert checkpoints[0].metrics.full_valid_loss is not None

    answers = {
        model: _ask(service, model)
        for model in (
            BASE,
            job.fine_tuned_model,
            checkpoints[1].fine_tuned_model_checkpoint,
        )
    }
    assert answers[job.fine_tuned_model] == "code-bl"
    assert answers[BASE] != "code-bl"
    assert _ask_streamed(service, job.fine_tuned_model) == "code-bl"
    text = client.completions.create(
        model=job.fine_tuned_model, prompt="Item", max_tokens=5, temperature=0
    )
    assert text.usage is not None
    assert text.usage.completion_tokens == 5
    folder = _download(service, job.fine_tuned_model, tmp_path / "adapter")
    assert _ask_stock_peft(base_folder, folder) == "code-bl"
    # The base was loaded once, by one host, for training and for all these answers.
    assert service.log.count('"event": "host ready"') == 1


def _ask(service: Service, model: str) -> str:
    answer = service.client.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, max_completion_tokens=12
    )
    return answer.choices[0].message.content or ""


def _ask_streamed(service: Service, model: str) -> str:
    stream = service.client.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, max_completion_tokens=12, stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def _check_events(service: Service, job_id: str, model: str) -> None:
    events = service.client.fine_tuning.jobs.list_events(job_id, limit=100).data
    said = [event.message for event in reversed(events)]
    assert said[0] == f"Created fine-tuning job: {job_id}"
    assert said[1].startswith("Validating training file: file-")
    assert said[2] == "Files validated, moving job to queued state"
    assert said[3] == "Fine-tuning job started"
    assert said[4].startswith("Step 1/20: training loss=")
    assert said[-2] == f"New fine-tuned model created: {model}"
    assert said[-1] == "The job has successfully completed"
    assert sum("Checkpoint created at step" in line for line in said) == 3
    assert any("full validation loss=" in line for line in said)


def _check_results(service: Service, file_id: str) -> None:
    content = service.client.files.content(file_id).read()
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(content).decode())))
    assert [int(row["step"]) for row in rows] == list(range(1, 21))
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert rows[-1]["valid_loss"]


def _download(service: Service, model: str, folder: Path) -> Path:
    folder.mkdir()
    with service.http as http:
        listed = http.get(f"/v1/models/{model}/files").raise_for_status().json()["data"]
        for file in listed:
            content = http.get(f"/v1/models/{model}/files/{file['name']}").raise_for_status()
            (folder / file["name"]).write_bytes(content.content)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {f["name"] for f in listed}
    return folder


def _ask_stock_peft(base: Path, adapter: Path) -> str:
    """The same question without any of our code."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    network = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = peft.PeftModel.from_pretrained(network, str(adapter))
    prompt = tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = tuned.generate(**prompt, max_new_tokens=12, do_sample=False)
    return str(
        tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    )
