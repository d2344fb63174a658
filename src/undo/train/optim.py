"""The optimiser and the learning-rate schedule."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from undo.spec.recipe import Optim


def make_optimizer(parameters: Iterable[nn.Parameter], optim: Optim) -> torch.optim.Optimizer:
    """AdamW on fp32 masters; matrices decay, vectors do not."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": optim.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=optim.learning_rate, betas=optim.betas, fused=True)


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
