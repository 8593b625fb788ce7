"""The textbook: transformers and PEFT, padded batches, logits everywhere, torch's AdamW."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from tunesmith.engine.examples import Example, Pair
from tunesmith.engine.lora import Adapter


def base(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def with_adapter(folder: Path, adapter: Path) -> Any:
    return PeftModel.from_pretrained(base(folder), adapter).eval()


def with_copied_adapter(folder: Path, adapter: Adapter) -> Any:
    """A PEFT model to train whose LoRA weights are those of one of our adapters."""
    config = LoraConfig(
        r=adapter.lora.rank,
        lora_alpha=adapter.lora.alpha,
        lora_dropout=0.0,
        target_modules=list(adapter.layers),
    )
    model = get_peft_model(base(folder), config)
    with torch.no_grad():
        for name, layer in adapter.layers.items():
            module = model.base_model.model.get_submodule(name)
            module.lora_A["default"].weight.copy_(layer.a)
            module.lora_B["default"].weight.copy_(layer.b)
    return model


def mean_loss(model: Any, examples: Sequence[Example]) -> Tensor:
    """Mean cross-entropy over the supervised tokens of one right-padded batch."""
    width = max(len(example.token_ids) for example in examples)
    token_ids = torch.zeros(len(examples), width, dtype=torch.long)
    attention_mask = torch.zeros_like(token_ids)
    labels = torch.full_like(token_ids, -100)
    for row, example in enumerate(examples):
        length = len(example.token_ids)
        token_ids[row, :length] = torch.tensor(example.token_ids)
        attention_mask[row, :length] = 1
        is_learned = torch.tensor(example.loss_mask)
        labels[row, :length][is_learned] = token_ids[row, :length][is_learned]
    logits = model(input_ids=token_ids, attention_mask=attention_mask).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=-100
    )


def gradients(model: Any, adapter: Adapter) -> Tensor:
    """In the order of our flat buffer."""
    parts = []
    for name in adapter.layers:
        module = model.base_model.model.get_submodule(name)
        parts += [module.lora_A["default"].weight.grad, module.lora_B["default"].weight.grad]
    return torch.cat([part.reshape(-1) for part in parts])


def greedy(model: Any, prompt_ids: list[int], max_tokens: int) -> list[int]:
    generated = model.generate(
        input_ids=torch.tensor([prompt_ids]),
        attention_mask=torch.ones(1, len(prompt_ids), dtype=torch.long),
        max_new_tokens=max_tokens,
        do_sample=False,
        pad_token_id=1,
    )
    return generated[0, len(prompt_ids) :].tolist()


def answer_logprobs(model: Any, examples: Sequence[Example]) -> Tensor:
    """The sum over each example's supervised tokens, from one right-padded batch."""
    width = max(len(example.token_ids) for example in examples)
    token_ids = torch.zeros(len(examples), width, dtype=torch.long)
    attention_mask = torch.zeros_like(token_ids)
    is_learned = torch.zeros_like(token_ids, dtype=torch.bool)
    for row, example in enumerate(examples):
        length = len(example.token_ids)
        token_ids[row, :length] = torch.tensor(example.token_ids)
        attention_mask[row, :length] = 1
        is_learned[row, :length] = torch.tensor(example.loss_mask)
    logits = model(input_ids=token_ids, attention_mask=attention_mask).logits
    logprobs = torch.log_softmax(logits[:, :-1], dim=-1)
    picked = logprobs.gather(-1, token_ids[:, 1:, None])[:, :, 0]
    return (picked * is_learned[:, 1:]).sum(-1)


def preference_loss(model: Any, start: Any, pairs: Sequence[Pair], beta: float) -> Tensor:
    """DPO as its paper writes it (arXiv 2305.18290, equation 7); `start` is the reference."""
    chosen = [pair.chosen for pair in pairs]
    rejected = [pair.rejected for pair in pairs]
    with torch.no_grad():
        start_chosen, start_rejected = (answer_logprobs(start, part) for part in (chosen, rejected))
    ratio_chosen = answer_logprobs(model, chosen) - start_chosen
    ratio_rejected = answer_logprobs(model, rejected) - start_rejected
    return -torch.log(torch.sigmoid(beta * ratio_chosen - beta * ratio_rejected)).mean()
