"""One answer while it is written: which token comes next, and which text is certain."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers.decoders import DecodeStream
from torch import Tensor

from tunesmith.engine.events import SampleDone, SampleEvent, TextDelta
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import SampleSpec


class Answer:
    """The state of one request; `finish_reason` is set once the answer is over."""

    def __init__(
        self, spec: SampleSpec, model: BaseModel, prompt_ids: list[int], max_tokens: int
    ) -> None:
        self.spec = spec
        self.prompt_ids = prompt_ids
        self.max_tokens = max_tokens
        self.token_ids: list[int] = []
        self.finish_reason: str | None = None
        self._end_ids = frozenset() if spec.ignore_end_of_text else model.end_of_text_ids
        # Where the answer goes on in the prompt's text, a leading space belongs to it.
        context_ids = prompt_ids[-8:] if spec.prompt else []
        self._text = TextStream(model.tokenizer, spec.stop, context_ids)
        self._counts: Counter[int] = Counter()
        self._generator = torch.Generator()
        if spec.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(spec.seed % 2**63)

    @property
    def is_greedy(self) -> bool:
        """Whether the next token is simply the likeliest."""
        spec = self.spec
        return spec.temperature == 0 and not spec.frequency_penalty and not spec.presence_penalty

    def choose(self, logits: Tensor) -> int:
        """The next token, given its logits (vocabulary,)."""
        spec = self.spec
        logits = logits.float().cpu()
        if self._counts and (spec.frequency_penalty or spec.presence_penalty):
            # https://platform.openai.com/docs/api-reference, "frequency and presence penalties"
            seen = torch.tensor(list(self._counts))
            counts = torch.tensor(list(self._counts.values()), dtype=torch.float32)
            logits = logits.clone()
            logits[seen] -= counts * spec.frequency_penalty + spec.presence_penalty
        if spec.temperature == 0:
            return int(logits.argmax())
        probabilities = torch.softmax(logits / spec.temperature, dim=-1)
        if spec.top_p < 1:
            probabilities = _nucleus(probabilities, spec.top_p)
        return int(torch.multinomial(probabilities, 1, generator=self._generator))

    def take(self, token_id: int) -> list[SampleEvent]:
        """Go on by one token; returns the text that is certain now, and the end if it is one."""
        self.token_ids.append(token_id)
        self._counts[token_id] += 1
        if token_id in self._end_ids:
            self.finish_reason = "stop"
            text = self._text.finish()
        else:
            text = self._text.push(token_id)
            if self._text.is_stopped:
                self.finish_reason = "stop"
            elif len(self.token_ids) >= self.max_tokens:
                self.finish_reason = "length"
                text += self._text.finish()
        events: list[SampleEvent] = []
        if text:
            num_tokens = len(self.token_ids)
            events.append(
                TextDelta(request_id=self.spec.request_id, text=text, num_tokens=num_tokens)
            )
        if self.finish_reason is not None:
            events.append(self.done(self.finish_reason))
        return events

    def done(self, finish_reason: str) -> SampleDone:
        return SampleDone(
            request_id=self.spec.request_id,
            finish_reason=finish_reason,
            prompt_tokens=len(self.prompt_ids),
            completion_tokens=len(self.token_ids),
        )


class TextStream:
    """Tokens in, text out; holds back half characters and what may become a stop string."""

    def __init__(
        self, tokenizer: Any, stop: tuple[str, ...], context_ids: Sequence[int] = ()
    ) -> None:
        self.is_stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._stream = DecodeStream(list(context_ids), skip_special_tokens=True)
        self._token_ids = list(context_ids)
        self._decoded = self._decode_all()  # what is out, the context's text included
        self._held = ""

    def push(self, token_id: int) -> str:
        self._token_ids.append(token_id)
        backend = self._tokenizer.backend_tokenizer
        try:
            piece = self._stream.step(backend, token_id) or ""
        except Exception as error:  # the only type that tokenizers raises
            if "Invalid prefix" not in str(error):
                raise
            # Bytes that are no UTF-8 spoilt, in hindsight, characters that are out already.
            self._stream = DecodeStream(skip_special_tokens=True)
            piece = self._stream.step(backend, token_id) or ""
        self._decoded += piece
        return self._release(self._held + piece)

    def finish(self) -> str:
        """The rest, but a character whose bytes did not all come."""
        whole = self._decode_all()
        rest = whole.removeprefix(self._decoded) if whole.startswith(self._decoded) else ""
        text = self._release(self._held + rest.rstrip("\ufffd"))
        text, self._held = text + self._held, ""
        return text

    def _decode_all(self) -> str:
        text: str = self._tokenizer.decode(self._token_ids, skip_special_tokens=True)
        return text

    def _release(self, text: str) -> str:
        self._held = ""
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.is_stopped = True
            return text[: min(found)]
        held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """How many of the text's last characters are the beginning of the stop string."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((n for n in lengths if stop.startswith(text[-n:])), 0)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The likeliest tokens that together reach `top_p` (Holtzman et al. 2020), at least one."""
    ordered, order = probabilities.sort(descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    outside[0] = False
    return probabilities.index_fill(0, order[outside], 0.0)
