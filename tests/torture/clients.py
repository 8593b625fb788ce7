"""Clients of all three dialects, who send a request again until it is answered."""

import hashlib
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from tests.e2e.conftest import BASE, conversations
from tests.e2e.service import ADMIN_KEY
from tests.torture.checker import ADAPTER, Told

PAUSE_SECONDS = 0.2
DATA = [conversations(num_rows, start=num_rows) for num_rows in (60, 90, 120)]
NUM_EPOCHS, BATCH_SIZE = 6, 3
_FINAL = ("succeeded", "failed", "cancelled")


class Ended(Exception):
    """There is nothing to wait for any more."""


class Client:
    """One that gives up only when `is_over` is set; what it should not meet, it complains of."""

    def __init__(self, url: Callable[[], str], told: Told, rng: random.Random) -> None:
        self.told, self.rng = told, rng
        self.is_over = threading.Event()  # nothing new is begun
        self.is_cut = threading.Event()  # and nothing is waited for
        self._url = url
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "X-API-Key": ADMIN_KEY}
        self._http = httpx.Client(headers=headers, timeout=20, trust_env=False)

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The first answer that is one; the server may be killed at any time before."""
        while not self.is_cut.is_set():
            with suppress(httpx.TransportError):
                answer = self._http.request(method, self._url() + path, **request)
                if answer.is_success:
                    return answer
                if answer.status_code != 503:
                    self._complain(method, path, answer)
            time.sleep(PAUSE_SECONDS)
        raise Ended

    def _complain(self, method: str, path: str, answer: httpx.Response) -> None:
        complaint = f"{answer.status_code} on {method} {path}: {answer.text[:200]}"
        self.told.complaints.append(complaint)
        raise Ended

    def create(self, path: str, **request: Any) -> httpx.Response:
        """Under a key; an answer that was given is given once more to who asks again."""
        headers = {"Idempotency-Key": f"{self.rng.getrandbits(128):032x}"}
        answer = self.ask("POST", path, headers=headers, **request)
        if self.rng.random() < 0.3:
            again = self.ask("POST", path, headers=headers, **request)
            if again.json() != answer.json():
                self.told.complaints.append(f"{path}: the same key got two answers")
        return answer

    def work(self) -> None:
        """Until there is nothing more to do."""
        raise NotImplementedError

    def pause(self) -> None:
        self.is_cut.wait(PAUSE_SECONDS)


class Owner(Client):
    """Has one job trained after another, each under a name of its own."""

    dialect = ""

    def work(self) -> None:
        number = 0
        with suppress(Ended):
            while not self.is_over.is_set():
                number += 1
                name = f"{self.dialect}-{self.rng.getrandbits(32):08x}-{number}"
                handle = self.begin(name, self.rng.choice(DATA))
                self.told.acknowledged.add(name)
                while not self.has_ended(handle):
                    self.pause()

    def begin(self, name: str, data: bytes) -> str:
        """Returns when the job was acknowledged."""
        raise NotImplementedError

    def has_ended(self, handle: str) -> bool:
        raise NotImplementedError


class OpenAi(Owner):
    dialect = "openai"

    def begin(self, name: str, data: bytes) -> str:
        upload = {"file": ("train.jsonl", data)}
        file = self.create("/v1/files", files=upload, data={"purpose": "fine-tune"}).json()
        body = {
            "model": BASE,
            "training_file": file["id"],
            "suffix": name,
            "seed": self.rng.choice((3, 4)),
            "hyperparameters": {"n_epochs": NUM_EPOCHS, "batch_size": BATCH_SIZE},
        }
        return str(self.create("/v1/fine_tuning/jobs", json=body).json()["id"])

    def has_ended(self, handle: str) -> bool:
        return self.ask("GET", f"/v1/fine_tuning/jobs/{handle}").json()["status"] in _FINAL


class Platform(Owner):
    dialect = "platform"

    def begin(self, name: str, data: bytes) -> str:
        # A dataset has no key: the one that was sent twice is there twice, and does no harm.
        dataset = self.ask("POST", "/api/v1/datasets", files={"file": ("train.jsonl", data)})
        body = {
            "name": name,
            "baseModel": BASE,
            "trainingDataset": dataset.json()["id"],
            "hyperparameters": {"epochs": NUM_EPOCHS // 2, "batchSize": BATCH_SIZE},
        }
        return str(self.create("/api/v1/fine-tuning/jobs", json=body).json()["id"])

    def has_ended(self, handle: str) -> bool:
        job = self.ask("GET", f"/api/v1/fine-tuning/jobs/{handle}").json()
        return job["status"] in ("completed", "failed", "stopped")


class Cloudflare(Owner):
    dialect = "cloudflare"

    def begin(self, name: str, data: bytes) -> str:
        account = self.ask("GET", "/client/v4/accounts").json()["result"][0]["id"]
        path = f"/client/v4/accounts/{account}/ai/finetunes"
        body = {"model": BASE, "name": name}
        finetune = self.create(path, json=body).json()["result"]["id"]
        fields = {
            "file_name": "train.jsonl",
            "hyperparameters": f'{{"num_epochs": {NUM_EPOCHS // 2}, "batch_size": {BATCH_SIZE}}}',
        }
        # The same data again are answered as the first time, without a key.
        assets = f"{path}/{finetune}/finetune-assets"
        self.ask("POST", assets, data=fields, files={"file": ("train.jsonl", data)})
        return f"{path}/{finetune}"

    def has_ended(self, handle: str) -> bool:
        status = self.ask("GET", handle).json()["result"]["status"]
        return status in ("ready", "failed", "stopped")


class Operator(Client):
    """Looks after everybody's jobs: resumes the parked, reads checkpoints, notes who is silent."""

    def __init__(self, url: Callable[[], str], told: Told, rng: random.Random) -> None:
        super().__init__(url, told, rng)
        self.newest: dict[str, tuple[str, float]] = {}  # of a job: its last event, and when heard
        self.num_resumed = self.num_read = 0
        self.num_ended = self.num_open = 0

    def work(self) -> None:
        with suppress(Ended):
            while True:
                self._look()
                self.is_cut.wait(1.0)

    def _look(self) -> None:
        jobs = self.ask("GET", "/v1/fine_tuning/jobs?limit=100").json()["data"]
        still_open = [job for job in jobs if job["status"] not in _FINAL]
        for job in still_open:
            if job["status"] == "paused":
                self.ask("POST", f"/v1/fine_tuning/jobs/{job['id']}/resume")
                self.num_resumed += 1
            self._listen(job["id"])
        self.num_open = len(still_open)
        if still_open:
            self._read_a_checkpoint(self.rng.choice(still_open)["id"])

    def _listen(self, job_id: str) -> None:
        events = self.ask("GET", f"/v1/fine_tuning/jobs/{job_id}/events?limit=1").json()["data"]
        now, newest = time.monotonic(), events[0]["id"]
        known, since = self.newest.setdefault(job_id, (newest, now))
        idle = self.told.idle_seconds
        idle[job_id] = max(idle.get(job_id, 0.0), now - since)
        if newest != known:
            self.newest[job_id] = (newest, now)

    def _read_a_checkpoint(self, job_id: str) -> None:
        """Its weights are those that its lock names, or it has gone meanwhile."""
        path = f"/v1/fine_tuning/jobs/{job_id}/checkpoints?limit=1"
        for checkpoint in self.ask("GET", path).json()["data"]:
            folder = f"/v1/models/{checkpoint['fine_tuned_model_checkpoint']}/files"
            try:
                lock = self._read(f"{folder}/job.lock").json()
                weights = self._read(f"{folder}/{ADAPTER}").content
            except httpx.HTTPError:
                return
            if hashlib.sha256(weights).hexdigest() != lock["result"][ADAPTER]:
                self.told.complaints.append(f"{folder} has weights that its lock does not name")
            self.num_read += 1

    def _read(self, path: str) -> httpx.Response:
        return self._http.get(self._url() + path).raise_for_status()
