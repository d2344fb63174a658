"""TAR: unlearning that is meant to survive an adversary's first steps (Tamirisa et al., arXiv 2408.00761)."""

from __future__ import annotations

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms
from undo.methods._wrapper import Wrapper


class TAR(Wrapper):
    """The inner method's loss + resistance_weight * KL(uniform || p) on forget rows, after an attack on the weights.

    The adversary takes `inner_steps` steps of length `step_length` down the forget rows' cross-entropy. As in the paper
    the gradient found at the attacked weights is applied to the present ones (first order). Ours are the normalised
    steps on the step's own rows, one adversary, the loss after its last step alone, and MaxEnt's divergence in place of
    the entropy.
    """

    inner_steps: int = Field(4, ge=1)
    """Steps of the simulated attack, each of which costs a forward and a backward pass (paper: 64)."""
    step_length: float = Field(0.1, gt=0)
    """Euclidean length of each step of the simulated attack, over all weights that are trained; a step of AdamW is
    about rate * sqrt(weights) long."""
    resistance_weight: float = Field(4.0, ge=0)
    """Weight of the loss at the attacked weights (paper: 4)."""

    @property
    def passes(self) -> int:
        """The inner method's, and forward and backward over the forget rows in and after the adversary's steps."""
        return self.inner.passes + 3 * (self.inner_steps + 1)

    def loss(self, model, batch, memo) -> LossTerms:
        """The inner method's parts, and the divergence at the attacked weights, nats per token."""
        moving, rows = models.movable(model), batch.forget
        with models.restored(moving):
            for _ in range(self.inner_steps):
                adversary = objectives.cross_entropy(models.predict(model, rows), rows.targets)
                models.shift(moving, models.gradients(adversary, moving), -self.step_length)
            attacked = objectives.uniform_kl(models.predict(model, rows), rows.targets)
            slopes = models.gradients(attacked, moving)
        inner = self.inner.loss(model, batch, memo)
        resistance = objectives.surrogate_loss(attacked, moving, slopes)
        total = inner.total + self.resistance_weight * resistance
        return LossTerms(total, {**inner.parts, "attacked_uniform_kl": attacked.detach()})
