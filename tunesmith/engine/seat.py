"""Answers at work: where each stands in the cache, and what a step does for each."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tunesmith.engine.answer import Answer
from tunesmith.engine.events import TokenLogprob
from tunesmith.engine.logprobs import token_logprobs, without_logprob
from tunesmith.engine.row_cache import Piece
from tunesmith.engine.vocabulary import Vocabulary

_MAX_SCORED_TOKENS = 512  # of prompts in one forward: their logits are all kept for a moment


class Seat:
    """An answer and its row of the cache."""

    def __init__(self, answer: Answer, row: Any) -> None:
        self.answer = answer
        self.row = row
        self.is_new = True
        self.scores: list[TokenLogprob] = []  # of the prompt's tokens, where they are wanted

    @property
    def num_unread(self) -> int:
        """Tokens of the prompt that the cache does not know yet."""
        num_read: int = self.row.length
        return max(0, len(self.answer.prompt_ids) - num_read)

    @property
    def is_reading(self) -> bool:
        return self.num_unread > 0

    def piece(self, num_tokens: int) -> Piece:
        """The next tokens of the prompt, or the answer's latest."""
        answer = self.answer
        start = self.row.length
        scored = answer.scores_prompt and self.is_reading
        token_ids = (
            answer.prompt_ids[start : start + num_tokens]
            if self.is_reading
            else answer.token_ids[-1:]
        )
        return Piece(
            row=self.row,
            token_ids=token_ids,
            adapter_id=answer.spec.adapter_id,
            keeps_all=scored,
        )

    def score(self, vocabulary: Vocabulary, logits: Tensor) -> None:
        """Note what these logits (tokens, vocabulary), the latest, say of the prompt."""
        prompt_ids = self.answer.prompt_ids
        if not self.scores:
            self.scores.append(without_logprob(vocabulary, prompt_ids[0]))
        start = len(self.scores)
        predicted = prompt_ids[start : start + len(logits)]
        num_top = self.answer.spec.top_logprobs or 0
        self.scores += token_logprobs(vocabulary, logits[: len(predicted)], predicted, num_top)


def next_pieces(
    seats: Sequence[Seat], max_prefill_tokens: int, *, whole: bool
) -> list[tuple[Seat, Piece]]:
    """A token of each that is being written, and so many of prompts; the oldest seats first.

    Prompts that are read `whole` are read so, the oldest at least.
    """
    writing = [seat for seat in seats if not seat.is_reading]
    reading = [seat for seat in seats if seat.is_reading]
    counts = _shares(reading, max_prefill_tokens)
    if whole:
        counts = [
            seat.num_unread if number == 0 or count == seat.num_unread else 0
            for number, (seat, count) in enumerate(zip(reading, counts, strict=True))
        ]
    shared = zip(reading, counts, strict=True)
    turn = [(seat, seat.piece(1)) for seat in writing]
    return turn + [(seat, seat.piece(count)) for seat, count in shared if count]


def _shares(reading: Sequence[Seat], max_tokens: int) -> list[int]:
    """How many tokens each prompt may go on by.

    Half is the oldest's, so that it gets on; of the rest the short ones come first, so that a
    question need not wait for a book to be read.
    """
    counts = [0] * len(reading)
    left = max_tokens
    if any(seat.answer.scores_prompt for seat in reading):
        left = min(left, _MAX_SCORED_TOKENS)
    turns = sorted(range(len(reading)), key=lambda number: reading[number].num_unread)
    for number, most in [(0, -(-left // 2)), *((n, left) for n in turns)] if reading else []:
        count = min(reading[number].num_unread - counts[number], most, left)
        counts[number] += count
        left -= count
    return counts
