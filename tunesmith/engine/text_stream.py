"""Tokens in, text out, as soon as it is certain."""

from collections.abc import Collection, Sequence
from typing import Any

from tokenizers.decoders import DecodeStream


class TextStream:
    """Holds back half characters and what may become a stop string.

    Special tokens are no text, but those in `spelled_ids` are spelled out.
    """

    def __init__(
        self,
        tokenizer: Any,
        stop: tuple[str, ...],
        context_ids: Sequence[int] = (),
        spelled_ids: Collection[int] = (),
    ) -> None:
        self.is_stopped = False
        self.num_decoded = 0  # characters so far, those held back and cut off included
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._spelled_ids = spelled_ids
        self._stream = DecodeStream(list(context_ids), skip_special_tokens=True)
        self._token_ids = list(context_ids)
        self._decoded = self._decode_all()  # what is out, the context's text included
        self._held = ""

    def push(self, token_id: int) -> str:
        piece = self._spell(token_id) if token_id in self._spelled_ids else self._decode(token_id)
        self.num_decoded += len(piece)
        return self._release(self._held + piece)

    def finish(self) -> str:
        """The rest, but a character whose bytes did not all come."""
        rest = self._rest()
        self.num_decoded += len(rest)
        text = self._release(self._held + rest)
        text, self._held = text + self._held, ""
        return text

    def _decode(self, token_id: int) -> str:
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
        return piece

    def _spell(self, token_id: int) -> str:
        piece = self._rest() + str(self._tokenizer.convert_ids_to_tokens(token_id))
        self._stream = DecodeStream(skip_special_tokens=True)
        self._token_ids, self._decoded = [], ""
        return piece

    def _rest(self) -> str:
        whole = self._decode_all()
        rest = whole.removeprefix(self._decoded) if whole.startswith(self._decoded) else ""
        return rest.rstrip("\ufffd")

    def _decode_all(self) -> str:
        text: str = self._tokenizer.decode(self._token_ids, skip_special_tokens=True)
        return text

    def _release(self, text: str) -> str:
        self._held = ""
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.is_stopped = True
            return text[: min(found)]
        held = max((overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def overlap(text: str, marker: str) -> int:
    """How many of the text's last characters are the beginning of the marker."""
    lengths = range(min(len(text), len(marker) - 1), 0, -1)
    return next((n for n in lengths if marker.startswith(text[-n:])), 0)
