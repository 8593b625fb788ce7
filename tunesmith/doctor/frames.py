"""A mended file and its diff through one pipe: pieces, each with its kind and length before it."""

import json
import struct
from collections.abc import Callable
from dataclasses import asdict
from typing import IO

from tunesmith.doctor.mending import Changes

_HEAD = struct.Struct(">cI")
_NEW, _DIFFERENCE, _END = b"n", b"d", b"e"


class Writer:
    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def new(self, piece: bytes) -> None:
        self._write(_NEW, piece)

    def difference(self, piece: bytes) -> None:
        self._write(_DIFFERENCE, piece)

    def end(self, changes: Changes) -> None:
        self._write(_END, json.dumps(asdict(changes)).encode())
        self._out.flush()

    def _write(self, kind: bytes, piece: bytes) -> None:
        self._out.write(_HEAD.pack(kind, len(piece)))
        self._out.write(piece)


def read(
    source: IO[bytes],
    new: Callable[[bytes], object],
    difference: Callable[[bytes], object],
) -> Changes | None:
    """None where the stream breaks off."""
    while len(head := source.read(_HEAD.size)) == _HEAD.size:
        kind, length = _HEAD.unpack(head)
        piece = source.read(length)
        if len(piece) < length:
            return None
        if kind == _END:
            return Changes(**json.loads(piece))
        (new if kind == _NEW else difference)(piece)
    return None
