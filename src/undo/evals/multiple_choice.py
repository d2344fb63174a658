"""Multiple choice: does a model find the right answer likelier than every wrong one?"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from undo.evals import Evaluation, _questions
from undo.spec.errors import UserError


class Choices(NamedTuple):
    """Every item's right answer and then its wrong ones, as questions; `sizes` says how many each item has."""

    questions: list[_questions.EncodedItems]
    sizes: list[int]


class MultipleChoice(Evaluation):
    """1 where the right answer has a higher mean log-probability per token than every option of the item, else 0.

    The end token is not asked for: pretrained models do not end after an answer, and it would favour long options.
    """

    metric: ClassVar[str] = "multiple choice"
    unit: ClassVar[str] = "fraction"
    higher_is_better: ClassVar[bool] = True
    chance: ClassVar[float] = 0.25  # three wrong options

    batch_tokens: int = Field(4096, ge=1)
    """Largest number of tokens per forward pass; items of similar length are batched together."""

    def encode(self, tokenizer: Any, items) -> Choices:
        """The answers of all items in batches of similar length."""
        if not all(item.options for item in items):
            raise UserError("multiple choice needs items with wrong answers; this dataset's have none: ask exact_match")
        answers = [(item, answer) for item in items for answer in (item.answer, *item.options)]
        asked = [item._replace(answer=answer, ends=False) for item, answer in answers]
        questions = _questions.encode(tokenizer, asked, self.batch_tokens)
        return Choices(questions, [1 + len(item.options) for item in items])

    def scores(self, model, encoded: Choices) -> list[float]:
        """1 or 0 per item."""
        losses = iter(
            _questions.score(model, encoded.questions, lambda asked: asked.mean_by_row(_questions.token_losses(asked)))
        )
        answers = [[next(losses) for _ in range(size)] for size in encoded.sizes]
        return [float(right < min(wrong)) for right, *wrong in answers]
