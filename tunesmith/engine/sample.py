"""Batched, streaming generation: requests join and leave between decode steps."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.answer import Answer
from tunesmith.engine.errors import (
    AdapterNotLoaded,
    Diverged,
    EngineError,
    OutOfMemory,
    UnsupportedModel,
)
from tunesmith.engine.events import SampleEvent, SampleFailed, TokenLogprob
from tunesmith.engine.kv_cache import KeyValueCache, batching_obstacle
from tunesmith.engine.logprobs import token_logprobs, without_logprob
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.model import BaseModel
from tunesmith.engine.preparation import Preparation
from tunesmith.engine.separate_caches import SeparateCaches, separation_obstacle
from tunesmith.engine.spec import SampleSpec

Cache = KeyValueCache | SeparateCaches

_MAX_SCORED_TOKENS = 512  # of prompts in one forward: their logits are all kept for a moment
_GRAMMAR_SECONDS = 0.02  # to wait for a grammar while there is nothing else to do


class Prefill:
    """Prompts on their way into the cache, some columns at a time, before their rows join."""

    def __init__(self, answers: list[Answer], cache_type: type[Cache]) -> None:
        self.answers = answers
        width = max(len(answer.prompt_ids) for answer in answers)
        padding = [width - len(answer.prompt_ids) for answer in answers]
        self.cache = cache_type(padding)
        rows = zip(padding, answers, strict=True)
        self.token_ids = torch.tensor([[0] * count + a.prompt_ids for count, a in rows])
        self.scores: list[list[TokenLogprob]] = [[] for _ in answers]  # of the prompts' tokens

    @property
    def is_scored(self) -> bool:
        return any(answer.scores_prompt for answer in self.answers)

    @property
    def is_done(self) -> bool:
        return self.cache.width == self.token_ids.shape[1]

    def score(self, model: BaseModel, logits: Tensor) -> None:
        """Note what the last columns' logits (rows, columns, vocabulary) say of the prompts."""
        end = self.cache.width
        start = end - logits.shape[1]
        for row, answer in enumerate(self.answers):
            if not answer.scores_prompt:
                continue
            scores = self.scores[row]
            first = max(start, self.cache.padding[row])
            if first >= end:
                continue  # nothing but padding yet
            if not scores:
                first_id = int(self.token_ids[row, first])
                scores.append(without_logprob(model.vocabulary, first_id))
            predicted = self.token_ids[row, first + 1 : end + 1].tolist()
            of_row = logits[row, first - start : first - start + len(predicted)]
            num_top = answer.spec.top_logprobs or 0
            scores += token_logprobs(model.vocabulary, of_row, predicted, num_top)


