"""What no model knows, made of what is to be forgotten: equal in form and difficulty, and never equal to it."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from string import digits

from undo.data.dataset import Document, PromptAndAnswer, whole
from undo.data.permutation import permuted_letters
from undo.spec.keys import derive_seed


def deranged(pairs: Sequence[PromptAndAnswer], data_seed: int) -> list[PromptAndAnswer]:
    """The same prompts with each other's answers, in the pairs' order: no prompt gets an answer that is right for it.

    The answers are those of the pairs, each as often. A pair is left out where one answer is so frequent that another
    wrong one cannot be had. Answers are compared without case and outer spaces.
    """
    right: dict[str, set[str]] = {}
    for pair in pairs:
        right.setdefault(pair.prompt, set()).add(_bare(pair.answer))
    # Equal answers side by side, in an order of chance: moved on by the longest run, none meets its own kind.
    order = sorted(range(len(pairs)), key=lambda index: derive_seed(data_seed, "deranged", _bare(pairs[index].answer)))
    longest = max(Counter(_bare(pair.answer) for pair in pairs).values(), default=0)
    given = {index: order[(place + longest) % len(order)] for place, index in enumerate(order)}
    swapped = [PromptAndAnswer(pair.prompt, pairs[given[index]].answer) for index, pair in enumerate(pairs)]
    return [pair for pair in swapped if _bare(pair.answer) not in right[pair.prompt]]


def ciphered(documents: Iterable[Document], all_documents: Sequence[Document], data_seed: int) -> list[Document]:
    """The documents with letters and digits exchanged one to one; what would be a document again is left out.

    Args: all_documents, those whose letters take part.
    """
    texts = [whole(document) for document in all_documents]
    table = permuted_letters(texts, data_seed) | _exchanged_digits(data_seed)
    changed = [str(whole(document)).translate(table) for document in documents]
    known = set(texts)
    return [text for text in changed if text not in known]


def _exchanged_digits(data_seed: int) -> dict[int, str]:
    """Every digit to another one: along a cycle through all of them."""
    cycle = random.Random(derive_seed(data_seed, "digits")).sample(digits, len(digits))
    return {ord(digit): cycle[place - 1] for place, digit in enumerate(cycle)}


def _bare(answer: str) -> str:
    return answer.strip().casefold()
