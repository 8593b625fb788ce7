import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.factories import assignment, metrics
from tests.unit.worker.fakes import FakeClient
from tunesmith.domain.assignments import (
    AttemptLost,
    AttemptReleased,
    CheckpointPublished,
    StepReported,
    TrainingFinished,
    TrainingStarted,
    Wish,
)
from tunesmith.domain.errors import StaleAttempt, Unavailable
from tunesmith.domain.files import Blob
from tunesmith.worker import reporter as reporter_module
from tunesmith.worker.reporter import Reporter, artifacts_of

PATIENCE_SECONDS = 10.0
STAYING = threading.Event()  # never set: the worker is not leaving


def report_to(client: FakeClient) -> Reporter:
    return Reporter(cast(Any, client), assignment())


def step(number: int) -> StepReported:
    return StepReported(metrics=metrics(number))


def wait_until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def checkpoint_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "step-4"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "training_state.json").write_bytes(b"{}")
    return folder


def test_reports_arrive_once_and_in_order(client: FakeClient) -> None:
    reporter = report_to(client)
    told = [step(number) for number in range(1, 201)]
    for report in told:
        reporter.add(report)
    reporter.add(AttemptReleased())
    reporter.close(STAYING)
    assert client.reports == [*told, AttemptReleased()]
    assert [batch.sequence for batch in client.batches] == [*range(1, len(client.batches) + 1)]


def test_an_ending_is_delivered_before_the_close_returns(client: FakeClient) -> None:
    reporter = report_to(client)
    reporter.add(AttemptReleased())
    reporter.close(STAYING)
    assert client.reports == [AttemptReleased()]


def test_reports_wait_while_the_server_is_away(client: FakeClient) -> None:
    client.trouble = Unavailable("The server cannot be reached.")
    reporter = report_to(client)
    told = [step(1), step(2), step(3)]
    for report in told:
        reporter.add(report)
    time.sleep(0.03)
    assert client.reports == []
    assert reporter.offline_seconds > 0.02
    client.trouble = None
    wait_until(lambda: len(client.reports) == 3)
    assert client.reports == told
    assert not reporter.is_stale
    reporter.close(STAYING)


def test_a_batch_whose_answer_was_lost_is_sent_again_under_its_number_with_nothing_added(
    client: FakeClient,
) -> None:
    client.loses_answers = True
    reporter = report_to(client)
    reporter.add(step(1))
    assert client.has_heard.wait(PATIENCE_SECONDS)
    reporter.add(step(2))  # the server would pass it over, were it part of the first batch
    reporter.add(AttemptReleased())
    time.sleep(0.03)
    client.loses_answers = False
    reporter.close(STAYING)
    assert client.reports == [step(1), step(2), AttemptReleased()]


def test_an_attempt_that_is_refused_is_stale(client: FakeClient) -> None:
    client.trouble = StaleAttempt("Attempt 1 is over.")
    reporter = report_to(client)
    reporter.add(step(1))
    wait_until(lambda: reporter.is_stale)
    started = time.monotonic()
    reporter.close(STAYING)
    assert time.monotonic() - started < PATIENCE_SECONDS / 2


def test_a_renewal_that_is_refused_makes_the_attempt_stale(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "ASK_SECONDS", 0.005)
    client.trouble = StaleAttempt("Attempt 1 is over.")
    reporter = report_to(client)
    wait_until(lambda: reporter.is_stale)


def test_renewals_are_no_news(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter_module, "ASK_SECONDS", 0.005)
    reporter = report_to(client)
    assert client.has_heard.wait(PATIENCE_SECONDS)
    reporter.close(STAYING)
    assert client.batches == []


def test_what_is_wanted_is_heard_with_every_answer_and_without_any_news(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "ASK_SECONDS", 0.005)
    reporter = report_to(client)
    for wanted in (Wish.PAUSE, None, Wish.PAUSE):
        client.wanted = wanted
        wait_until(lambda wanted=wanted: reporter.is_pause_wanted == (wanted is not None))
    monkeypatch.setattr(reporter_module, "ASK_SECONDS", 60.0)
    client.wanted = None
    reporter.add(step(1))
    wait_until(lambda: not reporter.is_pause_wanted)
    reporter.close(STAYING)


def test_a_worker_that_leaves_does_not_wait_forever_for_an_absent_server(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "LEAVING_SECONDS", 0.05)
    client.trouble = Unavailable("The server cannot be reached.")
    reporter = report_to(client)
    reporter.add(AttemptReleased())
    leaving = threading.Event()
    leaving.set()
    started = time.monotonic()
    reporter.close(leaving)
    assert time.monotonic() - started < PATIENCE_SECONDS / 2
    client.trouble = None


