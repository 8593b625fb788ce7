"""Embeddings: the mean of a text's last hidden states, some tokens of some texts at a time."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tunesmith.engine import chat
from tunesmith.engine.errors import (
    BadConversation,
    Diverged,
    EngineError,
    OutOfMemory,
    PromptTooLong,
    UnsupportedModel,
)
from tunesmith.engine.events import Embedded, SampleEvent, SampleFailed
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.model import BaseModel
from tunesmith.engine.preparation import check_adapter, check_token_ids
from tunesmith.engine.row_cache import Piece, RowCache, batching_obstacle
from tunesmith.engine.spec import EmbedSpec

_CPU_TOKENS = 512  # in one forward: more are no faster there, and hold up who is being answered
_TOKENS = 8192


class _Text:
    """A text that is read: where it stands, and the sum of its hidden states so far."""

    def __init__(self, spec: EmbedSpec, token_ids: list[int]) -> None:
        self.spec = spec
        self.token_ids = token_ids
        self.row: Any = None
        self.num_read = 0
        self.total: Tensor | None = None  # (hidden,), in fp32

    @property
    def is_read(self) -> bool:
        return self.num_read == len(self.token_ids)

    def add(self, hidden: Tensor) -> None:
        """The next tokens' hidden states, (tokens, hidden)."""
        total = hidden.float().sum(0)
        self.total = total if self.total is None else self.total + total
        self.num_read += len(hidden)


class Embedder:
    """Embeds with one base model and all its adapters, some texts at each step.

    An embedding is the mean, over all of a text's tokens, of the hidden states behind the final
    norm, scaled to length 1. A step reads at most `max_tokens` of at most `max_rows` texts.
    """

    def __init__(
        self, model: BaseModel, *, max_rows: int = 32, max_tokens: int | None = None
    ) -> None:
        self._model = model
        self._max_rows = max_rows
        if max_tokens is None:
            max_tokens = _CPU_TOKENS if model.device.type == "cpu" else _TOKENS
        self._max_tokens = max_tokens
        self._takes_rows: bool | None = None  # found out when first needed
        self._cache = RowCache()
        self._texts: list[_Text] = []  # the oldest first
        self._events: list[SampleEvent] = []

    @property
    def is_idle(self) -> bool:
        return not (self._events or self._texts)

    def submit(self, spec: EmbedSpec) -> None:
        """Queue a text; what is wrong with it is told by the next step."""
        try:
            self._texts.append(_Text(spec, self._token_ids(spec)))
        except EngineError as error:
            self._fail(spec, error)

    def cancel(self, request_id: str) -> None:
        """Drop a text wherever it is; nothing more is told of it."""
        self._drop(lambda text: text.spec.request_id == request_id)
        self._events = [e for e in self._events if e.request_id != request_id]

    def step(self) -> list[SampleEvent]:
        """Read some of the waiting texts."""
        self._drop(self._is_unloaded)
        if self._texts:
            self._read_on()
        events, self._events = self._events, []
        return events

    def _token_ids(self, spec: EmbedSpec) -> list[int]:
        model = self._model
        check_adapter(model, spec.adapter_id)
        if spec.text is not None:
            token_ids = chat.encode_text(model.tokenizer, spec.text)
        else:
            token_ids = list(spec.token_ids or [])
        if not token_ids:
            raise BadConversation("There is no text to embed.")
        check_token_ids(model, token_ids)
        if len(token_ids) > model.context_length:
            raise PromptTooLong(
                f"The text has {len(token_ids)} tokens; the model's context has "
                f"{model.context_length}."
            )
        return token_ids

    def _is_unloaded(self, text: _Text) -> bool:
        try:
            check_adapter(self._model, text.spec.adapter_id)
        except EngineError as error:  # taken away meanwhile
            self._fail(text.spec, error)
            return True
        return False

    def _read_on(self) -> None:
        if self._takes_rows is None:
            self._takes_rows = batching_obstacle(self._model) is None
        turn = self._next_turn() if self._takes_rows else self._texts[:1]
        try:
            with out_of_memory_named():
                if self._takes_rows:
                    self._read_rows(turn)
                else:
                    turn[0].add(self._whole(turn[0]))
        except (OutOfMemory, UnsupportedModel) as error:  # the newest gives way to the others
            self._fail(turn[-1].spec, error)
            self._drop(lambda text: text is turn[-1])
            return
        for text in turn:
            if text.is_read:
                self._tell(text)
        self._drop(lambda text: text.is_read)

    def _next_turn(self) -> list[_Text]:
        """The oldest, as far as the tokens of one forward suffice."""
        turn = []
        left = self._max_tokens
        for text in self._texts[: self._max_rows]:
            if left > 0:
                turn.append(text)
                left -= len(text.token_ids) - text.num_read
        return turn

    def _read_rows(self, turn: list[_Text]) -> None:
        pieces = []
        left = self._max_tokens
        for text in turn:
            token_ids = text.token_ids[text.num_read : text.num_read + left]
            left -= len(token_ids)
            if text.row is None:
                text.row = self._cache.open()
            adapter_id = text.spec.adapter_id
            pieces.append(Piece(row=text.row, token_ids=token_ids, adapter_id=adapter_id))
        hidden = self._cache.hidden(self._model, pieces)
        parts = torch.split(hidden, [len(piece.token_ids) for piece in pieces])
        for text, part in zip(turn, parts, strict=True):
            text.add(part)

    @torch.no_grad()
    def _whole(self, text: _Text) -> Tensor:
        """The text's hidden states, (tokens, hidden), of models that take no rows."""
        model = self._model
        adapters = [(text.spec.adapter_id, len(text.token_ids))]
        inputs = torch.tensor([text.token_ids], device=model.device)
        with model.adapters.mixed(adapters):
            output = model.network.get_decoder()(input_ids=inputs, use_cache=False)
        hidden: Tensor | None = getattr(output, "last_hidden_state", None)
        if hidden is None:
            raise UnsupportedModel("This model's decoder does not give its hidden states.")
        return hidden[0]

    def _drop(self, unwanted: Callable[[_Text], bool]) -> None:
        for text in [text for text in self._texts if unwanted(text)]:
            self._texts.remove(text)
            if text.row is not None:
                self._cache.close(text.row)

    def _tell(self, text: _Text) -> None:
        assert text.total is not None
        num_tokens = len(text.token_ids)
        mean = (text.total / num_tokens).tolist()
        length = math.sqrt(math.fsum(x * x for x in mean))
        if not math.isfinite(length) or length == 0:
            self._fail(text.spec, Diverged("The model's output is not a number."))
            return
        embedding = tuple(x / length for x in mean)
        self._events.append(
            Embedded(request_id=text.spec.request_id, embedding=embedding, prompt_tokens=num_tokens)
        )

    def _fail(self, spec: EmbedSpec, error: EngineError) -> None:
        self._events.append(
            SampleFailed(request_id=spec.request_id, code=error.code, message=error.message)
        )
