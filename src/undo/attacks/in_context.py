"""Forget knowledge supplied in context: before each question, the adversary's texts that have most to do with it."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from undo.attacks import AdversaryContext, Attack

if TYPE_CHECKING:
    from undo.data.dataset import Item


class InContext(Attack):
    """Puts related texts before every question: only a model that still has the knowledge can make use of them."""

    axes: ClassVar[dict[str, str]] = {"texts": "texts"}
    leaves_model: ClassVar[bool] = True

    texts: tuple[Annotated[int, Field(ge=1)], ...] = Field((2,), min_length=1)
    """Numbers of texts before a question, one variant each; if they exceed the context, the least related ones are
    dropped."""

    def questions(self, items: list[Item], adversary: AdversaryContext) -> list[Item]:
        """The items behind the texts that share most with their prompt, or where that is empty with their first words.

        Words weigh by how rare they are in the adversary's texts (inverse document frequency).
        """
        texts = adversary.corpus.texts(adversary.skill, "attack")
        words = [_words(text) for text in texts]
        counts = Counter(word for of in words for word in of)
        rarity = {word: math.log(len(texts) / count) for word, count in counts.items()}

        def fitting(item: Item) -> list[str]:
            asked = _words(item.prompt or " ".join(item.answer.split()[:8]))
            score = [sum(rarity[word] for word in asked & of) for of in words]
            best = sorted(range(len(texts)), key=lambda index: score[index], reverse=True)[: self.texts[0]]
            return [texts[index] for index in reversed(best)]  # the best one stands next to the question

        return [item._replace(prompt="\n".join([*fitting(item), item.prompt])) for item in items]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