def test_an_attempt_that_is_given_back_has_no_more_to_say(client: FakeClient) -> None:
    reporter = report_to(client)
    reporter.add(step(1))
    reporter.give_back()
    reporter.add(AttemptLost(reason="the host ended"))  # as whoever still works at it finds
    wait_until(lambda: reporter.is_told)
    reporter.close(STAYING)
    assert client.reports == [step(1), AttemptReleased()]


def test_what_has_not_been_told_is_known(client: FakeClient) -> None:
    client.trouble = Unavailable("The server cannot be reached.")
    reporter = report_to(client)
    reporter.give_back()
    assert not reporter.is_told
    client.trouble = None
    wait_until(lambda: reporter.is_told)


def test_a_worker_that_stays_tells_what_it_did_when_the_server_is_back(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "LEAVING_SECONDS", 0.0)
    client.trouble = Unavailable("The server cannot be reached.")
    reporter = report_to(client)
    reporter.add(AttemptReleased())
    threading.Timer(0.1, setattr, (client, "trouble", None)).start()
    reporter.close(STAYING)
    assert client.reports == [AttemptReleased()]


def test_a_checkpoints_files_are_stored_before_it_is_told_and_then_removed(
    client: FakeClient, tmp_path: Path
) -> None:
    folder = checkpoint_folder(tmp_path)
    artifacts = artifacts_of(folder)
    reporter = report_to(client)
    reporter.add(CheckpointPublished(step=4, epoch=1, artifacts=artifacts), folder)
    reporter.close(STAYING)
    assert {a.blob.sha256 for a in artifacts} == set(client.blobs)
    assert len(client.reports) == 1
    assert not folder.exists()


def test_the_lease_is_renewed_while_the_last_files_are_on_their_way(
    client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "ASK_SECONDS", 0.005)
    reporter = report_to(client)
    publish = client.publish

    def publish_slowly(path: Path, blob: Blob, _: str | None) -> None:
        assert reporter._closing.wait(PATIENCE_SECONDS)
        client.has_heard.clear()
        assert client.has_heard.wait(PATIENCE_SECONDS)
        publish(path, blob)

    monkeypatch.setattr(client, "publish", publish_slowly)
    folder = checkpoint_folder(tmp_path)
    finished = TrainingFinished(step=4, trained_tokens=1, artifacts=artifacts_of(folder))
    reporter.add(finished, folder)
    reporter.close(STAYING)
    assert client.reports == [finished]


def test_while_the_server_is_away_a_checkpoint_stays_where_it_is(
    client: FakeClient, tmp_path: Path
) -> None:
    folder = checkpoint_folder(tmp_path)
    client.trouble = Unavailable("The server cannot be reached.")
    reporter = report_to(client)
    finished = TrainingFinished(step=4, trained_tokens=1, artifacts=artifacts_of(folder))
    reporter.add(finished, folder)
    time.sleep(0.03)
    assert folder.exists()
    client.trouble = None
    reporter.close(STAYING)
    assert client.reports == [finished]


def test_an_attempt_whose_files_are_lost_is_over(client: FakeClient, tmp_path: Path) -> None:
    folder = checkpoint_folder(tmp_path)
    report = CheckpointPublished(step=4, epoch=1, artifacts=artifacts_of(folder))
    (folder / "training_state.json").unlink()
    reporter = report_to(client)
    reporter.add(report, folder)
    wait_until(lambda: reporter.is_stale)


def test_artifacts_are_the_files_of_a_folder_by_name(tmp_path: Path) -> None:
    folder = checkpoint_folder(tmp_path)
    (folder / "a-folder").mkdir()
    artifacts = artifacts_of(folder)
    assert [a.name for a in artifacts] == ["adapter_model.safetensors", "training_state.json"]
    assert artifacts[0].blob.size_bytes == 7


def test_a_report_after_a_lull_does_not_wait_for_more(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "FLUSH_SECONDS", 10 * PATIENCE_SECONDS)
    reporter = report_to(client)
    reporter.add(step(1))
    wait_until(lambda: client.reports == [step(1)])
    reporter.add(step(2))
    reporter.add(AttemptReleased())
    reporter.close(STAYING)
    assert client.reports == [step(1), step(2), AttemptReleased()]


def test_the_first_step_does_not_wait_behind_the_start(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "FLUSH_SECONDS", 10 * PATIENCE_SECONDS)
    reporter = report_to(client)
    started = TrainingStarted(step=0, total_steps=9, num_examples=9, notes=())
    reporter.add(started)
    wait_until(lambda: client.reports == [started])
    reporter.add(step(1))
    wait_until(lambda: client.reports == [started, step(1)])
    reporter.add(AttemptReleased())
    reporter.close(STAYING)


def test_an_attempt_that_is_told_to_asks_at_once(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "ASK_SECONDS", 10 * PATIENCE_SECONDS)
    client.wanted = Wish.PAUSE
    reporter = report_to(client)
    reporter.ask()
    wait_until(lambda: reporter.is_pause_wanted)
    reporter.close(STAYING)
