"""evaluate: a model asked everything, before any attack."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

from undo import data, models, objectives
from undo.data.dataset import DOMAINS, Item
from undo.evals import by_domain, standard_errors
from undo.spec.registry import load
from undo.stages import Context, Outcome

VERSION = 3
ROWS = 64  # packed rows behind the two measures in nats: 4,096 tokens have a standard error of about 0.02


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Scores per split, domain and group, the numbers of items, and the disruption of retain text."""
    corpus = data.open_corpus(context.inputs["data"])
    model = models.freeze(models.load_model(context.inputs["model"]))
    evals: dict[str, Any] = {}
    for split in ("valid", "test", "heldout"):
        items, scores = ask(settings["evaluation"], corpus, split, DOMAINS)(model)
        evals[split] = by_domain(items, scores)
        evals[f"{split}_items"] = {domain: sum(item.domain == domain for item in items) for domain in DOMAINS}
        evals[f"{split}_standard_errors"] = standard_errors(items, scores)
    base = models.freeze(models.load_model(context.inputs["base"]))
    return Outcome(evals=evals | disruption(model, base, corpus))


def scorer(
    evaluation: dict[str, Any], corpus: Any, split: str, domains: Collection[str]
) -> Callable[[Any], dict[str, float]]:
    """A function that scores a model on the items of a split: one number per domain, and per `domain/group`."""
    asked = ask(evaluation, corpus, split, domains)
    return lambda model: by_domain(*asked(model))


def ask(
    evaluation: dict[str, Any], corpus: Any, split: str, domains: Collection[str]
) -> Callable[[Any], tuple[list[Item], list[float]]]:
    """A function that asks a model the items of a split. Returns them and their scores."""
    asker = evaluation_of(evaluation)
    items, encoded = _encoded(asker, corpus, split, tuple(domains))
    return lambda model: (items, asker.scores(model, encoded))


def evaluation_of(settings: dict[str, Any]) -> Any:
    """The evaluation that a stage's settings name."""
    return load("evals", settings["name"]).model_validate(settings)


@lru_cache(maxsize=8)  # a worker asks the same questions in stage after stage
def _encoded(asker: Any, corpus: Any, split: str, domains: tuple[str, ...]) -> tuple[list[Item], Any]:
    items = [item for item in corpus.items() if item.split == split and item.domain in domains]
    return items, asker.encode(corpus.tokenizer, items)


def disruption(model: Any, base: Any, corpus: Any) -> dict[str, float]:
    """What has changed in the distributions, on draws that no training saw, nats per token.

    KL(base || model) on retain text; on forget text KL(uniform || model), and the signal that is left: by how much the
    log-probability of the right token exceeds the vocabulary's mean. A student can only be told what a teacher's
    distribution still holds.
    """
    import torch

    retain, forget = (
        data.first_rows(corpus, domain, "attack", ROWS).to(model.device) for domain in ("retain", "forget")
    )
    with torch.inference_mode():
        moved = objectives.forward_kl(models.predict(model, retain), models.predict(base, retain), retain.targets)
        predicted = models.predict(model, forget)
        uniform = objectives.uniform_kl(predicted, forget.targets)
        loss = objectives.cross_entropy(predicted, forget.targets)
    signal = uniform + math.log(predicted.vocabulary) - loss
    return {
        "retain_kl_from_base": moved.item(),
        "forget_kl_from_uniform": uniform.item(),
        "forget_signal": signal.item(),
    }
