"""UNDIAL: self-distillation from the reference with the true token demoted (Dong et al., arXiv 2402.10052)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method


class UNDIAL(Method):
    """KL(demoted reference || p) on forget tokens + retain_weight * CE(retain).

    The demoted reference has `strength` less on the true token's logit. The paper states the cross-entropy, which
    differs from the divergence by a constant; the divergence is 0 once the goal is reached. Where the model cannot know
    which token is the true one, as in text that it has not learnt by heart, all that it can reach is the mean of these
    targets, which is close to the reference itself: languages are hardly suppressed (docs/log.md).
    """

    needs_reference: ClassVar[bool] = True

    strength: float = Field(10.0, ge=0)
    """Amount subtracted from the true token's logit (paper: 3, 10 or 30)."""
    retain_weight: float = Field(1.0, ge=0)
    """Weight of the retain cross-entropy relative to the forget term (paper: 0)."""

    def loss(self, model, batch, memo) -> LossTerms:
        """Both terms are means over valid targets, nats per token."""
        rows, reference = batch.forget, models.predict(memo.reference, batch.forget)
        forget = objectives.demoted_kl(models.predict(model, rows), reference, rows.targets, self.strength)
        retain = objectives.cross_entropy(models.predict(model, batch.retain), batch.retain.targets)
        return LossTerms(forget + self.retain_weight * retain, {"retain_ce": retain, "forget_demoted_kl": forget})
