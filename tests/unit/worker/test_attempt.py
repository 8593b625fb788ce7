import errno
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.factories import assignment, conversation, json_lines
from tests.unit.worker.fakes import FakeClient, FakeLauncher
from tunesmith.domain.assignments import (
    Assignment,
    AttemptHalted,
    AttemptLost,
    AttemptReleased,
    CheckpointPublished,
    Report,
    StepReported,
    TrainingEndedEarly,
    TrainingFailed,
    TrainingFinished,
    TrainingHealed,
    TrainingStarted,
    Validated,
    Wish,
)
from tunesmith.domain.datasets import TOO_FEW_EXAMPLES
from tunesmith.domain.errors import StaleAttempt, Unavailable
from tunesmith.domain.files import Blob
from tunesmith.domain.jobs import Task
from tunesmith.engine import events
from tunesmith.engine.messages import (
    AbandonRun,
    Command,
    HostFailed,
    Message,
    OpenRun,
    RunEvent,
    RunFailed,
    StopRun,
)
from tunesmith.engine.trainer import Trainer
from tunesmith.worker.attempt import Attempts
from tunesmith.worker.client import ServerFull
from tunesmith.worker.placing import Hosts, NoRoom
from tunesmith.worker.prepare import Workshop

STARTED = events.Started(
    step=0,
    total_steps=2,
    num_examples=10,
    num_validation_examples=0,
    notes=("Each example is trained alone.",),
)


def step_done(step: int) -> events.StepDone:
    return events.StepDone(
        step=step,
        total_steps=2,
        epoch=step / 2,
        loss=3.0 - step,
        token_accuracy=0.5,
        learning_rate=1e-4,
        grad_norm=1.0,
        num_tokens=25,
        seconds=0.5,
    )


def saved(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "adapter_model.safetensors").write_text(name)
    return path


class Scene:
    """A worker with a host that opens a run and then does what `script` says."""

    def __init__(self, folder: Path, client: FakeClient) -> None:
        self.folder = folder
        self.client = client
        self.launcher = FakeLauncher()
        self.launcher.reply = self._reply
        self.is_leaving = threading.Event()
        self.script: Callable[[str], list[Any]] = lambda run_id: []
        self.on_stop: Callable[[str], list[Any]] = lambda run_id: []
        self.commands: list[Command] = []
        self.attempts = Attempts(
            cast(Any, client),
            Hosts(self.launcher, 1, lambda answer: None),
            Workshop(cast(Any, client), folder / "work", name="box"),
            checkpoint_seconds=60.0,
            max_offline_seconds=10.0,
            is_leaving=self.is_leaving,
        )

    def _reply(self, command: Command) -> list[Message]:
        self.commands.append(command)
        if isinstance(command, OpenRun):
            return self._told(command.spec.run_id, self.script(command.spec.run_id))
        if isinstance(command, StopRun):
            return self._told(command.run_id, self.on_stop(command.run_id))
        return []

    def _told(self, run_id: str, happenings: list[Any]) -> list[Message]:
        return [
            told if isinstance(told, RunFailed) else RunEvent(run_id=run_id, event=told)
            for told in happenings
        ]

    def carry_out(self, its: Assignment) -> list[Report]:
        self.attempts.carry_out(its)
        return self.client.reports

    def begin(self, its: Assignment) -> threading.Thread:
        thread = threading.Thread(target=self.attempts.carry_out, args=(its,))
        thread.start()
        deadline = time.monotonic() + 10
        while not any(isinstance(command, OpenRun) for command in self.commands):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return thread


@pytest.fixture
def scene(tmp_path: Path, client: FakeClient) -> Scene:
    return Scene(tmp_path, client)


@pytest.fixture
def training(client: FakeClient) -> Assignment:
    content = b"".join(json_lines(*[conversation()] * 10))
    return assignment(training_file=client.put(content))


def test_what_happens_in_a_run_is_reported(scene: Scene, training: Assignment) -> None:
    def script(run_id: str) -> list[Any]:
        return [
            STARTED,
            step_done(1),
            events.CheckpointSaved(step=1, epoch=1, path=saved(scene.folder, "step-1")),
            events.Evaluating(step=2, num_batches_done=1, num_batches=3),
            step_done(2),
            events.Finished(step=2, path=saved(scene.folder, "adapter"), trained_tokens=50),
        ]

    scene.script = script
    started, first, checkpoint, second, finished = scene.carry_out(training)
    assert 0 < started.startup_seconds < 60
    assert replace(started, startup_seconds=None) == TrainingStarted(
        step=0,
        total_steps=2,
        num_examples=10,
        notes=("Each example is trained alone.",),
    )
    assert isinstance(first, StepReported)
    assert isinstance(second, StepReported)
    assert (first.metrics.train_loss, second.metrics.train_loss) == (2.0, 1.0)
    assert first.remaining_seconds == pytest.approx(0.5)
    assert second.remaining_seconds == 0.0
    assert isinstance(checkpoint, CheckpointPublished)
    assert isinstance(finished, TrainingFinished)
    assert finished.artifacts[0].blob.sha256 in scene.client.blobs
    assert finished.trained_tokens == 50


