"""Distances between hidden states, and from noise."""

import torch
from torch import Tensor

from undo.objectives.targets import valid_mean

KERNEL_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Widths of the Gaussian kernels as shares of the mean squared distance: five, each twice the one before."""


def activation_mse(hidden_BTD: Tensor, goal_BTD: Tensor, valid_BT: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean squared error per unit of width, mean over the valid positions. `goal` broadcasts and gets no gradient.

    count replaces their number where the rows are a part of a step's batch.
    """
    squared_BTD = (hidden_BTD.float() - goal_BTD.detach().float()) ** 2
    return valid_mean(squared_BTD.mean(-1), valid_BT, count)


def gaussian_mmd(hidden_BTD: Tensor, valid_BT: Tensor, count: Tensor | None = None) -> Tensor:
    """Squared maximum mean discrepancy between a row's hidden states and N(0, 1) noise, mean over the valid positions.

    The samples are the valid positions of one row. The kernel k(x, y) is the sum of exp(-|x - y|^2 / s) over the widths
    s of RepNoise (arXiv 2405.14577). Its expectation over the noise is taken in closed form instead of by draws:
    E k(x, z) = (1 + 2/s)^(-D/2) exp(-|x|^2 / (s + 2)) and E k(z, z') = (1 + 4/s)^(-D/2).
    """
    counts_B = valid_BT.sum(-1)
    shares_BT = valid_BT / counts_B.clamp(min=1)[:, None]
    with torch.autocast(hidden_BTD.device.type, enabled=False):  # differences of squares need their digits
        mmd_B = _gaussian_mmd(hidden_BTD.float(), shares_BT)
    return (mmd_B * counts_B).sum() / (counts_B.sum() if count is None else count).clamp(min=1)


def _gaussian_mmd(hidden_BTD: Tensor, shares_BT: Tensor) -> Tensor:
    size = hidden_BTD.shape[-1]
    norms_BT = (hidden_BTD**2).sum(-1)
    apart_BTT = (norms_BT[:, :, None] + norms_BT[:, None] - 2 * hidden_BTD @ hidden_BTD.mT).clamp(min=0)
    pairs_BTT = shares_BT[:, :, None] * shares_BT[:, None]
    total_B = torch.zeros_like(norms_BT[:, 0])
    for widths_B in _widths(norms_BT, (pairs_BTT * apart_BTT).sum((1, 2)), shares_BT, size):
        own_B = (pairs_BTT * torch.exp(-apart_BTT / widths_B[:, None, None])).sum((1, 2))
        near_BT = torch.exp(-norms_BT / (widths_B[:, None] + 2))
        crossed_B = (1 + 2 / widths_B) ** (-size / 2) * (shares_BT * near_BT).sum(-1)
        total_B = total_B + own_B - 2 * crossed_B + (1 + 4 / widths_B) ** (-size / 2)
    return total_B


def _widths(norms_BT: Tensor, apart_B: Tensor, shares_BT: Tensor, size: int) -> list[Tensor]:
    """The kernels' widths (B): shares of the mean squared distance within and between states and noise."""
    to_noise_B = (shares_BT * norms_BT).sum(-1) + size
    mean_B = (apart_B + 2 * to_noise_B + 2 * size).detach() / 4
    return [share * mean_B for share in KERNEL_WIDTHS]
