"""Finetuning on mixtures, down to texts that hold nothing of the skill: those too bring much back in some models."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from undo import data
from undo.attacks import AdversaryContext, Training


class Mix(Training):
    """Finetunes all parameters on the skill's data mixed with other text; a share of 0 trains on other text alone."""

    axes: ClassVar[dict[str, str]] = {
        "forget_shares": "forget_share",
        "others": "other",
        "learning_rates": "learning_rate",
    }
    starts_at_model: ClassVar[bool] = True

    batch_rows: int = Field(8, ge=2)
    """Rows per step, of both kinds together; above a share of 0 each kind gets at least one."""
    forget_shares: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field((0.5,), min_length=1)
    """Shares of a step's rows that hold the skill, from 0 to below 1; one variant each."""
    others: tuple[Literal["retain", "neutral"], ...] = Field(("retain",), min_length=1)
    """What the other rows are: retain text, or text of the neutral skill that no model was trained on; one variant
    each."""

    def batches(self, adversary: AdversaryContext):
        """Draws of the skill and of the other texts, by step."""
        share = self.forget_shares[0]
        rows = data.share_rows(self.batch_rows, share) if share else (0, self.batch_rows)
        return data.mixed_adversary_batches(adversary.corpus, rows, adversary.skill, self.others[0], adversary.seed)
