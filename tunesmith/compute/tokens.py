"""`python -m tunesmith.compute.tokens FOLDER FILE MAX_TOKENS`: what a base model makes of a file.

In a process of its own, as it needs the tokenizer and computes for long. The counts go to standard
output as JSON; rows from which nothing can be learned are named and not counted. The file may be
`-`: standard input.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tunesmith.engine import data, examples
from tunesmith.engine.errors import BadConversation, UnsupportedModel
from tunesmith.engine.model import load_tokenizer

NO_TOKENIZER = 3  # exit code
_NICENESS = 10  # whoever serves and trains goes first
_SHOWN = 100
_TOTALS = (
    *("examples", "tokens", "trained_tokens"),
    *("truncated", "losing", "lost_tokens", "refused"),
)
_SMALLEST = 16  # tokens: the first column of the histogram


def counts(lines: Iterable[bytes], tokenizer: Any, max_length_tokens: int) -> dict[str, Any]:
    totals: Counter[str] = Counter()
    columns: Counter[int] = Counter()
    refused: list[dict[str, Any]] = []
    losing: list[dict[str, int]] = []
    mask = data.MaskDigest()
    for line, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        try:
            row, kept = data.encode_line(raw, tokenizer, max_length_tokens)
        except BadConversation as error:
            totals["refused"] += 1
            refused += [{"line": line, "message": error.message}][: _SHOWN - len(refused)]
            continue
        mask.add(kept)
        length, kept_length = examples.num_tokens(row), examples.num_tokens(kept)
        trained = examples.num_supervised_tokens(kept)
        lost = examples.num_supervised_tokens(row) - trained
        columns[_column(length)] += 1
        totals["examples"] += 1
        totals["tokens"] += kept_length
        totals["trained_tokens"] += trained
        totals["truncated"] += kept_length < length
        totals["lost_tokens"] += lost
        if lost:
            totals["losing"] += 1
            cut = {"line": line, "tokens": length, "kept": kept_length, "lost": lost}
            losing += [cut][: _SHOWN - len(losing)]
    return {
        **{f"num_{name}": totals[name] for name in _TOTALS},
        "histogram": [[limit, columns[limit]] for limit in sorted(columns)],
        "refused": refused,
        "losing": losing,
        "mask_sha256": None if totals["refused"] else mask.hexdigest(),
    }


def _column(num_tokens: int) -> int:
    """The power of two that a row's tokens are not more than."""
    return max(_SMALLEST, 1 << (num_tokens - 1).bit_length())


def tokenizer_in(folder: str) -> Any:
    """Ends the process with `NO_TOKENIZER`, and the reason on standard error, if there is none."""
    try:
        return load_tokenizer(Path(folder))
    except UnsupportedModel as error:
        sys.stderr.write(" ".join(error.message.split()))  # in one line
        sys.exit(NO_TOKENIZER)


def main(folder: str, path: str, max_length_tokens: str) -> None:
    os.nice(_NICENESS)
    tokenizer = tokenizer_in(folder)
    with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
        counted = counts(file, tokenizer, int(max_length_tokens))
    sys.stdout.write(json.dumps(counted))


if __name__ == "__main__":
    main(*sys.argv[1:])
