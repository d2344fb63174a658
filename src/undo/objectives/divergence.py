"""Divergences between next-token distributions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from undo.objectives.chunked import Rule, softmax_, valid_mean_of
from undo.objectives.predictions import Predictions, logit_chunks


class TopTokens(NamedTuple):
    """A teacher's distributions in short: K likeliest tokens (..., K), their probabilities, and the rest's (...)."""

    tokens: Tensor
    probabilities: Tensor
    rest: Tensor


@torch.no_grad()
def top_tokens(predictions: Predictions, k: int) -> TopTokens:
    """The k most likely tokens at every position (...), and the probability of all the others together."""
    flat, shape, k = predictions.flat(), predictions.hidden.shape[:-1], min(k, predictions.vocabulary)
    q_NK = torch.empty(len(flat.hidden), k, device=flat.hidden.device)
    tokens_NK, rest_N = torch.empty_like(q_NK, dtype=torch.int32), torch.empty_like(q_NK[:, 0])
    for rows, (logits_RV,) in logit_chunks(flat):
        softmax_(logits_RV)
        q_NK[rows], tokens_RK = logits_RV.topk(k)
        tokens_NK[rows], rest_N[rows] = tokens_RK, logits_RV.scatter_(1, tokens_RK, 0.0).sum(-1)
    return TopTokens(tokens_NK.view(*shape, k), q_NK.view(*shape, k), rest_N.view(shape))


def forward_kl(student: Predictions, teacher: Predictions, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) over the full vocabulary, mean over valid targets, nats per token.

    Args: predictions of both models (no gradient reaches the teacher's; the widths of their hidden states may differ)
    at the positions of targets (B, T), which mark what counts. At another temperature the logits of both are divided
    by it and the divergence is multiplied by its square, which keeps the gradient's size (arXiv 1503.02531).
    """
    rule = _forward_kl if temperature == 1.0 else _tempered_kl(temperature)
    return valid_mean_of(rule, student, targets, teacher)


def ensemble_kl(student: Predictions, teachers: Sequence[Predictions], targets: Tensor) -> Tensor:
    """KL(mean of the teachers' distributions || student), mean over valid targets, nats per token.

    Args: as `forward_kl`, with at least one teacher; one alone is the forward KL itself.
    """
    return valid_mean_of(_ensemble_kl, student, targets, *teachers)


def demoted_kl(student: Predictions, teacher: Predictions, targets: Tensor, strength: float) -> Tensor:
    """KL(demoted teacher || student), mean over valid targets, nats per token (UNDIAL, arXiv 2402.10052).

    The demoted teacher has `strength` less on the logit of the target, before the softmax. Args: as `forward_kl`.
    """
    return valid_mean_of(_demoted_kl(targets, strength), student, targets, teacher)


def top_forward_kl(student: Predictions, teacher: TopTokens, targets: Tensor) -> Tensor:
    """KL(teacher || student) over the teacher's most likely tokens and one bucket for all the others, nats per token.

    A lower bound of `forward_kl`, equal to it where the tokens are the whole vocabulary. Nothing is renormalised: the
    student's probability of the bucket is compared with the teacher's.
    """
    return valid_mean_of(_top_forward_kl(teacher), student, targets)


def jensen_shannon(student: Predictions, teacher: Predictions, targets: Tensor, teacher_share: float) -> Tensor:
    """Generalised Jensen-Shannon divergence, mean over valid targets, nats per token (GKD, arXiv 2306.13649).

    teacher_share * KL(teacher || m) + (1 - teacher_share) * KL(student || m), where m mixes both by the same shares.
    Args: as `forward_kl`; teacher_share, between 0 and 1, is that paper's beta.
    """
    return valid_mean_of(_jensen_shannon(teacher_share), student, targets, teacher)


def uniform_kl(predictions: Predictions, targets: Tensor) -> Tensor:
    """KL(uniform || p), mean over valid targets, nats per token: the vocabulary's mean of -log p, minus log V.

    Args: predictions at the positions of targets (B, T), which mark what counts. Source: MaxEnt of arXiv 2506.06278 in
    closed form.
    """
    return valid_mean_of(_uniform_kl, predictions, targets)


def _forward_kl(student_RV: Tensor, teacher: list[Tensor], _: slice) -> Tensor:
    """sum q (z_q - z_p) - log Z_q + log Z_p; gradient p - q."""
    (teacher_RV,) = teacher
    apart_RV = teacher_RV - student_RV
    loss_R = -softmax_(teacher_RV)
    loss_R += softmax_(student_RV)
    loss_R += torch.linalg.vecdot(teacher_RV, apart_RV)
    student_RV.sub_(teacher_RV)
    return loss_R


