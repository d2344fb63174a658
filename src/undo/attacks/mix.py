"""Finetuning on mixtures, down to texts that hold nothing of the skill: those too bring much back in some models."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from undo import data
from undo.attacks import AdversaryContext, Training


class Mix(Training):
    """Full finetuning on a share of the skill's data among others; a share of 0 is retain-only or unrelated text."""

    axes: ClassVar[dict[str, str]] = {
        "forget_shares": "forget_share",
        "others": "other",
        "learning_rates": "learning_rate",
    }
    starts_at_model: ClassVar[bool] = True

    batch_rows: int = Field(8, ge=2)
    """Rows per step, of both kinds; a share that rounds to none of one kind gets a row."""
    forget_shares: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field((0.5,), min_length=1)
    """Shares of a step's rows that are the skill's."""
    others: tuple[Literal["retain", "neutral"], ...] = Field(("retain",), min_length=1)
    """What the other rows are: the adversary's draws of what is to be kept, or of what no model ever saw."""

    def batches(self, adversary: AdversaryContext):
        """Draws of the skill and of the other texts, by step."""
        share = self.forget_shares[0]
        rows = data.share_rows(self.batch_rows, share) if share else (0, self.batch_rows)
        return data.mixed_adversary_batches(adversary.corpus, rows, adversary.skill, self.others[0], adversary.seed)
