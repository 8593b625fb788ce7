from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.tiny_models import make_tiny_llama
from tunesmith.engine.model import BaseModel


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture
def llama(llama_folder: Path) -> BaseModel:
    return BaseModel.load(llama_folder)
