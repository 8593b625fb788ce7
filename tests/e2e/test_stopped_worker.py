"""A worker stands still while another one does its job, and then goes on as if nothing had been.

The suite gives its name to the other one, which ends its leases at once; waiting for three leases
to run out takes minutes: `python -m tests.e2e.test_stopped_worker`.
"""

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import BASE, ServiceMaker
from tests.e2e.lone_worker import lone_worker
from tests.e2e.recipes import adapter_of, create_job, messages_of, wait_for_checkpoint
from tests.e2e.service import Service, steps_done, wait_for_job, wait_until
from tests.tiny_models import make_tiny_llama

NUM_STEPS = 600
LEASES_SECONDS = 180.0


def stand_still(
    service: Service, folder: Path, other: str, wait_for_the_end_of_leases: Callable[[], None]
) -> None:
    """A job comes to its end once, whatever its first worker says when it wakes."""
    with lone_worker(service, folder / "one") as first:
        job_id = create_job(service)
        wait_for_checkpoint(service, job_id)
        # Its host is not halted: it trains on, and tells nobody.
        first.send_signal(signal.SIGSTOP)
        wait_for_the_end_of_leases()
        with lone_worker(service, folder / "two", other):
            count = len(steps_done(service, job_id))
            wait_until(lambda: len(steps_done(service, job_id)) > count, "the other to train")
            first.send_signal(signal.SIGCONT)
            job = wait_for_job(service, job_id)
            assert steps_done(service, job_id) == list(range(1, NUM_STEPS + 1))
            wait_until(lambda: num_refused(service) > 0, "a report to be refused")
            again = wait_for_job(service, create_job(service))
    unbroken = adapter_of(service, again.fine_tuned_model)
    assert adapter_of(service, job.fine_tuned_model) == unbroken
    said = messages_of(service, job_id)
    assert sum("successfully completed" in message for message in said) == 1


def num_refused(service: Service) -> int:
    """Reports of attempts that are over."""
    lines = [line for line in service.log.splitlines() if "/reports" in line]
    return sum('"status": 409' in line for line in lines)


@pytest.mark.slow
def test_what_a_worker_says_that_was_replaced_is_refused(
    make_service: ServiceMaker, tmp_path: Path
) -> None:
    service = make_service("server", checkpoint_seconds="0.5", max_pass_tokens="0")
    service.start()
    stand_still(service, tmp_path, "box", lambda: None)
    service.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = Service(folder / "data", "server", checkpoint_seconds="0.5", max_pass_tokens="0")
        service.run("models", "add", BASE, "--from", str(make_tiny_llama(folder / "base")))
        service.start()
        try:
            stand_still(service, folder, "other", lambda: time.sleep(LEASES_SECONDS))
            print(f"One result, equal to an undisturbed one; {num_refused(service)} refused.")
        finally:
            service.stop()


if __name__ == "__main__":
    main()
