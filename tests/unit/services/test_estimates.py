from dataclasses import replace
from typing import Any

import pytest

from tests.factories import NOW, artifact, base_model, context, metrics, queued_job, registration
from tests.factories import organization as other_organization
from tunesmith.domain.accounts import Organization
from tunesmith.domain.assignments import (
    Report,
    ReportBatch,
    StepReported,
    TrainingFinished,
    TrainingStarted,
    Validated,
)
from tunesmith.domain.catalog import WeightFile
from tunesmith.domain.devices import Device, DeviceKind
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.estimates import Estimate
from tunesmith.domain.hyperparameters import Method
from tunesmith.domain.jobs import Task
from tunesmith.services import estimates, leases, models, scheduling
from tunesmith.services.context import Context, House
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Store

CPU = Device(kind=DeviceKind.CPU, name="Some CPU", memory_bytes=2**34, count=10)
L4 = Device(kind=DeviceKind.CUDA, name="NVIDIA L4", memory_bytes=24 * 2**30, count=1)
BILLION = base_model(num_parameters=10**9)
STEPS = ((1, 400, 100.0), (2, 600, 2.0), (3, 1000, 2.0))  # number, tokens, seconds: 400 a second


class Box:
    """A worker that does all of a job: ten examples, three epochs."""

    def __init__(self, store: Store, blobs: Blobs, name: str, *devices: Device) -> None:
        self.store, self.blobs = store, blobs
        self.me = replace(registration(name), devices=devices)
        scheduling.register(store, self.me, NOW)

    def finish_job(self, owner: Organization, startup_seconds: float = 7.0, **job: Any) -> None:
        queued_job(self.store, owner, Task.VALIDATE, **job)
        self._report(Validated(num_examples=10))
        started = TrainingStarted(
            step=0,
            total_steps=3,
            num_examples=10,
            startup_seconds=startup_seconds,
        )
        steps = [
            StepReported(metrics=metrics(step, 3, tokens=tokens, seconds=seconds))
            for step, tokens, seconds in STEPS
        ]
        files = (artifact(self.blobs),)
        finished = TrainingFinished(step=3, trained_tokens=2000, artifacts=files)
        self._report(started, *steps, finished)

    def _report(self, *reports: Report) -> None:
        leased = scheduling.lease(self.store, self.me, NOW)
        assert leased is not None
        batch = ReportBatch(sequence=1, reports=reports)
        leases.record(self.store, self.blobs, leased.job_id, leased.attempt, batch, NOW)


@pytest.fixture
def ctx(store: Store, house: House, owner: Organization) -> Context:
    return context(store, replace(house, device_prices={"cpu": 6.0, "NVIDIA L4": 60.0}), owner)


def of(ctx: Context, num_examples: int = 100, **asked: Any) -> Estimate:
    return estimates.estimate(ctx, BILLION, num_examples, **asked)


def test_without_a_worker_a_small_cpu_is_reckoned_with(ctx: Context) -> None:
    made = of(ctx)
    assert (made.pace.device, made.pace.is_measured) == ("cpu", False)
    assert made.pace.tokens_per_second == pytest.approx(4 * 20e9 / 6e9)
    assert made.tokens_per_example == 256


def test_the_fastest_device_that_is_there_is_reckoned_with(ctx: Context, blobs: Blobs) -> None:
    Box(ctx.store, blobs, "laptop", CPU)
    Box(ctx.store, blobs, "box", L4)
    made = of(ctx)
    assert made.pace.device == "nvidia-l4"
    assert made.cost == pytest.approx(made.minutes)  # a dollar a minute


def test_what_a_job_took_is_what_the_next_one_is_reckoned_with(
    ctx: Context, blobs: Blobs, owner: Organization
) -> None:
    Box(ctx.store, blobs, "laptop", CPU).finish_job(owner)
    made = of(ctx, 6000, num_epochs=1)
    assert made.pace.is_measured
    assert made.pace.tokens_per_second == pytest.approx(400)  # the first step warms up
    assert made.tokens_per_example == pytest.approx(2000 / 30)
    assert made.minutes == 17  # 7 s to start, 1,000 s to train
    assert made.cost == 1.7


