"""Losses over the vocabulary with no more than a chunk of logits in memory.

A loss is a rule on a block of logits that knows its gradient in closed form. The gradient is computed with the value,
carried through the head, and the logits are forgotten; the backward pass only scales. The idea of fused linear losses
is that of Liger (Hsu et al., arXiv 2410.10989) and Cut Cross-Entropy (Wijmans et al., arXiv 2411.09009).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from undo.objectives.predictions import Head, Predictions, logit_chunks
from undo.objectives.targets import IGNORE

Rule = Callable[[Tensor, list[Tensor], slice], Tensor]
"""(student logits (R, V), [teacher logits (R, V)] or [], which of the flat positions these are), fp32 -> loss (R).

It works in place: afterwards the student's logits hold d loss / d logits, and the teacher's nothing of use."""

# A rule sees so many logits at a time: on a CPU 1 MiB stays in a core's cache between its passes; a GPU wants all.
BLOCK_ENTRIES = {"cpu": 2**18, "cuda": 2**31}


def valid_mean_of(rule: Rule, student: Predictions, targets: Tensor, *teacher: Predictions) -> Tensor:
    """The rule's mean over the valid targets (fp32 scalar), differentiable in the student's hidden states and head.

    Args: predictions at positions of the shape of targets (...), which are `IGNORE` where a position does not count.
    """
    valid = targets != IGNORE
    count = (valid.sum() if student.count is None else student.count).clamp(min=1)
    return weighted_sum_of(rule, student, valid / count, *teacher)


def weighted_sum_of(rule: Rule, student: Predictions, weights: Tensor, *teacher: Predictions) -> Tensor:
    """The sum of weight times loss (fp32 scalar), differentiable in the student's hidden states and head alone.

    Args: predictions at positions of the shape of weights (...), fp32, which get no gradient.
    """
    weight, bias = (student.head.weight, student.head.bias) if student.head else (None, None)
    job = (rule, student, teacher, weights.detach().flatten())
    loss: Any = _Chunked.apply(job, torch.is_grad_enabled(), student.hidden, weight, bias)
    return loss


@torch.no_grad()
def losses_of(rule: Rule, student: Predictions, *teacher: Predictions) -> Tensor:
    """The rule's loss at every position (...), fp32, without gradient."""
    shape = student.hidden.shape[:-1]
    nothing_N = torch.zeros(shape.numel(), device=student.hidden.device)
    losses_N, _ = _losses_and_gradients(rule, student, teacher, nothing_N, False, False, False)
    return losses_N.view(shape)


class _Chunked(torch.autograd.Function):
    """Value and gradients in one pass over the chunks."""

    @staticmethod
    def forward(ctx: Any, job: tuple, differentiable: bool, *inputs: Tensor | None) -> Tensor:
        wanted = [differentiable and needed for needed in ctx.needs_input_grad[2:]]
        losses_N, gradients = _losses_and_gradients(*job, *wanted)
        with torch.autocast(losses_N.device.type, enabled=False):
            loss = losses_N @ job[-1]
        ctx.gradients = [
            None if gradient is None or value is None else gradient.view_as(value).to(value.dtype)
            for gradient, value in zip(gradients, inputs, strict=True)
        ]
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        return None, None, *(None if gradient is None else gradient * upstream for gradient in ctx.gradients)


def _losses_and_gradients(
    rule: Rule,
    student: Predictions,
    teacher: tuple[Predictions, ...],
    weights_N: Tensor,
    *wanted: bool,
) -> tuple[Tensor, list[Tensor | None]]:
    """The rule's losses (N), and their weighted sum's fp32 gradients of hidden states, weight and bias where wanted."""
    flat, teachers = student.flat(), [model.flat() for model in teacher]  # autocast decides their precision alone
    losses_N, gradients = torch.empty_like(weights_N), _zeros(student, wanted)
    with torch.autocast(weights_N.device.type, enabled=False):
        for rows, logits in logit_chunks(flat, *teachers):
            losses_N[rows] = _apply(rule, logits, rows.start, flat.head)
            _add_gradients(gradients, logits[0], flat.hidden[rows], weights_N[rows, None], rows, flat.head)
    return losses_N, gradients


def _zeros(student: Predictions, wanted: tuple[bool, ...]) -> list[Tensor | None]:
    weight, bias = (student.head.weight, student.head.bias) if student.head else (None, None)
    inputs = (student.hidden.flatten(0, -2), weight, bias)
    return [
        torch.zeros_like(x, dtype=torch.float32) if want and x is not None else None
        for x, want in zip(inputs, wanted, strict=True)
    ]


def _apply(rule: Rule, logits: list[Tensor], first: int, head: Head | None) -> Tensor:
    """(R) losses of a chunk; block by block its student logits become the gradient of the logits before the cap."""
    student_RV, losses = logits[0], []
    step = max(1, BLOCK_ENTRIES[student_RV.device.type] // student_RV.shape[1])
    for start in range(0, len(student_RV), step):
        rows = slice(start, min(start + step, len(student_RV)))
        block = student_RV[rows]
        slope = 1 - (block / head.softcap) ** 2 if head and head.softcap else None  # of cap(x), by its own value
        positions = slice(first + rows.start, first + rows.stop)
        losses.append(rule(block, [model[rows] for model in logits[1:]], positions))
        if slope is not None:
            block.mul_(slope)
    if head and head.scale != 1.0:
        student_RV.mul_(head.scale)
    return torch.cat(losses)


def _add_gradients(
    gradients: list[Tensor | None],
    logits_RV: Tensor,
    hidden_RD: Tensor,
    weights_R1: Tensor,
    rows: slice,
    head: Head | None,
) -> None:
    """Carries d loss / d logits through the head. Positions are weighed on the narrow side of the products."""
    for_hidden_ND, for_weight_VD, for_bias_V = gradients
    carried_RV = logits_RV if head is None else logits_RV.to(head.weight.dtype)
    if for_hidden_ND is not None:
        for_hidden_ND[rows] = (carried_RV if head is None else carried_RV @ head.weight) * weights_R1
    if for_weight_VD is not None:
        weighed_RD = (hidden_RD * weights_R1).to(carried_RV.dtype)
        if carried_RV.dtype == for_weight_VD.dtype:
            for_weight_VD.addmm_(carried_RV.t(), weighed_RD)
        else:
            for_weight_VD.add_(carried_RV.t() @ weighed_RD)
    if for_bias_V is not None:
        for_bias_V.add_(logits_RV.t() @ weights_R1[:, 0])


def softmax_(logits_RV: Tensor) -> Tensor:
    """Turns logits into probabilities in place. Returns log Z (R), the logarithm of their sum of exponentials.

    torch's own softmax is one kernel, twice as fast as its parts; log Z is the largest logit minus its log-probability.
    """
    top_R = logits_RV.amax(-1)
    torch.softmax(logits_RV, -1, out=logits_RV)
    return top_R.sub_(logits_RV.amax(-1).log_())
