"""How long a job would take and what it would cost, without loading anything."""

import math
from datetime import datetime
from typing import Any

from tunesmith.domain import estimates
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.devices import Device, DeviceKind
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.estimates import Estimate, EstimateRange, Pace
from tunesmith.domain.events import EventKind
from tunesmith.domain.files import File
from tunesmith.domain.hyperparameters import MAX_EPOCHS, Hyperparameters, Method
from tunesmith.domain.jobs import Job
from tunesmith.services import hardware
from tunesmith.services.context import Context
from tunesmith.store.database import Store
from tunesmith.store.measurements import Throughput

MAX_EXAMPLES = 10**9
UNKNOWN_DEVICE = "unknown"  # of a worker that does not tell
_NO_WORKER_YET = Device(kind=DeviceKind.CPU, name="CPU", memory_bytes=0, count=4)


def estimate(
    ctx: Context,
    model: BaseModel,
    num_examples: int,
    *,
    num_epochs: int | None = None,
    tokens_per_example: float | None = None,
) -> Estimate:
    """Of supervised training; never less for more examples.

    Without `num_epochs` they are "auto"; without `tokens_per_example` examples are as long as they
    have been. Raises `InvalidRequest` for numbers that no job can have.
    """
    _check_range("num_examples", num_examples, MAX_EXAMPLES)
    if num_epochs is not None:
        _check_range("num_epochs", num_epochs, MAX_EPOCHS)
    if tokens_per_example is None:
        usual = ctx.store.measurements.find_example_length(ctx.owner)
        tokens_per_example = usual or estimates.DEFAULT_EXAMPLE_TOKENS
    elif not tokens_per_example > 0:  # also where it is no number
        raise InvalidRequest("tokens_per_example must be more than 0.", param="tokens_per_example")
    pace, price = _pace(ctx, model)
    return estimates.estimate(
        pace,
        num_passes=num_examples * num_epochs if num_epochs else estimates.auto_passes(num_examples),
        tokens_per_example=min(tokens_per_example, model.context_tokens),
        price_per_hour=price,
    )


def estimate_range(
    ctx: Context,
    model: BaseModel,
    num_examples: int,
    resolved: Hyperparameters,
    method: Method,
    tokens_per_example: float | None,
) -> EstimateRange:
    """As `estimate`, with how far off that may be, and of other training than that, too."""
    num_epochs = resolved.num_epochs
    assert isinstance(num_epochs, int)
    likely = estimate(
        ctx, model, num_examples, num_epochs=num_epochs, tokens_per_example=tokens_per_example
    )
    work = estimates.work(method, trains_all_weights=resolved.trains_all_weights)
    if work > 1:
        pace, price = _pace(ctx, model)
        likely = estimates.estimate(
            estimates.slower(pace, work),
            num_passes=likely.num_passes,
            tokens_per_example=likely.tokens_per_example,
            price_per_hour=price,
        )
    return estimates.as_range(likely)


def guess_length(file: File, num_examples: int) -> float:
    """Tokens of an example, of a file that nobody has counted."""
    return max(1.0, file.blob.size_bytes / num_examples / estimates.BYTES_PER_TOKEN)


def learn(store: Store, job: Job, worker: str, now: datetime) -> None:
    """Take note of what a finished job took, for the estimates of others like it."""
    if job.method is not Method.SUPERVISED or job.hyperparameters.trains_all_weights:
        return
    steps = store.events.list_metrics(job.id)
    # The first step warms up what the others find warm.
    seconds, tokens = _sum(steps[1:] or steps, "seconds"), _sum(steps[1:] or steps, "tokens")
    if not (seconds > 0 and tokens > 0):
        return
    devices = store.queue.find_devices(worker)
    measured = Throughput(
        device=devices[0].id if devices else UNKNOWN_DEVICE,
        tokens_per_second=tokens / seconds,
        startup_seconds=store.events.first_data(job.id, EventKind.STARTED).get("startup_seconds"),
    )
    store.measurements.add_throughput(job.base_model, measured, now)
    num_examples = store.events.first_data(job.id, EventKind.VALIDATED).get("num_examples", 0)
    num_epochs = job.hyperparameters.num_epochs
    if num_examples and isinstance(num_epochs, int):
        length = _sum(steps, "tokens") / (num_examples * num_epochs)
        store.measurements.add_example_length(job.organization_id, length, now)


def _pace(ctx: Context, model: BaseModel) -> tuple[Pace, float]:
    """On the fastest device that is there, rather one where it was measured; and its price."""
    present = {found.device.id: found for found in hardware.list_hardware(ctx)}
    for measured in ctx.store.measurements.list_throughputs(model.name):
        if not present or measured.device in present:
            usual = _modelled(model, _NO_WORKER_YET).startup_seconds
            found = present.get(measured.device)
            return Pace(
                device=measured.device,
                tokens_per_second=measured.tokens_per_second,
                startup_seconds=(
                    usual if measured.startup_seconds is None else measured.startup_seconds
                ),
                is_measured=True,
            ), found.price if found else hardware.price_of(ctx, measured.device)
    fastest = max(
        (found.device for found in present.values()), key=estimates.flops, default=_NO_WORKER_YET
    )
    return _modelled(model, fastest), hardware.price_of(ctx, fastest.id, fastest.name)


def _modelled(model: BaseModel, device: Device) -> Pace:
    weight_bytes = sum(file.size_bytes for file in model.files)
    return estimates.modelled_pace(
        device, num_parameters=model.num_parameters, weight_bytes=weight_bytes
    )


def _sum(steps: list[dict[str, Any]], figure: str) -> float:
    return math.fsum(step.get(figure, 0) for step in steps)


def _check_range(name: str, value: int, high: int) -> None:
    if not 1 <= value <= high:
        raise InvalidRequest(f"{name} must be between 1 and {high:,}.", param=name)
