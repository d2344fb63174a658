"""Collapse of common representations: updates without what all text shares (arXiv 2509.11816, 2606.17168)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from undo import models, objectives
from undo.methods import LossTerms, Method
from undo.spec.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class Collapse(Method):
    """retain_weight * CE(retain) - CE(forget), whose forget gradient avoids the directions that all text shares.

    The gradient of a linear layer's weight is the sum over tokens of (gradient of its output) x (its input). As in CIR
    (Sondej & Yang) both factors lose their mean direction and their top principal components before the product is
    taken, so the update neither reads nor writes what these carry. CIR takes the directions from the forget rows of an
    earlier epoch, breaks MLP outputs instead of ascending, and steps by SGD; RepSelect (Sondej et al.) ascends, and
    takes them from the weight gradient. Ours come from the rows of the step itself. The gradient is exactly orthogonal
    to them; AdamW, which scales every weight by its own history, keeps that only roughly.
    """

    sums_over_parts: ClassVar[bool] = False

    components: int = Field(8, ge=0)
    """Number of principal components to remove from inputs and from output gradients, beside their mean; fewer than
    the narrower side of a weight."""
    common: Literal["retain", "forget"] = "retain"
    """The rows whose common directions are removed from the forget gradient."""
    retain_weight: float = Field(1.0, ge=0)
    """Weight of the retain cross-entropy relative to the forget term; nothing is removed from its gradient (paper:
    small or none)."""
    parameters: tuple[str, ...] = Field((r".*\.mlp\.(gate|up|down)_proj\.weight$",), min_length=1)
    """Regular expressions for the names of the linear weights to train (paper: those of the MLPs)."""

    def loss(self, model, batch, memo) -> LossTerms:
        """The difference of the two mean cross-entropies, nats per token."""
        linears = self._linears(model)
        retain, retain_flows = _flows(model, batch.retain, linears)
        forget, forget_flows = _flows(model, batch.forget, linears)
        gradients = self._gradients(retain_flows, forget_flows)
        total = objectives.surrogate_loss(self.retain_weight * retain - forget, [x.weight for x in linears], gradients)
        return LossTerms(total, {"retain_ce": retain, "forget_ce": forget})

    def _gradients(self, retain_flows: list[_Flow], forget_flows: list[_Flow]) -> list[Tensor]:
        import torch

        common_flows = retain_flows if self.common == "retain" else forget_flows
        with torch.autocast(common_flows[0].inputs.device.type, enabled=False):  # rounded, they are not orthogonal
            return [
                self.retain_weight * kept.gradient() - own.without(common, self.components).gradient()
                for kept, own, common in zip(retain_flows, forget_flows, common_flows, strict=True)
            ]

    def trainable(self, model) -> set[str]:
        """The weights that match."""
        self._linears(model)
        return models.matching_parameters(model, self.parameters)

    def _linears(self, model) -> list[nn.Linear]:
        from torch import nn

        names = sorted(models.matching_parameters(model, self.parameters))
        linears = [model.get_submodule(name.rpartition(".")[0]) for name in names]
        for name, linear in zip(names, linears, strict=True):
            if not (isinstance(linear, nn.Linear) and name.endswith(".weight")):
                raise UserError(f"'{name}' is not the weight of a linear layer; collapse moves nothing else")
            if self.components + 1 >= min(linear.weight.shape):
                raise UserError(f"components {self.components} and the mean leave nothing of '{name}'")
        return linears


class _Flow(NamedTuple):
    """What passed a linear layer: inputs (N, I) and the loss's gradients of its outputs (N, O), fp32; N positions."""

    inputs: Tensor
    slopes: Tensor
    valid: Tensor  # (N), whether the position has a target

    def gradient(self) -> Tensor:
        """(O, I) the gradient of the weight."""
        return self.slopes.T @ self.inputs

    def without(self, common: _Flow, components: int) -> _Flow:
        """The same without the directions that are common to another flow, on both sides."""
        sides = ((self.inputs, common.inputs), (self.slopes, common.slopes))
        inputs, slopes = (_remove(own, common_directions(other, common.valid, components)) for own, other in sides)
        return _Flow(inputs, slopes, self.valid)


def _flows(model, rows, linears: list[nn.Linear]) -> tuple[Tensor, list[_Flow]]:
    """The cross-entropy of the rows, without gradient, and what passed the layers."""
    with _traced(linears) as traced:
        loss = objectives.cross_entropy(models.predict(model, rows), rows.targets)
    slopes = models.gradients(loss, [traced[linear][1] for linear in linears])
    valid_N = (rows.targets != objectives.IGNORE).flatten()
    sides = [(traced[linear][0], slope) for linear, slope in zip(linears, slopes, strict=True)]
    return loss.detach(), [
        _Flow(inputs.flatten(0, -2).float(), slope.flatten(0, -2).float(), valid_N) for inputs, slope in sides
    ]


@contextmanager
def _traced(linears: list[nn.Linear]) -> Iterator[dict[nn.Linear, tuple[Tensor, Tensor]]]:
    """Collects input and output of each layer during the body; its hooks are always removed."""
    traced: dict[nn.Linear, tuple[Tensor, Tensor]] = {}

    def keep(module, inputs, output) -> None:
        traced[module] = inputs[0].detach(), output

    handles = [linear.register_forward_hook(keep) for linear in linears]
    try:
        yield traced
    finally:
        for handle in handles:
            handle.remove()


def common_directions(samples_ND: Tensor, valid_N: Tensor, components: int) -> Tensor:
    """(D, components + 1) orthonormal: the span of the valid samples' mean and their top principal components."""
    import torch

    counted_ND = samples_ND * valid_N[:, None]
    mean_D = counted_ND.sum(0) / valid_N.sum().clamp(min=1)
    _, _, directions_KD = torch.linalg.svd((samples_ND - mean_D) * valid_N[:, None], full_matrices=False)
    span_KD = torch.cat([mean_D[None], directions_KD[:components]])
    return torch.linalg.qr(span_KD.T).Q


def _remove(samples_ND: Tensor, directions_DK: Tensor) -> Tensor:
    """The samples' components orthogonal to the directions."""
    return samples_ND - (samples_ND @ directions_DK) @ directions_DK.T
