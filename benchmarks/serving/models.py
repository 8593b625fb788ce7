"""Random models of two sizes, with a tokenizer and adapters, made on the spot."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import ALL_LINEAR, LoraSpec

VOCABULARY = 32_000
SHAPES = {
    "m30": {
        "hidden_size": 384,
        "intermediate_size": 1152,
        "num_hidden_layers": 10,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
    },
    "m125": {
        "hidden_size": 768,
        "intermediate_size": 2400,
        "num_hidden_layers": 14,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
    },
}


def make_model(name: str, folder: Path) -> Path:
    """A random Llama with tied embeddings, of 30 or 124 million parameters."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=0.05,  # larger than usual, so that the likeliest token is no near-tie
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=None,
        eos_token_id=0,
        **SHAPES[name],
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    _make_tokenizer().save_pretrained(folder)
    return folder


def make_adapter(model: BaseModel, name: str, folder: Path, *, rank: int, seed: int) -> Path:
    """A PEFT folder with random weights in both matrices, beside every linear layer."""
    adapter = model.adapters.create(
        name, LoraSpec(rank=rank, alpha=rank, targets=(ALL_LINEAR,)), seed
    )
    generator = torch.Generator().manual_seed(seed)
    for layer in adapter.layers.values():
        layer.b.detach().normal_(0, 0.02, generator=generator)
    path = folder / name
    path.mkdir(parents=True)
    model.adapters.save(name, path)
    model.adapters.remove(name)
    return path


def _make_tokenizer() -> PreTrainedTokenizerFast:
    """All bytes, and enough pairs of them to fill the vocabulary."""
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|end|>": 0} | {c: i for i, c in enumerate(characters, start=1)}
    pairs = [(a, b) for a in characters for b in characters][: VOCABULARY - len(vocabulary)]
    vocabulary |= {a + b: i for i, (a, b) in enumerate(pairs, start=len(vocabulary))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
