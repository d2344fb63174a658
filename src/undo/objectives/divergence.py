"""Divergences between next-token distributions."""

import math

import torch.nn.functional as F
from torch import Tensor

from undo.objectives.targets import IGNORE, valid_mean


def forward_kl(student_BTV: Tensor, teacher_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """KL(teacher || student) at temperature 1 over the full vocabulary, mean over valid targets, nats per token.

    Args: logits (B, T, V) of both models (no gradient reaches the teacher's), targets (B, T) that mark what counts.
    """
    student_log = F.log_softmax(student_BTV.float(), dim=-1)
    teacher_log = F.log_softmax(teacher_BTV.detach().float(), dim=-1)
    kl_BT = F.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(-1)
    return valid_mean(kl_BT, targets_BT != IGNORE)


def uniform_kl(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """KL(uniform || p), mean over valid targets, nats per token: the vocabulary's mean of -log p, minus log V.

    Args: logits (B, T, V), targets (B, T) that mark what counts. Source: MaxEnt of arXiv 2506.06278 in closed form.
    """
    logits_BTV = logits_BTV.float()
    kl_BT = logits_BTV.logsumexp(-1) - logits_BTV.mean(-1) - math.log(logits_BTV.shape[-1])
    return valid_mean(kl_BT, targets_BT != IGNORE)
