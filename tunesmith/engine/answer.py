"""One answer while it is written: which token comes next, and what is certain to be told."""

from dataclasses import replace

from torch import Tensor

from tunesmith.engine import chat
from tunesmith.engine.choice import TokenChoice
from tunesmith.engine.events import SampleDone, SampleEvent, TextDelta, TokenLogprob, ToolCalled
from tunesmith.engine.grammar import Constraint
from tunesmith.engine.logprobs import TokenLedger
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import SampleSpec
from tunesmith.engine.text_stream import TextStream
from tunesmith.engine.tool_reader import Called, Part, Said, ToolReader


class Answer:
    """The state of one request; `finish_reason` is set once the answer is over.

    `tools` finds calls in the text, `constraint` excludes tokens, each where one is wanted.
    """

    def __init__(
        self,
        spec: SampleSpec,
        model: BaseModel,
        prompt_ids: list[int],
        max_tokens: int,
        *,
        tools: ToolReader | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.spec = spec
        self.prompt_ids = prompt_ids
        self.max_tokens = max_tokens
        self.constraint = constraint
        self.prompt_logprobs: list[TokenLogprob] = []  # of all its tokens, where they are wanted
        self.token_ids: list[int] = []
        self.finish_reason: str | None = None
        self._model = model
        ignores_end = spec.ignore_end_of_text and constraint is None
        self._end_ids = frozenset() if ignores_end else model.end_of_text_ids
        # Where the answer goes on in the prompt's text, a leading space belongs to it.
        context_ids = prompt_ids[-8:] if spec.prompt else []
        spelled_ids = tools.special_ids(model.tokenizer) if tools else ()
        self._text = TextStream(model.tokenizer, spec.stop, context_ids, spelled_ids)
        self._tools = tools
        self._num_calls = 0
        self._num_said = 0  # characters, where there are no tools
        self._ledger = TokenLedger()
        self._choice = TokenChoice(spec, prompt_ids if spec.repetition_penalty != 1 else ())

    @property
    def is_greedy(self) -> bool:
        """Whether the next token is simply the likeliest."""
        return self._choice.is_argmax and self.constraint is None

    @property
    def scores_prompt(self) -> bool:
        return self.spec.echo and self.spec.top_logprobs is not None

    def choose(self, logits: Tensor) -> int:
        """The next token, given its logits (vocabulary,). Raises `BadSchema`."""
        allowed = None if self.constraint is None else self.constraint.permission().allowed
        return self._choice.next(logits, allowed)

    def echo(self) -> TextDelta:
        """The prompt's text, with its log-probabilities where they are wanted."""
        tokenizer = self._model.tokenizer
        text = self.spec.prompt
        if text is not None:
            # A beginning-of-text token that was put before the text is no part of it.
            num_added = len(self.prompt_ids) - chat.num_text_tokens(tokenizer, text)
        else:
            given = self.spec.prompt_token_ids or []
            text = tokenizer.decode(given, skip_special_tokens=False)
            num_added = len(self.prompt_ids) - len(given)
        told = self.prompt_logprobs[num_added:]
        if told:
            told[0] = replace(told[0], logprob=None, top=())
        return self._delta(text, tuple(told))

    def take(self, token_id: int, logprob: TokenLogprob | None = None) -> list[SampleEvent]:
        """Go on by one token; returns what is certain now, and the end if it is one."""
        self.token_ids.append(token_id)
        self._choice.saw(token_id)
        if token_id in self._end_ids:
            return self.end("stop")
        text = self._text.push(token_id)
        if logprob is not None:
            self._ledger.add(logprob, self._text.num_decoded)
        events = self._tell(self._parts(text))
        if self.finish_reason is not None:  # the one call that was wanted is there
            return events
        if self._text.is_stopped:
            return events + self.end("stop")
        if self.constraint is not None:
            self.constraint.advance(token_id)
        if len(self.token_ids) >= self.max_tokens:
            return events + self.end("stop" if self.is_complete else "length")
        return events

    @property
    def is_complete(self) -> bool:
        """Whether the grammar has come to its end. Raises `BadSchema`."""
        return self.constraint is not None and self.constraint.permission().is_complete

    def end(self, finish_reason: str) -> list[SampleEvent]:
        """The text that was held back, and the end."""
        parts: list[Part] = []
        if not self._text.is_stopped:
            parts += self._parts(self._text.finish())
        if self._tools is not None:
            parts += self._tools.finish()
        events = self._tell(parts)
        if self.finish_reason is not None:
            return events
        if self._tools is not None:
            self._ledger.take(self._tools.end)
        if not self._text.is_stopped and (rest := self._ledger.take_rest()):
            events.append(self._delta("", rest))
        if finish_reason == "stop" and self._num_calls:
            finish_reason = "tool_calls"
        self.finish_reason = finish_reason
        return [*events, self.done(finish_reason)]

    def done(self, finish_reason: str) -> SampleDone:
        return SampleDone(
            request_id=self.spec.request_id,
            finish_reason=finish_reason,
            prompt_tokens=len(self.prompt_ids),
            completion_tokens=len(self.token_ids),
        )

    def _parts(self, text: str) -> list[Part]:
        if not text:
            return []
        if self._tools is not None:
            return self._tools.push(text)
        self._num_said += len(text)
        return [Said(text, self._num_said)]

    def _tell(self, parts: list[Part]) -> list[SampleEvent]:
        events: list[SampleEvent] = []
        for part in parts:
            if isinstance(part, Said):
                self._ledger.take(part.end - len(part.text))  # of calls: nobody is told of them
                events.append(self._delta(part.text, self._ledger.take(part.end)))
                continue
            events.append(self._called(part))
            if not self.spec.parallel_tool_calls:
                self.finish_reason = "tool_calls"
                return [*events, self.done("tool_calls")]
        return events

    def _delta(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> TextDelta:
        return TextDelta(
            request_id=self.spec.request_id,
            text=text,
            num_tokens=len(self.token_ids),
            logprobs=logprobs,
        )

    def _called(self, call: Called) -> ToolCalled:
        self._num_calls += 1
        return ToolCalled(
            request_id=self.spec.request_id,
            index=self._num_calls - 1,
            name=call.name,
            arguments=call.arguments,
        )
