"""Memory that is freed can be used again, by whichever thread."""

import ctypes
import os

_M_ARENA_MAX = -8  # of glibc's malloc.h


def share_one_heap() -> None:
    """To be called before there are threads; whoever sets MALLOC_ARENA_MAX has chosen.

    By default glibc gives threads heaps of their own, and what one of them frees there, no other
    thread takes: with threads that come and go, the resident memory of a server grew for as long
    as it ran, although nothing in it did. Here threads hardly ever allocate at once.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have no such heaps
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