class Sampler:
    """Answers for one base model and all its adapters, one step at a time.

    At most `max_rows` answers are written at once, and at most `max_cache_tokens` cached for
    them; who comes later waits. A step reads at most `max_prefill_tokens` of prompts.
    """

    def __init__(
        self,
        model: BaseModel,
        *,
        max_rows: int = 16,
        max_cache_tokens: int = 65_536,
        max_prefill_tokens: int = 1024,
    ) -> None:
        self._model = model
        self._obstacle: str | None = None
        self._cache_type: type[Cache] = KeyValueCache
        if batching_obstacle(model) is not None:
            self._obstacle = separation_obstacle(model)
            self._cache_type = SeparateCaches
        self._max_rows = max_rows
        self._max_cache_tokens = max_cache_tokens
        self._max_prefill_tokens = max_prefill_tokens
        self._preparation = Preparation(model)
        self._reading: list[Answer] = []  # whose grammars are being read
        self._waiting: deque[Answer] = deque()
        self._prefill: Prefill | None = None
        self._active: list[Answer] = []  # row by row as in the cache, grouped by adapter
        self._cache: Any = self._cache_type([])
        self._events: list[SampleEvent] = []

    @property
    def is_idle(self) -> bool:
        return not (self._events or self._reading or self._is_waited_for)

    @property
    def _is_waited_for(self) -> bool:
        """Whether the model has something to do."""
        return bool(self._waiting or self._prefill or self._active)

    def submit(self, spec: SampleSpec) -> None:
        """Queue a request; what is wrong with it is told by the next step."""
        try:
            answer = self._prepared(spec)
        except EngineError as error:
            self._fail(spec, error)
            return
        if answer.max_tokens < 1 and not spec.echo:
            self._events.append(answer.done("length"))
            return
        (self._waiting if answer.constraint is None else self._reading).append(answer)

    def cancel(self, request_id: str) -> None:
        """Drop a request wherever it is; nothing more is told of it."""
        self._drop(lambda answer: answer.spec.request_id == request_id)
        self._events = [e for e in self._events if e.request_id != request_id]

    def step(self) -> list[SampleEvent]:
        """Read some of the waiting prompts and write one token of each active answer."""
        self._drop_unloaded()
        if self._active:
            self._decode()
        self._collect_read()
        self._admit()
        if self._prefill is not None:
            self._read_prompts(self._prefill)
        events, self._events = self._events, []
        return events

    def _prepared(self, spec: SampleSpec) -> Answer:
        if self._obstacle is not None:
            raise UnsupportedModel(f"This model cannot answer here. {self._obstacle}")
        return self._preparation.answer(spec)

    def _collect_read(self) -> None:
        """Let those wait for the model whose grammars are read by now."""
        if not self._reading:
            return
        begun = {answer.constraint.begun for answer in self._reading if answer.constraint}
        idle_seconds = 0.0 if self._is_waited_for or self._events else _GRAMMAR_SECONDS
        done, _ = wait(begun, timeout=idle_seconds, return_when=FIRST_COMPLETED)
        for answer in list(self._reading):
            assert answer.constraint is not None
            if answer.constraint.begun not in done:
                continue
            self._reading.remove(answer)
            try:
                answer.constraint.permission()
            except EngineError as error:
                self._fail(answer.spec, error)
            else:
                self._waiting.append(answer)

    def _admit(self) -> None:
        if self._prefill is not None:
            return
        joining: list[Answer] = []
        while self._waiting and self._fits([*joining, self._waiting[0]]):
            joining.append(self._waiting.popleft())
        if joining:
            self._prefill = Prefill(sorted(joining, key=_adapter_order), self._cache_type)

    def _fits(self, joining: list[Answer]) -> bool:
        rows = self._active + joining
        if len(rows) == 1:
            return True
        lengths = [len(answer.prompt_ids) for answer in joining]
        longest = max(len(answer.prompt_ids) + answer.max_tokens for answer in rows)
        mostly_padding = len(lengths) * max(lengths) > 2 * sum(lengths)
        is_within = len(rows) <= self._max_rows and len(rows) * longest <= self._max_cache_tokens
        return is_within and not mostly_padding

    def _read_prompts(self, prefill: Prefill) -> None:
        answers = prefill.answers
        start = prefill.cache.width
        columns = max(1, self._max_prefill_tokens // len(answers))
        if prefill.cache.takes_whole_prompts:
            columns = prefill.token_ids.shape[1]
        elif prefill.is_scored:
            columns = min(columns, max(1, _MAX_SCORED_TOKENS // len(answers)))
        chunk = prefill.token_ids[:, start : start + columns]
        try:
            if prefill.is_scored:
                all_logits = self._forward(prefill.cache.score, answers, chunk)
                prefill.score(self._model, all_logits)
                logits = all_logits[:, -1]
            else:
                logits = self._forward(prefill.cache.forward, answers, chunk)
        except OutOfMemory as error:
            self._prefill = None
            for answer in answers:
                self._fail(answer.spec, error)
            return
        if not prefill.is_done:
            return
        self._prefill = None
        if self._active:
            self._cache.join(prefill.cache)
        else:
            self._cache = prefill.cache
        self._active += answers
        for answer, scores in zip(answers, prefill.scores, strict=True):
            answer.prompt_logprobs = scores
        self._advance(answers, logits)
        order = sorted(range(len(self._active)), key=lambda row: _adapter_order(self._active[row]))
        self._keep([row for row in order if not _is_over(self._active[row])])

    def _decode(self) -> None:
        last = torch.tensor([[answer.token_ids[-1]] for answer in self._active])
        try:
            logits = self._forward(self._cache.forward, self._active, last)
        except OutOfMemory as error:  # the newest gives way to the others
            newest = self._active[-1]
            self._fail(newest.spec, error)
            self._drop(lambda answer: answer is newest)
            return
        self._advance(self._active, logits)
        self._drop(_is_over)

    def _forward(
        self, forward: Callable[..., Tensor], answers: list[Answer], token_ids: Tensor
    ) -> Tensor:
        adapter_ids = [answer.spec.adapter_id for answer in answers]
        with out_of_memory_named():
            return forward(self._model, token_ids.to(self._model.device), adapter_ids)

    def _advance(self, answers: Sequence[Answer], logits: Tensor) -> None:
        """Give each answer its next token, from its row of the logits."""
        likeliest = logits.argmax(-1).tolist()
        is_broken = logits.isnan().any(-1).tolist()
        for row, answer in enumerate(answers):
            try:
                if is_broken[row]:
                    raise Diverged("The model's output is not a number.")
                self._events += self._written(answer, logits[row], likeliest[row])
            except EngineError as error:
                answer.finish_reason = "failed"
                self._fail(answer.spec, error)

    def _written(self, answer: Answer, logits: Tensor, likeliest: int) -> list[SampleEvent]:
        """What there is to tell once an answer has its next token."""
        spec = answer.spec
        told: list[SampleEvent] = []
        if spec.echo and not answer.token_ids:
            told.append(answer.echo())
        if answer.max_tokens == 0:
            return told + answer.end("length")
        if answer.is_complete:
            return told + answer.end("stop")
        token_id = likeliest if answer.is_greedy else answer.choose(logits)
        if spec.top_logprobs is None:
            return told + answer.take(token_id)
        vocabulary = self._model.vocabulary
        [logprob] = token_logprobs(vocabulary, logits[None], [token_id], spec.top_logprobs)
        return told + answer.take(token_id, logprob)

    def _drop_unloaded(self) -> None:
        """Fail the answers whose adapter was taken away meanwhile."""

        def is_unloaded(answer: Answer) -> bool:
            adapter_id = answer.spec.adapter_id
            return adapter_id is not None and adapter_id not in self._model.adapters

        waiting = [
            *self._reading,
            *self._waiting,
            *(self._prefill.answers if self._prefill else []),
        ]
        for answer in filter(is_unloaded, waiting + self._active):
            message = f"The adapter {answer.spec.adapter_id} is not loaded any more."
            self._fail(answer.spec, AdapterNotLoaded(message))
        self._drop(is_unloaded)

    def _drop(self, unwanted: Callable[[Answer], bool]) -> None:
        self._reading = [answer for answer in self._reading if not unwanted(answer)]
        self._waiting = deque(answer for answer in self._waiting if not unwanted(answer))
        if self._prefill is not None and any(map(unwanted, self._prefill.answers)):
            # Rare and not far in: start over with the others.
            others = [answer for answer in self._prefill.answers if not unwanted(answer)]
            self._prefill = Prefill(others, self._cache_type) if others else None
        if any(map(unwanted, self._active)):
            kept = [row for row, answer in enumerate(self._active) if not unwanted(answer)]
            self._keep(kept)

    def _keep(self, rows: list[int]) -> None:
        self._active = [self._active[row] for row in rows]
        if rows:
            self._cache.select(rows)
        else:
            self._cache = self._cache_type([])

    def _fail(self, spec: SampleSpec, error: EngineError) -> None:
        self._events.append(
            SampleFailed(request_id=spec.request_id, code=error.code, message=error.message)
        )


def _is_over(answer: Answer) -> bool:
    return answer.finish_reason is not None


def _adapter_order(answer: Answer) -> str:
    return answer.spec.adapter_id or ""
