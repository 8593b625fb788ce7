import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunesmith.engine.errors import UnsupportedModel
from tunesmith.engine.model import BaseModel


@pytest.fixture
def folder(llama_folder: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(llama_folder, tmp_path / "model"))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_model_knows_its_context_and_its_end_tokens(llama: BaseModel) -> None:
    assert llama.context_length == 512
    assert llama.end_of_text_ids == {0}
    assert llama.has_positional_cache
    assert not any(weight.requires_grad for weight in llama.network.parameters())


def test_the_templates_end_token_counts_where_the_config_forgot_it(folder: Path) -> None:
    change_config(folder, eos_token_id=5)
    (folder / "generation_config.json").unlink(missing_ok=True)
    assert BaseModel.load(folder).end_of_text_ids >= {0}


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsupportedModel, match="safetensors"):
        BaseModel.load(folder)


def test_a_model_with_code_of_its_own_is_refused(folder: Path) -> None:
    change_config(folder, model_type="mine", auto_map={"AutoModelForCausalLM": "mine.Mine"})
    with pytest.raises(UnsupportedModel, match="Python code"):
        BaseModel.load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
        {"quantization_config": {"quant_method": "gptq"}},
        {"num_hidden_layers": 3},
    ],
)
def test_what_is_not_a_whole_decoder_is_refused(changes: dict[str, Any], folder: Path) -> None:
    change_config(folder, **changes)
    with pytest.raises(UnsupportedModel):
        BaseModel.load(folder)


def test_weights_that_were_cut_off_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UnsupportedModel, match="cannot be loaded"):
        BaseModel.load(folder)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_a_folder_without_its_files_is_refused(missing: str, folder: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(UnsupportedModel):
        BaseModel.load(folder)
