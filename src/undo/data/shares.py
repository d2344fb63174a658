"""Splits of texts by chance, the same for every language and for every order of the texts."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from undo.spec.base import Spec
from undo.spec.keys import derive_seed

Split = Literal["train", "attack", "valid", "test"]


class Shares(Spec):
    """Shares of the texts that each reader gets; training gets the rest, and no text has two readers."""

    attack: float = Field(default=0.10, gt=0, lt=1)
    """Share of the texts that only the adversary trains on, above 0 and below 1."""
    valid: float = Field(default=0.02, gt=0, lt=1)
    """Share of the texts that validation items come from, above 0 and below 1."""
    test: float = Field(default=0.03, gt=0, lt=1)
    """Share of the texts that test items come from, above 0 and below 1."""

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.attack + self.valid + self.test >= 1:
            raise ValueError("attack, valid and test leave nothing to train on; their sum must stay below 1")
        return self

    def split(self, *key: Any) -> Split:
        """Whose text this is: a function of its key alone."""
        chance = derive_seed("share", *key) / 2**63
        shares: dict[Split, float] = {"attack": self.attack, "valid": self.valid, "test": self.test}
        for name, share in shares.items():
            if chance < share:
                return name
            chance -= share
        return "train"
