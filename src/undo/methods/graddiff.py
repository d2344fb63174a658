"""GradDiff: ascend on the forget loss, descend on the retain loss (Liu et al., arXiv 2203.12817)."""

from __future__ import annotations

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method


class GradDiff(Method):
    """retain_weight * CE(retain) - CE(forget)."""

    retain_weight: float = Field(1.0, ge=0)
    """Weight of the retain cross-entropy relative to the forget term."""

    def loss(self, model, batch, memo) -> LossTerms:
        """The difference of the two mean cross-entropies, nats per token."""
        retain = objectives.cross_entropy(models.predict(model, batch.retain), batch.retain.targets)
        forget = objectives.cross_entropy(models.predict(model, batch.forget), batch.forget.targets)
        return LossTerms(self.retain_weight * retain - forget, {"retain_ce": retain, "forget_ce": forget})
