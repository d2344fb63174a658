"""evaluate: a model asked everything, before any attack."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

from undo import data, models, objectives
from undo.data.dataset import DOMAINS, Item
from undo.evals import by_domain
from undo.spec.registry import load
from undo.stages import Context, Outcome

VERSION = 2
ROWS = 64  # packed rows behind the two measures in nats: 4,096 tokens have a standard error of about 0.02


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Scores per split, domain and group, the numbers of items, and the disruption of retain text."""
    corpus = data.open_corpus(context.inputs["data"])
    model = models.freeze(models.load_model(context.inputs["model"]))
    evals: dict[str, Any] = {}
    for split in ("valid", "test", "heldout"):
        evals[split] = scorer(settings["evaluation"], corpus, split, DOMAINS)(model)
        evals[f"{split}_items"] = count_items(corpus, split)
    base = models.freeze(models.load_model(context.inputs["base"]))
    return Outcome(evals=evals | disruption(model, base, corpus))


def scorer(
    evaluation: dict[str, Any], corpus: Any, split: str, domains: Collection[str]
) -> Callable[[Any], dict[str, float]]:
    """A function that scores a model on the items of a split: one number per domain, and per `domain/group`."""
    asker: Any = load("evals", evaluation["name"]).model_validate(evaluation)
    items, encoded = _encoded(asker, corpus, split, tuple(domains))
    return lambda model: by_domain(items, asker.scores(model, encoded))


@lru_cache(maxsize=8)  # a worker asks the same questions in stage after stage
def _encoded(asker: Any, corpus: Any, split: str, domains: tuple[str, ...]) -> tuple[list[Item], Any]:
    items = [item for item in corpus.items() if item.split == split and item.domain in domains]
    return items, asker.encode(corpus.tokenizer, items)


def count_items(corpus: Any, split: str) -> dict[str, int]:
    """Items per domain."""
    items = [item.domain for item in corpus.items() if item.split == split]
    return {domain: items.count(domain) for domain in DOMAINS}


def disruption(model: Any, base: Any, corpus: Any) -> dict[str, float]:
    """KL(base || model) on retain text and KL(uniform || model) on forget text, nats per token, on unseen draws."""
    import torch

    retain, forget = (
        data.first_rows(corpus, domain, "attack", ROWS).to(model.device) for domain in ("retain", "forget")
    )
    with torch.inference_mode():
        uniform = objectives.uniform_kl(models.predict(model, forget), forget.targets)
        of_model, of_base = models.predict(model, retain), models.predict(base, retain)
        moved = objectives.forward_kl(of_model, of_base, retain.targets)
    return {"retain_kl_from_base": moved.item(), "forget_kl_from_uniform": uniform.item()}
