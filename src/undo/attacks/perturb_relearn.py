"""Noise on the weights, then finetuning: does shaking the model loose bring the skill back sooner?"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from undo import models
from undo.attacks import AdversaryContext, Training


class PerturbRelearn(Training):
    """Adds noise to the weights, then finetunes all parameters."""

    axes: ClassVar[dict[str, str]] = {"noise_alphas": "noise_alpha", "learning_rates": "learning_rate"}

    noise_alphas: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((0.05,), min_length=1)
    """Strengths of the noise, above 0 up to 1 (all noise), as for students; one variant each."""
    noise_beta: float = Field(0.1, ge=0)
    """Scale of the noise added to matrices (paper: 0.1 on arithmetic)."""

    def wrap(self, model, adversary: AdversaryContext):
        """The noised copy."""
        return models.perturb(model, self.noise_alphas[0], self.noise_beta, adversary.seed)
