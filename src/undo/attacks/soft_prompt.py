"""An optimised soft prompt (Lester et al., arXiv 2104.08691): vectors before every text, the weights stay."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from undo import models
from undo.attacks import Means, Training
from undo.spec.errors import UserError


class SoftPrompt(Training):
    """Trains nothing but the vectors, which begin as embeddings of tokens drawn by the seed."""

    leaves_model: ClassVar[bool] = True

    tokens: int = Field(8, ge=1)
    """Vectors before the text."""

    def wrap(self, model, means: Means):
        """The same weights behind the vectors."""
        rows, context = means.corpus.tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)
        if context is not None and rows + self.tokens > context:
            short = (
                f"a soft prompt of {self.tokens} tokens and rows of {rows} exceed the {context} that the model reads"
            )
            raise UserError(f"{short}; set data.row_tokens={context - self.tokens}")
        return models.with_soft_prompt(model, self.tokens, means.seed)

    def trainable(self, model: Any) -> set[str]:
        """The vectors."""
        return {models.SOFT_PROMPT}
