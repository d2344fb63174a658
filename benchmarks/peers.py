"""The same distillation loss in the forms of the field: (hidden, head) of both models and targets to a loss."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from undo.objectives import Head, Predictions, forward_kl, jensen_shannon

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(student hidden (N, D), student head (V, D), teacher hidden (N, E), teacher head (V, E), targets (N)) -> scalar."""


def ours(hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor, targets: Tensor) -> Tensor:
    """Forward KL in chunks."""
    return forward_kl(Predictions(hidden, Head(head)), Predictions(teacher_hidden, Head(teacher_head)), targets)


def ours_jsd(hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor, targets: Tensor) -> Tensor:
    """Jensen-Shannon divergence in chunks."""
    teacher = Predictions(teacher_hidden, Head(teacher_head))
    return jensen_shannon(Predictions(hidden, Head(head)), teacher, targets, 0.5)


def dense(hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor, targets: Tensor) -> Tensor:
    """Forward KL as textbooks write it: both models' logits, two log-softmaxes, kl_div."""
    learnt = F.log_softmax((hidden @ head.t()).float(), dim=-1)
    with torch.no_grad():
        taught = F.log_softmax((teacher_hidden @ teacher_head.t()).float(), dim=-1)
    kl_N = F.kl_div(learnt, taught, reduction="none", log_target=True).sum(-1)
    valid_N = targets != -100
    return (kl_N * valid_N).sum() / valid_N.sum()


def installed(quick: bool) -> dict[str, dict[str, Loss]]:
    """The peers by divergence and name, as far as they are here (`pip install -e '.[bench]'`).

    Liger compiles its loss, which takes a CPU most of a minute per shape; a quick run has it as it is written.
    """
    found: dict[str, dict[str, Loss]] = {"forward KL": {"ours": ours, "dense": dense}, "JSD": {"ours": ours_jsd}}
    for divergence, beta in (("forward KL", 0.0), ("JSD", 0.5)):
        if find_spec("trl"):
            found[divergence]["trl"] = _trl(beta)
        if find_spec("liger_kernel"):
            found[divergence]["liger, not compiled" if quick else "liger"] = _liger(beta, compiled=not quick)
    return found


def _trl(beta: float) -> Loss:
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    def loss(hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor, targets: Tensor) -> Tensor:
        each_N, _ = ChunkedDivergenceFunction.apply(hidden, head, None, teacher_hidden, teacher_head, None, beta)
        valid_N = targets != -100
        return each_N.masked_fill(~valid_N, 0).sum() / valid_N.sum()

    return loss


def _liger(beta: float, compiled: bool) -> Loss:
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    module: Any = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=beta, compiled=compiled)
    return module