def test_newer_jobs_count_for_more_but_not_for_all(
    ctx: Context, blobs: Blobs, owner: Organization
) -> None:
    box = Box(ctx.store, blobs, "laptop", CPU)
    box.finish_job(owner, startup_seconds=10.0)
    box.finish_job(owner, startup_seconds=20.0)
    assert of(ctx).pace.startup_seconds == pytest.approx(13.0)


def test_a_measurement_is_of_one_base_model_and_one_device(
    ctx: Context, blobs: Blobs, owner: Organization
) -> None:
    Box(ctx.store, blobs, "laptop", CPU).finish_job(owner)
    assert not estimates.estimate(ctx, replace(BILLION, name="other"), 1).pace.is_measured
    Box(ctx.store, blobs, "box", L4)
    assert of(ctx).pace.is_measured  # the CPU is still there
    ctx.store.models.put_base(BILLION)
    models.delete_base(ctx, "base")
    assert not of(ctx).pace.is_measured


def test_a_device_that_is_gone_is_reckoned_with_only_where_none_is_there(
    ctx: Context, blobs: Blobs, owner: Organization, clock: Any
) -> None:
    Box(ctx.store, blobs, "box", L4).finish_job(owner)
    clock.advance(3600)
    made = of(ctx)
    assert made.pace.device == "nvidia-l4"
    assert made.cost == made.minutes  # its price is known by its name
    me = replace(registration("laptop"), devices=(CPU,))
    scheduling.register(ctx.store, me, clock())
    made = of(ctx)
    assert (made.pace.device, made.pace.is_measured) == ("cpu", False)


def test_a_worker_that_does_not_tell_its_devices_is_measured_all_the_same(
    ctx: Context, blobs: Blobs, owner: Organization
) -> None:
    Box(ctx.store, blobs, "mute").finish_job(owner)
    made = of(ctx)
    assert (made.pace.device, made.pace.is_measured, made.cost) == ("unknown", True, 0.0)


def test_examples_are_as_long_as_an_organizations_own_have_been_else_as_anybodys(
    ctx: Context, blobs: Blobs, owner: Organization
) -> None:
    somebody = other_organization("somebody")
    ctx.store.accounts.add_organization(somebody)
    ctx.store.measurements.add_example_length(somebody.id, 10.0, NOW)
    assert of(ctx).tokens_per_example == 10
    ctx.store.measurements.add_example_length(owner.id, 30.0, NOW)
    assert of(ctx).tokens_per_example == 30


def test_other_methods_of_training_say_nothing_about_this_one(
    ctx: Context, blobs: Blobs, owner: Organization
) -> None:
    Box(ctx.store, blobs, "laptop", CPU).finish_job(owner, method=Method.DPO)
    assert not of(ctx).pace.is_measured


def test_no_example_is_longer_than_the_models_context(ctx: Context) -> None:
    assert of(ctx, tokens_per_example=1e9).tokens_per_example == BILLION.context_tokens


def test_larger_weights_take_longer_to_start(ctx: Context) -> None:
    files = (WeightFile(name="model.safetensors", size_bytes=10**12),)
    slow = estimates.estimate(ctx, replace(BILLION, files=files), 1)
    assert slow.minutes > 30 > of(ctx, 1).minutes


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"num_examples": 0}, "num_examples"),
        ({"num_examples": 10**400}, "num_examples"),
        ({"num_epochs": 0}, "num_epochs"),
        ({"num_epochs": 51}, "num_epochs"),
        ({"tokens_per_example": 0.0}, "tokens_per_example"),
        ({"tokens_per_example": float("nan")}, "tokens_per_example"),
    ],
)
def test_numbers_that_no_job_can_have_are_refused(
    ctx: Context, asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        of(ctx, **asked)
    assert refused.value.param == param
