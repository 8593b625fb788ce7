"""Embeddings: the mean of a text's last hidden states, several texts in one forward."""

import math
from collections import deque

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
from tunesmith.engine.lora import rows_by_adapter
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.model import BaseModel
from tunesmith.engine.preparation import check_adapter, check_token_ids
from tunesmith.engine.row_cache import batching_obstacle
from tunesmith.engine.spec import EmbedSpec

Waiting = tuple[EmbedSpec, list[int]]


class Embedder:
    """Embeds with one base model and all its adapters, some texts at each step.

    An embedding is the mean, over all of a text's tokens, of the hidden states behind the final
    norm, scaled to length 1.
    """

    def __init__(self, model: BaseModel, *, max_rows: int = 32, max_tokens: int = 4096) -> None:
        self._model = model
        self._max_rows = max_rows
        self._max_tokens = max_tokens  # in one forward, padding included; one text may have more
        self._takes_rows: bool | None = None  # found out when first needed
        self._waiting: deque[Waiting] = deque()
        self._events: list[SampleEvent] = []

    @property
    def is_idle(self) -> bool:
        return not (self._events or self._waiting)

    def submit(self, spec: EmbedSpec) -> None:
        """Queue a text; what is wrong with it is told by the next step."""
        try:
            self._waiting.append((spec, self._token_ids(spec)))
        except EngineError as error:
            self._fail(spec, error)

    def cancel(self, request_id: str) -> None:
        """Drop a text wherever it is; nothing more is told of it."""
        self._waiting = deque(w for w in self._waiting if w[0].request_id != request_id)
        self._events = [e for e in self._events if e.request_id != request_id]

    def step(self) -> list[SampleEvent]:
        """Embed some of the waiting texts."""
        if self._waiting:
            self._embed(self._next_batch())
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

    def _next_batch(self) -> list[Waiting]:
        """The oldest and those behind it that fit."""
        if self._takes_rows is None:
            self._takes_rows = batching_obstacle(self._model) is None
        batch = [self._waiting.popleft()]
        longest = len(batch[0][1])
        while self._takes_rows and self._waiting and len(batch) < self._max_rows:
            longest = max(longest, len(self._waiting[0][1]))
            if longest * (len(batch) + 1) > self._max_tokens:
                break
            batch.append(self._waiting.popleft())
        return sorted(batch, key=lambda waiting: waiting[0].adapter_id or "")

    def _embed(self, batch: list[Waiting]) -> None:
        loaded = [w for w in batch if self._has_adapter(w[0])]
        if not loaded:
            return
        try:
            means = self._means(loaded)
        except OutOfMemory as error:
            if len(loaded) == 1:
                self._fail(loaded[0][0], error)
                return
            for one in loaded:
                self._embed([one])
            return
        except UnsupportedModel as error:
            for spec, _ in loaded:
                self._fail(spec, error)
            return
        for (spec, token_ids), mean in zip(loaded, means.tolist(), strict=True):
            self._tell(spec, len(token_ids), mean)

    def _has_adapter(self, spec: EmbedSpec) -> bool:
        try:
            check_adapter(self._model, spec.adapter_id)
        except EngineError as error:  # taken away meanwhile
            self._fail(spec, error)
            return False
        return True

    @torch.no_grad()
    def _means(self, batch: list[Waiting]) -> Tensor:
        """(rows, hidden), in fp32. Rows are padded on the right, where nothing looks back at."""
        model = self._model
        width = max(len(token_ids) for _, token_ids in batch)
        rows = [ids + [0] * (width - len(ids)) for _, ids in batch]
        lengths = torch.tensor([len(ids) for _, ids in batch], device=model.device)
        mask = torch.arange(width, device=model.device)[None] < lengths[:, None]
        routes = rows_by_adapter([spec.adapter_id for spec, _ in batch], width)
        is_padded = bool((lengths < width).any())
        masked = {"attention_mask": mask.long()} if is_padded else {}
        with out_of_memory_named(), model.adapters.routed(routes):
            output = model.network.get_decoder()(
                input_ids=torch.tensor(rows, device=model.device), use_cache=False, **masked
            )
        hidden = getattr(output, "last_hidden_state", None)
        if hidden is None:
            raise UnsupportedModel("This model's decoder does not give its hidden states.")
        of_text = hidden.float() * mask[..., None]
        sums: Tensor = of_text.sum(1)
        return sums / lengths[:, None]

    def _tell(self, spec: EmbedSpec, num_tokens: int, mean: list[float]) -> None:
        length = math.sqrt(math.fsum(x * x for x in mean))
        if not math.isfinite(length) or length == 0:
            self._fail(spec, Diverged("The model's output is not a number."))
            return
        embedding = tuple(x / length for x in mean)
        self._events.append(
            Embedded(request_id=spec.request_id, embedding=embedding, prompt_tokens=num_tokens)
        )

    def _fail(self, spec: EmbedSpec, error: EngineError) -> None:
        self._events.append(
            SampleFailed(request_id=spec.request_id, code=error.code, message=error.message)
        )
