"""ONE FILE PER UNLEARNING METHOD. A method is a loss: it owns no optimiser, no loop, no logging, no files.

A new method is a new file with one class:

    class MyMethod(Method):
        knob: float = 1.0
        def loss(self, model, batch, memo): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from undo.spec.base import Plugin

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from undo.data.batches import Batch


class LossTerms(NamedTuple):
    """A loss to minimise and its named parts (scalars, for the metrics)."""

    total: Tensor
    parts: dict[str, Tensor]


class Memo(NamedTuple):
    """What a method may remember: the reference model (frozen, None unless asked for) and the stage's seed."""

    reference: PreTrainedModel | None
    seed: int


class Method(Plugin, ABC):
    """An unlearning method."""

    needs_reference: ClassVar[bool] = False
    sums_over_parts: ClassVar[bool] = True
    """Whether the losses of the parts of a step add up to the loss of the whole, so that micro-batches may cut it."""

    @property
    def passes(self) -> int:
        """What a step costs at most, in forward passes over its forget or retain rows (a backward pass is two)."""
        return 8 if self.needs_reference else 6

    @abstractmethod
    def loss(self, model: PreTrainedModel, batch: Batch, memo: Memo) -> LossTerms:
        """The loss on one step's retain and forget rows. Pure: no state is kept between steps."""

    def named_layers(self) -> tuple[int, ...]:
        """Numbers of the decoder layers that the knobs name, so that recipes may refuse those that a model lacks."""
        return ()

    def trainable(self, model: PreTrainedModel) -> set[str]:
        """Names of the parameters that may move; all of them by default."""
        return {name for name, _ in model.named_parameters()}

    def finish(self, model: PreTrainedModel) -> None:
        """Called once after the last step, before the teacher is checked and saved; may change the weights."""
