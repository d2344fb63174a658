"""SimNPO: NPO per token and without a reference model (Fan et al., arXiv 2410.07163)."""

from __future__ import annotations

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method


class SimNPO(Method):
    """Mean over forget rows of -(2/beta) log sigmoid(-(beta / tokens) log p - margin) + retain_weight * CE(retain).

    p is the probability of a whole row, tokens the number of its targets.
    """

    beta: float = Field(4.5, gt=0)
    """Sharpness of the loss per nat per token: the larger, the sooner an unlikely row is left alone (paper: about
    2.5 to 4.5 on TOFU)."""
    margin: float = 0.0
    """Reward margin in the loss, called gamma in the paper, which uses 0 for most benchmarks."""
    retain_weight: float = Field(1.0, ge=0)
    """Weight of the retain cross-entropy relative to the forget term."""

    def loss(self, model, batch, memo) -> LossTerms:
        """Both terms are in nats per token."""
        from torch.nn.functional import logsigmoid

        rows = batch.forget
        tokens_B = (rows.targets != objectives.IGNORE).sum(-1).clamp(min=1)
        forget = objectives.mean_of_rows(
            lambda own_B: -2 / self.beta * logsigmoid(-self.beta / tokens_B * own_B - self.margin),
            models.predict(model, rows),
            rows.targets,
        )
        retain = objectives.cross_entropy(models.predict(model, batch.retain), batch.retain.targets)
        return LossTerms(forget + self.retain_weight * retain, {"retain_ce": retain, "forget_simnpo": forget})
