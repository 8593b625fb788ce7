"""Batched, streaming generation: requests join and leave between decode steps."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any

from torch import Tensor

from tunesmith.engine.answer import Answer
from tunesmith.engine.errors import (
    AdapterNotLoaded,
    Diverged,
    EngineError,
    OutOfMemory,
    UnsupportedModel,
)
from tunesmith.engine.events import SampleEvent, SampleFailed
from tunesmith.engine.logprobs import token_logprobs
from tunesmith.engine.lora import Adapter
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.model import BaseModel
from tunesmith.engine.prefix_cache import PrefixCache
from tunesmith.engine.preparation import Preparation
from tunesmith.engine.row_cache import Piece, RowCache, batching_obstacle
from tunesmith.engine.seat import Seat, next_pieces
from tunesmith.engine.separate_caches import SeparateCaches, separation_obstacle
from tunesmith.engine.spec import SampleSpec

# A processor multiplies no faster for longer chunks; each one holds up who is being answered.
_CPU_PREFILL_TOKENS = 256
_PREFILL_TOKENS = 2048
_GRAMMAR_SECONDS = 0.02  # to wait for a grammar while there is nothing else to do


class Sampler:
    """Answers for one base model and all its adapters, one step at a time.

    At most `max_rows` answers are written at once, and at most `max_cache_tokens` cached for
    them; who comes later waits. A step reads at most `max_prefill_tokens` of prompts. Beginnings
    of prompts are kept in at most `max_prefix_bytes`.
    """

    def __init__(
        self,
        model: BaseModel,
        *,
        max_rows: int = 16,
        max_cache_tokens: int = 65_536,
        max_prefill_tokens: int | None = None,
        max_prefix_bytes: int = 256 << 20,
    ) -> None:
        self._model = model
        self._obstacle: str | None = None
        self._cache: Any = RowCache()
        if batching_obstacle(model) is not None:
            self._obstacle = separation_obstacle(model)
            self._cache = SeparateCaches()
        self._prefixes = PrefixCache(max_prefix_bytes)
        self._max_rows = max_rows
        self._max_cache_tokens = max_cache_tokens
        if max_prefill_tokens is None:
            is_cpu = model.device.type == "cpu"
            max_prefill_tokens = _CPU_PREFILL_TOKENS if is_cpu else _PREFILL_TOKENS
        self._max_prefill_tokens = max_prefill_tokens
        self._preparation = Preparation(model, max_cache_tokens)
        self._reading: list[Answer] = []  # whose grammars are being read
        self._waiting: deque[Answer] = deque()
        self._active: list[Seat] = []  # the oldest first
        self._events: list[SampleEvent] = []

    @property
    def is_idle(self) -> bool:
        return not (self._events or self._reading or self._is_waited_for)

    @property
    def _is_waited_for(self) -> bool:
        """Whether the model has something to do."""
        return bool(self._waiting or self._active)

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
        self._collect_read()
        self._admit()
        if self._active:
            self._go_on()
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
        while self._waiting and self._fits(self._waiting[0]):
            self._active.append(Seat(self._waiting.popleft(), self._cache.open()))

    def _fits(self, joining: Answer) -> bool:
        answers = [*(seat.answer for seat in self._active), joining]
        longest = max(len(answer.prompt_ids) + answer.max_tokens for answer in answers)
        num_rows = len(answers)
        return num_rows <= self._max_rows and num_rows * longest <= self._max_cache_tokens

    def _go_on(self) -> None:
        """One forward for all: the next token of some, a part of the prompt of others."""
        for seat in self._active:
            if seat.is_new and not self._cache.reads_whole_prompts:
                self._recall(seat)
        turn = next_pieces(
            self._active, self._max_prefill_tokens, whole=self._cache.reads_whole_prompts
        )
        try:
            with out_of_memory_named():
                logits = self._cache.forward(self._model, [piece for _, piece in turn])
        except OutOfMemory as error:  # the newest gives way to the others
            newest, _ = turn[-1]
            self._fail(newest.answer.spec, error)
            self._drop(lambda answer: answer is newest.answer)
            return
        self._take(turn, logits)
        self._drop(_is_over)

    def _recall(self, seat: Seat) -> None:
        """Begin with what an earlier prompt of the same adapter began with."""
        seat.is_new = False
        answer = seat.answer
        adapter_id = answer.spec.adapter_id
        if not answer.scores_prompt:
            for columns in self._prefixes.find(
                self._adapter(adapter_id), adapter_id, answer.prompt_ids
            ):
                self._cache.write(seat.row, columns)

    def _take(self, turn: Sequence[tuple[Seat, Piece]], logits: Tensor) -> None:
        """Hand out what each seat's piece gave, from its rows of the logits."""
        end = 0
        last: list[int] = []
        done: list[Seat] = []
        for seat, piece in turn:
            start, end = end, end + (len(piece.token_ids) if piece.keeps_all else 1)
            if piece.keeps_all:
                seat.score(self._model.vocabulary, logits[start:end])
            if seat.is_reading:
                continue
            if not seat.answer.token_ids:
                self._keep_prefix(seat)
            last.append(end - 1)
            done.append(seat)
        if done:
            is_all = len(last) == len(logits)
            self._advance([seat.answer for seat in done], logits if is_all else logits[last])

    def _keep_prefix(self, seat: Seat) -> None:
        """For the next prompt that begins like this one, which has just been read."""
        seat.answer.prompt_logprobs = seat.scores
        if isinstance(self._cache, RowCache):
            adapter_id = seat.answer.spec.adapter_id
            self._prefixes.keep(
                self._adapter(adapter_id),
                adapter_id,
                seat.answer.prompt_ids,
                lambda start, end: self._cache.read(seat.row, start, end),
            )

    def _adapter(self, adapter_id: str | None) -> Adapter | None:
        return None if adapter_id is None else self._model.adapters[adapter_id]

    def _advance(self, answers: Sequence[Answer], logits: Tensor) -> None:
        """Give each answer its next token, from its row of the logits."""
        best = logits.max(-1)  # which is not a number where any of them is none
        likeliest = best.indices.tolist()
        is_broken = best.values.isnan().tolist()
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

        active = [seat.answer for seat in self._active]
        for answer in filter(is_unloaded, [*self._reading, *self._waiting, *active]):
            message = f"The adapter {answer.spec.adapter_id} is not loaded any more."
            self._fail(answer.spec, AdapterNotLoaded(message))
        self._drop(is_unloaded)
        self._prefixes.forget_all_but(self._model.adapters)

    def _drop(self, unwanted: Callable[[Answer], bool]) -> None:
        self._reading = [answer for answer in self._reading if not unwanted(answer)]
        self._waiting = deque(answer for answer in self._waiting if not unwanted(answer))
        for seat in [seat for seat in self._active if unwanted(seat.answer)]:
            self._active.remove(seat)
            self._cache.close(seat.row)

    def _fail(self, spec: SampleSpec, error: EngineError) -> None:
        self._events.append(
            SampleFailed(request_id=spec.request_id, code=error.code, message=error.message)
        )


def _is_over(answer: Answer) -> bool:
    return answer.finish_reason is not None
