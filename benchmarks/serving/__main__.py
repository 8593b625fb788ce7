"""How fast answers are written: this engine beside stock transformers and PEFT, by adapters.

    python -m benchmarks.serving --model m30 --precision fp32

Rows are answered greedily, for a fixed number of tokens, by random models: speed needs no sense.
The unit is tokens per second of the process' CPU time with one thread. The subjects take turns,
so that what else the machine does hits them alike; a figure is the best of its rounds.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from benchmarks import session
from benchmarks.serving.equality import equal_rows
from benchmarks.serving.models import VOCABULARY, make_adapter, make_model
from benchmarks.serving.report import RESULTS
from benchmarks.serving.subjects import ROWS, Names, Subject, drain, generate, ours, spec
from tunesmith.engine.model import BaseModel
from tunesmith.engine.precision import Precision
from tunesmith.engine.sample import Sampler

RANKS = (16, 16, 16, 16, 16, 16, 16, 16)
MIXED_RANKS = (4, 8, 16, 32, 4, 8, 16, 32)
EVEN = [f"even{row}" for row in range(ROWS)]
MIXED = [f"mixed{row}" for row in range(ROWS)]
BESIDE_THE_BASE: Names = [None if row % 2 else f"even{row}" for row in range(ROWS)]
SYSTEM_TOKENS = 600


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.serving", description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go, too")
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
    _keep(arguments.json, f"{arguments.model} {arguments.precision}", arguments, figures)


def _keep(path: Path, name: str, arguments: argparse.Namespace, figures: dict[str, float]) -> None:
    """In the place of what was measured before with this model and precision."""
    runs = json.loads(path.read_text()) if path.exists() else {}
    asked = {"tokens": arguments.tokens, "rounds": arguments.rounds, "threads": 1}
    runs[name] = {**session.about(), **asked, "figures": figures}
    path.write_text(json.dumps(runs, indent=1) + "\n")


def measure(
    folder: Path, model_name: str, precision: Precision, num_tokens: int, rounds: int
) -> dict[str, float]:
    """Tokens per CPU second by subject; of prompts, CPU seconds until the first token.

    In fp32 also how many of eight rows say the same together as alone.
    """
    model_folder = make_model(model_name, folder / "model")
    model = BaseModel.load(model_folder, device="cpu", precision=precision)
    adapters = {
        name: make_adapter(model, name, folder, rank=rank, seed=seed)
        for names, ranks in ((EVEN, RANKS), (MIXED, MIXED_RANKS))
        for seed, (name, rank) in enumerate(zip(names, ranks, strict=True))
    }
    for name, path in adapters.items():
        model.adapters.load(name, path)
    dtype = model.network.dtype
    stock = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype)
    peft = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype)
    peft = PeftModel.from_pretrained(peft, adapters[EVEN[0]], adapter_name=EVEN[0])
    for name in EVEN[1:]:
        peft.load_adapter(adapters[name], adapter_name=name)
    peft.eval()
    subjects = _ours(model) | _theirs(stock, peft)
    best = dict.fromkeys(subjects, 0.0)
    for _ in range(rounds):
        for name, subject in subjects.items():
            subject(1)  # so that its adapters are where they are wanted
            started = time.process_time()
            written = subject(num_tokens)
            best[name] = max(best[name], written / (time.process_time() - started))
    best |= _first_tokens(model, rounds)
    return best | (_equal(model, peft, num_tokens) if precision == "fp32" else {})


def _ours(model: BaseModel) -> dict[str, Subject]:
    rows: dict[str, Names] = {
        f"ours, {ROWS} rows, {num} adapters": _among(num) for num in (0, 1, 2, 4, 8)
    }
    rows[f"ours, {ROWS} rows, 8 adapters of ranks 4 to 32"] = MIXED
    rows[f"ours, {ROWS} rows, 4 adapters beside 4 times the base"] = BESIDE_THE_BASE
    rows["ours, 1 row, 0 adapters"] = [None]
    rows["ours, 1 row, 1 adapters"] = EVEN[:1]
    return {name: ours(model, names) for name, names in rows.items()}


def _theirs(stock: Any, peft: Any) -> dict[str, Subject]:
    subjects = {
        f"generate, {ROWS} rows, 0 adapters": generate(stock, ROWS, None),
        "generate, 1 row, 0 adapters": generate(stock, 1, None),
    }
    for num in (1, 2, 4, 8):
        names = [EVEN[row % num] for row in range(ROWS)]
        subjects[f"PEFT, {ROWS} rows, {num} adapters"] = generate(peft, ROWS, names)
    return subjects


def _among(num: int) -> Names:
    """Each row's adapter, where there are so many."""
    return [EVEN[row % num] if num else None for row in range(ROWS)]


def _equal(model: BaseModel, peft: Any, num_tokens: int) -> dict[str, float]:
    told = {}
    for what, names in (("8 adapters", EVEN), ("4 adapters beside the base", BESIDE_THE_BASE)):
        alone, stock = equal_rows(model, peft, names, num_tokens)
        told[f"equal rows of {ROWS}, {what}, to one by one"] = float(alone)
        told[f"equal rows of {ROWS}, {what}, to PEFT one by one"] = float(stock)
    return told


def _first_tokens(model: BaseModel, rounds: int) -> dict[str, float]:
    """CPU seconds to the first token behind a system prompt, met for the first time or again."""
    draw = random.Random(1)
    told = {"first token, new system prompt, seconds": 9e9}
    told["first token, known system prompt, seconds"] = 9e9
    for _ in range(rounds):
        sampler = Sampler(model)
        system = [draw.randrange(1, VOCABULARY) for _ in range(SYSTEM_TOKENS)]
        for number, name in enumerate(told):
            sampler.submit(spec(number, [*system, 5 + number, 7, 8], EVEN[0], 1))
            started = time.process_time()
            drain(sampler)
            told[name] = min(told[name], time.process_time() - started)
    return told


if __name__ == "__main__":
    main()
