"""What the loops of this folder share."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()


@contextmanager
def carrying_on(what: str) -> Iterator[None]:
    """Whatever one round meets, such as a database that is away, the next may go well."""
    try:
        yield
    except Exception:
        log.exception("round failed", what=what)
