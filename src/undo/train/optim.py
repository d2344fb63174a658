"""The optimiser and the learning-rate schedule."""

import math
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from undo.spec.recipe import Optim

MOMENTUM = 0.95
"""Muon's, by Nesterov's rule: the published setting."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of its quintic iteration, whose five rounds bring singular values to between about 0.7 and 1.2."""
ROUNDS = 5
MATCHED = 0.2
"""Root mean square of AdamW's usual update, to which a matrix's step is scaled (arXiv 2502.16982)."""


def make_optimizer(
    parameters: Iterable[nn.Parameter], optim: Optim, matrices: Collection[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The recipe's optimiser on fp32 masters; matrices decay, vectors do not.

    Args: matrices, the parameters that Muon moves as matrices; it leaves the others to AdamW.
    """
    parameters, chosen = list(parameters), set(map(id, matrices)) if optim.optimizer == "muon" else set()
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2 and id(p) not in chosen], "weight_decay": optim.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if optim.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=optim.learning_rate, betas=optim.betas, fused=True)
    groups = [group | {"orthogonal": False} for group in groups]
    moved = [p for p in parameters if id(p) in chosen]
    groups.append({"params": moved, "weight_decay": optim.weight_decay, "orthogonal": True})
    return Muon(groups, lr=optim.learning_rate, betas=optim.betas, fused=True)


class Muon(torch.optim.AdamW):
    """Muon (K. Jordan, 2024) for the groups marked `orthogonal`, AdamW for the others.

    A matrix moves along its momentum with all singular values brought near 1, by a step of the size that AdamW's would
    have at the same rate. torch's own Muon computes in bf16, which many processors emulate, and takes no stacks.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of every group."""
        groups = self.param_groups
        for group in groups:
            if group["orthogonal"]:
                self._move_matrices(group)
        self.param_groups = [group for group in groups if not group["orthogonal"]]
        try:
            super().step()
        finally:
            self.param_groups = groups

    def _move_matrices(self, group: dict[str, Any]) -> None:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state |= {"momentum": torch.zeros_like(parameter), "step": torch.zeros(())}  # AdamW looks for a step
            momentum = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
            direction = orthogonalised(parameter.grad.lerp(momentum, MOMENTUM))
            size = MATCHED * math.sqrt(max(parameter.shape[-2:]))
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"] * size)


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix (..., R, C) with its singular values brought near 1, by Newton-Schulz iterations in fp32.

    Leading dimensions stack matrices.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    found = (matrix.mT if tall else matrix).float()
    found = found / found.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(ROUNDS):
        gram = found @ found.mT
        found = a * found + (b * gram + c * gram @ gram) @ found
    return (found.mT if tall else found).to(matrix.dtype)


def learning_rate(optim: Optim, step: int, steps: int) -> float:
    """The rate of a step (from 0): linear warm-up over `warmup_steps`, then constant or cosine to its final share.

    `steps` is the stage's own length, a setting, so that the schedule never depends on the data.
    """
    warm = min(1.0, (step + 1) / (optim.warmup_steps + 1))
    if optim.schedule == "constant":
        return optim.learning_rate * warm
    progress = max(0, step - optim.warmup_steps) / max(1, steps - optim.warmup_steps)
    decay = optim.final_share + (1 - optim.final_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return optim.learning_rate * warm * decay
