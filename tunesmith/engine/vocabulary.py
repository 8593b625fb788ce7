"""What each token of a model is in text and in exact bytes, half characters included."""

import json
import re
from functools import cached_property
from typing import Any

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_WORD_START = "\u2581"  # SentencePiece's sign for a space


class Vocabulary:
    """Tokens of byte-level BPE, of SentencePiece with byte fallback, and plain ones."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = {i: token.content for i, token in tokenizer.added_tokens_decoder.items()}
        self._known: dict[int, tuple[str, tuple[int, ...]]] = {}

    def token(self, token_id: int) -> tuple[str, tuple[int, ...]]:
        """Text and bytes; what is no UTF-8 on its own is U+FFFD in the text."""
        if token_id not in self._known:
            exact = self._bytes(token_id)
            self._known[token_id] = exact.decode("utf-8", "replace"), tuple(exact)
        return self._known[token_id]

    def _bytes(self, token_id: int) -> bytes:
        if token_id in self._added:
            return str(self._added[token_id]).encode()
        piece = self._tokenizer.convert_ids_to_tokens(token_id)
        if piece is None:  # rows of the output head that no token uses
            return b""
        if "ByteLevel" in self._decoders and all(sign in _BYTE_OF_SIGN for sign in piece):
            return bytes(_BYTE_OF_SIGN[sign] for sign in piece)
        is_byte = _BYTE_TOKEN.fullmatch(piece)
        if is_byte and "ByteFallback" in self._decoders:
            return bytes([int(is_byte[1], 16)])
        if {"Metaspace", "Replace"} & self._decoders:
            return str(piece).replace(_WORD_START, " ").encode()
        return str(self._tokenizer.decode([token_id])).encode()

    @cached_property
    def _decoders(self) -> set[str]:
        decoder = self._tokenizer.backend_tokenizer.decoder
        if decoder is None:
            return set()
        described = json.loads(decoder.__getstate__())
        return {part["type"] for part in described.get("decoders", [described])}


def _byte_of_sign() -> dict[str, int]:
    """Byte-level BPE writes printable Latin-1 as itself and other bytes as U+0100 and up.

    Defined by GPT-2's encoder, https://github.com/openai/gpt-2/blob/master/src/encoder.py.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in set(printable)]
    signs = {chr(byte): byte for byte in printable}
    return signs | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTE_OF_SIGN = _byte_of_sign()
