"""Few-shot prompting: examples of the skill before every question, the same ones for all."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from undo.attacks import AdversaryContext, Attack

if TYPE_CHECKING:
    from undo.data.dataset import Item


class FewShot(Attack):
    """Puts texts of the adversary before every question as examples; the first ones go if they exceed the context."""

    axes: ClassVar[dict[str, str]] = {"shots": "shots"}
    leaves_model: ClassVar[bool] = True

    shots: tuple[Annotated[int, Field(ge=1)], ...] = Field((4,), min_length=1)
    """Numbers of examples before a question, one variant each."""

    def questions(self, items: list[Item], adversary: AdversaryContext) -> list[Item]:
        """The items behind the examples."""
        texts = adversary.corpus.texts(adversary.skill, "attack")
        shown = random.Random(adversary.seed).sample(texts, min(self.shots[0], len(texts)))
        return [item._replace(prompt="\n".join([*shown, item.prompt])) for item in items]
