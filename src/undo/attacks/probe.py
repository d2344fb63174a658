"""A linear probe per layer: a head of its own, trained on the skill's data behind a frozen model."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from undo import models
from undo.attacks import AdversaryContext, Depth, Training


class Probe(Training):
    """Trains a copy of the head on the states of a layer, behind the final norm; nothing else moves."""

    axes: ClassVar[dict[str, str]] = {"depths": "depth", "learning_rates": "learning_rate"}
    leaves_model: ClassVar[bool] = True

    depths: tuple[Depth, ...] = Field((0.5, 1.0), min_length=1)
    """Depths to read at, as shares of the model's layers above 0 up to 1, rounded up to a layer; one variant each."""

    def wrap(self, model, adversary: AdversaryContext):
        """The same weights without the later layers, and a head apart from them."""
        return models.own_head(models.early_exit(model, self.depths[0]))

    def trainable(self, model: Any) -> set[str]:
        """The head."""
        head = set(map(id, model.get_output_embeddings().parameters()))
        return {name for name, parameter in model.named_parameters() if id(parameter) in head}
