"""RMU: steer the forget activations of chosen layers to a fixed random direction (Li et al., arXiv 2403.03218)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method
from undo.spec.errors import NotApplicable
from undo.spec.keys import derive_seed

if TYPE_CHECKING:
    from torch import Tensor


class RMU(Method):
    """MSE(forget hidden, steer_scale * u) + retain_weight * MSE(retain hidden, the reference's), mean over the layers.

    u is one random unit vector, fixed by the stage's seed. Only the named parameters of those layers move.
    """

    needs_reference: ClassVar[bool] = True

    layers: tuple[int, ...] = Field(min_length=1)
    """Decoder layers, numbered from 0, whose outputs are steered."""
    steer_scale: float = Field(6.0, gt=0)
    """Length of the steering vector (paper: 6 on arithmetic, 6.5 on language)."""
    retain_weight: float = Field(100.0, ge=0)
    """Weight of the distance between the retain rows' hidden states and the original model's."""
    parameters: tuple[str, ...] = Field((r"mlp\.down_proj\.",), min_length=1)
    """Regular expressions for the names of the parameters to train within a steered layer (paper: the MLP down
    projections). The default finds the down projections by shape in families that name them otherwise."""

    def loss(self, model, batch, memo) -> LossTerms:
        """Both distances are per unit of width, mean over valid positions and layers."""
        retain_goals = self._hidden(memo.reference, batch.retain.ids)
        steer_D = self.steer_scale * unit_vector(retain_goals[0].shape[-1], memo.seed).to(model.device)
        forget = self._distance(model, batch.forget, [steer_D] * len(self.layers))
        retain = self._distance(model, batch.retain, retain_goals)
        return LossTerms(forget + self.retain_weight * retain, {"retain_mse": retain, "forget_mse": forget})

    def named_layers(self) -> tuple[int, ...]:
        """The steered ones."""
        return self.layers

    def trainable(self, model) -> set[str]:
        """The named parameters of the steered layers and of no other."""
        blocks = models.pick_layers(model, self.layers)
        if self.parameters == type(self).model_fields["parameters"].default:
            return {name for place, block in blocks for name in self._down_projections(place, block, model)}
        patterns = tuple(rf"{re.escape(name)}\.{pattern}" for name, _ in blocks for pattern in self.parameters)
        return models.matching_parameters(model, patterns)

    def _down_projections(self, place: str, block, model) -> set[str]:
        names = {name for name, _ in block.named_parameters() if re.match(self.parameters[0], name)}
        names = names or models.down_projections(block, model.config.get_text_config().hidden_size)
        return {f"{place}.{name}" for name in names}

    def _hidden(self, model, ids_BT: Tensor) -> list[Tensor]:
        with models.layer_outputs([block for _, block in models.pick_layers(model, self.layers)]) as hidden:
            model.base_model(input_ids=ids_BT, use_cache=False)
        if any(h.shape[:2] != ids_BT.shape for h in hidden):  # ProphetNet's hold several futures
            raise NotApplicable("layers of this family put out no state for each token")
        return hidden

    def _distance(self, model, rows, goals: list[Tensor]) -> Tensor:
        import torch

        valid_BT = rows.targets != objectives.IGNORE
        hidden = self._hidden(model, rows.ids)
        distances = [
            objectives.activation_mse(h, goal, valid_BT, rows.count) for h, goal in zip(hidden, goals, strict=True)
        ]
        return torch.stack(distances).mean()


def unit_vector(width: int, seed: int) -> Tensor:
    """One random direction (D), uniform on the positive orthant's sphere as in RMU, fixed by the seed."""
    import torch

    generator = torch.Generator().manual_seed(derive_seed(seed, "steer"))
    drawn_D = torch.rand(width, generator=generator)
    return drawn_D / drawn_D.norm()
