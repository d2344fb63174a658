"""RepNoise: forget activations that look like noise in every layer (Rosati et al., arXiv 2405.14577)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms
from undo.methods._wrapper import Wrapper

if TYPE_CHECKING:
    from torch import Tensor


class RepNoise(Wrapper):
    """The inner method's loss + noise_weight * MMD(forget hidden, noise) - ascent_weight * log(1 + CE(forget)).

    MMD is the maximum mean discrepancy between the hidden states of a forget row and N(0, 1) noise, mean over rows and
    decoder layers; the paper's samples are whole rows, ours a row's positions, and its noise is drawn where ours is an
    expectation. The logarithm is that of the authors' code, which averages the model's own cross-entropy with that of
    every layer read through the head; ours is the model's own. The paper's inner loss is a retain cross-entropy.
    """

    noise_weight: float = Field(0.001, ge=0)
    """Weight of the distance between hidden states and noise, called beta in the paper (published: 1e-4 to 4)."""
    ascent_weight: float = Field(1.0, ge=0)
    """Weight of ascent on the forget loss, called alpha in the paper (published: 0.1 to 4)."""

    def loss(self, model, batch, memo) -> LossTerms:
        """The inner method's parts, the squared discrepancy and the forget cross-entropy (nats per token)."""
        inner = self.inner.loss(model, batch, memo)
        noise, forget = self._noise_and_forget(model, batch.forget)
        total = inner.total + self.noise_weight * noise - self.ascent_weight * forget.log1p()
        return LossTerms(total, {**inner.parts, "forget_mmd": noise, "forget_ce": forget})

    def _noise_and_forget(self, model, rows) -> tuple[Tensor, Tensor]:
        import torch

        models.with_probed_head(model)  # a probe inside would leave hidden states of its own
        with models.layer_outputs([block for _, block in models.decoder_layers(model)]) as hidden:
            predictions = models.predict(model, rows)
        valid_BT = rows.targets != objectives.IGNORE
        distances = [objectives.gaussian_mmd(hidden_BTD, valid_BT, rows.count) for hidden_BTD in hidden]
        return torch.stack(distances).mean(), objectives.cross_entropy(predictions, rows.targets)
