"""Train tunesmith-tiny from nothing: tokenizer, then weights, on text from corpus.py.

Run `python -m scripts.tiny.train --out DIR` from the repository's root. It may be stopped at any
time: DIR holds a complete model from the first save on.
"""

import argparse
import copy
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from scripts.tiny import corpus
from scripts.tiny.muon import Muon
from scripts.tiny.tokenizer import train_tokenizer

MAX_LENGTH = 2048
TOKENS_PER_STEP = 2048
SHORT, LONG = 256, 1024
SAVE_EVERY_SECONDS = 300.0
MUON_LEARNING_RATE = 0.015  # peak, for the matrices of the layers
ADAMW_LEARNING_RATE = 3e-3  # peak, for the embedding and the norms
ANSWERS_ONLY_SHARE = 0.8  # of conversations; the others teach the users' words as well
IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How much of the run is done, by steps or by the clock, whichever was asked for."""

    minutes: float
    steps: int | None
    started_at: float

    def fraction(self, step: int) -> float:
        if self.steps is not None:
            return step / self.steps
        return (time.monotonic() - self.started_at) / (60 * self.minutes)


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of about three million parameters, in float32, with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        initializer_range=0.06,  # about 1 / sqrt(hidden_size); 0.02 learns markedly slower
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    align_heads(model)
    return model


@torch.no_grad()
def align_heads(model: LlamaForCausalLM) -> None:
    """Let every other head start by attending to equal tokens and copying what it attends to.

    Copying is learned much sooner from there than from random heads; see Trockman and Kolter 2023,
    "Mimetic Initialization of Self-Attention Layers" (arXiv 2305.09828).
    """
    for layer in model.model.layers:
        attention = layer.self_attn
        size = attention.head_dim
        for group in range(model.config.num_key_value_heads):
            first_head = group * attention.num_key_value_groups * size
            query = slice(first_head, first_head + size)
            key = slice(group * size, (group + 1) * size)
            attention.q_proj.weight[query] = attention.k_proj.weight[key]
            attention.o_proj.weight[:, query] = attention.v_proj.weight[key].T


def encode(
    tokenizer: PreTrainedTokenizerFast, document: corpus.Document, rng: random.Random
) -> tuple[list[int], list[int]]:
    """Token ids and targets: all of a text, and of most conversations the answers alone."""
    if isinstance(document, str):
        text = f"{tokenizer.bos_token}{document}{tokenizer.eos_token}\n"
        all_ids = tokenizer.encode(text, add_special_tokens=False)
        return all_ids, all_ids
    answers_only = rng.random() < ANSWERS_ONLY_SHARE
    ids: list[int] = []
    targets: list[int] = []
    for place, message in enumerate(document):
        before = tokenizer.apply_chat_template(document[:place], tokenize=False) if place else ""
        text = tokenizer.apply_chat_template(document[: place + 1], tokenize=False)
        added = tokenizer.encode(text[len(before) :], add_special_tokens=False)
        is_read_only = message["role"] == "system" or (answers_only and message["role"] == "user")
        ids += added
        targets += [IGNORED] * len(added) if is_read_only else added
    return ids, targets


class Batch:
    """Rows of one length that whole documents are packed into, each in the first row with room."""

    def __init__(self, length: int) -> None:
        num_rows = TOKENS_PER_STEP // length
        self.length = length
        self.ids: list[list[int]] = [[] for _ in range(num_rows)]
        self.targets: list[list[int]] = [[] for _ in range(num_rows)]

    def add(self, ids: list[int], targets: list[int]) -> bool:
        """Whether there was room."""
        for row_ids, row_targets in zip(self.ids, self.targets, strict=True):
            if len(row_ids) + len(ids) <= self.length:
                row_ids += ids
                row_targets += targets
                return True
        return False

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and targets, (rows, length) each; padding is no target."""
        padding = [self.length - len(row) for row in self.ids]
        ids = [row + [0] * num for row, num in zip(self.ids, padding, strict=True)]
        targets = [row + [IGNORED] * num for row, num in zip(self.targets, padding, strict=True)]
        return torch.tensor(ids), torch.tensor(targets)


