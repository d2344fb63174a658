"""MaxEnt: make the forget predictions uniform, keep the retain loss (arXiv 2506.06278, section 3)."""

from __future__ import annotations

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method


class MaxEnt(Method):
    """KL(uniform || p) on every forget token + retain_weight * CE(retain)."""

    retain_weight: float = Field(1.0, ge=0)
    """Weight of the retain cross-entropy beside the distance from uniform."""

    def loss(self, model, batch, memo) -> LossTerms:
        """Both terms are means over valid targets, nats per token."""
        retain = objectives.cross_entropy(models.predict(model, batch.retain), batch.retain.targets)
        forget = objectives.uniform_kl(models.predict(model, batch.forget), batch.forget.targets)
        return LossTerms(forget + self.retain_weight * retain, {"retain_ce": retain, "forget_uniform_kl": forget})
