"""Gradient ascent: the forget loss, upwards (Jang et al., arXiv 2210.01504)."""

from __future__ import annotations

from undo import models, objectives
from undo.methods import LossTerms, Method


class GradientAscent(Method):
    """-CE(forget), and nothing that holds the retain skill."""

    def loss(self, model, batch, memo) -> LossTerms:
        """Minus the mean cross-entropy, nats per token."""
        forget = objectives.cross_entropy(models.predict(model, batch.forget), batch.forget.targets)
        return LossTerms(-forget, {"forget_ce": forget})
