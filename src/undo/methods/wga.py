"""WGA: gradient ascent on forget tokens, weighted by how likely the model finds each (arXiv 2502.19301)."""

from __future__ import annotations

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method


class WGA(Method):
    """retain_weight * CE(retain) - mean over forget tokens of p(token)^power * CE(token).

    The weight gets no gradient. Plain ascent pushes hardest on tokens that are forgotten already; with the weight, a
    token counts as long as the model still finds it likely.
    """

    power: float = Field(1.0, ge=0)
    """Power of the token's own probability that weights its loss; 0 weights all tokens alike, which is GradDiff."""
    retain_weight: float = Field(1.0, ge=0)
    """Weight of the retain cross-entropy relative to the forget term."""

    def loss(self, model, batch, memo) -> LossTerms:
        """Both terms are means over valid targets, nats per token."""
        own, targets = models.predict(model, batch.forget), batch.forget.targets
        likely_BT = (-self.power * objectives.token_losses(own, targets)).exp()
        forget = objectives.token_weighted_cross_entropy(own, targets, likely_BT)
        retain = objectives.cross_entropy(models.predict(model, batch.retain), batch.retain.targets)
        return LossTerms(self.retain_weight * retain - forget, {"retain_ce": retain, "forget_weighted_ce": forget})
