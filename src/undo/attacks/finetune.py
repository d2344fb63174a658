"""Full finetuning on the skill's data, over a grid of learning rates (arXiv 2506.06278, the relearning adversary)."""

from __future__ import annotations

from typing import ClassVar, Literal

from undo.attacks import Training
from undo.spec.recipe import Optim


class Finetune(Training):
    """Finetunes all parameters on the skill's data alone."""

    starts_at_model: ClassVar[bool] = True

    schedule: Literal["constant", "cosine"] = "constant"
    """Shape of the learning rate over the steps; the published attack keeps it constant."""

    def optim(self) -> Optim:
        """The published adversary's optimiser, with the attack's schedule."""
        return super().optim().model_copy(update={"schedule": self.schedule})
