"""Finetuning on half of the forgotten facts, asked about the other half: what comes back without being taught."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undo import data
from undo.attacks import AdversaryContext, Training
from undo.spec.keys import derive_seed

if TYPE_CHECKING:
    from undo.data.dataset import Item


class HeldoutFacts(Training):
    """Finetunes all parameters on half of the test's facts as questions and answers, and asks the other half."""

    def batches(self, adversary: AdversaryContext):
        """The taught half of the skill's test items and the validation items, as texts."""
        taught = [
            item
            for item in adversary.corpus.items()
            if item.domain == adversary.skill and _is_taught(item, adversary.seed)
        ]
        return data.text_batches(
            adversary.corpus, [item.prompt + item.answer for item in taught], self.batch_rows, adversary.seed
        )

    def questions(self, items: list[Item], adversary: AdversaryContext) -> list[Item]:
        """The half of the skill's items that is not taught, and all others."""
        return [item for item in items if item.domain != adversary.skill or not _is_taught(item, adversary.seed)]


def _is_taught(item: Item, seed: int) -> bool:
    """Validation facts are no test facts; of these, a fact is taught or asked in all of its forms."""
    if item.split == "heldout":
        return False
    fact = item.fact or item.prompt or item.answer
    return item.split == "valid" or derive_seed(seed, "taught", fact) % 2 == 0
