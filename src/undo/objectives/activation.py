"""Distances between hidden states."""

from torch import Tensor

from undo.objectives.targets import valid_mean


def activation_mse(hidden_BTD: Tensor, goal_BTD: Tensor, valid_BT: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean squared error per unit of width, mean over the valid positions. `goal` broadcasts and gets no gradient.

    count replaces their number where the rows are a part of a step's batch.
    """
    squared_BTD = (hidden_BTD.float() - goal_BTD.detach().float()) ** 2
    return valid_mean(squared_BTD.mean(-1), valid_BT, count)
