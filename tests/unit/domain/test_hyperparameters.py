import math
from typing import Any

import pytest

from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.hyperparameters import Hyperparameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_epochs", 0),
        ("num_epochs", 51),
        ("batch_size", 0),
        ("batch_size", 257),
        ("lora_rank", 0),
        ("lora_rank", 257),
        ("learning_rate_multiplier", 0.0),
        ("learning_rate_multiplier", -1.0),
        ("learning_rate_multiplier", 1000.1),
        ("learning_rate_multiplier", math.nan),
        ("learning_rate_multiplier", math.inf),
        ("lora_alpha", 0.0),
        ("lora_alpha", math.nan),
        ("lora_dropout", -0.1),
        ("lora_dropout", 1.0),
        ("lora_targets", ("",)),
        ("lora_targets", ("x" * 257,)),
        ("lora_targets", ("q_proj",) * 65),
        ("weight_decay", -1.0),
        ("weight_decay", math.inf),
        ("max_grad_norm", 0.0),
        ("early_stopping_patience", 0),
        ("early_stopping_patience", 51),
    ],
)
def test_a_value_beyond_its_limits_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Hyperparameters(**{name: value})
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_epochs", 1),
        ("num_epochs", 50),
        ("batch_size", 256),
        ("lora_rank", 256),
        ("learning_rate_multiplier", 1000),
        ("num_epochs", "auto"),
    ],
)
def test_the_limits_themselves_are_allowed(name: str, value: Any) -> None:
    assert getattr(Hyperparameters(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("num_examples", "num_epochs"),
    [(1, 25), (4, 25), (10, 10), (33, 3), (34, 3), (8333, 3), (8334, 2), (20_000, 1), (10**6, 1)],
)
def test_small_files_are_read_more_often_and_large_ones_less(
    num_examples: int, num_epochs: int
) -> None:
    assert Hyperparameters().resolved(num_examples).num_epochs == num_epochs


@pytest.mark.parametrize(
    ("num_examples", "batch_size"), [(10, 1), (119, 1), (120, 2), (600, 10), (10**6, 32)]
)
def test_an_automatic_batch_grows_with_the_file(num_examples: int, batch_size: int) -> None:
    assert Hyperparameters().resolved(num_examples).batch_size == batch_size


def test_an_automatic_learning_rate_is_the_models_own() -> None:
    assert Hyperparameters().resolved(100).learning_rate_multiplier == 1.0


@pytest.mark.parametrize(
    "asked",
    [
        {"learning_rate": 0.0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"learning_rate": 1e9},
        {"warmup_steps": -1},
        {"warmup_steps": 10**12},
    ],
)
def test_a_rate_and_a_warm_up_have_limits(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Hyperparameters(**asked)
    assert refused.value.param in asked


def test_what_was_asked_for_is_left_alone() -> None:
    asked = Hyperparameters(num_epochs=7, batch_size=5, learning_rate_multiplier=0.5, beta=0.3)
    assert asked.resolved(100) == asked
