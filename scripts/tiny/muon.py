"""Muon: momentum whose matrices are made orthogonal before each step.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". Matrices of one shape
are worked on together, in float32, which suits a CPU.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch

_A, _B, _C = 3.4445, -4.7750, 2.0315  # the quintic's coefficients, from the same source


def orthogonal(matrices: torch.Tensor, num_iterations: int = 5) -> torch.Tensor:
    """Newton-Schulz towards the nearest (semi-)orthogonal matrices; (batch, rows, columns)."""
    is_tall = matrices.size(-2) > matrices.size(-1)
    x: torch.Tensor = matrices.mT if is_tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(num_iterations):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    result: torch.Tensor = x.mT if is_tall else x
    return result


class Muon:
    """Nesterov momentum, made orthogonal, with decoupled weight decay."""

    def __init__(
        self, matrices: Iterable[torch.nn.Parameter], *, momentum: float, weight_decay: float
    ) -> None:
        self.by_shape: dict[torch.Size, list[torch.nn.Parameter]] = defaultdict(list)
        for matrix in matrices:
            self.by_shape[matrix.shape].append(matrix)
        self.average = {
            shape: torch.zeros(len(same), *shape) for shape, same in self.by_shape.items()
        }
        self.momentum = momentum
        self.weight_decay = weight_decay

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        for shape, same in self.by_shape.items():
            gradients = torch.stack([matrix.grad for matrix in same if matrix.grad is not None])
            average = self.average[shape].lerp_(gradients, 1 - self.momentum)
            updates = orthogonal(gradients.lerp(average, self.momentum))
            scale = learning_rate * max(1.0, shape[0] / shape[1]) ** 0.5
            for matrix, update in zip(same, updates, strict=True):
                matrix.mul_(1 - learning_rate * self.weight_decay).sub_(update, alpha=scale)
                matrix.grad = None