def test_an_early_end_is_reported(scene: Scene, training: Assignment) -> None:
    figures = {"step": 1, "total_steps": 2, "num_evaluations": 1, "best_validation_loss": 0.5}
    scene.script = lambda run_id: [
        events.EndedEarly(**figures),
        events.Finished(step=1, path=saved(scene.folder, "adapter"), trained_tokens=25),
    ]
    told, finished = scene.carry_out(training)
    assert told == TrainingEndedEarly(**figures)
    assert isinstance(finished, TrainingFinished)


def test_what_a_step_says_of_preferences_is_reported(scene: Scene, training: Assignment) -> None:
    rewards = {"chosen_reward": 1.0, "rejected_reward": -0.5, "reward_margin": 1.5}
    done = replace(step_done(2), reward_accuracy=0.75, **rewards)
    scene.script = lambda run_id: [
        done,
        events.Finished(step=2, path=saved(scene.folder, "adapter"), trained_tokens=50),
    ]
    told, _ = scene.carry_out(training)
    assert isinstance(told, StepReported)
    assert (told.metrics.chosen_reward, told.metrics.rejected_reward) == (1.0, -0.5)
    assert (told.metrics.reward_accuracy, told.metrics.reward_margin) == (0.75, 1.5)


def test_an_attempt_leaves_nothing_in_the_scratch_folder(
    scene: Scene, training: Assignment
) -> None:
    scene.script = lambda run_id: [
        events.Finished(step=2, path=saved(scene.folder, "adapter"), trained_tokens=50)
    ]
    scene.carry_out(training)
    assert list((scene.folder / "work" / "attempts").iterdir()) == []


def test_a_lost_host_is_no_fault_of_the_job(scene: Scene, training: Assignment) -> None:
    thread = scene.begin(training)
    scene.launcher.hosts[0].end("signal SIGKILL")
    thread.join(10)
    assert scene.client.reports == [AttemptLost(reason="the host ended (signal SIGKILL)")]


def test_a_worker_that_leaves_lets_the_run_stop_at_a_checkpoint(
    scene: Scene, training: Assignment
) -> None:
    scene.on_stop = lambda run_id: [
        events.Stopped(step=1, path=saved(scene.folder, "step-1")),
    ]
    thread = scene.begin(training)
    scene.is_leaving.set()
    thread.join(10)
    checkpoint, released = scene.client.reports
    assert isinstance(checkpoint, CheckpointPublished)
    assert (checkpoint.step, checkpoint.epoch) == (1, None)
    assert released == AttemptReleased()
    assert [type(command) for command in scene.commands] == [OpenRun, StopRun]


def test_a_run_that_is_to_pause_stops_at_a_checkpoint_and_is_released(
    scene: Scene, training: Assignment
) -> None:
    scene.on_stop = lambda run_id: [
        events.Stopped(step=1, path=saved(scene.folder, "step-1")),
    ]
    thread = scene.begin(training)
    scene.client.wanted = Wish.PAUSE  # which nothing but a question brings to light
    thread.join(10)
    checkpoint, released = scene.client.reports
    assert isinstance(checkpoint, CheckpointPublished)
    assert (checkpoint.step, released) == (1, AttemptReleased())
    assert [type(command) for command in scene.commands] == [OpenRun, StopRun]


def test_a_job_for_which_there_is_no_room_any_more_is_handed_back(
    scene: Scene, training: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*arguments: Any) -> Any:
        raise NoRoom("Another base model answers.")

    monkeypatch.setattr(scene.attempts._hosts, "place", no_room)
    assert scene.carry_out(training) == [AttemptReleased()]


def test_a_run_that_its_host_turns_away_is_handed_back(scene: Scene, training: Assignment) -> None:
    def turned_away(run_id: str) -> list[Message]:
        full = Trainer(cast(Any, None), max_runs=0)
        refused = full.open(cast(Any, SimpleNamespace(run_id=run_id)))
        assert refused is not None
        return [refused]

    scene.script = turned_away
    assert scene.carry_out(training) == [AttemptReleased()]


