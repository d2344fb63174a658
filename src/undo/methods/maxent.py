"""MaxEnt: make the forget predictions uniform, keep what is to be kept (arXiv 2506.06278, section 3)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method


class MaxEnt(Method):
    """KL(uniform || p) on every forget token + retain_weight * CE(retain), or * KL(reference || p) on retain tokens."""

    retain_weight: float = Field(1.0, ge=0)
    """Weight of the retain term relative to the forget term."""
    retain: Literal["ce", "reference_kl"] = "ce"
    """The retain term: ce (cross-entropy on retain text) or reference_kl (divergence from the model before
    unlearning, which teaches it no new text)."""

    @property
    def needs_reference(self) -> bool:  # type: ignore[override]  # known only with the retain term
        """For its predictions on retain rows."""
        return self.retain == "reference_kl"

    def loss(self, model, batch, memo) -> LossTerms:
        """Both terms are means over valid targets, nats per token."""
        own, targets = models.predict(model, batch.retain), batch.retain.targets
        if self.needs_reference:
            kept = objectives.forward_kl(own, models.predict(memo.reference, batch.retain), targets)
        else:
            kept = objectives.cross_entropy(own, targets)
        forget = objectives.uniform_kl(models.predict(model, batch.forget), batch.forget.targets)
        return LossTerms(
            forget + self.retain_weight * kept, {f"retain_{self.retain}": kept, "forget_uniform_kl": forget}
        )
