"""One name for the ways in which torch and Python run out of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tunesmith.engine.errors import OutOfMemory

# As torch's CPU allocator, C++'s and oneDNN put it.
_WORDS = ("can't allocate memory", "bad_alloc", "bad allocation", "out of memory")


@contextmanager
def out_of_memory_named(advice: str = "") -> Iterator[None]:
    """Whatever says so becomes OutOfMemory, with the advice behind it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"The device's memory does not suffice.{advice}") from error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(w in str(error) for w in _WORDS):
            raise
        raise OutOfMemory(f"The machine's memory does not suffice.{advice}") from error
