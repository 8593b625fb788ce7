"""Three jobs at once on one worker: each ends as it would alone, whatever happens to the others.

A host that takes one run at a time turns the others away, and they wait; one that takes many trains
them together. What is claimed here holds either way.
"""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.service import Service, steps_done, wait_for_job, wait_until

NUM_STEPS = 400
SEEDS = (3, 4, 5)
CLOSE_ENOUGH = 0.02  # of a loss, in nats: company changes the rounding


def _create_job(service: Service, training_file: str, seed: int) -> str:
    return service.client.fine_tuning.jobs.create(
        model=BASE,
        training_file=training_file,
        seed=seed,
        hyperparameters={"n_epochs": 4, "batch_size": 3, "learning_rate_multiplier": 5},
    ).id


def _upload(service: Service) -> str:
    content = conversations(300)
    return service.client.files.create(file=("t.jsonl", content), purpose="fine-tune").id


def _losses(service: Service, job_id: str) -> list[float]:
    """Of each step, in order; each step once."""
    events = list(service.client.fine_tuning.jobs.list_events(job_id, limit=100))
    points = [event.data for event in reversed(events) if event.type == "metrics"]
    assert [point["step"] for point in points] == list(range(1, NUM_STEPS + 1))
    return [point["train_loss"] for point in points]


def _assert_alike(losses: list[float], alone: list[float]) -> None:
    assert losses == pytest.approx(alone, abs=CLOSE_ENOUGH)


def _has_checkpoint(service: Service, job_id: str) -> bool:
    return bool(service.client.fine_tuning.jobs.checkpoints.list(job_id).data)


@pytest.fixture(scope="module")
def quick_saver(make_service: ServiceMaker) -> Iterator[Service]:
    service = make_service(checkpoint_seconds="0.5")
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def alone(quick_saver: Service) -> dict[int, list[float]]:
    """The losses of each seed's job with the worker for itself."""
    training = _upload(quick_saver)
    losses = {}
    for seed in SEEDS:
        job = wait_for_job(quick_saver, _create_job(quick_saver, training, seed))
        losses[seed] = _losses(quick_saver, job.id)
    return losses


def test_three_jobs_survive_their_hosts_death(
    quick_saver: Service, alone: dict[int, list[float]]
) -> None:
    training = _upload(quick_saver)
    jobs = {seed: _create_job(quick_saver, training, seed) for seed in SEEDS}
    wait_until(lambda: any(_has_checkpoint(quick_saver, j) for j in jobs.values()), "a checkpoint")

    (host,) = quick_saver.processes("tunesmith.compute.host")
    os.kill(host, signal.SIGKILL)

    for seed, job_id in jobs.items():
        wait_for_job(quick_saver, job_id)
        _assert_alike(_losses(quick_saver, job_id), alone[seed])


def test_one_that_is_stopped_and_one_that_is_paused_leave_the_third_alone(
    quick_saver: Service, alone: dict[int, list[float]]
) -> None:
    client = quick_saver.client
    training = _upload(quick_saver)
    stopped, paused, third = (_create_job(quick_saver, training, seed) for seed in SEEDS)
    wait_until(lambda: bool(steps_done(quick_saver, stopped)), "the first step")

    assert client.fine_tuning.jobs.cancel(stopped).status == "cancelled"
    wait_until(lambda: bool(steps_done(quick_saver, paused)), "the second job's first step")
    client.fine_tuning.jobs.pause(paused)
    retrieve = client.fine_tuning.jobs.retrieve
    wait_until(lambda: str(retrieve(paused).status) == "paused", "the pause")

    wait_for_job(quick_saver, third)
    _assert_alike(_losses(quick_saver, third), alone[SEEDS[2]])
    assert retrieve(stopped).status == "cancelled"
    assert len(steps_done(quick_saver, paused)) < NUM_STEPS
    client.fine_tuning.jobs.resume(paused)
    wait_for_job(quick_saver, paused)
    _assert_alike(_losses(quick_saver, paused), alone[SEEDS[1]])


def test_a_server_that_is_started_again_disturbs_none_of_three(
    make_service: ServiceMaker, alone: dict[int, list[float]]
) -> None:
    service = make_service(checkpoint_seconds="0.5")
    service.start()
    training = _upload(service)
    jobs = {seed: _create_job(service, training, seed) for seed in SEEDS}
    wait_until(lambda: any(_has_checkpoint(service, j) for j in jobs.values()), "a checkpoint")

    assert service.stop() == 0  # in good order: each run stops at a checkpoint
    service.start()

    for seed, job_id in jobs.items():
        wait_for_job(service, job_id)
        _assert_alike(_losses(service, job_id), alone[seed])
    service.stop()
