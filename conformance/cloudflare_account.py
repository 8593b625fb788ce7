"""What Cloudflare's clients work with: an account, its credentials, and adapters in folders."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conformance.clients.data import SYSTEM, conversations
from tests import adapter_files
from tests.e2e.service import ADMIN_KEY, Service, wait_for_job
from tunesmith.app import TINY_FOLDER
from tunesmith.domain.adapters import FILE_NAMES

NAME = "acme/tiny-llama"
MODEL = "@cf/tunesmith/tiny-lora"
EMAIL = "ada@example.org"
TUNED_ANSWER = "code-bl"
QUESTION = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": "Item 3 is black."},
]
OPTIONS = {"temperature": 0, "max_tokens": 9}


@dataclass(frozen=True, kw_only=True)
class Account:
    """`adapter` is the folder of one that was trained here; `broad` of one of rank 64."""

    base_url: str
    id: str
    token: str
    email: str
    key: str
    read_only: str
    model: str
    adapter: str
    broad: str
    question: list[dict[str, str]]
    options: dict[str, Any]

    @property
    def credentials(self) -> dict[str, str]:
        return {"api_token": self.token, "account_id": self.id}

    def written_to(self, path: Path) -> Path:
        """For a client's script, which is told all this by a file."""
        path.write_text(json.dumps(asdict(self)))
        return path


def make(service: Service, folder: Path) -> Account:
    alias = ["--alias", MODEL, "--learning-rate", "2e-3"]
    service.run("models", "add", NAME, "--from", str(TINY_FOLDER), *alias)
    base_url = f"{service.url}/client/v4"
    with service.http as http:
        (entry,) = http.get(f"{base_url}/accounts").raise_for_status().json()["result"]
    adapter, broad = folder / "adapter", folder / "broad"
    _train(service, f"{base_url}/accounts/{entry['id']}/ai/finetunes", adapter)
    _write(broad, adapter_files.config(rank=64), adapter_files.weights(rank=64))
    return Account(
        base_url=base_url,
        id=entry["id"],
        token=ADMIN_KEY,
        email=EMAIL,
        key=service.run("keys", "create", "--email", EMAIL).strip(),
        read_only=service.run("keys", "create", "--scopes", "fine-tuning:read").strip(),
        model=MODEL,
        adapter=str(adapter),
        broad=str(broad),
        question=QUESTION,
        options=OPTIONS,
    )


def _train(service: Service, finetunes: str, folder: Path) -> None:
    """By a job of OpenAI's API: it is seen as a finetune, whose files can be had."""
    client = service.client
    file = client.files.create(purpose="fine-tune", file=("train.jsonl", conversations()))
    job = client.fine_tuning.jobs.create(
        model=NAME,
        training_file=file.id,
        suffix="learned",
        hyperparameters={"n_epochs": 6, "batch_size": 8},
    )
    model = str(wait_for_job(service, job.id).fine_tuned_model)
    finetune = f"learned-{model.rsplit(':', 1)[1]}"
    with service.http as http:
        files = [
            http.get(f"{finetunes}/{finetune}/finetune-assets/{name}").raise_for_status().content
            for name in FILE_NAMES
        ]
    _write(folder, *files)


def _write(folder: Path, *files: bytes) -> None:
    folder.mkdir()
    for name, content in zip(FILE_NAMES, files, strict=True):
        (folder / name).write_bytes(content)
