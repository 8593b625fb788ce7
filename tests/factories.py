"""Small, valid things to test with; a test names only what matters to it."""

import json
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from tunesmith.domain.accounts import Key, Organization, Scope, digest_of
from tunesmith.domain.assignments import Assignment, EmbedRequest, Registration, SampleRequest
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.events import Metrics
from tunesmith.domain.files import Artifact, Blob, File, FilePurpose
from tunesmith.domain.hyperparameters import Hyperparameters
from tunesmith.domain.jobs import Job, JobStatus, PinnedFile, Task
from tunesmith.services.context import Context, House
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Store

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHA = "ab" * 32
ALL_SCOPES = frozenset(Scope)
MODEL_CONFIG = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096}


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> datetime:
        self.time += timedelta(seconds=seconds)
        return self.time


def organization(slug: str = "acme") -> Organization:
    return Organization(id=uuid4(), name=slug.title(), slug=slug, created_at=NOW)


def key(
    owner: Organization,
    secret: str = "ts_a-secret-for-tests",
    scopes: frozenset[Scope] = ALL_SCOPES,
) -> Key:
    return Key(
        id=uuid4(),
        organization_id=owner.id,
        name="test",
        visible_prefix=secret[:8],
        digest=digest_of(secret),
        scopes=scopes,
        created_at=NOW,
        expires_at=None,
    )


def context(
    store: Store, house: House, owner: Organization, scopes: frozenset[Scope] = ALL_SCOPES
) -> Context:
    return Context(store=store, house=house, organization=owner, key=key(owner, scopes=scopes))


def base_model(name: str = "base", **changes: Any) -> BaseModel:
    model = BaseModel(
        name=name,
        aliases=(),
        folder="/models/base",
        source="/models/base",
        num_parameters=1000,
        context_tokens=512,
        created_at=NOW,
    )
    return replace(model, **changes)


def file(owner: Organization, blob: Blob | None = None, **changes: Any) -> File:
    made = File(
        id=uuid4(),
        organization_id=owner.id,
        filename="train.jsonl",
        purpose=FilePurpose.TRAINING,
        blob=blob or Blob(sha256=SHA, size_bytes=1),
        created_at=NOW,
    )
    return replace(made, **changes)


def job(owner: Organization, status: JobStatus = JobStatus.QUEUED, **changes: Any) -> Job:
    made = Job(
        id=uuid4(),
        organization_id=owner.id,
        base_model="base",
        training_file=PinnedFile(file_id=uuid4(), blob=Blob(sha256=SHA, size_bytes=1)),
        validation_file=None,
        hyperparameters=Hyperparameters(num_epochs=3, batch_size=1, learning_rate_multiplier=1.0),
        seed=7,
        suffix=None,
        metadata=None,
        status=status,
        attempt=0,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **changes)


def queued_job(store: Store, owner: Organization, task: Task = Task.TRAIN, **changes: Any) -> Job:
    """A job in the database that waits for a worker."""
    status = JobStatus.QUEUED if task is Task.TRAIN else JobStatus.VALIDATING
    made = job(owner, status, **changes)
    store.jobs.add(made)
    store.queue.push(made, task, NOW)
    return made


def registration(name: str = "box") -> Registration:
    return Registration(name=name, incarnation=uuid4(), version="0")


def metrics(step: int, total_steps: int = 10, **changes: Any) -> Metrics:
    made = Metrics(
        step=step,
        total_steps=total_steps,
        train_loss=2.0,
        train_token_accuracy=0.5,
        learning_rate=1e-4,
        grad_norm=1.0,
        tokens=100,
        seconds=0.1,
    )
    return replace(made, **changes)


def artifact(blobs: Blobs, name: str = "adapter_model.safetensors", content: str = "w") -> Artifact:
    """An artifact whose bytes are stored."""
    return Artifact(name=name, blob=blobs.put(f"{name} {content}".encode()))


def assignment(task: Task = Task.TRAIN, **changes: Any) -> Assignment:
    made = Assignment(
        job_id=uuid4(),
        attempt=1,
        task=task,
        base_model=base_model(),
        training_file=Blob(sha256=SHA, size_bytes=1),
        validation_file=None,
        hyperparameters=Hyperparameters(num_epochs=3, batch_size=1, learning_rate_multiplier=1.0),
        seed=7,
    )
    return replace(made, **changes)


def sample_request(request_id: str = "one", **changes: Any) -> SampleRequest:
    made = SampleRequest(
        request_id=request_id,
        base_model=base_model(),
        adapter=None,
        messages=[{"role": "user", "content": "Hello"}],
    )
    return replace(made, **changes)


def embed_request(request_id: str = "one", **changes: Any) -> EmbedRequest:
    made = EmbedRequest(
        request_id=request_id, base_model=base_model(), adapter=None, text="the sea"
    )
    return replace(made, **changes)


def conversation(*roles_and_contents: tuple[str, Any], **extra: Any) -> dict[str, Any]:
    said = roles_and_contents or (("user", "Hello"), ("assistant", "Hi"))
    return {"messages": [{"role": r, "content": c} for r, c in said], **extra}


def json_lines(*rows: Any) -> list[bytes]:
    return [json.dumps(row).encode() + b"\n" for row in rows]


def safetensors(shapes: dict[str, list[int]]) -> bytes:
    """A header without its data: enough for whoever only counts parameters."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for name, shape in shapes.items():
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def model_folder(folder: Path, config: Any = MODEL_CONFIG) -> Path:
    """What a base model's folder looks like from outside: 208 parameters in two files."""
    folder.mkdir()
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (folder / "model-1.safetensors").write_bytes(safetensors({"a": [10, 20], "b": [5]}))
    (folder / "model-2.safetensors").write_bytes(safetensors({"c": [3]}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("A model.")
    return folder
