"""A worker's way out: what is under way has a while, and then the worker goes."""

import os
import threading
import time
from collections.abc import Callable

import structlog

from tunesmith.worker.attempt import Attempts
from tunesmith.worker.placing import Hosts

log = structlog.get_logger()

TELLING_SECONDS = 5.0  # for the server to hear of what is given back
_LOOK_SECONDS = 0.1


def end_in_time(
    is_leaving: threading.Event,
    is_over: threading.Event,
    *,
    drain_seconds: float,
    attempts: Attempts,
    hosts: Hosts,
    wake: Callable[[], None],
) -> None:
    """Once `is_leaving` is set: let `is_over` come about by itself, or else end this process.

    Attempts that are under way then are given back as they are: their jobs need not wait for the
    end of their leases, and lose what came after the last checkpoint that the server has.
    """
    is_leaving.wait()
    wake()
    log.info("leaving", attempts=attempts.num_open)
    if is_over.wait(drain_seconds):
        return
    log.warning("left before all was done", attempts=attempts.num_open, seconds=drain_seconds)
    attempts.give_back_all()
    hosts.close()
    deadline = time.monotonic() + TELLING_SECONDS
    while attempts.num_untold and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    # Threads may be amid a download, or the check of a large file, and need not be waited for.
    os._exit(1 if attempts.num_untold else 0)