def batches(
    tokenizer: PreTrainedTokenizerFast, documents: Iterator[corpus.Document], rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of ids and targets, of many short rows or of few long ones."""
    filling = {length: Batch(length) for length in (SHORT, LONG)}
    for document in documents:
        ids, targets = encode(tokenizer, document, rng)
        length = SHORT if len(ids) <= SHORT else LONG
        if not filling[length].add(ids[:LONG], targets[:LONG]):
            yield filling[length].tensors()
            filling[length] = Batch(length)
            filling[length].add(ids[:LONG], targets[:LONG])


def target_loss(model: LlamaForCausalLM, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats over the targets; logits are computed for these alone."""
    hidden = model.model(input_ids=ids).last_hidden_state  # (batch, seq, hidden)
    is_target = targets[:, 1:] != IGNORED
    logits = model.lm_head(hidden[:, :-1][is_target])  # (targets, vocab)
    return cross_entropy(logits, targets[:, 1:][is_target])


def scheduled(peak: float, fraction: float) -> float:
    """Linear warm-up over the first 2 %, then a cosine down to 2 % of the peak."""
    if fraction < 0.02:
        return peak * max(fraction / 0.02, 0.02)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0))))


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the model in bfloat16 with its tokenizer; the weights are replaced in one move."""
    staging = out / ".staging"
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(staging)
    tokenizer.save_pretrained(staging)
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(staging)
    for path in staging.iterdir():
        path.replace(out / path.name)
    staging.rmdir()


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    sample = islice(corpus.documents(rng), args.tokenizer_documents)
    tokenizer = train_tokenizer(
        map(corpus.plain_text, sample), vocab_size=args.vocab_size, max_length=MAX_LENGTH
    )
    model = build_model(tokenizer)
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    muon = Muon(matrices, momentum=0.95, weight_decay=0.1)
    others = [p for p in model.parameters() if not any(p is matrix for matrix in matrices)]
    adamw = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    progress = Progress(minutes=args.minutes, steps=args.steps, started_at=time.monotonic())
    saved_at = reported_at = progress.started_at
    recent: list[float] = []
    stream = batches(tokenizer, corpus.documents(rng), rng)
    for step, (ids, targets) in enumerate(stream):
        fraction = progress.fraction(step)
        if fraction >= 1:
            break
        loss = target_loss(model, ids, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step(scheduled(MUON_LEARNING_RATE, fraction))
        adamw.param_groups[0]["lr"] = scheduled(ADAMW_LEARNING_RATE, fraction)
        adamw.step()
        adamw.zero_grad()
        recent.append(loss.item())
        now = time.monotonic()
        if len(recent) == args.report_every:
            remaining = (now - progress.started_at) * (1 / progress.fraction(step + 1) - 1)
            report(step, recent, now - reported_at, remaining)
            reported_at, recent = now, []
        if now - saved_at > SAVE_EVERY_SECONDS:
            save(model, tokenizer, args.out)
            saved_at = now
    save(model, tokenizer, args.out)


def report(step: int, losses: list[float], elapsed_seconds: float, remaining: float) -> None:
    tokens_per_second = len(losses) * TOKENS_PER_STEP / elapsed_seconds
    sys.stdout.write(
        f"step {step + 1}  loss {sum(losses) / len(losses):.3f}  "
        f"{tokens_per_second:.0f} tokens/s  {remaining / 60:.1f} min left\n"
    )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train tunesmith-tiny from nothing.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to train")
    parser.add_argument("--steps", type=int, help="train this many steps instead of minutes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the text and the weights")
    parser.add_argument("--vocab-size", type=int, default=4096, help="tokens to learn")
    parser.add_argument(
        "--tokenizer-documents", type=int, default=30_000, help="documents the tokenizer sees"
    )
    parser.add_argument("--report-every", type=int, default=20, help="steps per progress line")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args)


if __name__ == "__main__":
    main()
