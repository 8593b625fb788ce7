"""The base model that ships with the project is complete, small and says what it should."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

import tunesmith

FOLDER = Path(tunesmith.__file__).parent / "assets" / "tunesmith-tiny"
WEATHER_TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": "Answer briefly."},
    {"role": "user", "content": "Is it warm in Rome?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "24 degrees"},
    {"role": "assistant", "content": "Yes."},
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


def test_the_folder_is_complete_and_small() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 15_000_000


def test_rendering_more_messages_only_adds_text(tokenizer: PreTrainedTokenizerFast) -> None:
    rendered = [
        tokenizer.apply_chat_template(CONVERSATION[:end], tools=[WEATHER_TOOL], tokenize=False)
        for end in range(1, len(CONVERSATION) + 1)
    ]
    for shorter, longer in pairwise(rendered):
        assert longer.startswith(shorter)
    assert '{"name": "weather", "arguments": {"city": "Rome"}}<|end|>' in rendered[-1]


def test_a_prompt_ends_where_the_assistant_begins(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = tokenizer.apply_chat_template(
        [{"role": "developer", "content": "Hi."}, {"role": "user", "content": "Go."}],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert prompt == "<|bos|><|system|>\nHi.<|end|>\n<|user|>\nGo.<|end|>\n<|assistant|>\n"


@pytest.mark.parametrize("text", ["naïve café — 日本語 🙂", "  two  spaces\n\ttab ", "x = 10 != y"])
def test_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_it_answers_what_it_was_taught(tokenizer: PreTrainedTokenizerFast) -> None:
    model = AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True)
    assert model.dtype == torch.bfloat16
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0]
    text = tokenizer.decode(answer[prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    assert text == "The capital of France is Paris."
