"""Batched, streaming generation: requests join and leave between decode steps."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tunesmith.engine import chat
from tunesmith.engine.answer import Answer
from tunesmith.engine.errors import (
    AdapterNotLoaded,
    BadConversation,
    Diverged,
    EngineError,
    OutOfMemory,
    PromptTooLong,
    UnsupportedModel,
)
from tunesmith.engine.events import SampleEvent, SampleFailed
from tunesmith.engine.kv_cache import KeyValueCache, batching_obstacle
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.model import BaseModel
from tunesmith.engine.separate_caches import SeparateCaches, separation_obstacle
from tunesmith.engine.spec import SampleSpec

Cache = KeyValueCache | SeparateCaches


class Prefill:
    """Prompts on their way into the cache, some columns at a time, before their rows join."""

    def __init__(self, answers: list[Answer], cache_type: type[Cache]) -> None:
        self.answers = answers
        width = max(len(answer.prompt_ids) for answer in answers)
        padding = [width - len(answer.prompt_ids) for answer in answers]
        self.cache = cache_type(padding)
        rows = zip(padding, answers, strict=True)
        self.token_ids = torch.tensor([[0] * count + a.prompt_ids for count, a in rows])

    @property
    def is_done(self) -> bool:
        return self.cache.width == self.token_ids.shape[1]


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
        self._waiting: deque[Answer] = deque()
        self._prefill: Prefill | None = None
        self._active: list[Answer] = []  # row by row as in the cache, grouped by adapter
        self._cache: Any = self._cache_type([])
        self._events: list[SampleEvent] = []

    @property
    def is_idle(self) -> bool:
        return not (self._events or self._waiting or self._prefill or self._active)

    def submit(self, spec: SampleSpec) -> None:
        """Queue a request; what is wrong with it is told by the next step."""
        try:
            answer = self._prepared(spec)
        except EngineError as error:
            self._fail(spec, error)
            return
        if answer.max_tokens < 1:
            self._events.append(answer.done("length"))
            return
        self._waiting.append(answer)

    def cancel(self, request_id: str) -> None:
        """Drop a request wherever it is; nothing more is told of it."""
        self._drop(lambda answer: answer.spec.request_id == request_id)
        self._events = [e for e in self._events if e.request_id != request_id]

    def step(self) -> list[SampleEvent]:
        """Read some of the waiting prompts and write one token of each active answer."""
        self._drop_unloaded()
        if self._active:
            self._decode()
        self._admit()
        if self._prefill is not None:
            self._read_prompts(self._prefill)
        events, self._events = self._events, []
        return events

    def _prepared(self, spec: SampleSpec) -> Answer:
        model = self._model
        if self._obstacle is not None:
            raise UnsupportedModel(f"This model cannot answer here. {self._obstacle}")
        if spec.adapter_id is not None and spec.adapter_id not in model.adapters:
            raise AdapterNotLoaded(f"The adapter {spec.adapter_id} is not loaded.")
        prompt_ids = _prompt_ids(model, spec)
        room = model.context_length - len(prompt_ids)
        if room < 1:
            raise PromptTooLong(
                f"The prompt has {len(prompt_ids)} tokens; the model's context of "
                f"{model.context_length} leaves no room for an answer."
            )
        max_tokens = room if spec.max_tokens is None else min(room, spec.max_tokens)
        return Answer(spec, model, prompt_ids, max_tokens)

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
        chunk = prefill.token_ids[:, start : start + columns]
        try:
            logits = self._forward(prefill.cache, answers, chunk)
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
        self._advance(answers, logits)
        order = sorted(range(len(self._active)), key=lambda row: _adapter_order(self._active[row]))
        self._keep([row for row in order if not _is_over(self._active[row])])

    def _decode(self) -> None:
        last = torch.tensor([[answer.token_ids[-1]] for answer in self._active])
        try:
            logits = self._forward(self._cache, self._active, last)
        except OutOfMemory as error:  # the newest gives way to the others
            newest = self._active[-1]
            self._fail(newest.spec, error)
            self._drop(lambda answer: answer is newest)
            return
        self._advance(self._active, logits)
        self._drop(_is_over)

    def _forward(self, cache: Cache, answers: list[Answer], token_ids: Tensor) -> Tensor:
        adapter_ids = [answer.spec.adapter_id for answer in answers]
        with out_of_memory_named():
            return cache.forward(self._model, token_ids.to(self._model.device), adapter_ids)

    def _advance(self, answers: Sequence[Answer], logits: Tensor) -> None:
        """Give each answer its next token, from its row of the logits."""
        likeliest = logits.argmax(-1).tolist()
        is_broken = logits.isnan().any(-1).tolist()
        for row, answer in enumerate(answers):
            if is_broken[row]:
                answer.finish_reason = "failed"
                self._fail(answer.spec, Diverged("The model's output is not a number."))
                continue
            token_id = likeliest[row] if answer.is_greedy else answer.choose(logits[row])
            self._events += answer.take(token_id)

    def _drop_unloaded(self) -> None:
        """Fail the answers whose adapter was taken away meanwhile."""

        def is_unloaded(answer: Answer) -> bool:
            adapter_id = answer.spec.adapter_id
            return adapter_id is not None and adapter_id not in self._model.adapters

        waiting = [*self._waiting, *(self._prefill.answers if self._prefill else [])]
        for answer in filter(is_unloaded, waiting + self._active):
            message = f"The adapter {answer.spec.adapter_id} is not loaded any more."
            self._fail(answer.spec, AdapterNotLoaded(message))
        self._drop(is_unloaded)

    def _drop(self, unwanted: Callable[[Answer], bool]) -> None:
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


def _prompt_ids(model: BaseModel, spec: SampleSpec) -> list[int]:
    if spec.messages is not None:
        return chat.encode_prompt(model.tokenizer, spec.messages)
    if spec.prompt is not None:
        prompt_ids = chat.encode_text(model.tokenizer, spec.prompt)
    else:
        prompt_ids = list(spec.prompt_token_ids or [])
    if not prompt_ids:  # something must come before the first token
        start_id = model.tokenizer.bos_token_id
        prompt_ids = [model.tokenizer.eos_token_id if start_id is None else start_id]
    if not all(0 <= token_id < model.config.vocab_size for token_id in prompt_ids):
        raise BadConversation("The prompt holds token ids that the model does not have.")
    return prompt_ids


def _is_over(answer: Answer) -> bool:
    return answer.finish_reason is not None


def _adapter_order(answer: Answer) -> str:
    return answer.spec.adapter_id or ""
