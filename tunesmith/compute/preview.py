"""`python -m tunesmith.compute.preview FOLDER MAX_TOKENS`: a row as a base model sees it.

The row comes through standard input; its tokens go to standard output as JSON, each with whether
the model learns to produce it. In a process of its own, as it needs the tokenizer.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tunesmith.engine import data
from tunesmith.engine.errors import BadConversation, UnsupportedModel
from tunesmith.engine.examples import Example
from tunesmith.engine.model import load_tokenizer


def preview(raw: bytes, tokenizer: Any, max_length_tokens: int) -> list[dict[str, Any]]:
    """One text, or the two of a preference, the preferred first."""
    whole, kept = data.encode_line(raw, tokenizer, max_length_tokens)
    texts = zip(whole.examples, kept.examples, strict=True)
    return [_text(one, part, tokenizer) for one, part in texts]


def _text(whole: Example, kept: Example, tokenizer: Any) -> dict[str, Any]:
    pieces = [tokenizer.decode([token]) for token in kept.token_ids]
    return {
        "tokens": [list(pair) for pair in zip(pieces, kept.loss_mask, strict=True)],
        "num_cut": len(whole.token_ids) - len(kept.token_ids),
    }


def main(folder: str, max_length_tokens: str) -> None:
    try:
        tokenizer = load_tokenizer(Path(folder))
        texts = preview(sys.stdin.buffer.read(), tokenizer, int(max_length_tokens))
    except (UnsupportedModel, BadConversation) as error:
        sys.exit(error.message)
    sys.stdout.write(json.dumps(texts))


if __name__ == "__main__":
    main(*sys.argv[1:])
