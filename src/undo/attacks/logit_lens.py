"""Logit lens (nostalgebraist, 2020): an early exit through the model's own final norm and head."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from undo import models
from undo.attacks import AdversaryContext, Attack, Depth


class LogitLens(Attack):
    """Reads an earlier layer through the model's own head: skills suppressed in late layers show before them."""

    axes: ClassVar[dict[str, str]] = {"depths": "depth"}
    leaves_model: ClassVar[bool] = True

    depths: tuple[Depth, ...] = Field((0.25, 0.5, 0.75), min_length=1)
    """Depths to read at, as shares of the model's layers above 0 up to 1, rounded up to a layer; one variant each."""

    def wrap(self, model, adversary: AdversaryContext):
        """The same weights without the later layers."""
        return models.early_exit(model, self.depths[0])
