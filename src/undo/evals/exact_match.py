"""Exact match: is greedy decoding's answer, to its end token, the right one?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from undo import objectives
from undo.evals import Evaluation, _questions

if TYPE_CHECKING:
    from torch import Tensor


class ExactMatch(Evaluation):
    """1 where every answer token and then the end token are the most likely ones, given the right tokens before them.

    That is the case exactly when greedy decoding writes the answer and ends, so one forward pass replaces generation.
    """

    metric: ClassVar[str] = "exact match"
    unit: ClassVar[str] = "fraction"
    higher_is_better: ClassVar[bool] = True

    batch_tokens: int = Field(4096, ge=1)
    """Largest number of tokens per forward pass; items of similar length are batched together."""

    def encode(self, tokenizer: Any, items) -> list[_questions.EncodedItems]:
        """The items in batches of similar length."""
        return _questions.encode(tokenizer, items, self.batch_tokens)

    def scores(self, model, encoded: list[_questions.EncodedItems]) -> list[float]:
        """1 or 0 per item."""
        return _questions.score(model, encoded, _all_right)


def _all_right(asked: _questions.AskedPositions) -> Tensor:
    """(B) whether each row's targets are all the most likely tokens."""
    wrong_N = objectives.greedy(asked.predictions) != asked.targets
    return asked.sum_by_row(wrong_N.float()) == 0
