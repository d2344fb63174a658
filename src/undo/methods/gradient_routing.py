"""Gradient routing: forget rows train a part of each MLP that is removed afterwards (arXiv 2410.04332, 2512.05648)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method
from undo.spec.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class GradientRouting(Method):
    """CE(retain) + CE(forget), with the forget skill confined to the last hidden units of the MLPs.

    The masks are those of SGTM (Shilov et al.), a variant of gradient routing (Cloud et al.). Forget rows run through
    the whole model, but their gradient reaches the forget part alone: its rows of the gate and up projections, its
    columns of the down projection. Retain rows run without the forget part, so their gradient reaches everything else,
    and what they learn is the model that is left. At the end the forget part is set to 0, for good: units whose weights
    are all 0 get no gradient from an attack either. A method for training from the initial weights; in weights that
    have learnt both skills already, the last units hold no more of one than the others do.
    """

    share: float = Field(0.25, gt=0, lt=1)
    """Share of each MLP's hidden units that make the forget part, above 0 and below 1; at least one unit."""
    layers: tuple[int, ...] | None = None
    """Decoder layers, numbered from 0, that get a forget part; null for all."""

    def loss(self, model, batch, memo) -> LossTerms:
        """The sum of the two mean cross-entropies, nats per token."""
        parts, moving = self._forget_parts(model), models.movable(model)
        with _removed(parts):  # the gradient too: checkpointed layers compute once more for it
            retain = objectives.cross_entropy(models.predict(model, batch.retain), batch.retain.targets)
            retain = objectives.surrogate_loss(retain, moving, models.gradients(retain, moving))
        forget = objectives.cross_entropy(models.predict(model, batch.forget), batch.forget.targets)
        weights, masks = zip(*(pair for part in parts for pair in part.masks()), strict=True)
        slopes = [slope * mask for slope, mask in zip(models.gradients(forget, weights), masks, strict=True)]
        total = retain + objectives.surrogate_loss(forget, weights, slopes)
        return LossTerms(total, {"retain_ce": retain.detach(), "forget_ce": forget.detach()})

    def named_layers(self) -> tuple[int, ...]:
        """Those with a forget part, where they are named."""
        return self.layers or ()

    def trainable(self, model) -> set[str]:
        """All; a model without gated MLPs is refused here, before anything is trained."""
        self._forget_parts(model)
        return super().trainable(model)

    def finish(self, model) -> None:
        """Sets the forget part to 0."""
        import torch

        with torch.no_grad():
            for part in self._forget_parts(model):
                for weight, mask in part.masks():
                    weight.masked_fill_(mask, 0.0)

    def _forget_parts(self, model) -> list[_ForgetPart]:
        layers = self.layers if self.layers is not None else tuple(range(len(models.decoder_layers(model))))
        return [_forget_part(name, block, self.share) for name, block in models.pick_layers(model, layers)]


class _ForgetPart(NamedTuple):
    """The last hidden units of one gated MLP."""

    into: tuple[nn.Linear, nn.Linear]
    down: nn.Linear
    first: int

    def hidden_H(self) -> Tensor:
        """(H) which hidden units belong to it."""
        import torch

        return torch.arange(self.down.in_features, device=self.down.weight.device) >= self.first

    def masks(self) -> list[tuple[Tensor, Tensor]]:
        """The MLP's parameters that have a forget part, with masks of their shapes."""
        hidden_H = self.hidden_H()
        weights = [(linear.weight, hidden_H[:, None].expand_as(linear.weight)) for linear in self.into]
        biases = [(linear.bias, hidden_H) for linear in self.into if linear.bias is not None]
        return [*weights, *biases, (self.down.weight, hidden_H.expand_as(self.down.weight))]


def _forget_part(name: str, block: nn.Module, share: float) -> _ForgetPart:
    from torch import nn

    found = {path.rpartition(".")[2]: module for path, module in block.named_modules() if isinstance(module, nn.Linear)}
    if not {"gate_proj", "up_proj", "down_proj"} <= found.keys():
        raise UserError(f"{name} has no gated MLP (gate_proj, up_proj, down_proj); this method does not fit the model")
    hidden = found["down_proj"].in_features
    units = min(max(1, round(share * hidden)), hidden - 1)
    return _ForgetPart((found["gate_proj"], found["up_proj"]), found["down_proj"], hidden - units)


@contextmanager
def _removed(parts: list[_ForgetPart]) -> Iterator[None]:
    """Inside, the model computes without the forget parts."""

    def keep(part: _ForgetPart):
        return lambda _module, inputs: (inputs[0].masked_fill(part.hidden_H(), 0.0), *inputs[1:])

    handles = [part.down.register_forward_pre_hook(keep(part)) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
