"""Train tunesmith-tiny from nothing: tokenizer, then weights, on text from corpus.py.

Run `python -m scripts.tiny.train --out DIR` from the repository's root. It may be stopped at any
time: DIR holds a complete model from the first save on.
"""

import argparse
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from scripts.tiny import corpus
from scripts.tiny.tokenizer import train_tokenizer

MAX_LENGTH = 2048
TOKENS_PER_STEP = 4096
SHORT, LONG = 256, 1024
SAVE_EVERY_SECONDS = 300.0


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
    """A Llama of about five million parameters, in float32, with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, document: corpus.Document) -> list[int]:
    """Token ids of a conversation, or of plain text between <|bos|> and <|end|>."""
    if isinstance(document, str):
        text = f"{tokenizer.bos_token}{document}{tokenizer.eos_token}\n"
    else:
        text = tokenizer.apply_chat_template(document, tokenize=False)
    return tokenizer.encode(text, add_special_tokens=False)


def batches(
    tokenizer: PreTrainedTokenizerFast, documents: Iterator[corpus.Document]
) -> Iterator[torch.Tensor]:
    """Endless (batch, seq) batches of packed documents: short rows, and long rows for long ones."""
    streams: dict[int, list[int]] = {SHORT: [], LONG: []}
    for document in documents:
        ids = encode(tokenizer, document)
        length = LONG if len(ids) > SHORT else SHORT
        streams[length] += ids[: LONG if length == LONG else None]
        if len(streams[length]) >= TOKENS_PER_STEP:
            packed = torch.tensor(streams[length][:TOKENS_PER_STEP])
            streams[length] = streams[length][TOKENS_PER_STEP:]
            yield packed.view(-1, length)


def learning_rate(peak: float, fraction: float) -> float:
    """Linear warm-up over the first 2 %, then a cosine down to 2 % of the peak."""
    if fraction < 0.02:
        return peak * max(fraction / 0.02, 0.02)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0))))


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the model in bfloat16 with its tokenizer; the weights are replaced in one move."""
    staging = out / ".staging"
    weights = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
    model.config.dtype = torch.bfloat16
    model.save_pretrained(staging, state_dict=weights)
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
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        fused=True,
    )
    progress = Progress(minutes=args.minutes, steps=args.steps, started_at=time.monotonic())
    saved_at = reported_at = progress.started_at
    recent: list[float] = []
    for step, batch in enumerate(batches(tokenizer, corpus.documents(rng))):
        fraction = progress.fraction(step)
        if fraction >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(args.learning_rate, fraction)
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent.append(loss.item())
        now = time.monotonic()
        if len(recent) == args.report_every:
            remaining = (now - progress.started_at) * (1 / max(fraction, 1e-6) - 1)
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
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak learning rate")
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
