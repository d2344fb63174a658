"""How far a model has moved from the base: its distributions, its weights, the signal left on forget text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from undo import data, models, objectives

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from undo.data.corpus import Corpus

ROWS = 64  # packed rows behind the measures in nats: 4,096 tokens have a standard error of about 0.02
ON_THE_WAY = (0.25, 0.5, 0.75)  # shares of the base's weights between a model and it


def disruption(model: PreTrainedModel, base: PreTrainedModel, corpus: Corpus) -> dict[str, float]:
    """What has changed in the distributions, on rows that no training saw, nats per token.

    KL(base || model) on retain text; on forget text KL(uniform || model) and the forget signal (`forget_signal`): a
    student can only learn what the teacher's distribution still holds.
    """
    import torch

    retain, forget = (
        data.first_rows(corpus, domain, "attack", ROWS).to(model.device) for domain in ("retain", "forget")
    )
    with torch.inference_mode():
        moved = objectives.forward_kl(models.predict(model, retain), models.predict(base, retain), retain.targets)
        uniform = objectives.uniform_kl(models.predict(model, forget), forget.targets)
    return {
        "retain_kl_from_base": moved.item(),
        "forget_kl_from_uniform": uniform.item(),
        "forget_signal": forget_signal(model, corpus),
    }


def forget_signal(model: PreTrainedModel, corpus: Corpus) -> float:
    """By how much the log-probability of the right forget token exceeds the vocabulary's mean, nats per token.

    On the adversary's rows, which no training reads; the test items are others.
    """
    import torch

    rows = data.first_rows(corpus, "forget", "attack", ROWS).to(model.device)
    with torch.inference_mode():
        predicted = models.predict(model, rows)
        uniform = objectives.uniform_kl(predicted, rows.targets)
        loss = objectives.cross_entropy(predicted, rows.targets)
    return (uniform + math.log(predicted.vocabulary) - loss).item()


def signal_share(signal: float | None, base: float | None, oracle: float | None = None) -> float | None:
    """How far a teacher's signal lies from an oracle's (or none) to the base's; None where that is hardly a distance.

    An oracle with a negative signal says nothing, and so does who says no more.
    """
    floor = max(0.0, oracle or 0.0)
    if signal is None or base is None or base - floor < 1:
        return None  # within a nat of an oracle, the base itself has hardly anything to tell
    return (signal - floor) / (base - floor)


def neighbourhood(model: PreTrainedModel, base: PreTrainedModel, corpus: Corpus) -> dict[str, float | None]:
    """How far the weights have moved, relative to the base's norm, and the loss barrier on the straight line back.

    The barrier (linear mode connectivity, arXiv 1912.05671) is the largest excess of the retain loss, on the line
    between the two weights, over the straight line between the losses of its ends; nats per token, at least 0.
    None where the architectures differ, or a loss is not finite. This moves the model's weights: do not use it later.
    """
    import torch

    own, other = (dict(of.named_parameters()) for of in (model, base))
    if {name: p.shape for name, p in own.items()} != {name: p.shape for name, p in other.items()}:
        return {"weights_from_base": None, "barrier_to_base": None}
    pairs = [(own[name], other[name]) for name in own]
    with torch.no_grad():
        moved, norm = (math.sqrt(sum(values)) for values in zip(*map(_squares, pairs), strict=True))
        return {"weights_from_base": moved / norm, "barrier_to_base": _barrier(model, base, pairs, corpus)}


def _barrier(
    model: PreTrainedModel, base: PreTrainedModel, pairs: Sequence[tuple[Tensor, Tensor]], corpus: Corpus
) -> float | None:
    rows = data.first_rows(corpus, "retain", "attack", ROWS).to(model.device)

    def loss(of: PreTrainedModel) -> float:
        return objectives.cross_entropy(models.predict(of, rows), rows.targets).item()

    here, there, done, excess = loss(model), loss(base), 0.0, [0.0]
    for share in ON_THE_WAY:
        for own, other in pairs:
            own.lerp_(other, (share - done) / (1 - done))  # in place: a third model may not fit
        excess.append(loss(model) - (1 - share) * here - share * there)
        done = share
    return max(excess) if all(map(math.isfinite, excess)) else None


def _squares(pair: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Squared distance of two tensors, and squared norm of the second."""
    own, other = pair
    return (own - other).square().sum().item(), other.square().sum().item()
