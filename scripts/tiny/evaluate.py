"""Measure how often tunesmith-tiny's greedy answer is exactly right, task by task.

Run `python -m scripts.tiny.evaluate DIR` from the repository's root. The questions are drawn with a
seed of their own; a task with few possible questions repeats some that training has shown.
"""

import argparse
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from scripts.tiny import support
from scripts.tiny.instructions import INSTRUCTIONS, Exchange
from scripts.tiny.labels import Message, classification, matching

OPEN_ENDED = {"name_some"}


def conversation_from(
    ask: Callable[[random.Random], Exchange], rng: random.Random
) -> list[Message]:
    question, answer = ask(rng)
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def first_answer(
    build: Callable[[random.Random, int], list[Message]], num_labels: int, rng: random.Random
) -> list[Message]:
    """The list of labels, the first message and its label."""
    return build(rng, num_labels)[:3]


def tasks() -> dict[str, Callable[[random.Random], list[Message]]]:
    found: dict[str, Callable[[random.Random], list[Message]]] = {}
    closed = [support.same_request, support.subject_of, support.detail]
    for ask in [*INSTRUCTIONS, *closed]:
        if ask.__name__ not in OPEN_ENDED:
            found[ask.__name__] = partial(conversation_from, ask)
    for num_labels in (5, 20, 77):
        found[f"label by its words, of {num_labels}"] = partial(first_answer, matching, num_labels)
        found[f"label by meaning, of {num_labels}"] = partial(
            first_answer, classification, num_labels
        )
    return found


@torch.inference_mode()
def is_right(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, messages: list[Message]
) -> bool:
    """Whether greedy decoding gives the answer: its every token, and the end, is the likeliest."""
    prompt = tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, tokenize=False
    )
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False)
    answer_ids = tokenizer.encode(messages[-1]["content"] + tokenizer.eos_token)
    logits = model(input_ids=torch.tensor([prompt_ids + answer_ids])).logits[0]
    likeliest = logits[len(prompt_ids) - 1 : -1].argmax(-1)
    return bool(likeliest.tolist() == answer_ids)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure tunesmith-tiny, task by task.")
    parser.add_argument("folder", type=Path, help="the model's folder")
    parser.add_argument("--questions", type=int, default=100, help="questions per task")
    parser.add_argument("--seed", type=int, default=1_000_003)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.folder)
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32).eval()
    for name, build in tasks().items():
        rng = random.Random(args.seed)
        right = sum(is_right(model, tokenizer, build(rng)) for _ in range(args.questions))
        sys.stdout.write(f"{name:32} {100 * right / args.questions:5.1f} %\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
