"""A worker on a machine of its own is told to stop amid training, once or twice."""

import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import BASE, ServiceMaker
from tests.e2e.lone_worker import Worker, hosts_of, is_running, lone_worker, send
from tests.e2e.recipes import adapter_of, create_job, messages_of, wait_for_checkpoint
from tests.e2e.service import Service, steps_done, wait_for_job, wait_until

NUM_STEPS = 600
ANSWER_TOKENS = 200


@pytest.fixture(scope="module")
def service(make_service: ServiceMaker) -> Service:
    made = make_service(
        "server", checkpoint_seconds="0.5", max_pass_tokens="0", worker_drain_seconds="60"
    )
    made.start()
    return made


@pytest.fixture(scope="module")
def unbroken(service: Service, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with lone_worker(service, tmp_path_factory.mktemp("unbroken") / "work"):
        job = wait_for_job(service, create_job(service))
    return adapter_of(service, job.fine_tuned_model)


def _status(service: Service, job_id: str) -> str:
    return str(service.client.fine_tuning.jobs.retrieve(job_id).status)


def _halted_host(worker: Worker) -> int:
    """Its host, which does not come to a checkpoint any more."""
    (host,) = hosts_of(worker)
    send(host, signal.SIGSTOP)
    return host


def _ends_on_another(service: Service, job_id: str, unbroken: bytes, folder: Path) -> None:
    with lone_worker(service, folder / "another", "another"):
        job = wait_for_job(service, job_id)
    assert steps_done(service, job_id) == list(range(1, NUM_STEPS + 1))
    assert adapter_of(service, job.fine_tuned_model) == unbroken


def test_it_stores_a_checkpoint_finishes_its_answers_and_goes(
    service: Service, unbroken: bytes, tmp_path: Path
) -> None:
    with lone_worker(service, tmp_path / "work") as worker:
        job_id = create_job(service)
        wait_for_checkpoint(service, job_id)
        with service.client.chat.completions.create(
            model=BASE,
            messages=[{"role": "user", "content": "Tell me of the sea."}],
            max_completion_tokens=ANSWER_TOKENS,
            logit_bias={"0": -100},  # the end
            stream=True,
        ) as stream:
            chunks = [next(stream)]
            worker.send_signal(signal.SIGTERM)
            chunks += stream
        assert worker.wait(60) == 0

    assert chunks[-1].choices[0].finish_reason == "length"
    assert _status(service, job_id) == "queued"
    last = steps_done(service, job_id)[-1]
    assert last < NUM_STEPS
    _ends_on_another(service, job_id, unbroken, tmp_path)
    said = messages_of(service, job_id)
    assert any(f"resumed at step {last}" in message for message in said)
    assert not any("interrupted" in message.lower() for message in said)


def test_it_goes_in_time_from_a_host_that_comes_to_no_checkpoint(
    make_service: ServiceMaker, unbroken: bytes, tmp_path: Path
) -> None:
    service = make_service(
        "server", checkpoint_seconds="0.5", max_pass_tokens="0", worker_drain_seconds="0.5"
    )
    service.start()
    with lone_worker(service, tmp_path / "work") as worker:
        job_id = create_job(service)
        wait_for_checkpoint(service, job_id)
        host = _halted_host(worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        assert not is_running(host)
        assert _status(service, job_id) == "queued"  # and not when its lease is over
    _ends_on_another(service, job_id, unbroken, tmp_path)
    service.stop()


def test_told_twice_it_goes_at_once(service: Service, unbroken: bytes, tmp_path: Path) -> None:
    with lone_worker(service, tmp_path / "work", "another") as worker:
        job_id = create_job(service)
        wait_for_checkpoint(service, job_id)
        host = _halted_host(worker)
        worker.send_signal(signal.SIGINT)
        said = service.data_dir.with_name("worker-another.log")
        wait_until(lambda: '"event": "leaving"' in said.read_text(), "it to take the first")
        assert worker.poll() is None
        worker.send_signal(signal.SIGINT)
        assert worker.wait(30) == 1
        send(host, signal.SIGCONT)
        wait_until(lambda: not is_running(host), "its host to see it gone")
    _ends_on_another(service, job_id, unbroken, tmp_path)  # of its name, which ends its leases
