"""SAM: unlearning that also holds where the weights are moved back a little (arXiv 2010.01412, 2502.05374)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from undo import models, objectives
from undo.methods import LossTerms, Method
from undo.methods._wrapper import Wrapper
from undo.spec.base import Plugin

if TYPE_CHECKING:
    from undo.data.batches import TokenBatch


class SAM(Wrapper):
    """The inner method's forget part at the worst weights within `rho`, plus its retain part at the present weights.

    Sharpness-aware minimisation (Foret et al.) climbs a step of length rho along the loss's gradient and descends with
    the gradient found there. As in Fan et al. only the forget part is perturbed: its rise is what a relearner causes.
    The parts are the inner method's losses of the forget and of the retain rows, so these must add up.
    """

    rho: float = Field(0.01, gt=0)
    """Euclidean length of the step to the worst nearby weights, over all weights that are trained (published: 0.001
    to 0.1)."""

    @field_validator("method")
    @classmethod
    def _has_parts(cls, method: Plugin) -> Plugin:
        if isinstance(method, Method) and not method.sums_over_parts:
            raise ValueError(f"sam needs a method whose loss is a sum over rows, which '{method.name}' is not")
        return method

    def loss(self, model, batch, memo) -> LossTerms:
        """The inner method's loss and parts, those of the forget rows at the perturbed weights."""
        forget_rows = batch._replace(retain=_uncounted(batch.retain))
        retain_rows = batch._replace(forget=_uncounted(batch.forget))
        moving = models.movable(model)
        slopes = models.gradients(self.inner.loss(model, forget_rows, memo).total, moving)
        with models.restored(moving):
            models.shift(moving, slopes, self.rho)
            forget = self.inner.loss(model, forget_rows, memo)
            slopes = models.gradients(forget.total, moving)
        retain = self.inner.loss(model, retain_rows, memo)
        parts = {name: forget.parts[name].detach() + retain.parts[name] for name in retain.parts}
        return LossTerms(objectives.surrogate_loss(forget.total, moving, slopes) + retain.total, parts)


def _uncounted(rows: TokenBatch) -> TokenBatch:
    """One of the rows, without targets: attention kernels need not accept none at all."""
    targets_1T = rows.targets[:1].clone().fill_(objectives.IGNORE)
    return rows._replace(ids=rows.ids[:1], targets=targets_1T, index=None)
