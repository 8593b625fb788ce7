"""How fast answers are written: this engine beside stock transformers and PEFT, by adapters.

    python -m benchmarks.serving --json serving.json

Rows are answered greedily, for a fixed number of tokens, by random models: speed needs no sense.
The unit is tokens per second of the process' CPU time with one thread. The subjects take turns,
so that what else the machine does hits them alike; a figure is the best of its rounds.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from benchmarks.serving_models import VOCABULARY, make_adapter, make_model
from tunesmith.engine.events import SampleDone, SampleFailed
from tunesmith.engine.model import BaseModel
from tunesmith.engine.precision import Precision
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import SampleSpec

ROWS = 8
RANKS = (16, 16, 16, 16, 16, 16, 16, 16)
MIXED_RANKS = (4, 8, 16, 32, 4, 8, 16, 32)
SYSTEM_TOKENS = 600
Subject = Callable[[], int]  # answers once; returns how many tokens it wrote


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures go, too")
    parser.add_argument("--model", choices=("m30", "m125"), default="m30")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--tokens", type=int, default=64, help="to write in each row")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(
            Path(folder), arguments.model, arguments.precision, arguments.tokens, arguments.rounds
        )
    for name, figure in figures.items():
        print(f"{name:48} {figure:10.3f}" if figure < 10 else f"{name:48} {figure:10.0f}")
    if arguments.json:
        told = {**vars(arguments), "json": str(arguments.json), "figures": figures}
        arguments.json.write_text(json.dumps(told, indent=1) + "\n")


def measure(
    folder: Path, model_name: str, precision: Precision, num_tokens: int, rounds: int
) -> dict[str, float]:
    """Tokens per CPU second by subject; of prompts, CPU seconds until the first token."""
    model_folder = make_model(model_name, folder / "model")
    model = BaseModel.load(model_folder, device="cpu", precision=precision)
    adapters = {
        name: make_adapter(model, name, folder, rank=rank, seed=seed)
        for kind, ranks in (("even", RANKS), ("mixed", MIXED_RANKS))
        for seed, rank in enumerate(ranks)
        for name in [f"{kind}{seed}"]
    }
    for name, path in adapters.items():
        model.adapters.load(name, path)
    subjects: dict[str, Subject] = {}
    for num in (0, 1, 2, 4, 8):
        ids = [f"even{row % num}" if num else None for row in range(ROWS)]
        subjects[f"ours, {ROWS} rows, {num} adapters"] = _ours(model, ids, num_tokens)
    mixed = [f"mixed{row}" for row in range(ROWS)]
    subjects[f"ours, {ROWS} rows, 8 adapters of ranks 4 to 32"] = _ours(model, mixed, num_tokens)
    half = [None if row % 2 else f"even{row}" for row in range(ROWS)]
    subjects[f"ours, {ROWS} rows, 4 adapters beside 4 times the base"] = _ours(
        model, half, num_tokens
    )
    subjects["ours, 1 row, the base"] = _ours(model, [None], num_tokens)
    subjects["ours, 1 row, 1 adapter"] = _ours(model, ["even0"], num_tokens)
    dtype = model.network.dtype
    stock = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype)
    peft = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype)
    peft = PeftModel.from_pretrained(peft, adapters["even0"], adapter_name="even0")
    for number in range(1, ROWS):
        peft.load_adapter(adapters[f"even{number}"], adapter_name=f"even{number}")
    peft.eval()
    subjects[f"generate, {ROWS} rows, 0 adapters"] = _generate(stock, ROWS, num_tokens, None)
    subjects["generate, 1 row, the base"] = _generate(stock, 1, num_tokens, None)
    for num in (1, 2, 4, 8):
        ids = [f"even{row % num}" for row in range(ROWS)]
        subjects[f"PEFT, {ROWS} rows, {num} adapters"] = _generate(peft, ROWS, num_tokens, ids)
    best = dict.fromkeys(subjects, 0.0)
    for _ in range(rounds):
        for name, subject in subjects.items():
            started = time.process_time()
            written = subject()
            best[name] = max(best[name], written / (time.process_time() - started))
    return best | _first_tokens(model, rounds)


def _prompts(num_rows: int) -> list[list[int]]:
    """Of 16 to 128 tokens; of 64 where there is but one."""
    draw = random.Random(0)
    lengths = [16 * (row + 1) for row in range(num_rows)] if num_rows > 1 else [64]
    return [[draw.randrange(1, VOCABULARY) for _ in range(length)] for length in lengths]


def _ours(model: BaseModel, adapter_ids: list[str | None] | list[str], num_tokens: int) -> Subject:
    def answer() -> int:
        sampler = Sampler(model, max_prefix_bytes=0)
        for row, prompt in enumerate(_prompts(len(adapter_ids))):
            sampler.submit(
                SampleSpec(
                    request_id=str(row),
                    adapter_id=adapter_ids[row],
                    prompt_token_ids=prompt,
                    max_tokens=num_tokens,
                    temperature=0,
                    ignore_end_of_text=True,
                )
            )
        return _drain(sampler)

    return answer


def _drain(sampler: Sampler) -> int:
    written = 0
    while not sampler.is_idle:
        for event in sampler.step():
            if isinstance(event, SampleFailed):
                raise RuntimeError(event.message)
            written += event.completion_tokens if isinstance(event, SampleDone) else 0
    return written


def _generate(
    model: Any, num_rows: int, num_tokens: int, adapter_names: list[str] | None
) -> Subject:
    """A static batch, padded on the left."""
    prompts = _prompts(num_rows)
    width = max(map(len, prompts))
    padded = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    more = {} if adapter_names is None else {"adapter_names": adapter_names}

    def answer() -> int:
        with torch.no_grad():
            output = model.generate(
                input_ids=padded,
                attention_mask=mask,
                max_new_tokens=num_tokens,
                min_new_tokens=num_tokens,
                do_sample=False,
                pad_token_id=0,
                **more,
            )
        return int(output.shape[1] - width) * num_rows

    return answer


def _first_tokens(model: BaseModel, rounds: int) -> dict[str, float]:
    """CPU seconds to the first token behind a system prompt, met for the first time or again."""
    draw = random.Random(1)
    told = {"first token, new system prompt, seconds": 9e9}
    told["first token, known system prompt, seconds"] = 9e9
    for _ in range(rounds):
        sampler = Sampler(model)
        system = [draw.randrange(1, VOCABULARY) for _ in range(SYSTEM_TOKENS)]
        for number, name in enumerate(told):
            sampler.submit(
                SampleSpec(
                    request_id=str(number),
                    adapter_id="even0",
                    prompt_token_ids=[*system, 5 + number, 7, 8],
                    max_tokens=1,
                    temperature=0,
                    ignore_end_of_text=True,
                )
            )
            started = time.process_time()
            _drain(sampler)
            told[name] = min(told[name], time.process_time() - started)
    return told


if __name__ == "__main__":
    main()
