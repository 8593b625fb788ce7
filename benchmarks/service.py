"""A running service to submit jobs to, as its users do."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai

from benchmarks.session import Session
from benchmarks.throughput import model_folder
from tests.e2e.service import ADMIN_KEY, Service
from tunesmith.settings import Settings

BASE = "bench"
POLL_SECONDS = 0.03  # for what takes part of a second
LONG_POLL_SECONDS = 0.25  # who asks takes time from the processors that train
REST_SECONDS = 10.0  # until what the next host needs is imported
PATIENCE_SECONDS = 1800.0


@contextmanager
def running(session: Session, model: str, name: str, *, rests: bool = False) -> Iterator[Service]:
    """`tunesmith serve` in a fresh data folder, in bf16 where that can be set.

    The worker has just registered, or has had a rest; there is no host yet.
    """
    settings = {"threads": str(session.threads), "device": session.device}
    if "precision" in Settings.model_fields:
        settings["precision"] = "bf16"
    data = session.folder / "services" / f"{name}-{time.time_ns()}"
    data.parent.mkdir(exist_ok=True)
    service = Service(data.absolute(), **settings)
    folder = model_folder(session, model).absolute()
    service.run("models", "add", BASE, "--from", str(folder))
    service.start()
    try:
        _wait(lambda: "worker connected" in service.log)
        if rests:
            time.sleep(REST_SECONDS)
        yield service
    finally:
        service.stop()
        shutil.rmtree(data)


def submit(service: Service, rows: Path, batch_size: int, seed: int = 1) -> str:
    """Upload a file and create a job of one epoch through OpenAI's API; its id."""
    uploaded = service.client.files.create(file=rows, purpose="fine-tune")
    job = service.client.fine_tuning.jobs.create(
        model=BASE,
        training_file=uploaded.id,
        seed=seed,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": batch_size}},
        },
    )
    return job.id


def submit_with_rank(service: Service, name: str, rows: Path, batch_size: int, rank: int) -> str:
    """The same through Cloudflare's API, which lets the rank be chosen; the finetune's name."""
    with cloudflare(service) as http:
        http.post("/finetunes", json={"model": BASE, "name": name}).raise_for_status()
        asked = f'{{"num_epochs": 1, "batch_size": {batch_size}, "lora_rank": {rank}}}'
        http.post(
            f"/finetunes/{name}/finetune-assets",
            data={"file_name": "train.jsonl", "hyperparameters": asked},
            files={"file": ("train.jsonl", rows.read_bytes())},
        ).raise_for_status()
    return name


@contextmanager
def cloudflare(service: Service) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=f"{service.url}/client/v4", headers=headers, timeout=60) as http:
        account = http.get("/accounts").raise_for_status().json()["result"][0]["id"]
        http.base_url = httpx.URL(f"{service.url}/client/v4/accounts/{account}/ai")
        yield http


def wait_for_first_step(client: openai.OpenAI, job_id: str) -> None:
    def is_there() -> bool:
        newest = client.fine_tuning.jobs.list_events(job_id, limit=20).data
        return any(event.type == "metrics" for event in newest)

    _wait(is_there)


def wait_for_jobs(client: openai.OpenAI, job_ids: list[str]) -> None:
    def have_ended() -> bool:
        while job_ids:
            job = client.fine_tuning.jobs.retrieve(job_ids[-1])
            if job.status in ("failed", "cancelled"):
                raise RuntimeError(f"{job.id}: {job.status}, {job.error}")
            if job.status != "succeeded":
                return False
            job_ids.pop()
        return True

    _wait(have_ended, LONG_POLL_SECONDS)


def wait_for_finetunes(service: Service, names: list[str]) -> None:
    def are_ready(http: httpx.Client) -> bool:
        states = [http.get(f"/finetunes/{name}").json()["result"]["status"] for name in names]
        if "failed" in states:
            raise RuntimeError(f"finetunes: {states}")
        return all(state == "ready" for state in states)

    with cloudflare(service) as http:
        _wait(lambda: are_ready(http), LONG_POLL_SECONDS)


def host_peak_bytes(service: Service) -> int:
    """The resident peak of the host processes since their start."""
    total = 0
    for pid in service.processes("tunesmith.compute.host"):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024
    return total


def _wait(claim: Callable[[], bool], pause_seconds: float = POLL_SECONDS) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not claim():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {PATIENCE_SECONDS:.0f} s in vain.")
        time.sleep(pause_seconds)
