"""The shipped application with two organizations, each with one of everything."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import uvicorn

from tests import adapter_files
from tests.contract.server import BASE, now
from tests.contract.worker import Worker
from tunesmith import app as application
from tunesmith.dialects.openai import translate as openai
from tunesmith.dialects.platform import translate as platform
from tunesmith.domain.accounts import Organization, Role, Scope, User
from tunesmith.domain.catalog import BaseModel
from tunesmith.http import Foundation
from tunesmith.services import accounts
from tunesmith.settings import Settings
from tunesmith.wire.connections import GuardedProtocol

MODEL = "@cf/tunesmith/tiny-lora"
EXAMPLE = (
    b'{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "a"}]}\n'
)
Ids = dict[str, str]


@dataclass
class House:
    """A running server; `foundation` is what it stands on."""

    url: str
    app: Any
    foundation: Foundation
    data_dir: Path
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, trust_env=False))

    def ask(self, method: str, path: str, secret: str | None, **content: Any) -> httpx.Response:
        headers = dict(content.pop("headers", {}))
        if secret is not None:
            headers["authorization"] = f"Bearer {secret}"
        return self.http.request(method, f"{self.url}{path}", headers=headers, **content)

    def key(self, owner: Organization, scopes: frozenset[Scope], **changes: Any) -> str:
        made = accounts.new_key(owner, name="test", scopes=scopes, now=now())
        with self.foundation.database.write() as store:
            store.accounts.add_key(replace(made.key, **changes))
        return made.secret


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[House]:
    built = application.build(
        Settings(data_dir=folder, bad_keys_per_minute=None, max_worker_wait_seconds=0.1, **settings)
    )
    config = uvicorn.Config(
        built.asgi, port=0, log_level="critical", lifespan="off", http=GuardedProtocol
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    (mount,) = [route for route in built.asgi.routes if getattr(route, "path", "") == "/v1"]
    foundation: Foundation = mount.app.state.foundation
    house = House(f"http://127.0.0.1:{port}", built.asgi, foundation, folder)
    with foundation.database.write() as store:
        store.models.put_base(
            BaseModel(
                name=BASE,
                aliases=(MODEL,),
                folder="/nowhere",
                source="test",
                num_parameters=1_000,
                context_tokens=512,
                created_at=now(),
            )
        )
    try:
        yield house
    finally:
        house.http.close()
        server.should_exit = True
        thread.join()
        foundation.database.close()


class Tenant:
    """An organization, and the ids of what it has, by what each dialect calls them."""

    def __init__(self, house: House, word: str, owner: Organization | None = None) -> None:
        self.house = house
        self.word = word  # in all that it writes
        self.owner = owner or Organization(
            id=uuid4(), name=f"Name {word}", slug=word, created_at=now()
        )
        with house.foundation.database.write() as store:
            if owner is None:
                store.accounts.add_organization(self.owner)
        self.secret = house.key(self.owner, frozenset(Scope))
        self.ids: Ids = {}

    def settle(self) -> "Tenant":
        """One of everything."""
        self.ids = {
            "account_id": self.owner.id.hex,
            "organization": str(self.owner.id),
            "reference": self.owner.slug,
        }
        self._files()
        self._jobs()
        self._adapter()
        self._administration()
        return self

    def ask(self, method: str, path: str, **content: Any) -> Any:
        answer = self.house.ask(method, path, self.secret, **content)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json()

    def _files(self) -> None:
        rows = b"".join(EXAMPLE % self.word.encode() for _ in range(12))
        for name in ("file_id", "spare_file"):
            made = self.ask(
                "POST",
                "/v1/files",
                data={"purpose": "fine-tune"},
                files={"file": (f"{self.word}.jsonl", rows)},
            )
            self.ids[name] = made["id"]
        dataset = self.ask(
            "POST", "/api/v1/datasets", files={"file": (f"{self.word}-set.jsonl", rows)}
        )
        self.ids["dataset_id"] = dataset["id"]
        upload = {"bytes": len(rows), "filename": self.word, "purpose": "batch"}
        made = self.ask("POST", "/v1/uploads", json={**upload, "mime_type": "a/b"})
        self.ids["upload_id"] = made["id"]
        path = f"/v1/uploads/{made['id']}/parts"
        self.ids["part_id"] = self.ask("POST", path, files={"data": ("a", rows)})["id"]

    def _jobs(self) -> None:
        worker = self._worker()
        trained = self._job()
        worker.train(trained)
        running = self._job()
        worker.start(running)
        self._job()  # that waits
        self.ids |= {
            "job_id": openai.outer_id("ftjob-", running),
            "trained_job": openai.outer_id("ftjob-", trained),
            "platform_job": platform.job_id(SimpleNamespace(id=trained)),  # type: ignore[arg-type]
            "inner_job": str(running),
            "inner_trained": str(trained),
        }
        path = f"/v1/fine_tuning/jobs/{self.ids['trained_job']}"
        self.ids["name"] = self.ask("GET", path)["fine_tuned_model"]
        self.ids["model_name"] = self.ask(
            "GET", f"/api/v1/fine-tuning/jobs/{self.ids['platform_job']}"
        )["resultModel"]
        checkpoints = self.ask("GET", f"{path}/checkpoints")["data"]
        self.ids["checkpoint"] = checkpoints[0]["fine_tuned_model_checkpoint"]
        self.ids["checkpoint_id"] = checkpoints[0]["id"]
        self.ids["event_id"] = self.ask("GET", f"{path}/events")["data"][-1]["id"]
        granted = self.ask(
            "POST",
            f"/v1/fine_tuning/checkpoints/{self.ids['name']}/permissions",
            json={"project_ids": [f"project-{self.word}"]},
        )
        self.ids["permission_id"] = granted["data"][0]["id"]

    def paused_job(self) -> str:
        """One that can be resumed."""
        worker, job_id = self._worker(), self._job()
        assignment = worker.start(job_id)
        outer = openai.outer_id("ftjob-", job_id)
        self.ask("POST", f"/v1/fine_tuning/jobs/{outer}/pause")
        worker.let_go(assignment, step=1)
        self._job()  # that waits
        return outer

    def _worker(self) -> Worker:
        foundation = self.house.foundation
        near: Any = SimpleNamespace(
            database=foundation.database, blobs=foundation.house.blobs, now=foundation.house.now
        )
        return Worker(near)

    def _job(self) -> UUID:
        body = {
            "model": BASE,
            "training_file": self.ids["file_id"],
            "suffix": self.word,
            "metadata": {"word": self.word},
        }
        made = self.ask("POST", "/v1/fine_tuning/jobs", json=body)
        return openai.inner_id("job", made["id"])

    def _adapter(self) -> None:
        path = f"/client/v4/accounts/{self.owner.id.hex}/ai/finetunes"
        body = {"model": MODEL, "name": f"{self.word}-lora", "description": self.word}
        made = self.ask("POST", path, json=body)["result"]["id"]
        self.ids |= {"finetune": made, "finetune_name": f"{self.word}-lora"}
        for name, content in (
            ("adapter_config.json", adapter_files.config()),
            ("adapter_model.safetensors", adapter_files.weights()),
        ):
            self.ask(
                "POST",
                f"{path}/{made}/finetune-assets",
                data={"file_name": name},
                files={"file": ("blob", content)},
            )

    def _administration(self) -> None:
        email = f"{self.word}@example.org"
        body: dict[str, Any] = {"email": email, "name": self.word}
        self.ids["user_id"] = self.ask("POST", "/admin/v1/users", json=body)["id"]
        self.ids["email"] = email
        body = {"name": self.word, "scopes": ["inference"]}
        self.ids["key_id"] = self.ask("POST", "/admin/v1/keys", json=body)["id"]
        body = {"url": f"https://example.org/{self.word}"}
        self.ids["webhook_id"] = self.ask("POST", "/admin/v1/webhooks", json=body)["id"]


def absent(like: Ids) -> Ids:
    """Ids of the same forms and lengths that nothing has."""
    fresh = uuid4
    word = "q" * len(like["reference"])
    there = like["reference"]
    named = {
        name: like[name].replace(there, word)
        for name in ("reference", "finetune_name", "email", "model_name")
    }
    return (
        named
        | {
            "account_id": fresh().hex,
            "organization": str(fresh()),
            "file_id": openai.outer_id("file-", fresh()),
            "spare_file": openai.outer_id("file-", fresh()),
            "dataset_id": platform.dataset_id(fresh()),
            "upload_id": openai.outer_id("upload_", fresh()),
            "part_id": openai.outer_id("part_", fresh()),
            "job_id": openai.outer_id("ftjob-", fresh()),
            "trained_job": openai.outer_id("ftjob-", fresh()),
            "platform_job": platform.job_id(SimpleNamespace(id=fresh())),  # type: ignore[arg-type]
            "inner_job": str(fresh()),
            "inner_trained": str(fresh()),
            "name": like["name"].replace(there, word)[:-8] + "AbCd1234",
            "checkpoint": like["checkpoint"].replace(there, word),
            "checkpoint_id": openai.outer_id("ftckpt_", fresh()),
            "event_id": openai.outer_id("ftevent-", fresh()),
            "permission_id": openai.outer_id("cp_", fresh()),
            "finetune": str(fresh()),
            "user_id": str(fresh()),
            "key_id": str(fresh()),
            "webhook_id": str(fresh()),
        }
    )


def reader_of(tenant: Tenant) -> str:
    """A key of a user who may read alone, whatever its scopes say."""
    user = User(
        id=uuid4(),
        organization_id=tenant.owner.id,
        email=f"reader-{uuid4().hex}@example.org",
        name="reader",
        role=Role.READER,
        created_at=now(),
    )
    with tenant.house.foundation.database.write() as store:
        store.accounts.add_user(user)
    return tenant.house.key(tenant.owner, frozenset(Scope), user_id=user.id, role=user.role)


def yesterday() -> Any:
    return now() - timedelta(days=1)
