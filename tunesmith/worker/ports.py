"""What a worker needs from the place where hosts run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tunesmith.domain.devices import Device


class HostProcess(Protocol):
    """A running host: lines of `engine.messages` both ways."""

    @property
    def pid(self) -> int: ...

    def send(self, line: str) -> None:
        """Raises `OSError` where the host is gone."""

    def read(self) -> Iterator[str]:
        """Lines until the host ends."""
        ...

    def wait(self) -> str:
        """How the host ended, in words."""
        ...

    @property
    def lacked_memory(self) -> bool:
        """Whether the system ended it for that; known once `wait` has come back."""
        ...

    def kill(self) -> None: ...


class Launcher(Protocol):
    def devices(self) -> tuple[Device, ...]:
        """What its hosts compute with; empty where that cannot be found out."""
        ...

    @property
    def threads(self) -> int:
        """That each host computes with on a CPU."""
        ...

    def prepare(self) -> None:
        """There is no host just now, and there may soon be one: it may start sooner."""

    def launch(
        self,
        model_name: str,
        model_folder: Path,
        quantization: str | None = None,
        *,
        num_halvings: int = 0,
    ) -> HostProcess:
        """Start a host with this base model; it says `HostReady` when it is resident.

        `quantization` names how its weights are to be packed, if they are. Passes that runs share
        are halved so many times.
        """
        ...

    def close(self) -> None:
        """No host is going to be launched any more."""
