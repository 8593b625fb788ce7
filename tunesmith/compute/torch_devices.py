"""A program that says which CUDA devices torch sees, as JSON; started by `compute.devices`."""

import sys
from collections import Counter

import torch
from pydantic import TypeAdapter

from tunesmith.domain.devices import Device, DeviceKind

_DEVICES = TypeAdapter(tuple[Device, ...])


def main() -> None:
    found: Counter[tuple[str, int]] = Counter()
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            found[properties.name, properties.total_memory] += 1
    devices = tuple(
        Device(kind=DeviceKind.CUDA, name=name, memory_bytes=memory_bytes, count=count)
        for (name, memory_bytes), count in found.items()
    )
    sys.stdout.write(_DEVICES.dump_json(devices).decode() + "\n")


if __name__ == "__main__":
    main()
