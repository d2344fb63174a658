"""An optimised soft prompt (Lester et al., arXiv 2104.08691): vectors before every text, the weights stay."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from undo import models
from undo.attacks import AdversaryContext, Training


class SoftPrompt(Training):
    """Trains vectors that stand before every text and begin as embeddings of random tokens; the weights stay."""

    leaves_model: ClassVar[bool] = True
    needs_control: ClassVar[bool] = True  # alone it can elicit anything (arXiv 2502.15836)

    tokens: int = Field(8, ge=1)
    """Number of trained vectors before the text."""

    def extra_tokens(self) -> int:
        """The vectors."""
        return self.tokens

    def wrap(self, model, adversary: AdversaryContext):
        """The same weights behind the vectors."""
        return models.with_soft_prompt(model, self.tokens, adversary.seed)

    def trainable(self, model: Any) -> set[str]:
        """The vectors."""
        return {models.SOFT_PROMPT}
