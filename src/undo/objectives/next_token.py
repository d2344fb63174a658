"""Next-token cross-entropy."""

import torch.nn.functional as F
from torch import Tensor

from undo.objectives.targets import IGNORE


def cross_entropy(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean negative log-likelihood of the valid targets, nats per token; 0 where there are none.

    Args: logits (B, T, V) and targets (B, T) aligned with them, `IGNORE` where a position does not count.
    """
    total = F.cross_entropy(
        logits_BTV.float().flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return total / (targets_BT != IGNORE).sum().clamp(min=1)
