"""ONE FILE PER ATTACK. An attack yields variants; the worst case over them is its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from undo.spec.base import Plugin
from undo.spec.recipe import Optim


class Attack(Plugin, ABC):
    """An adversary that trains on its own draws of the skill to relearn."""

    steps: int = Field(ge=1)
    """The budget in steps."""
    batch_rows: int = Field(8, ge=1)
    """Rows per step."""
    eval_steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    """Steps after which the model is asked the test questions; step 0 is always there."""

    @model_validator(mode="after")
    def _steps_reach_evaluations(self) -> Self:
        if max(self.eval_steps) > self.steps:
            raise ValueError(f"eval_steps go to {max(self.eval_steps)}, but the attack ends after {self.steps} steps")
        return self

    @abstractmethod
    def variants(self) -> list[Self]:
        """Copies of the attack that hold one setting each; the worst case over them is the attack's result."""

    @abstractmethod
    def label(self) -> dict[str, Any]:
        """What tells a variant from its siblings, as a JSON object."""

    @abstractmethod
    def optim(self) -> Optim:
        """The optimiser of a variant."""
