import threading
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import NOW, organization
from tunesmith.store.database import Database
from tunesmith.store.measurements import Throughput


def measured(tokens_per_second: float, startup_seconds: float | None = 5.0) -> Throughput:
    return Throughput(
        device="cpu", tokens_per_second=tokens_per_second, startup_seconds=startup_seconds
    )


def test_a_new_measurement_moves_the_average_by_its_share(database: Database) -> None:
    with database.write() as store:
        store.measurements.add_throughput("base", measured(100.0), NOW)
        store.measurements.add_throughput("base", measured(200.0), NOW + timedelta(days=1))
        (average,) = store.measurements.list_throughputs("base")
    assert average.tokens_per_second == pytest.approx(130)
    assert average.startup_seconds == pytest.approx(5)


def test_a_start_up_that_was_not_measured_changes_nothing(database: Database) -> None:
    with database.write() as store:
        for startup_seconds in (None, 8.0, None):
            store.measurements.add_throughput("base", measured(100.0, startup_seconds), NOW)
        (average,) = store.measurements.list_throughputs("base")
    assert average.startup_seconds == pytest.approx(8)


def test_the_fastest_device_comes_first(database: Database) -> None:
    with database.write() as store:
        for device, speed in (("cpu", 1.0), ("gpu", 9.0), ("other", 5.0)):
            one = Throughput(device=device, tokens_per_second=speed, startup_seconds=None)
            store.measurements.add_throughput("base", one, NOW)
        store.measurements.add_throughput("another", measured(99.0), NOW)
        found = store.measurements.list_throughputs("base")
    assert [one.device for one in found] == ["gpu", "other", "cpu"]


def test_two_first_jobs_may_finish_at_once(database: Database) -> None:
    both_are_there = threading.Barrier(2)
    is_sqlite = database._engine.dialect.name == "sqlite"

    def finish(failures: list[Any]) -> None:
        try:
            with database.write() as store:
                if not is_sqlite:  # where there is one writer at a time
                    both_are_there.wait(10)
                store.measurements.add_throughput("base", measured(100.0), NOW)
        except Exception as error:
            failures.append(error)

    failures: list[Any] = []
    threads = [threading.Thread(target=finish, args=(failures,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.read() as store:
        assert store.measurements.list_throughputs("base") == (measured(100.0),)


def test_nobody_has_examples_before_the_first_job(database: Database) -> None:
    with database.write() as store:
        owner = organization()
        store.accounts.add_organization(owner)
        assert store.measurements.find_example_length(owner.id) is None
        store.measurements.add_example_length(owner.id, 12.0, NOW)
        assert store.measurements.find_example_length(owner.id) == 12
        assert store.measurements.find_example_length(organization("other").id) == 12
