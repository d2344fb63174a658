"""One line of a certificate."""

from dataclasses import dataclass
from typing import Any

from undo.given.bootstrap import Interval


@dataclass(frozen=True)
class AttackResult:
    """A model after one variant of an attack and so many steps.

    `recovery` is the forget score, `oracle` the oracle's at the same attack's best setting within the budget, and
    within the utility constraint where this row is; `retain_loss` is in nats per token. `neutral` is the score of the
    same prompts with each other's answers, which nobody ever knew, and `specific_recovery` the recovery less it.
    `decides` says whether the row may be the worst case: where nothing tells what an attack brings out of a model that
    never knew, some attacks may not. Intervals are 95 % bootstrap intervals over items. None where there is no value.
    """

    attack: str
    variant: dict[str, Any]
    budget: int
    forget_tokens: int
    recovery: float
    recovery_interval: Interval
    oracle: float | None
    neutral: float | None
    specific_recovery: float | None
    specific_recovery_interval: Interval
    recovered_fraction: float | None
    recovered_fraction_interval: Interval
    retain_loss: float
    within_utility: bool
    decides: bool = True
