"""What a claim is.

An effect is a number whose sign, or whose place above a threshold, says whether the claim holds. Differences are
between models of one seed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from undo.evidence.measures import Kept, Measure
from undo.report.results import Results


class Effect(NamedTuple):
    """What was compared, by which measure, and what keeps the claim from holding whatever the measure says.

    `useless` says that it keeps the claim from holding in part too; `retain` is the pair whose retain stands beside.
    """

    what: str
    measure: Measure
    but: str = ""
    useless: bool = False
    retain: Kept | None = None


Effects = Iterator[Effect]
LESS = "how much less of the forget skill the attack brings back (accuracy, or nats per token), by seed"
"""The unit of most effects."""


@dataclass(frozen=True)
class Claim:
    """A claim, how studies are asked about it, and from which effect on it is shown and not merely pointed to.

    A `specific` one has to be shown in specific recovery too, which tells forgetting from learning slowly; claims that
    are about how fast a model learns have not.
    """

    id: str
    text: str
    unit: str
    effects: Callable[[Results], Effects]
    shown_from: float = 0.0
    specific: bool = True
