from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_models import make_tiny_llama, write_jsonl
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
