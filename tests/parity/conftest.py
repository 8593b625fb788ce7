from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity import reference
from tests.tiny_models import (
    make_tiny_gemma2,
    make_tiny_gemma3,
    make_tiny_gpt2,
    make_tiny_lfm2,
    make_tiny_llama,
    make_tiny_mistral,
    make_tiny_qwen3,
    write_jsonl,
)
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import LoraSpec, TrainSpec


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def llama(llama_folder: Path) -> BaseModel:
    return BaseModel.load(llama_folder)


@pytest.fixture
def new_spec(tmp_path: Path) -> Callable[..., TrainSpec]:
    """A spec on these rows, in files of its own."""
    counter = iter(range(100))

    def make(rows: list[dict[str, Any]], **changes: Any) -> TrainSpec:
        number = next(counter)
        fields: dict[str, Any] = {
            "run_id": f"run-{number}",
            "training_file": write_jsonl(tmp_path / f"training-{number}.jsonl", rows),
            "output_dir": tmp_path / f"output-{number}",
            "lora": LoraSpec(rank=4, alpha=8),
            "num_epochs": 2,
            "batch_size": 4,
            "learning_rate": 5e-3,
            "seed": 11,
            "max_length_tokens": 300,
        }
        return TrainSpec(**{**fields, **changes})

    return make


@pytest.fixture(
    scope="module",
    params=[
        make_tiny_llama,
        make_tiny_qwen3,
        make_tiny_mistral,
        make_tiny_gemma2,
        make_tiny_gemma3,
        make_tiny_gpt2,
        make_tiny_lfm2,
    ],
)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BaseModel, dict[str | None, object]]:
    """A base with two adapters here, and the same three models as stock PEFT has them."""
    tmp_path = tmp_path_factory.mktemp("served")
    folder = request.param(tmp_path / "model")
    model = BaseModel.load(folder)
    stock: dict[str | None, object] = {None: reference.base(folder)}
    for seed, name in enumerate(("first", "second")):
        path = reference.random_adapter(folder, seed, tmp_path / name)
        model.adapters.load(name, path)
        stock[name] = reference.with_adapter(folder, path)
    return model, stock
