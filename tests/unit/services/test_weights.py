import struct
from pathlib import Path
from typing import Any

import pytest

from tests.factories import MODEL_CONFIG, NOW, model_folder
from tunesmith.domain.errors import InvalidRequest
from tunesmith.services import weights


def refusal(folder: Path) -> str:
    with pytest.raises(InvalidRequest) as refused:
        weights.describe(folder, name="mine", source="here", now=NOW)
    return refused.value.message


def test_a_folder_is_described_without_loading_it(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    entry = weights.describe(folder, name="mine", source="here", now=NOW)
    assert (entry.num_parameters, entry.context_tokens) == (208, 4096)
    assert [file.name for file in entry.files] == [
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "tokenizer.json",
    ]


def test_the_context_of_a_model_with_vision_is_its_texts(tmp_path: Path) -> None:
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": {"max_position_embeddings": 8192},
    }
    folder = model_folder(tmp_path / "model", config)
    assert weights.describe(folder, name="m", source="s", now=NOW).context_tokens == 8192


def test_pickled_weights_are_refused_because_they_may_run_code(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_name("pytorch_model.bin"))
    assert "may run code" in refusal(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert "no *.safetensors" in refusal(folder)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in refusal(folder)


def test_a_folder_without_a_configuration_is_no_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "config.json").unlink()
    assert "no config.json" in refusal(folder)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        pytest.param("{", "not valid JSON", id="broken"),
        pytest.param(
            {**MODEL_CONFIG, "auto_map": {"AutoModel": "x.py"}}, "auto_map", id="own code"
        ),
        pytest.param({"architectures": ["BertForMaskedLM"]}, "not a decoder", id="encoder"),
        pytest.param(
            {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True},
            "not a decoder",
            id="encoder and decoder",
        ),
        pytest.param({}, "not a decoder", id="no architecture"),
    ],
)
def test_what_is_no_plain_decoder_is_refused(tmp_path: Path, config: Any, reason: str) -> None:
    assert reason in refusal(model_folder(tmp_path / "model", config))


@pytest.mark.parametrize(
    "content",
    [b"", b"short", struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 4) + b"no j"],
    ids=["empty", "short", "a header longer than the file", "no JSON"],
)
def test_a_broken_weight_file_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "model-2.safetensors").write_bytes(content)
    assert "not a safetensors file" in refusal(folder)
