"""Next-token cross-entropy, of all targets or row by row."""

from collections.abc import Callable

import torch
from torch import Tensor

from undo.objectives.chunked import Rule, losses_of, softmax_, valid_mean_of, weighted_sum_of
from undo.objectives.predictions import Predictions
from undo.objectives.targets import IGNORE


def cross_entropy(predictions: Predictions, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood of the valid targets, nats per token; 0 where there are none.

    Args: predictions at the positions of targets (B, T), `IGNORE` where a position does not count.
    """
    return valid_mean_of(_cross_entropy(targets), predictions, targets)


def token_losses(predictions: Predictions, targets: Tensor) -> Tensor:
    """(B, T) negative log-likelihood of every valid target, nats, 0 elsewhere; no gradient."""
    return losses_of(_cross_entropy(targets), predictions).masked_fill(targets == IGNORE, 0.0)


def token_weighted_cross_entropy(predictions: Predictions, targets: Tensor, weights_BT: Tensor) -> Tensor:
    """The mean over valid targets of weight times negative log-likelihood, nats per token; 0 where there are none.

    It divides by the number of valid targets, whatever the weights, which get no gradient.
    """
    valid_BT = targets != IGNORE
    count = (valid_BT.sum() if predictions.count is None else predictions.count).clamp(min=1)
    return weighted_sum_of(_cross_entropy(targets), predictions, torch.where(valid_BT, weights_BT, 0.0) / count)


def row_log_likelihoods(predictions: Predictions, targets: Tensor) -> Tensor:
    """(B) log-likelihood of each row: the sum over its valid targets, nats; no gradient."""
    return -token_losses(predictions, targets).sum(-1)


def row_weighted_cross_entropy(predictions: Predictions, targets: Tensor, weights_B: Tensor) -> Tensor:
    """The sum over rows of weight times the row's negative log-likelihood; the weights get no gradient."""
    weights_BT = torch.where(targets != IGNORE, weights_B[:, None], 0.0)
    return weighted_sum_of(_cross_entropy(targets), predictions, weights_BT)


def mean_of_rows(loss: Callable[[Tensor], Tensor], predictions: Predictions, targets: Tensor) -> Tensor:
    """The mean over rows of `loss`, a function of their log-likelihoods, (B) to (B), that torch can differentiate.

    A row weighs by its share of the step's valid targets: packed rows are equally long, and parts of a step then add
    up to the whole. There are two passes over the head, so that no logits are kept: one for the log-likelihoods and
    with them the slope of the loss, one for the cross-entropy with these slopes as the rows' weights.
    """
    valid_B = (targets != IGNORE).sum(-1)
    count = (valid_B.sum() if predictions.count is None else predictions.count).clamp(min=1)
    likelihoods_B = row_log_likelihoods(predictions, targets).requires_grad_()
    with torch.enable_grad():
        value = (valid_B / count * loss(likelihoods_B)).sum()
    (slopes_B,) = torch.autograd.grad(value, likelihoods_B)
    carrier = row_weighted_cross_entropy(predictions, targets, -slopes_B)
    return value.detach() + (carrier - carrier.detach())


def _cross_entropy(targets: Tensor) -> Rule:
    targets_N1 = targets.flatten()[:, None].clamp(min=0)  # an ignored position has weight 0, whatever it asks for

    def rule(logits_RV: Tensor, _: list[Tensor], positions: slice) -> Tensor:
        """log Z - z(target); gradient p - 1(target)."""
        targets_R1 = targets_N1[positions]
        picked_R1 = logits_RV.gather(1, targets_R1)
        loss_R = softmax_(logits_RV).sub_(picked_R1[:, 0])
        logits_RV.scatter_add_(1, targets_R1, logits_RV.new_full(targets_R1.shape, -1.0))
        return loss_R

    return rule
