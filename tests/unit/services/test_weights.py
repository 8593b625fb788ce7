import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.factories import MODEL_CONFIG, NOW, model_folder, safetensors
from tunesmith.domain.catalog import BaseModel, KnownModel
from tunesmith.domain.errors import InvalidRequest
from tunesmith.services import weights
from tunesmith.services.weights import State


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


KNOWN = KnownModel(
    name="small-208",
    display_name="Small 208",
    provider="Acme",
    hub_id="acme/small-208",
    num_parameters=200,
    size="0.2K",
    context_tokens=2048,
    licence="mit",
)


def described(folder: Path, **more: Any) -> BaseModel:
    return weights.describe(folder, name="mine", source="here", now=NOW, **more)


def test_a_known_model_has_its_facts_and_its_own_numbers(tmp_path: Path) -> None:
    entry = described(model_folder(tmp_path / "model"), known=KNOWN)
    assert (entry.hub_id, entry.title, entry.provider) == ("acme/small-208", "Small 208", "Acme")
    assert (entry.licence, entry.size) == ("mit", "0.2K")
    assert (entry.num_parameters, entry.context_tokens) == (208, 4096)


def test_nothing_is_claimed_of_a_model_that_nobody_knows(tmp_path: Path) -> None:
    entry = described(model_folder(tmp_path / "model"), hub_id="acme/other")
    assert (entry.hub_id, entry.licence, entry.provider) == ("acme/other", None, None)
    assert (entry.title, entry.size) == ("mine", "208")


@pytest.mark.parametrize("num_parameters", [100, 1000])
def test_weights_of_another_size_are_not_the_known_model(
    tmp_path: Path, num_parameters: int
) -> None:
    other = replace(KNOWN, num_parameters=num_parameters)
    with pytest.raises(InvalidRequest, match="another model"):
        described(model_folder(tmp_path / "model"), known=other)


def test_a_known_model_needs_none_of_the_code_that_it_brings(tmp_path: Path) -> None:
    config = {**MODEL_CONFIG, "auto_map": {"AutoModel": "x.py"}}
    assert described(model_folder(tmp_path / "model", config), known=KNOWN).num_parameters == 208


def test_only_the_weights_that_are_read_are_counted_and_copied(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    entry = described(folder)
    assert entry.num_parameters == 205
    assert "model-2.safetensors" not in {file.name for file in entry.files}


def test_weights_in_one_file_are_not_counted_again_in_another_form(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(safetensors({"a": [7]}))
    assert described(folder).num_parameters == 7


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("{", "does not say"),
        ("[]", "does not say"),
        ('{"weight_map": {"a": 1}}', "does not say"),
        ('{"weight_map": {"a": "model-3.safetensors"}}', "lacks model-3.safetensors"),
        ('{"weight_map": {"a": "../../secrets"}}', "lacks secrets"),
    ],
)
def test_an_index_that_leads_nowhere_is_refused(tmp_path: Path, index: str, reason: str) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text(index)
    assert reason in refusal(folder)


@pytest.mark.parametrize(
    ("file", "content", "calls_functions"),
    [
        ("chat_template.jinja", "{% if tools %}…", True),
        ("chat_template.jinja", "{{ messages }}", False),
        ("tokenizer_config.json", '{"chat_template": "{% if tools %}"}', True),
        (
            "tokenizer_config.json",
            '{"chat_template": [{"name": "tool_use", "template": "{{ tools }}"}]}',
            True,
        ),
        ("tokenizer_config.json", '{"chat_template": "{{ messages }}"}', False),
        ("tokenizer_config.json", "[1", False),
        ("tokenizer_config.json", "[1]", False),
    ],
)
def test_a_chat_template_says_whether_a_model_calls_functions(
    tmp_path: Path, file: str, content: str, calls_functions: bool
) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / file).write_text(content)
    assert described(folder).calls_functions is calls_functions


def test_files_are_there_until_they_are_changed_or_gone(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    entry = described(folder)
    assert weights.state_of(entry) is State.PRESENT
    (folder / "tokenizer.json").write_text("[]")  # as long as it was
    assert weights.state_of(entry) is State.CHANGED
    (folder / "tokenizer.json").write_text("{}")
    assert weights.state_of(entry) is State.PRESENT
    (folder / "model-1.safetensors").unlink()
    assert weights.state_of(entry) is State.MISSING


@pytest.mark.parametrize(("place", "state"), [(0, "changed"), (5000, "present"), (-1, "changed")])
def test_of_large_files_only_the_ends_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, state: str
) -> None:
    monkeypatch.setattr(weights, "_READ_WHOLE_BYTES", 100)
    monkeypatch.setattr(weights, "_READ_ENDS_BYTES", 50)
    folder = model_folder(tmp_path / "model")
    large = folder / "large.txt"
    content = bytearray(10_000)
    large.write_bytes(content)
    entry = described(folder)
    content[place] = 1
    large.write_bytes(content)
    assert weights.state_of(entry) == state
