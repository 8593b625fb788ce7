from dataclasses import replace
from itertools import pairwise

import pytest

from tunesmith.domain.devices import Device, DeviceKind
from tunesmith.domain.estimates import Pace, as_range, auto_passes, estimate, flops, modelled_pace
from tunesmith.domain.hyperparameters import Hyperparameters

SIZES = [*range(1, 40_000), 10**6, 10**9]


def pace(tokens_per_second: float = 100.0, startup_seconds: float = 0.0) -> Pace:
    return Pace(
        device="cpu",
        tokens_per_second=tokens_per_second,
        startup_seconds=startup_seconds,
        is_measured=True,
    )


def gpu(name: str) -> Device:
    return Device(kind=DeviceKind.CUDA, name=name, memory_bytes=2**36, count=1)


def test_auto_epochs_are_never_estimated_at_less_than_they_are_nor_at_twice_as_much() -> None:
    for num_examples in SIZES:
        epochs = Hyperparameters().resolved(num_examples).num_epochs
        assert isinstance(epochs, int)
        assert num_examples * epochs <= auto_passes(num_examples) < 2 * num_examples * epochs


def test_more_examples_are_never_estimated_at_less() -> None:
    passes = [auto_passes(num_examples) for num_examples in SIZES]
    assert all(fewer <= more for fewer, more in pairwise(passes))


@pytest.mark.parametrize(
    ("tokens_per_example", "startup_seconds", "minutes"),
    [(1.0, 0.0, 1), (60.0, 0.0, 1), (60.0, 0.5, 2), (600.0, 61.0, 12)],
)
def test_a_minute_that_has_begun_counts(
    tokens_per_example: float, startup_seconds: float, minutes: int
) -> None:
    made = estimate(
        pace(startup_seconds=startup_seconds),
        num_passes=100,
        tokens_per_example=tokens_per_example,
        price_per_hour=0.0,
    )
    assert made.minutes == minutes


@pytest.mark.parametrize(("price", "cost"), [(0.0, 0.0), (3.5, 0.58), (60.0, 10.0)])
def test_cost_is_that_of_the_minutes(price: float, cost: float) -> None:
    made = estimate(pace(), num_passes=600, tokens_per_example=100, price_per_hour=price)
    assert (made.minutes, made.cost) == (10, cost)


def test_a_larger_model_is_slower_and_a_better_device_faster() -> None:
    def speed(name: str, num_parameters: int) -> float:
        made = modelled_pace(gpu(name), num_parameters=num_parameters, weight_bytes=0)
        return made.tokens_per_second

    assert speed("NVIDIA H200", 70 * 10**9) < speed("NVIDIA H200", 8 * 10**9)
    assert speed("NVIDIA L4", 8 * 10**9) < speed("NVIDIA H200", 8 * 10**9)
    assert speed("NVIDIA H200", 8 * 10**9) == pytest.approx(0.3 * 989e12 / (6 * 8e9))
    assert speed("NVIDIA H200", 1000) == 50_000


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA GB200", 2250e12),
        ("NVIDIA RTX A1000", 60e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("Tesla V100-SXM2-16GB", 125e12),
        ("Something new", 60e12),
    ],
)
def test_a_gpu_is_known_by_its_name(name: str, peak: float) -> None:
    assert flops(gpu(name)) == pytest.approx(0.3 * peak)


def test_weights_that_are_larger_take_longer_to_load() -> None:
    small, large = (
        modelled_pace(gpu("NVIDIA L4"), num_parameters=10**9, weight_bytes=n).startup_seconds
        for n in (2 * 10**9, 16 * 10**9)
    )
    assert 0 < small < large


def test_what_nobody_has_measured_may_be_further_off() -> None:
    def spread(*, is_measured: bool) -> float:
        likely = estimate(
            replace(pace(), is_measured=is_measured),
            num_passes=6000,
            tokens_per_example=100,
            price_per_hour=6.0,
        )
        made = as_range(likely)
        assert made.low.cost <= made.likely.cost <= made.high.cost
        return made.high.minutes / made.low.minutes

    assert 1 < spread(is_measured=True) < spread(is_measured=False)
