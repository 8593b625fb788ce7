"""The textbook: transformers and PEFT, padded batches, logits everywhere, torch's AdamW."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.generators import returned
from tunesmith.engine.examples import Example, Pair
from tunesmith.engine.lora import Adapter
from tunesmith.engine.loss import Figures
from tunesmith.engine.passes import alone
from tunesmith.engine.run import Run
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.step import forward_backward


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
    token_ids, attention_mask, is_learned = _padded(examples)
    labels = token_ids.masked_fill(~is_learned, -100)
    logits = model(input_ids=token_ids, attention_mask=attention_mask).logits.float()
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
    token_ids, attention_mask, is_learned = _padded(examples)
    logits = model(input_ids=token_ids, attention_mask=attention_mask).logits.float()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    gradient_error: float  # relative
    figures: Figures  # ours
    loss: float  # the textbook's
    num_tokens: list[int]  # of our micro-batches


def compared(run: Run, folder: Path, textbook_loss: Callable[[Any], Tensor]) -> Comparison:
    """The first step's gradient, ours against that of a loss of a textbook model."""
    batches = run.micro_batches(run.batch(1))
    figures = returned(alone(run.model, forward_backward(run, batches)))
    assert run.adapter.flat.grad is not None
    gradient = run.adapter.flat.grad.clone()
    textbook = with_copied_adapter(folder, run.adapter)
    loss = textbook_loss(textbook)
    loss.backward()
    expected = gradients(textbook, run.adapter)
    return Comparison(
        gradient_error=float((gradient - expected).norm() / expected.norm()),
        figures=figures,
        loss=loss.item(),
        num_tokens=[len(batch.token_ids) for batch in batches],
    )


def move_away(run: Run) -> None:
    """From the start, where B is zero: that would hide A, and policy and reference are one."""
    generator = torch.Generator().manual_seed(5)
    for layer in run.adapter.layers.values():
        layer.b.data.add_(torch.empty_like(layer.b).normal_(0, 0.05, generator=generator))


def random_adapter(folder: Path, seed: int, path: Path) -> Path:
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(base(folder), config).save_pretrained(path)
    return path


def trl_settings(spec: TrainSpec, folder: Path) -> dict[str, Any]:
    """TRL's trainers told to do what `spec` says, on rows that are in order already."""
    return {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "optim": "adamw_torch",
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": spec.batch_size,
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "max_length": None,
        "gradient_checkpointing": False,
        "max_grad_norm": spec.max_grad_norm,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def _padded(examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, attention mask, and which tokens are supervised: (examples, longest)."""
    width = max(len(example.token_ids) for example in examples)
    token_ids = torch.zeros(len(examples), width, dtype=torch.long)
    attention_mask = torch.zeros_like(token_ids)
    is_learned = torch.zeros_like(token_ids, dtype=torch.bool)
    for row, example in enumerate(examples):
        length = len(example.token_ids)
        token_ids[row, :length] = torch.tensor(example.token_ids)
        attention_mask[row, :length] = 1
        is_learned[row, :length] = torch.tensor(example.loss_mask)
    return token_ids, attention_mask, is_learned
