"""What machines compute with."""

import re
from dataclasses import dataclass
from enum import StrEnum


class DeviceKind(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """All that are alike on one machine. `count` is that of a CPU's cores, else of the devices.

    `memory_bytes` is that of each.
    """

    kind: DeviceKind
    name: str
    memory_bytes: int
    count: int

    @property
    def id(self) -> str:
        """The same for devices of one name; one id for all CPUs."""
        return "cpu" if self.kind is DeviceKind.CPU else slug(self.name) or self.kind.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Devices alike on one machine, or on several such machines, and what they cost.

    `price` is that of one device for an hour, which is what a job uses; for a CPU, of all of it.
    """

    device: Device
    price: float

    @property
    def id(self) -> str:
        return self.device.id if self.num_gpus <= 1 else f"{self.device.id}-{self.num_gpus}x"

    @property
    def num_gpus(self) -> int:
        return 0 if self.device.kind is DeviceKind.CPU else self.device.count

    @property
    def gpu_memory(self) -> str:
        """Of each GPU, in binary gigabytes: "80GB"; "0GB" where there is none."""
        return f"{round(self.device.memory_bytes / 2**30) if self.num_gpus else 0}GB"

    @property
    def cost_per_hour(self) -> float:
        """Of all its devices."""
        return self.price * max(1, self.num_gpus)


def slug(name: str) -> str:
    """A name in lower case, with dashes for all that is neither letter nor digit."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
