"""Next-token cross-entropy."""

from torch import Tensor

from undo.objectives.chunked import softmax_, valid_mean_of
from undo.objectives.predictions import Predictions


def cross_entropy(predictions: Predictions, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood of the valid targets, nats per token; 0 where there are none.

    Args: predictions at the positions of targets (B, T), `IGNORE` where a position does not count.
    """
    targets_N1 = targets.flatten()[:, None].clamp(min=0)  # an ignored position has weight 0, whatever it asks for

    def rule(logits_RV: Tensor, _: list[Tensor], positions: slice) -> Tensor:
        """log Z - z(target); gradient p - 1(target)."""
        targets_R1 = targets_N1[positions]
        picked_R1 = logits_RV.gather(1, targets_R1)
        loss_R = softmax_(logits_RV).sub_(picked_R1[:, 0])
        logits_RV.scatter_add_(1, targets_R1, logits_RV.new_full(targets_R1.shape, -1.0))
        return loss_R

    return valid_mean_of(rule, predictions, targets)
