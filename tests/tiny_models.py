"""Tiny random models made on the spot: real folders, for tests that need no sense in the text."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL_TOKENS = ["<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "eos_token_id": 0,
    "pad_token_id": 1,
    "bos_token_id": None,
    "initializer_range": 0.2,  # large, so that random logits are not near-ties
}


def make_tiny_llama(folder: Path, seed: int = 0, **shape: int) -> Path:
    return _make(folder, seed, LlamaConfig, rope_parameters={"rope_type": "default"}, **shape)


def make_tiny_qwen3(folder: Path, seed: int = 0) -> Path:
    return _make(folder, seed, Qwen3Config, head_dim=8, tie_word_embeddings=True)


def make_tiny_mistral(folder: Path, seed: int = 0) -> Path:
    """Its attention reaches back 16 tokens only."""
    return _make(folder, seed, MistralConfig, head_dim=8, sliding_window=16)


def make_tiny_gemma2(folder: Path, seed: int = 0) -> Path:
    """It caps its attention scores, which no fused attention knows."""
    return _make(folder, seed, Gemma2Config, head_dim=8, query_pre_attn_scalar=8)


def make_tiny_gemma2_with_window(folder: Path, seed: int = 0) -> Path:
    """The same, and every other layer's attention reaches back 16 tokens only."""
    shape = {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16}
    return _make(folder, seed, Gemma2Config, **shape, final_logit_softcapping=2.0)


def make_tiny_gemma3(folder: Path, seed: int = 0) -> Path:
    """One layer with a window of 16 tokens, one without."""
    return _make(
        folder,
        seed,
        Gemma3TextConfig,
        head_dim=8,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
    )


def make_tiny_gpt2(folder: Path, seed: int = 0) -> Path:
    """It keeps its weights the other way round, in Conv1D layers."""
    shape = {"n_embd": 32, "n_inner": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}
    return _make(folder, seed, GPT2Config, **shape)


def make_tiny_lfm2(folder: Path, seed: int = 0) -> Path:
    """One layer of short convolutions, which remember a state, and one of attention."""
    return _make(folder, seed, Lfm2Config, full_attn_idxs=[1])


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE learnt from a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = ["You are a helpful assistant who answers questions about the weather and the sea."]
    tokenizer.train_from_iterator(text * 4, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        extra_special_tokens=SPECIAL_TOKENS[2:],
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _make(folder: Path, seed: int, config_class: type[PreTrainedConfig], **shape: Any) -> Path:
    tokenizer = make_tokenizer()
    config = config_class(vocab_size=len(tokenizer), **{**_SHAPE, **shape})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
