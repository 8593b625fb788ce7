"""What the workers compute with, and what it costs."""

from datetime import timedelta

from tunesmith.domain.devices import DeviceKind, Hardware, slug
from tunesmith.services.context import Context

SEEN_WITHIN = timedelta(minutes=5)


def list_hardware(ctx: Context) -> tuple[Hardware, ...]:
    """Of the workers that were here within the last minutes; none where none was.

    All CPUs are one entry, the one with the most cores; machines with the same devices are one.
    """
    hardware: dict[str, Hardware] = {}
    devices = ctx.store.queue.list_devices(ctx.now() - SEEN_WITHIN)
    for device in sorted(devices, key=lambda d: (d.kind is DeviceKind.CPU, d.name, -d.count)):
        found = Hardware(device=device, price=price_of(ctx, device.id, device.name))
        hardware.setdefault(found.id, found)
    return tuple(hardware.values())


def price_of(ctx: Context, *names: str) -> float:
    """What the operator charges for an hour of a device of one of these names; 0 if nothing."""
    wanted = {slug(name) for name in names}
    prices = ctx.house.device_prices.items()
    return next((price for name, price in prices if slug(name) in wanted), 0.0)
