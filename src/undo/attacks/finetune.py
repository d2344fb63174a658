"""Full finetuning on the skill's data, over a grid of learning rates (arXiv 2506.06278, the relearning adversary)."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field

from undo.attacks import Attack
from undo.spec.recipe import Optim


class Finetune(Attack):
    """AdamW, constant learning rate after one warm-up step, clip 1.0, no weight decay; every parameter moves."""

    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    """One variant each. The paper's grid, 1e-3 to 1e-6, is for larger models; small ones need larger rates."""

    def variants(self) -> list[Self]:
        """One per learning rate."""
        return [self.model_copy(update={"learning_rates": (rate,)}) for rate in self.learning_rates]

    def label(self) -> dict[str, Any]:
        """The learning rate."""
        return {"learning_rate": self.learning_rates[0]}

    def optim(self) -> Optim:
        """The published adversary's optimiser at the variant's rate."""
        return Optim.model_validate({"learning_rate": self.learning_rates[0], "warmup_steps": 1, "betas": (0.9, 0.999)})
