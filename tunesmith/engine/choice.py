"""Which token comes next: bias, penalties, grammar, temperature, top-k, top-p, random state."""

from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor

from tunesmith.engine.spec import SampleSpec

_MIN_TEMPERATURE = 1e-4  # below, the division overflows, and the likeliest wins anyway
_MIN_LOGIT = -1e30  # of tokens that a grammar may still ask for, unlike those it excludes


class TokenChoice:
    """The rules of one answer, and what they must remember of it and of its prompt."""

    def __init__(self, spec: SampleSpec, prompt_ids: Iterable[int] = ()) -> None:
        self._spec = spec
        self._prompt_ids = frozenset(prompt_ids)
        self._counts: Counter[int] = Counter()
        self._is_greedy = spec.temperature < _MIN_TEMPERATURE
        self._has_penalties = bool(spec.frequency_penalty or spec.presence_penalty)
        self._bias_ids = torch.tensor(list(spec.logit_bias), dtype=torch.long)
        self._bias = torch.tensor(list(spec.logit_bias.values()), dtype=torch.float32)
        self._generator = torch.Generator()
        if spec.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(spec.seed % 2**63)

    @property
    def is_argmax(self) -> bool:
        """Whether the next token is simply the likeliest."""
        is_untouched = not self._has_penalties and self._spec.repetition_penalty == 1
        return self._is_greedy and is_untouched and not self._spec.logit_bias

    def saw(self, token_id: int) -> None:
        self._counts[token_id] += 1

    def next(self, logits: Tensor, allowed: Tensor | None = None) -> int:
        """Given the token's logits (vocabulary,) and which tokens a grammar allows, if one does."""
        spec = self._spec
        logits = self._adjusted(logits.float().cpu())
        if allowed is not None:
            logits = logits.clamp(min=_MIN_LOGIT).masked_fill(~allowed, -torch.inf)
        if self._is_greedy:
            return int(logits.argmax())
        if spec.top_k is not None:
            logits = _likeliest(logits, spec.top_k)
        probabilities = torch.softmax(logits / spec.temperature, dim=-1)
        if spec.top_p < 1:
            probabilities = _nucleus(probabilities, spec.top_p)
        return int(torch.multinomial(probabilities, 1, generator=self._generator))

    def _adjusted(self, logits: Tensor) -> Tensor:
        """https://platform.openai.com/docs/api-reference, "frequency and presence penalties"."""
        if self._spec.logit_bias:
            logits = logits.index_add(0, self._bias_ids, self._bias)
        if self._spec.repetition_penalty != 1:
            logits = self._less_repeated(logits)
        if self._has_penalties and self._counts:
            seen = torch.tensor(list(self._counts))
            counts = torch.tensor(list(self._counts.values()), dtype=torch.float32)
            penalties = counts * self._spec.frequency_penalty + self._spec.presence_penalty
            logits = logits.index_add(0, seen, -penalties)
        return logits

    def _less_repeated(self, logits: Tensor) -> Tensor:
        """Keskar et al. 2019, section 4.1; as in transformers the prompt's tokens count, too."""
        repeated = torch.tensor(sorted(self._prompt_ids | self._counts.keys()), dtype=torch.long)
        scores, penalty = logits[repeated], self._spec.repetition_penalty
        return logits.index_copy(
            0, repeated, torch.where(scores < 0, scores * penalty, scores / penalty)
        )


def _likeliest(logits: Tensor, top_k: int) -> Tensor:
    """The `top_k` likeliest tokens, and those that are as likely as the last of them."""
    last = logits.topk(min(top_k, len(logits))).values[-1]
    return logits.masked_fill(logits < last, -torch.inf)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The likeliest tokens that together reach `top_p` (Holtzman et al. 2020), at least one."""
    ordered, order = probabilities.sort(descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    outside[0] = False
    return probabilities.index_fill(0, order[outside], 0.0)
