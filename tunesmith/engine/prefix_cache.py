"""Keys and values of prompts' beginnings, kept for the next prompt that begins alike.

What an adapter made of a text is no other adapter's: the adapter is part of the key.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import takewhile

from torch import Tensor

from tunesmith.engine.lora import Adapter

_BLOCK = 64  # tokens that are kept and found together

Key = tuple[str, bytes]
Columns = list[Tensor]  # keys and values of a block, layer by layer


class PrefixCache:
    """At most `max_bytes`; what has not been used for longest goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._blocks: OrderedDict[Key, Columns] = OrderedDict()
        self._owners: dict[str, Adapter | None] = {}  # whose blocks they are, by adapter id

    @property
    def num_bytes(self) -> int:
        return self._num_bytes

    def find(
        self, owner: Adapter | None, adapter_id: str | None, prompt: list[int]
    ) -> list[Columns]:
        """The blocks that the prompt begins with, in order, never all of it.

        Something must be left to read, or there would be no logits to go on from.
        """
        if not self._takes(owner, adapter_id):
            return []
        known = list(takewhile(self._blocks.__contains__, _keys(adapter_id, prompt[:-1])))
        self._touch(known)
        return [self._blocks[key] for key in known]

    def keep(
        self,
        owner: Adapter | None,
        adapter_id: str | None,
        prompt: list[int],
        read: Callable[[int, int], Columns],
    ) -> None:
        """Keep a prompt's whole blocks; `read` copies the columns from one position to another."""
        if not self._takes(owner, adapter_id):
            return
        keys = list(_keys(adapter_id, prompt))
        for number, key in enumerate(keys):
            if key not in self._blocks:
                columns = read(number * _BLOCK, (number + 1) * _BLOCK)
                self._blocks[key] = columns
                self._num_bytes += _num_bytes(columns)
        self._touch(keys)
        while self._num_bytes > self._max_bytes:
            _, columns = self._blocks.popitem(last=False)
            self._num_bytes -= _num_bytes(columns)

    def forget_all_but(self, loaded: Container[str]) -> None:
        """Drop what adapters made that are loaded no more."""
        for adapter_id in [i for i in self._owners if i and i not in loaded]:
            self._forget(adapter_id)

    def _takes(self, owner: Adapter | None, adapter_id: str | None) -> bool:
        """An adapter in training says something else after each step. Forget a namesake's."""
        if owner is not None and owner.flat.requires_grad:
            return False
        name = adapter_id or ""
        if self._owners.get(name, owner) is not owner:
            self._forget(name)
        self._owners[name] = owner
        return True

    def _touch(self, keys: Sequence[Key]) -> None:
        """The first block last: without it those behind it cannot be found."""
        for key in reversed(keys):
            self._blocks.move_to_end(key)

    def _forget(self, name: str) -> None:
        self._owners.pop(name, None)
        for key in [key for key in self._blocks if key[0] == name]:
            self._num_bytes -= _num_bytes(self._blocks.pop(key))


def _keys(adapter_id: str | None, prompt: list[int]) -> Iterator[Key]:
    """Of each whole block; each stands for all the tokens up to its end."""
    digest = hashlib.sha256()
    for start in range(0, len(prompt) - _BLOCK + 1, _BLOCK):
        digest.update(array("q", prompt[start : start + _BLOCK]).tobytes())
        yield adapter_id or "", digest.digest()


def _num_bytes(columns: Columns) -> int:
    return sum(tensor.nbytes for tensor in columns)