def test_of_two_runs_side_by_side_each_hears_its_own(
    scene: Scene, training: Assignment, client: FakeClient
) -> None:
    ends = {1: step_done(1), 2: step_done(2)}
    scene.script = lambda run_id: [
        ends[int(run_id[-1])],
        events.Finished(step=int(run_id[-1]), path=saved(scene.folder, run_id), trained_tokens=50),
    ]
    other = FakeClient()
    other.blobs = client.blobs
    beside = Attempts(
        cast(Any, other),
        scene.attempts._hosts,
        scene.attempts._workshop,
        checkpoint_seconds=60.0,
        max_offline_seconds=10.0,
        is_leaving=scene.is_leaving,
    )
    thread = threading.Thread(target=beside.carry_out, args=(replace(training, attempt=2),))
    thread.start()
    first, first_end = scene.carry_out(training)
    thread.join(10)
    second, second_end = other.reports
    assert (first.metrics.step, second.metrics.step) == (1, 2)
    assert (first_end.step, second_end.step) == (1, 2)
    assert scene.launcher.launched == ["base"]


def test_a_run_that_stops_where_it_has_just_saved_tells_its_checkpoint_once(
    scene: Scene, training: Assignment
) -> None:
    path = saved(scene.folder, "step-1")
    scene.script = lambda run_id: [
        events.CheckpointSaved(step=1, epoch=1, path=path),
        events.Stopped(step=1, path=path),
    ]
    checkpoint, released = scene.carry_out(training)
    assert isinstance(checkpoint, CheckpointPublished)
    assert checkpoint.epoch == 1
    assert released == AttemptReleased()


def test_a_run_that_went_back_publishes_again_what_the_server_forgot(
    scene: Scene, training: Assignment
) -> None:
    scene.script = lambda run_id: [
        events.Healed(step=1, kind="smaller_batches", message="Passes are smaller."),
        events.CheckpointSaved(step=1, epoch=None, path=saved(scene.folder, "step-1")),
        events.Healed(step=0, kind="rolled_back", message="It went back."),
        step_done(1),
        events.Stopped(step=1, path=saved(scene.folder, "step-1-again-1")),
    ]
    smaller, first, back, _, second, released = scene.carry_out(training)
    assert smaller == TrainingHealed(step=1, went_back=False, message="Passes are smaller.")
    assert back == TrainingHealed(step=0, went_back=True, message="It went back.")
    assert isinstance(first, CheckpointPublished)
    assert isinstance(second, CheckpointPublished)
    assert second.step == 1
    assert released == AttemptReleased()


def test_a_run_that_stops_before_its_first_step_has_no_checkpoint(
    scene: Scene, training: Assignment
) -> None:
    scene.script = lambda run_id: [events.Stopped(step=0, path=None)]
    assert scene.carry_out(training) == [AttemptReleased()]


def test_a_worker_that_is_leaving_opens_no_run(scene: Scene, training: Assignment) -> None:
    scene.is_leaving.set()
    assert scene.carry_out(training) == [AttemptReleased()]
    assert scene.commands == []


def test_a_row_at_fault_is_named_by_file_and_line(scene: Scene, training: Assignment) -> None:
    scene.script = lambda run_id: [
        RunFailed(
            run_id=run_id, code="bad_example", message="It is empty.", line=7, file="validation"
        )
    ]
    (report,) = scene.carry_out(training)
    assert isinstance(report, TrainingFailed)
    assert (report.failure.code, report.failure.param) == ("bad_example", "validation_file")
    assert "Line 7: It is empty." in report.failure.message


def test_a_run_that_fails_otherwise_says_why(scene: Scene, training: Assignment) -> None:
    scene.script = lambda run_id: [RunFailed(run_id=run_id, code="diverged", message="No number.")]
    (report,) = scene.carry_out(training)
    assert isinstance(report, TrainingFailed)
    assert (report.failure.code, report.failure.param) == ("diverged", None)


def test_a_base_model_that_the_engine_refuses_fails_the_job(
    scene: Scene, training: Assignment
) -> None:
    scene.launcher.first_words = (HostFailed(code="unsupported_model", message="No."),)
    (report,) = scene.carry_out(training)
    assert isinstance(report, TrainingFailed)
    assert (report.failure.code, report.failure.param) == ("unsupported_model", "model")


def test_a_run_whose_attempt_is_over_is_abandoned(scene: Scene, training: Assignment) -> None:
    thread = scene.begin(training)
    scene.client.trouble = StaleAttempt("The job was stopped.")
    scene.launcher.hosts[0].say(
        RunEvent(run_id=f"{training.job_id}-a{training.attempt}", event=step_done(1))
    )
    thread.join(10)
    assert isinstance(scene.commands[-1], AbandonRun)
    assert scene.client.reports == []


def test_a_file_that_cannot_be_fetched_loses_the_attempt_and_not_the_job(
    scene: Scene, training: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: Any) -> Path:
        raise Unavailable("The server cannot be reached.")

    monkeypatch.setattr(scene.client, "fetch", away)
    assert scene.carry_out(training) == [AttemptLost(reason="The server cannot be reached.")]


