"""Logit lens (nostalgebraist, 2020): an early exit through the model's own final norm and head."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from undo import models
from undo.attacks import AdversaryContext, Attack, Depth


class LogitLens(Attack):
    """Reads what a layer would say if it were the last one: skills suppressed in late layers show before them."""

    axes: ClassVar[dict[str, str]] = {"depths": "depth"}
    leaves_model: ClassVar[bool] = True

    depths: tuple[Depth, ...] = Field((0.25, 0.5, 0.75), min_length=1)
    """Shares of the model's layers that are kept, rounded up: the same knob fits every model."""

    def wrap(self, model, adversary: AdversaryContext):
        """The same weights without the later layers."""
        return models.early_exit(model, self.depths[0])
