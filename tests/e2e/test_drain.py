"""A server that is told to stop, with jobs in training and answers under way."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.lone_worker import Worker, lone_worker
from tests.e2e.service import ADMIN_KEY, Service, wait_for_job, wait_until

NUM_JOBS, NUM_STREAMS = 10, 50
GRACE_SECONDS = 2.0
MAX_TOKENS = 400  # more than are written in that time, all streams together


class Stream(threading.Thread):
    """One answer as it comes, to its end."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.status = 0
        self.text = ""
        self.is_open = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        body = {
            "model": BASE,
            "messages": [{"role": "user", "content": "Tell me of the sea."}],
            "stream": True,
            "max_completion_tokens": MAX_TOKENS,
            "logit_bias": {"0": -100},  # the end
        }
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        try:
            with httpx.stream(
                "POST", f"{self._url}/v1/chat/completions", json=body, headers=headers, timeout=90
            ) as answer:
                self.status = answer.status_code
                for piece in answer.iter_text():
                    self.text += piece
                    self.is_open.set()
        except httpx.HTTPError as error:
            self.error = error

    @property
    def is_whole(self) -> bool:
        return "[DONE]" in self.text

    @property
    def reason(self) -> str:
        """Why it ended before its time."""
        frames = [line for line in self.text.splitlines() if "error" in line]
        return str(json.loads(frames[-1].removeprefix("data: "))["error"]["message"])


@pytest.fixture
def service(make_service: ServiceMaker) -> Iterator[Service]:
    made = make_service("server", drain_seconds=str(GRACE_SECONDS), checkpoint_seconds="1")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def worker(service: Service, tmp_path: Path) -> Iterator[Worker]:
    with lone_worker(service, tmp_path / "work") as process:
        yield process
        process.terminate()
        process.wait(60)


def create_jobs(service: Service) -> list[str]:
    client = service.client
    training = client.files.create(file=("t.jsonl", conversations(120)), purpose="fine-tune")
    create = client.fine_tuning.jobs.create
    settings = {"n_epochs": 4, "batch_size": 3}
    return [
        create(
            model=BASE,
            training_file=training.id,
            suffix=f"job-{number}",
            hyperparameters=settings,  # type: ignore[arg-type]
        ).id
        for number in range(NUM_JOBS)
    ]


def statuses(service: Service) -> list[str]:
    return [str(job.status) for job in service.client.fine_tuning.jobs.list(limit=NUM_JOBS)]


def test_a_server_leaves_in_good_order_and_training_goes_on(
    service: Service, worker: Worker
) -> None:
    jobs = create_jobs(service)
    wait_until(lambda: "running" in statuses(service), "a job to train")
    streams = [Stream(service.url) for _ in range(NUM_STREAMS)]
    for stream in streams:
        stream.start()
    wait_until(lambda: any(stream.is_open.is_set() for stream in streams), "an answer to begin")

    began = time.monotonic()
    assert service.process is not None
    service.process.terminate()
    wait_until(lambda: httpx.get(f"{service.url}/readyz").status_code == 503, "it to say so")
    ready = httpx.get(f"{service.url}/readyz")
    code = service.wait()
    print(f"{time.monotonic() - began:.1f} s, with {GRACE_SECONDS} s of grace")
    for stream in streams:
        stream.join()

    assert code == 0
    assert ready.status_code == 503
    assert "being stopped" in ready.json()["reason"]
    assert [stream.error for stream in streams] == [None] * NUM_STREAMS
    ended_early = [stream for stream in streams if not stream.is_whole]
    assert ended_early
    assert {stream.status for stream in ended_early} <= {200, 503}
    for stream in ended_early:
        assert "being stopped" in stream.reason

    service.start()
    for job_id in jobs:
        wait_for_job(service, job_id)
        events = service.client.fine_tuning.jobs.list_events(job_id, limit=100)
        said = [event.message.lower() for event in events]
        assert not any("interrupted" in line or "resumed" in line for line in said)
