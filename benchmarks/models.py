"""Base models to measure on: known shapes with random weights, as speed needs no sense in them."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 32_000
# Words keep one sign before them, a space or an underscore, as in the tokenizers of today's models.
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_END, _PAD = "<|end|>", "<|pad|>"
_ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]


@dataclass(frozen=True)
class Shape:
    description: str
    config: dict[str, Any]


SHAPES = {
    "tiny": Shape(
        "a shape for trying the harness out",
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        | {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY},
    ),
    "S": Shape(
        "28M parameters: Llama, hidden 384, 10 layers, 6 heads over 2, 32,000 tokens",
        {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 10}
        | {"num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": VOCABULARY},
    ),
    "M": Shape(
        "135M parameters: the shape of SmolLM2-135M, 49,152 tokens",
        {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
        | {"num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49_152},
    ),
}


def model_folder(name: str, data: Path, folder: Path) -> Path:
    """The model in bf16 below `folder`, made where it is missing; its tokenizer learns `data`."""
    made = folder / f"bench-{name.lower()}"
    if (made / "config.json").is_file():
        return made
    tokenizer = _tokenizer(data, folder / "tokenizer")
    config = LlamaConfig(
        **SHAPES[name].config,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


def _tokenizer(data: Path, folder: Path) -> PreTrainedTokenizerFast:
    """Byte-level BPE, learnt from the data of the workloads."""
    if not (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[_END, _PAD, *_ROLES],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(_texts(data), trainer)
        wrapped = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            eos_token=_END,
            pad_token=_PAD,
            extra_special_tokens=_ROLES,
        )
        wrapped.chat_template = CHAT_TEMPLATE
        wrapped.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _texts(data: Path) -> Iterator[str]:
    with (data / "banking77" / "train.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            yield line["text"]
            yield line["category"]
    problems = (data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8")
    for row in map(json.loads, problems.splitlines()):
        yield row["question"]
        yield row["answer"]
    yield from (data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8").split("\n\n")
