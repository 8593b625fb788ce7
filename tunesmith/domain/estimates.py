"""How long training takes: from what was measured, else from a model of the hardware.

The constants and where they come from are in docs/explanation/estimates.md.
"""

import math
import re
from dataclasses import dataclass, replace

from tunesmith.domain.devices import Device, DeviceKind
from tunesmith.domain.hyperparameters import Method

DEFAULT_EXAMPLE_TOKENS = 256.0
STARTUP_SECONDS = 15.0
BYTES_PER_TOKEN = 4.0  # of text in JSON Lines, where nobody has counted
READ_BYTES_PER_SECOND = 500e6
MAX_TOKENS_PER_SECOND = 50_000.0  # small models wait for the processor that feeds the device

_FLOPS_PER_PARAMETER_AND_TOKEN = 6
_UTILISATION = 0.3  # of the peak
_CPU_CORE_FLOPS = 20e9  # sustained
_MPS_FLOPS = 2e12  # sustained
_UNLISTED_GPU_PEAK = 60e12
# A pass without a gradient for the reference, beside the forward and the backward one.
_WORK = {Method.SUPERVISED: 1.0, Method.DPO: 4 / 3}
_WORK_OF_ALL_WEIGHTS = 1.5  # 6 operations for each parameter and token, where LoRA takes 4
_MEASURED_RANGE = (0.75, 1.5)  # of the likely time: other lengths, and others on the machine
_MODELLED_RANGE = (0.4, 3.0)
# Dense bf16 or fp16 with tensor cores; the first name that a device's has counts.
_GPU_PEAKS = (
    ("B200", 2250e12),
    ("H200", 989e12),
    ("H100 80GB HBM3", 989e12),
    ("H100", 756e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("A10G", 70e12),
    ("A10", 125e12),
    ("L4", 121e12),
    ("V100", 125e12),
    ("T4", 65e12),
    ("RTX 4090", 165e12),
    ("RTX 3090", 71e12),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a base model is tuned on a device, by its id."""

    device: str
    tokens_per_second: float
    startup_seconds: float
    is_measured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """`minutes` are whole ones, begun ones included; `cost` is rounded to hundredths."""

    pace: Pace
    num_passes: int  # examples read, all epochs together
    tokens_per_example: float
    minutes: int
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRange:
    low: Estimate
    likely: Estimate
    high: Estimate


def estimate(
    pace: Pace, *, num_passes: int, tokens_per_example: float, price_per_hour: float
) -> Estimate:
    seconds = pace.startup_seconds + num_passes * tokens_per_example / pace.tokens_per_second
    minutes = max(1, math.ceil(seconds / 60))
    return Estimate(
        pace=pace,
        num_passes=num_passes,
        tokens_per_example=tokens_per_example,
        minutes=minutes,
        cost=round(minutes / 60 * price_per_hour, 2),
    )


def as_range(likely: Estimate) -> EstimateRange:
    """How far off an estimate may be: further where nobody has measured."""
    low, high = _MEASURED_RANGE if likely.pace.is_measured else _MODELLED_RANGE
    return EstimateRange(low=_times(likely, low), likely=likely, high=_times(likely, high))


def _times(likely: Estimate, factor: float) -> Estimate:
    minutes = max(1, math.ceil(likely.minutes * factor))
    cost = round(likely.cost * minutes / likely.minutes, 2)
    return replace(likely, minutes=minutes, cost=cost)


def work(method: Method, *, trains_all_weights: bool) -> float:
    """How much there is to do for a token, as a multiple of what a supervised LoRA takes."""
    return _WORK[method] * (_WORK_OF_ALL_WEIGHTS if trains_all_weights else 1.0)


def slower(pace: Pace, work: float) -> Pace:
    """Of training that nobody has timed, from what other training takes."""
    per_second = pace.tokens_per_second / work
    return replace(pace, tokens_per_second=per_second, is_measured=False)


def auto_passes(num_examples: int) -> int:
    """Examples times epochs where the epochs are "auto".

    That rule rounds down to whole epochs, by which a larger file may mean less to do. Without the
    rounding it is never more than this, which grows with the file.
    """
    return max(min(25 * num_examples, 100), min(3 * num_examples, 25_000), num_examples)


def modelled_pace(device: Device, *, num_parameters: int, weight_bytes: int) -> Pace:
    """What nobody has measured yet: 6 operations per parameter and token (arXiv 2001.08361)."""
    per_second = flops(device) / (_FLOPS_PER_PARAMETER_AND_TOKEN * num_parameters)
    return Pace(
        device=device.id,
        tokens_per_second=min(MAX_TOKENS_PER_SECOND, per_second),
        startup_seconds=STARTUP_SECONDS + weight_bytes / READ_BYTES_PER_SECOND,
        is_measured=False,
    )


def flops(device: Device) -> float:
    """What one device sustains in training; a CPU with all its cores."""
    match device.kind:
        case DeviceKind.CPU:
            return _CPU_CORE_FLOPS * max(1, device.count)
        case DeviceKind.MPS:
            return _MPS_FLOPS
        case DeviceKind.CUDA:
            peaks = (peak for name, peak in _GPU_PEAKS if _is_named(device, name))
            return _UTILISATION * next(peaks, _UNLISTED_GPU_PEAK)


def _is_named(device: Device, name: str) -> bool:
    """As a word: an A1000 is no A100. The G of a GB200 is its processor's."""
    return re.search(rf"\bG?{name}\b", device.name) is not None
