from dataclasses import replace
from typing import Any

import pytest

from tests.factories import NOW, Clock, context, registration
from tunesmith.domain.accounts import Organization
from tunesmith.domain.devices import Device, DeviceKind, Hardware
from tunesmith.services import hardware, scheduling
from tunesmith.services.context import House
from tunesmith.store.database import Store

CPU = Device(kind=DeviceKind.CPU, name="Some CPU", memory_bytes=2**34, count=4)
H200 = Device(kind=DeviceKind.CUDA, name="NVIDIA H200", memory_bytes=140 * 2**30, count=1)


def arrive(store: Store, name: str, *devices: Device) -> Any:
    me = replace(registration(name), devices=devices)
    scheduling.register(store, me, NOW)
    return me


@pytest.fixture
def listed(store: Store, house: House, owner: Organization) -> Any:
    def listed(**prices: float) -> list[Hardware]:
        priced = replace(house, device_prices=prices)
        return list(hardware.list_hardware(context(store, priced, owner)))

    return listed


def test_a_server_that_no_worker_has_come_to_has_no_hardware(listed: Any) -> None:
    assert listed() == []


def test_what_workers_tell_is_listed_gpus_first(store: Store, listed: Any) -> None:
    arrive(store, "laptop", CPU)
    arrive(store, "box", H200)
    arrive(store, "mute")
    assert [found.id for found in listed()] == ["nvidia-h200", "cpu"]


def test_machines_with_the_same_devices_are_one_entry(store: Store, listed: Any) -> None:
    arrive(store, "one", H200)
    arrive(store, "two", H200)
    arrive(store, "four", replace(H200, count=4))
    assert [found.id for found in listed()] == ["nvidia-h200-4x", "nvidia-h200"]


def test_the_cpu_that_is_listed_is_the_one_with_the_most_cores(store: Store, listed: Any) -> None:
    arrive(store, "laptop", CPU)
    arrive(store, "server", replace(CPU, name="A larger CPU", count=64))
    (cpu,) = listed()
    assert (cpu.id, cpu.device.count) == ("cpu", 64)


@pytest.mark.parametrize("name", ["NVIDIA H200", "nvidia h200", "nvidia-h200"])
def test_the_operator_prices_a_device_by_its_name_or_id(
    store: Store, listed: Any, name: str
) -> None:
    arrive(store, "four", replace(H200, count=4))
    arrive(store, "laptop", CPU)
    costs = {found.id: found.cost_per_hour for found in listed(**{name: 3.5})}
    assert costs == {"nvidia-h200-4x": 14.0, "cpu": 0.0}


def test_a_worker_that_has_gone_is_listed_no_more(store: Store, listed: Any, clock: Clock) -> None:
    arrive(store, "box", H200)
    clock.advance(299)
    assert len(listed()) == 1
    clock.advance(2)
    assert listed() == []


def test_a_worker_that_asks_for_work_stays_listed(store: Store, listed: Any, clock: Clock) -> None:
    me = arrive(store, "box", H200)
    for _ in range(20):
        assert scheduling.lease(store, me, clock.advance(30)) is None
    assert [found.id for found in listed()] == ["nvidia-h200"]
