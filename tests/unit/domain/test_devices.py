import pytest

from tunesmith.domain.devices import Device, DeviceKind, Hardware

GIB = 2**30


def hardware(kind: DeviceKind, name: str, gigabytes: float, count: int) -> Hardware:
    device = Device(kind=kind, name=name, memory_bytes=int(gigabytes * GIB), count=count)
    return Hardware(device=device, price=2.0)


def test_a_cpu_is_one_thing_without_a_gpus_memory() -> None:
    cpu = hardware(DeviceKind.CPU, "AMD EPYC 9654", 128, 16)
    assert (cpu.id, cpu.gpu_memory, cpu.num_gpus, cpu.cost_per_hour) == ("cpu", "0GB", 0, 2.0)


@pytest.mark.parametrize(
    ("count", "hardware_id", "cost"),
    [(1, "nvidia-h100-80gb-hbm3", 2.0), (4, "nvidia-h100-80gb-hbm3-4x", 8.0)],
)
def test_memory_is_told_of_each_gpu_and_cost_of_all(
    count: int, hardware_id: str, cost: float
) -> None:
    gpus = hardware(DeviceKind.CUDA, "NVIDIA H100 80GB HBM3", 79.6, count)
    assert (gpus.id, gpus.gpu_memory, gpus.num_gpus) == (hardware_id, "80GB", count)
    assert gpus.cost_per_hour == cost


def test_a_device_without_a_name_is_called_by_its_kind() -> None:
    assert hardware(DeviceKind.CUDA, "", 1, 1).id == "cuda"
