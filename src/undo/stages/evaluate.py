"""evaluate: a model asked everything, before any attack."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

from undo import data, models, objectives
from undo.data.dataset import DOMAINS, Item
from undo.evals import by_domain, standard_errors
from undo.evals._answers import sample_answers
from undo.spec.registry import load
from undo.stages import Context, Outcome

VERSION = 4
ROWS = 64  # packed rows behind the measures in nats: 4,096 tokens have a standard error of about 0.02
ON_THE_WAY = (0.25, 0.5, 0.75)  # shares of the base's weights between a model and it


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
    if settings.get("certify"):
        points = [{"step": 0, **examiner(settings, corpus, DOMAINS)(model)}]
        write_item_scores(points, context.folder)
        evals["retain_loss"] = points[0]["retain_loss"]
    base = models.freeze(models.load_model(context.inputs["base"]))
    evals |= disruption(model, base, corpus) | {"answers": sample_answers(model, corpus)}
    return Outcome(evals=evals | neighbourhood(model, base, corpus))


def scorer(
    evaluation: dict[str, Any], corpus: Any, split: str, domains: Collection[str]
) -> Callable[[Any], dict[str, float]]:
    """A function that scores a model on the items of a split: one number per domain, and per `domain/group`."""
    asked = ask(evaluation, corpus, split, domains)
    return lambda model: by_domain(*asked(model))


Change = Callable[[list[Item]], list[Item]]
"""What an attack asks in place of the usual items: a part of them, or another one for each; in their order."""


def ask(
    evaluation: dict[str, Any], corpus: Any, split: str, domains: Collection[str], change: Change | None = None
) -> Callable[[Any], tuple[list[Item], list[float]]]:
    """A function that asks a model the items of a split. Returns them and their scores."""
    asker, items = evaluation_of(evaluation), _items(corpus, split, domains)
    items = change(items) if change else items
    encoded = _encoded(asker, corpus, tuple(items))
    return lambda model: (items, asker.scores(model, encoded))


def examiner(
    settings: dict[str, Any], corpus: Any, domains: Collection[str], change: Change | None = None
) -> Callable[[Any], dict[str, Any]]:
    """A function that scores a model on the test items, or those of `settings["split"]`, by domain and group.

    Where a certificate is asked for (`settings["certify"]`), also the cross-entropy of the retain items, and every
    item's score under `items`, as pairs of its place among the test items and the score.
    """
    asked = ask(settings["evaluation"], corpus, settings.get("split", "test"), domains, change)
    if not settings.get("certify"):
        return lambda model: by_domain(*asked(model))
    usual = _items(corpus, "test", domains)
    place = {item: index for index, item in enumerate(_items(corpus, "test", DOMAINS))}
    losses = scorer({"name": "cross_entropy"}, corpus, "test", ["retain"])

    def examine(model: Any) -> dict[str, Any]:
        items, scores = asked(model)
        found: dict[str, Any] = by_domain(items, scores)
        originals = usual if len(items) == len(usual) else items
        found["items"] = [[place[item], round(score, 6)] for item, score in zip(originals, scores, strict=True)]
        return found | ({"retain_loss": losses(model)["retain"]} if "retain" in domains else {})

    return examine


def write_item_scores(points: list[dict[str, Any]], folder: Path) -> None:
    """Moves the scores of single items out of the points into `items.json`, by step, where there are any."""
    scores = {point["step"]: point.pop("items") for point in points if "items" in point}
    if scores:
        (folder / "items.json").write_text(json.dumps(scores), encoding="utf-8")


def evaluation_of(settings: dict[str, Any]) -> Any:
    """The evaluation that a stage's settings name."""
    return load("evals", settings["name"]).model_validate(settings)


def _items(corpus: Any, split: str, domains: Collection[str]) -> list[Item]:
    return [item for item in corpus.items() if item.split == split and item.domain in domains]


@lru_cache(maxsize=8)  # a worker asks the same questions in stage after stage
def _encoded(asker: Any, corpus: Any, items: tuple[Item, ...]) -> Any:
    return asker.encode(corpus.tokenizer, list(items))


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
        uniform = objectives.uniform_kl(models.predict(model, forget), forget.targets)
    return {
        "retain_kl_from_base": moved.item(),
        "forget_kl_from_uniform": uniform.item(),
        "forget_signal": forget_signal(model, corpus),
    }


def forget_signal(model: Any, corpus: Any) -> float:
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


def neighbourhood(model: Any, base: Any, corpus: Any) -> dict[str, float | None]:
    """How far the weights have moved, relative to the base's norm, and whether the straight way back leads over a hill.

    The barrier is by how much the retain loss on that way exceeds the line between its ends at most, nats per token,
    not below 0 (linear mode connectivity, arXiv 1912.05671): next to none where a model is still the base's neighbour.
    None where the architectures differ, or a loss is not finite. The model's weights are moved: ask it nothing later.
    """
    import torch

    own, other = (dict(of.named_parameters()) for of in (model, base))
    if {name: p.shape for name, p in own.items()} != {name: p.shape for name, p in other.items()}:
        return {"weights_from_base": None, "barrier_to_base": None}
    pairs = [(own[name], other[name]) for name in own]
    with torch.no_grad():
        moved, norm = (math.sqrt(sum(values)) for values in zip(*map(_squares, pairs), strict=True))
        return {"weights_from_base": moved / norm, "barrier_to_base": _barrier(model, base, pairs, corpus)}


def _barrier(model: Any, base: Any, pairs: list[tuple[Any, Any]], corpus: Any) -> float | None:
    rows = data.first_rows(corpus, "retain", "attack", ROWS).to(model.device)

    def loss(of: Any) -> float:
        return objectives.cross_entropy(models.predict(of, rows), rows.targets).item()

    here, there, done, hills = loss(model), loss(base), 0.0, [0.0]
    for share in ON_THE_WAY:
        for own, other in pairs:
            own.lerp_(other, (share - done) / (1 - done))  # in place: a third model may not fit
        hills.append(loss(model) - (1 - share) * here - share * there)
        done = share
    return max(hills) if all(map(math.isfinite, hills)) else None


def _squares(pair: tuple[Any, Any]) -> tuple[float, float]:
    """Squared distance of two tensors, and squared norm of the second."""
    own, other = pair
    return (own - other).square().sum().item(), other.square().sum().item()
