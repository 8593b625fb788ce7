"""AdamW on one flat buffer, gradient clipping, and the learning-rate schedule."""

import math

import torch
from torch import Tensor

from tunesmith.engine.spec import LearningRateSchedule


def adamw(weights: Tensor, *, weight_decay: float) -> torch.optim.AdamW:
    """Loshchilov and Hutter 2019 (arXiv 1711.05101), with torch's own constants."""
    return torch.optim.AdamW([weights], lr=0.0, weight_decay=weight_decay, fused=True)


def learning_rate(
    step: int,
    total_steps: int,
    *,
    peak: float,
    warmup_steps: int,
    min_ratio: float,
    schedule: LearningRateSchedule,
) -> float:
    """Linear warm-up, then down to `min_ratio` of the peak along half a cosine or a line, or on at
    the peak. Steps count from 1.
    """
    if step <= warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    remaining = {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1 - progress,
        "constant": 1.0,
    }[schedule]
    return peak * (min_ratio + (1 - min_ratio) * remaining)


def clip_gradient(gradient: Tensor, max_norm: float) -> float:
    """Scale the gradient down to `max_norm`, as torch does; returns the norm it had."""
    norm = float(torch.linalg.vector_norm(gradient))
    if norm > max_norm:
        gradient.mul_(max_norm / (norm + 1e-6))
    return norm
