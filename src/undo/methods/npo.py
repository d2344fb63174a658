"""NPO: forget rows as answers that lost against the reference model's own (Zhang et al., arXiv 2404.05868)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method


class NPO(Method):
    """Mean over forget rows of -(2/beta) log sigmoid(-beta log(p / p_reference)) + retain_weight * CE(retain).

    p is the probability of a whole row. A row that has become unlikely stops pulling, so ascent slows down by itself;
    at the start it is gradient ascent on the rows' sums, which are as many times larger than means as rows are long.
    """

    needs_reference: ClassVar[bool] = True

    beta: float = Field(0.1, gt=0)
    """Sharpness of the loss per nat of a row's log-probability: the larger, the sooner an unlikely row is left alone
    (paper: 0.1)."""
    retain_weight: float = Field(1.0, ge=0)
    """Weight of the retain cross-entropy relative to the forget term."""

    def loss(self, model, batch, memo) -> LossTerms:
        """The forget term in nats per row, the retain term in nats per token."""
        from torch.nn.functional import logsigmoid

        rows = batch.forget
        reference_B = objectives.row_log_likelihoods(models.predict(memo.reference, rows), rows.targets)
        forget = objectives.mean_of_rows(
            lambda own_B: -2 / self.beta * logsigmoid(-self.beta * (own_B - reference_B)),
            models.predict(model, rows),
            rows.targets,
        )
        retain = objectives.cross_entropy(models.predict(model, batch.retain), batch.retain.targets)
        return LossTerms(forget + self.retain_weight * retain, {"retain_ce": retain, "forget_npo": forget})
