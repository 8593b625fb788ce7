"""One name for torch's ways of running out of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tunesmith.engine.errors import OutOfMemory


@contextmanager
def out_of_memory_named() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory("The device's memory does not suffice.") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # as torch's CPU allocator puts it
            raise
        raise OutOfMemory("The machine's memory does not suffice.") from error