def test_a_good_file_is_found_valid(scene: Scene, training: Assignment) -> None:
    its = assignment(Task.VALIDATE, training_file=training.training_file)
    assert scene.carry_out(its) == [Validated(num_examples=10)]
    assert scene.launcher.launched == []  # no base model is loaded for that


def test_a_bad_file_fails_the_job(scene: Scene) -> None:
    its = assignment(Task.VALIDATE, training_file=scene.client.put(b'{"messages": []}\n'))
    (report,) = scene.carry_out(its)
    assert isinstance(report, TrainingFailed)
    assert report.failure.param == "training_file"
    assert "Line 1" in report.failure.message


def test_a_short_file_fails_the_job_without_blaming_a_line(scene: Scene) -> None:
    content = b"".join(json_lines(conversation()))
    its = assignment(Task.VALIDATE, training_file=scene.client.put(content))
    (report,) = scene.carry_out(its)
    assert isinstance(report, TrainingFailed)
    assert report.failure.code == TOO_FEW_EXAMPLES
    assert "Line" not in report.failure.message


def disk_full(run_id: str) -> RunFailed:
    return RunFailed(run_id=run_id, code="disk_full", message="The disk is full.")


def test_a_full_disk_halts_the_job_with_a_sentence_that_helps(
    scene: Scene, training: Assignment
) -> None:
    scene.script = lambda run_id: [disk_full(run_id)]
    (halted,) = scene.carry_out(training)
    assert isinstance(halted, AttemptHalted)
    assert re.fullmatch(
        r"The disk of worker box is full: needs [\d,]+ MB free, has [\d,]+ MB\.", halted.reason
    )


def test_what_can_be_had_again_makes_room_first(scene: Scene, training: Assignment) -> None:
    adapters = scene.folder / "work" / "adapters" / "someone"
    adapters.mkdir(parents=True)
    scene.script = lambda run_id: [disk_full(run_id)]
    assert scene.carry_out(training) == [AttemptReleased()]
    assert not adapters.exists()


def test_a_checkpoint_that_was_saved_before_the_disk_was_full_is_published(
    scene: Scene, training: Assignment
) -> None:
    scene.script = lambda run_id: [
        events.CheckpointSaved(step=1, epoch=1, path=saved(scene.folder, "step-1")),
        disk_full(run_id),
    ]
    checkpoint, halted = scene.carry_out(training)
    assert isinstance(checkpoint, CheckpointPublished)
    assert isinstance(halted, AttemptHalted)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_files_that_find_no_room_halt_the_job(
    scene: Scene, training: Assignment, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*arguments: Any) -> Path:
        raise OSError(number, "No space left on device")

    monkeypatch.setattr(scene.client, "fetch", full)
    (halted,) = scene.carry_out(training)
    assert isinstance(halted, AttemptHalted)


def test_a_run_stops_while_the_server_is_full_and_its_job_is_halted(
    scene: Scene, training: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise ServerFull("The disk of the server is full.")

    monkeypatch.setattr(scene.client, "publish", full)
    path = saved(scene.folder, "step-1")
    scene.script = lambda run_id: [
        step_done(1),
        events.CheckpointSaved(step=1, epoch=1, path=path),
    ]
    scene.on_stop = lambda run_id: [events.Stopped(step=1, path=path)]
    step, halted = scene.carry_out(training)
    assert isinstance(step, StepReported)
    assert halted == AttemptHalted(reason="The disk of the server is full.")
    assert isinstance(scene.commands[-1], StopRun)


def test_a_server_that_has_found_room_takes_the_checkpoint_and_the_job_goes_on(
    scene: Scene, training: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, has_failed = scene.client.publish, threading.Event()

    def full_once(path: Path, blob: Blob, _: str | None) -> None:
        if not has_failed.is_set():
            has_failed.set()
            raise ServerFull("The disk of the server is full.")
        publish(path, blob)

    monkeypatch.setattr(scene.client, "publish", full_once)
    scene.script = lambda run_id: [
        events.Finished(step=2, path=saved(scene.folder, "adapter"), trained_tokens=50),
    ]
    (finished,) = scene.carry_out(training)
    assert isinstance(finished, TrainingFinished)


def test_a_checkpoint_and_a_model_carry_their_lock(scene: Scene, training: Assignment) -> None:
    scene.script = lambda run_id: [
        STARTED,
        events.CheckpointSaved(step=1, epoch=1, path=saved(scene.folder, "step-1")),
        events.Finished(step=2, path=saved(scene.folder, "adapter"), trained_tokens=50),
    ]
    _, checkpoint, finished = scene.carry_out(training)
    locks = [
        json.loads(scene.client.blobs[artifact.blob.sha256])
        for report in (checkpoint, finished)
        for artifact in report.artifacts
        if artifact.name == "job.lock"
    ]
    assert [lock["attempts"][0]["to_step"] for lock in locks] == [1, 2]
    assert all(lock["was_alone"] for lock in locks)
