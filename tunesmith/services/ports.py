"""What the services need from the outside."""

from collections.abc import AsyncGenerator
from typing import Protocol

from tunesmith.domain.assignments import EmbedRequest, SampleOutput, SampleRequest


class Sampler(Protocol):
    """Where tokens come from."""

    @property
    def is_busy(self) -> bool:
        """Whether a request that is made now would have to wait for others, or for a worker."""
        ...

    def sample(self, request: SampleRequest) -> AsyncGenerator[SampleOutput, None]:
        """Pieces of the answer as they come, a `DONE` or `FAILED` part last.

        Closing the iterator early cancels the request. Raises `Unavailable` where nobody answers.
        """
        ...

    async def embed(self, request: EmbedRequest) -> SampleOutput:
        """An `EMBEDDING` part, or a `FAILED` one. Raises `Unavailable` where nobody answers."""
        ...
