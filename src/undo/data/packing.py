"""Documents to rows of equal length, losing no token."""

from collections.abc import Iterable

import numpy as np

FIRST_PROMPT = -2
"""A token that is read and no target is stored as this less its id; -1 stays what fills a row."""


def pack(documents: Iterable[list[int]], row_tokens: int, pad: int) -> np.ndarray:
    """All tokens of all documents, in order, cut into rows; only the end of the last row is padded.

    Returns int32 (rows, row_tokens). A document that crosses a border goes on in the next row.
    """
    flat = np.concatenate([np.asarray(document, dtype=np.int32) for document in documents])
    rows = -(-len(flat) // row_tokens)
    packed = np.full(rows * row_tokens, pad, dtype=np.int32)
    packed[: len(flat)] = flat
    return packed.reshape(rows, row_tokens)


def as_prompt(ids: list[int]) -> list[int]:
    """Ids of tokens that are no targets."""
    return [FIRST_PROMPT - id for id in ids]


def token_ids(rows: np.ndarray) -> np.ndarray:
    """The ids in packed rows, prompts included."""
    return np.where(rows <= FIRST_PROMPT, FIRST_PROMPT - rows, rows)
