"""Quantised weights: rounding can undo small changes that hid a skill (Zhang et al., arXiv 2410.16454)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from undo import models
from undo.attacks import AdversaryContext, Attack


class Quantise(Attack):
    """Rounds every matrix but the embeddings to 2^bits levels per group of inputs."""

    axes: ClassVar[dict[str, str]] = {"bits": "bits"}

    bits: tuple[Annotated[int, Field(ge=2, le=8)], ...] = Field((8, 4), min_length=1)
    """Bits per weight, from 2 to 8; one variant each."""
    group_size: int = Field(64, ge=1)
    """Number of neighbouring weights in a row of a matrix that share a scale and a zero point."""

    def wrap(self, model, adversary: AdversaryContext):
        """A copy with rounded weights, kept as the fp32 numbers that they stand for."""
        return models.quantised(model, self.bits[0], self.group_size)
