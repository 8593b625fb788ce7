"""Told to stop: in good order the first time, at once the second."""

import os
import signal
import threading


def on_signals(said: str | None) -> threading.Event:
    """What SIGINT and SIGTERM set. `said` is told to a person who watches, if any."""
    is_leaving = threading.Event()

    def leave(*_: object) -> None:
        if is_leaving.is_set():  # asked twice: skip the waiting, jobs go on from their checkpoints
            os._exit(1)
        is_leaving.set()
        if said is not None and os.isatty(2):  # a log is for programs
            os.write(2, f"\n{said} Ctrl-C again to leave at once.\n".encode())

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    return is_leaving