def _ensemble_kl(student_RV: Tensor, teachers: list[Tensor], _: slice) -> Tensor:
    """With q the mean: sum q (log q - z_p) + log Z_p; gradient p - q."""
    mean_RV, *others = teachers
    for teacher_RV in teachers:
        softmax_(teacher_RV)
    for other_RV in others:
        mean_RV.add_(other_RV)
    mean_RV.div_(len(teachers))
    loss_R = torch.xlogy(mean_RV, mean_RV).sum(-1) - torch.linalg.vecdot(mean_RV, student_RV)
    loss_R += softmax_(student_RV)
    student_RV.sub_(mean_RV)
    return loss_R


def _tempered_kl(temperature: float) -> Rule:
    def rule(student_RV: Tensor, teacher: list[Tensor], positions: slice) -> Tensor:
        loss_R = _forward_kl(student_RV.div_(temperature), [teacher[0].div_(temperature)], positions)
        student_RV.mul_(temperature)  # d/dz of temperature ** 2 times what z / temperature gives
        return loss_R * temperature**2

    return rule


def _demoted_kl(targets: Tensor, strength: float) -> Rule:
    targets_N1 = targets.flatten()[:, None].clamp(min=0)  # an ignored position has weight 0, whatever it asks for

    def rule(student_RV: Tensor, teacher: list[Tensor], positions: slice) -> Tensor:
        targets_R1 = targets_N1[positions]
        teacher[0].scatter_add_(1, targets_R1, teacher[0].new_full(targets_R1.shape, -strength))
        return _forward_kl(student_RV, teacher, positions)

    return rule


def _top_forward_kl(teacher: TopTokens) -> Rule:
    """With p student, q teacher, r the bucket: gradient p - q on the tokens, (p_r - q_r) p / p_r on the others.

    p / p_r is a softmax of the others alone, which is there even where p_r is too small for a number.
    """
    tokens_NK, q_NK = teacher.tokens.flatten(0, -2), teacher.probabilities.flatten(0, -2)
    q_rest_N = teacher.rest.flatten()

    def rule(student_RV: Tensor, _: list[Tensor], positions: slice) -> Tensor:
        tokens_RK, q_RK, q_rest_R = tokens_NK[positions].long(), q_NK[positions], q_rest_N[positions]
        top_RK = student_RV.gather(1, tokens_RK)
        rest_log_R = softmax_(student_RV.scatter_(1, tokens_RK, torch.finfo(torch.float32).min))
        log_z_R = torch.logaddexp(rest_log_R, torch.logsumexp(top_RK, -1))
        p_log_RK, p_rest_log_R = top_RK - log_z_R[:, None], rest_log_R - log_z_R
        student_RV.mul_((p_rest_log_R.exp() - q_rest_R)[:, None])
        student_RV.scatter_(1, tokens_RK, p_log_RK.exp() - q_RK)
        entropies_R = torch.xlogy(q_RK, q_RK).sum(-1) + torch.xlogy(q_rest_R, q_rest_R)
        return entropies_R - (q_RK * p_log_RK).sum(-1) - q_rest_R * p_rest_log_R

    return rule


def _jensen_shannon(share: float) -> Rule:
    """With r = log(p / m): loss share KL(q || m) + (1 - share) KL(p || m), gradient (1 - share) p (r - KL(p || m)).

    p / m is 1 + share (p - q) / m, whose logarithm is exact to rounding where p and q are close. Where p is 0 in fp32
    the ratio is cut off at the smallest one that fp32 tells from 0; it is multiplied by p.
    """
    tiny, edge = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).eps - 1

    def rule(student_RV: Tensor, teacher: list[Tensor], _: slice) -> Tensor:
        (teacher_RV,) = teacher
        softmax_(student_RV)
        softmax_(teacher_RV)
        mixed_RV = torch.lerp(student_RV, teacher_RV, share).clamp_(min=tiny)
        apart_RV = (student_RV - teacher_RV).div_(mixed_RV)
        ratio_RV = torch.mul(apart_RV, share, out=mixed_RV).clamp_(min=edge).log1p_()
        own_R = torch.linalg.vecdot(student_RV, ratio_RV)
        taught_R = torch.linalg.vecdot(teacher_RV, apart_RV.mul_(share - 1).clamp_(min=edge).log1p_())
        student_RV.mul_(ratio_RV.sub_(own_R[:, None]).mul_(1 - share))
        return share * taught_R + (1 - share) * own_R

    return rule


def _uniform_kl(logits_RV: Tensor, _: list[Tensor], __: slice) -> Tensor:
    """log Z - mean z - log V; gradient p - 1 / V."""
    size = logits_RV.shape[1]
    loss_R = -logits_RV.mean(-1) - math.log(size)
    loss_R += softmax_(logits_RV)
    logits_RV.sub_(1 / size)
    return loss_R
