"""What the documents of a file of text are: its lines, or its paragraphs where lines belong together."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Literal, NamedTuple

Unit = Literal["line", "paragraph"]
LEAST_BLOCKS = 30
"""A file that is parted so often means it, whatever the length of its blocks."""
BLOCK_LINES = 10
"""Longer blocks, if they are few, are groups of lines that are documents themselves."""
WIDTHS = range(40, 121)
"""Characters at which people and programs break lines."""


class Part(NamedTuple):
    """A document and the line that it starts on, from 1."""

    text: str
    line: int


Block = list[Part]


def documents_in(text: str) -> tuple[Unit, list[Part]]:
    """The documents of a text and what they are.

    Lines, each a document, where nothing speaks against it. Paragraphs, parted by empty lines, where the lines are
    wrapped (the next word would not have fitted), or where most of what stands between empty lines is several lines.
    """
    blocks = _blocks(text)
    if _is_wrapped(blocks) or _is_parted(blocks):
        return "paragraph", [Part("\n".join(line.text for line in block), block[0].line) for block in blocks]
    return "line", [line for block in blocks for line in block]


def _blocks(text: str) -> list[Block]:
    """The lines between empty lines."""
    blocks: list[Block] = [[]]
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            blocks[-1].append(Part(line, number))
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _is_parted(blocks: Sequence[Block]) -> bool:
    lengths = [len(block) for block in blocks]
    if len(blocks) < 2 or median(lengths) < 2:
        return False
    return len(blocks) >= LEAST_BLOCKS or median(lengths) <= BLOCK_LINES


def _is_wrapped(blocks: Sequence[Block]) -> bool:
    """Whether most lines end because the next word did not fit, and go on in the next line.

    Lines of one length that all begin alike are rows made after one pattern.
    """
    pairs = [(first.text.rstrip(), second.text) for block in blocks for first, second in pairwise(block)]
    if len(pairs) < 2:
        return False
    lengths = sorted(len(first) for first, _ in pairs)
    width = lengths[int(0.9 * (len(lengths) - 1))]
    words = [second.split()[0] for _, second in pairs]
    full = sum(len(first) + 1 + len(word) >= width for (first, _), word in zip(pairs, words, strict=True))
    going_on = sum(second.lstrip()[0].islower() for _, second in pairs)
    ((_, alike),) = Counter(words).most_common(1)
    patterned = len(pairs) > 5 and alike > 0.3 * len(pairs)
    return width in WIDTHS and full >= 0.7 * len(pairs) and going_on >= 0.4 * len(pairs) and not patterned
