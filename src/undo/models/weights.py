"""The weights of a model for a moment elsewhere: what methods need that look around their present place."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def movable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that may move."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The loss's gradients, 0 where it does not depend on a parameter. What the loop has accumulated stays as it is."""
    return list(torch.autograd.grad(loss, parameters, materialize_grads=True))


@torch.no_grad()
def shift(parameters: Sequence[Tensor], directions: Sequence[Tensor], length: float) -> None:
    """Moves all weights together by a step of that Euclidean length along the directions (a negative one: against)."""
    norm = torch.stack([direction.norm() for direction in directions]).norm().clamp(min=1e-12)
    for parameter, direction in zip(parameters, directions, strict=True):
        parameter.add_(direction * (length / norm))


@contextmanager
def restored(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Inside, weights may be changed in place; afterwards they are bit by bit what they were."""
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, old in zip(parameters, before, strict=True):
                parameter.copy_(old)
