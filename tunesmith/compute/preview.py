"""`python -m tunesmith.compute.preview FOLDER FILE MAX_TOKENS LINE COUNT`: rows as tokens.

So many rows from a line on, which counts from 1; blank lines are none. Their tokens go to standard
output as JSON, each with whether the model learns to produce it. In a process of its own, as it
needs the tokenizer.
"""

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers.decoders import DecodeStream

from tunesmith.compute.tokens import tokenizer_in
from tunesmith.engine import data
from tunesmith.engine.errors import BadConversation
from tunesmith.engine.examples import Example

MAX_PIECES = 4000  # shown of a text
_NICENESS = 10  # whoever serves and trains goes first


def preview(
    path: Path, tokenizer: Any, max_length_tokens: int, first: int, count: int
) -> dict[str, Any]:
    with path.open("rb") as file:
        from_there = islice(enumerate(file, start=1), first - 1, None)
        rows = ((line, raw) for line, raw in from_there if raw.strip())
        seen = [_row(*row, tokenizer, max_length_tokens) for row in islice(rows, count)]
        return {"rows": seen, "has_more": next(rows, None) is not None}


def _row(line: int, raw: bytes, tokenizer: Any, max_length_tokens: int) -> dict[str, Any]:
    """One text, or one for each answer: of a preference the preferred first."""
    try:
        row, _ = data.encode_line(raw, tokenizer, max_length_tokens)
    except BadConversation as error:
        return {"line": line, "texts": [], "refused": error.message}
    texts = [_text(example, tokenizer, max_length_tokens) for example in row.examples]
    return {"line": line, "texts": texts, "refused": None}


def _text(whole: Example, tokenizer: Any, max_length_tokens: int) -> dict[str, Any]:
    kept = Example(whole.token_ids[:max_length_tokens], whole.loss_mask[:max_length_tokens])
    return {
        "num_tokens": len(kept.token_ids),
        "num_trained": sum(kept.loss_mask),
        "num_cut": len(whole.token_ids) - len(kept.token_ids),
        "pieces": list(islice(_pieces(kept, tokenizer), MAX_PIECES)),
    }


def _pieces(text: Example, tokenizer: Any) -> Iterator[tuple[str, int, bool]]:
    """Text, how many tokens it is (more than one where they make one character), and whether they
    are learned."""
    stream, waiting = DecodeStream(skip_special_tokens=False), 0
    for token_id, is_learned in zip(text.token_ids, text.loss_mask, strict=True):
        waiting += 1
        try:
            piece = stream.step(tokenizer.backend_tokenizer, token_id)
        except Exception:  # the only type that tokenizers raises; bytes that are no UTF-8
            stream = DecodeStream(skip_special_tokens=False)
            piece = tokenizer.decode([token_id])
        if piece is not None:
            yield piece, waiting, bool(is_learned)
            waiting = 0
    if waiting:
        yield "\ufffd", waiting, bool(text.loss_mask[-1])


def main(folder: str, path: str, max_length_tokens: str, first: str, count: str) -> None:
    os.nice(_NICENESS)
    tokenizer = tokenizer_in(folder)
    seen = preview(Path(path), tokenizer, int(max_length_tokens), int(first), int(count))
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
