"""A finetune through Cloudflare's API: trained from data, taken away, brought back, and asked."""

from typing import Any

import httpx

from tests.e2e.conftest import BASE, conversations
from tests.e2e.service import ADMIN_KEY, Service, wait_until

QUESTION = [
    {"role": "system", "content": "Answer with the code of the colour."},
    {"role": "user", "content": "Item 3 is black."},
]
HYPERPARAMETERS = '{"num_epochs": 8, "batch_size": 8, "learning_rate_multiplier": 50}'
FILES = ("adapter_config.json", "adapter_model.safetensors")


def test_data_become_a_finetune_whose_files_can_be_brought_back(service: Service) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=f"{service.url}/client/v4", headers=headers, timeout=60) as http:
        account = result(http.get("/accounts"))[0]["id"]
        http.base_url = f"{service.url}/client/v4/accounts/{account}/ai"
        trained = create(http, "trained")
        upload(http, trained["id"], "train.jsonl", conversations(40), HYPERPARAMETERS)
        wait_until(lambda: state(http, "trained")["status"] == "ready", "the finetune to be ready")
        metrics = state(http, "trained")["metrics"]
        assert metrics["step"] == metrics["total_steps"]
        assert metrics["train_loss"] > 0

        brought = create(http, "brought")
        for name in FILES:
            content = http.get(f"/finetunes/trained/finetune-assets/{name}").content
            upload(http, brought["id"], name, content)
        assert state(http, "brought")["status"] == "ready"

    served = [model.id for model in service.client.models.list() if ":ckpt-step-" not in model.id]
    for name in ("trained", "brought"):
        (model,) = [served_name for served_name in served if f":{name}:" in served_name]
        answer = service.client.chat.completions.create(
            model=model, messages=QUESTION, temperature=0, max_completion_tokens=12
        )
        assert answer.choices[0].message.content == "code-bl", name


def create(http: httpx.Client, name: str) -> dict[str, Any]:
    made: dict[str, Any] = result(http.post("/finetunes", json={"model": BASE, "name": name}))
    return made


def upload(
    http: httpx.Client, finetune: str, name: str, content: bytes, hyperparameters: str | None = None
) -> None:
    fields = {"file_name": name}
    if hyperparameters is not None:
        fields["hyperparameters"] = hyperparameters
    path = f"/finetunes/{finetune}/finetune-assets"
    result(http.post(path, data=fields, files={"file": ("blob", content)}))


def state(http: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = result(http.get(f"/finetunes/{name}"))
    assert found["status"] not in ("failed", "stopped"), found["error"]
    return found


def result(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]
