"""Cross-entropy: how well does a model predict a text?"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from undo.evals import Evaluation, _questions


class CrossEntropy(Evaluation):
    """Mean loss of an item's answer tokens, given the prompt and the right tokens before them.

    The end token counts as one of them where the text ends there. Every item counts the same, whatever its length. Of
    an answer longer than the model's context the first part counts.
    """

    metric: ClassVar[str] = "cross-entropy"
    unit: ClassVar[str] = "nats per token"
    higher_is_better: ClassVar[bool] = False

    batch_tokens: int = Field(4096, ge=1)
    """Largest number of tokens per forward pass; items of similar length are batched together."""

    def encode(self, tokenizer: Any, items) -> list[_questions.EncodedItems]:
        """The items in batches of similar length."""
        return _questions.encode(tokenizer, items, self.batch_tokens)

    def scores(self, model, encoded: list[_questions.EncodedItems]) -> list[float]:
        """Nats per token of each item."""
        return _questions.score(model, encoded, lambda asked: asked.mean_by_row(_questions.token_losses(asked)))
