"""A language that nobody knows, with another one's statistics."""

import random
from collections.abc import Iterable

from undo.spec.keys import derive_seed


def permuted_letters(texts: Iterable[str], data_seed: int, latin: bool = True) -> dict[int, str]:
    """A table for `str.translate`: every letter of the texts to one of them, one to one; signs and spaces stay.

    `latin`: whether a to z take part, or stay because they belong to no word of the language.
    """
    found = {letter for text in texts for letter in set(text) if letter.isalpha()}
    letters = sorted(letter for letter in found if latin or not letter.isascii())
    images = random.Random(derive_seed(data_seed, "permutation")).sample(letters, len(letters))
    return str.maketrans(dict(zip(letters, images, strict=True)))
