"""What the loops of this folder share."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog

log = structlog.get_logger()

Work = Coroutine[Any, Any, None]


async def keep_busy(
    what: str,
    claim: Callable[[int], Awaitable[Sequence[Work]]],
    *,
    max_at_once: int,
    look_seconds: float,
) -> None:
    """Do what `claim` finds, of which it is asked for no more than there is room for.

    Runs until cancelled, and then cancels what it was doing.
    """
    doing: set[asyncio.Task[None]] = set()
    try:
        while True:
            with carrying_on(what):
                room = max_at_once - len(doing)
                for work in await claim(room) if room else ():
                    doing.add(asyncio.create_task(_carry_on_doing(what, work)))
            if not doing:
                await asyncio.sleep(look_seconds)
                continue
            _, doing = await asyncio.wait(
                doing, timeout=look_seconds, return_when=asyncio.FIRST_COMPLETED
            )
    finally:
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)


async def _carry_on_doing(what: str, work: Work) -> None:
    with carrying_on(what):
        await work


@contextmanager
def carrying_on(what: str) -> Iterator[None]:
    """Whatever one round meets, such as a database that is away, the next may go well."""
    try:
        yield
    except Exception:
        log.exception("round failed", what=what)
