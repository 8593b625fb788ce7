"""Log-probabilities of tokens, and to which piece of the text each token belongs."""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from tunesmith.engine.events import Likely, TokenLogprob
from tunesmith.engine.vocabulary import Vocabulary

_LOWEST = -9999.0  # minus infinity is no JSON; OpenAI writes this for "very unlikely"


def token_logprobs(
    vocabulary: Vocabulary, logits: Tensor, token_ids: Sequence[int], num_top: int
) -> list[TokenLogprob]:
    """Of each token under its row of the logits (tokens, vocabulary), and the likeliest there.

    They are the model's own: log-softmax of the raw logits, before bias, penalties, temperature,
    top-p and grammar have changed anything.
    """
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    chosen_ids = torch.tensor(token_ids, device=logits.device)[:, None]
    chosen = logprobs.gather(-1, chosen_ids)[:, 0].tolist()
    values, likeliest = logprobs.topk(min(num_top, logits.shape[-1]), dim=-1)
    rows = zip(token_ids, chosen, values.tolist(), likeliest.tolist(), strict=True)
    return [
        _token_logprob(vocabulary, token_id, logprob, zip(top_ids, top, strict=True))
        for token_id, logprob, top, top_ids in rows
    ]


def without_logprob(vocabulary: Vocabulary, token_id: int) -> TokenLogprob:
    """A sequence's first token, which nothing predicts."""
    text, exact = vocabulary.token(token_id)
    return TokenLogprob(token=text, token_bytes=exact, logprob=None)


def _token_logprob(
    vocabulary: Vocabulary, token_id: int, logprob: float, top: "zip[tuple[int, float]]"
) -> TokenLogprob:
    text, exact = vocabulary.token(token_id)
    return TokenLogprob(
        token=text,
        token_bytes=exact,
        logprob=max(logprob, _LOWEST),
        top=tuple(_likely(vocabulary, i, value) for i, value in top),
    )


def _likely(vocabulary: Vocabulary, token_id: int, logprob: float) -> Likely:
    text, exact = vocabulary.token(token_id)
    return Likely(token=text, token_bytes=exact, logprob=max(logprob, _LOWEST))


class TokenLedger:
    """Which tokens a stretch of text is made of; positions count the text's characters."""

    def __init__(self) -> None:
        self._placed: deque[tuple[TokenLogprob, int]] = deque()  # with where its text ends
        self._unplaced: list[TokenLogprob] = []  # whose text has not come, such as half characters
        self._end = 0

    def add(self, token: TokenLogprob, end: int) -> None:
        """`end` is where the text ends now; a token that adds none belongs to the next piece."""
        self._unplaced.append(token)
        if end > self._end:
            self._placed += [(waiting, end) for waiting in self._unplaced]
            self._unplaced = []
            self._end = end

    def take(self, upto: int) -> tuple[TokenLogprob, ...]:
        """The tokens whose text ends there or before."""
        taken = []
        while self._placed and self._placed[0][1] <= upto:
            taken.append(self._placed.popleft()[0])
        return tuple(taken)

    def take_rest(self) -> tuple[TokenLogprob, ...]:
        rest = [token for token, _ in self._placed] + self._unplaced
        self._placed.clear()
        self._unplaced = []
        return tuple(rest)
