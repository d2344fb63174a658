"""Which positions count, and the mean over them."""

import torch
from torch import Tensor

IGNORE = -100
"""The label of a position that is no target (padding, prompts)."""


def next_token_targets(labels_BT: Tensor) -> Tensor:
    """Targets aligned with the logits: position t holds the token that position t predicts; the last one is ignored.

    Args: labels_BT, token ids, `IGNORE` where a token is no target. Returns the same shape.
    """
    last_B1 = torch.full_like(labels_BT[:, :1], IGNORE)
    return torch.cat([labels_BT[:, 1:], last_B1], dim=1)


def valid_mean(values_BT: Tensor, valid_BT: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean over the valid positions, in fp32; 0 (with a gradient of 0) where there are none.

    count replaces their number where the rows are a part of a step's batch.
    """
    total = torch.where(valid_BT, values_BT.float(), 0.0).sum()
    return total / (valid_BT.sum() if count is None else count).clamp(min=1)
