"""Scoring a model on the items of a corpus, for evaluations, stop rules and points of an attack."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import SerializeAsAny

from undo.data.dataset import DOMAINS, Domain, Item
from undo.evals import Evaluation, by_domain
from undo.spec.registry import PluginOf, load
from undo.stages import Scores

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from undo.data.corpus import Corpus

AnyEvaluation = Annotated[SerializeAsAny[Evaluation], PluginOf("evals")]
"""A field that holds an evaluation of any kind."""
Change = Callable[[list[Item]], list[Item]]
"""What an attack asks in place of the usual items: a part of them, or another one for each; in their order."""


def domain_scorer(
    evaluation: Evaluation, corpus: Corpus, split: str, domains: Collection[Domain]
) -> Callable[[PreTrainedModel], dict[str, float]]:
    """A function that scores a model on the items of a split: one number per domain, and per `domain/group`."""
    score = item_scorer(evaluation, corpus, split, domains)
    return lambda model: by_domain(*score(model))


def item_scorer(
    evaluation: Evaluation, corpus: Corpus, split: str, domains: Collection[Domain], change: Change | None = None
) -> Callable[[PreTrainedModel], tuple[list[Item], list[float]]]:
    """A function that asks a model the items of a split. Returns them and their scores."""
    items = items_of(corpus, split, domains)
    items = change(items) if change else items
    encoded = _encoded(evaluation, corpus, tuple(items))  # type: ignore[arg-type]  # frozen, so it is hashable
    return lambda model: (items, evaluation.scores(model, encoded))


def certifying_scorer(
    evaluation: Evaluation, corpus: Corpus, domains: Collection[Domain], change: Change | None = None
) -> Callable[[PreTrainedModel], Scores]:
    """A function that scores a model on the test items as a certificate needs it.

    Scores by domain and group; the cross-entropy of the retain items; and under `items` every item's score, as pairs
    of its place among the test items and the score.
    """
    score = item_scorer(evaluation, corpus, "test", domains, change)
    usual = items_of(corpus, "test", domains)
    place = {item: index for index, item in enumerate(items_of(corpus, "test", DOMAINS))}
    losses = domain_scorer(cross_entropy(), corpus, "test", ["retain"])

    def scores(model: PreTrainedModel) -> Scores:
        items, of_items = score(model)
        found: Scores = by_domain(items, of_items)
        originals = usual if len(items) == len(usual) else items
        found["items"] = [[place[item], round(value, 6)] for item, value in zip(originals, of_items, strict=True)]
        return found | ({"retain_loss": losses(model)["retain"]} if "retain" in domains else {})

    return scores


def cross_entropy() -> Evaluation:
    """The evaluation that a retain loss is measured by."""
    return load("evals", "cross_entropy").model_validate({"name": "cross_entropy"})  # type: ignore[return-value]


def write_item_scores(points: list[Scores], folder: Path) -> None:
    """Moves the scores of single items out of the points into `items.json`, by step, where there are any."""
    scores = {point["step"]: point.pop("items") for point in points if "items" in point}
    if scores:
        (folder / "items.json").write_text(json.dumps(scores), encoding="utf-8")


def items_of(corpus: Corpus, split: str, domains: Collection[Domain]) -> list[Item]:
    """The items of a split and some domains, in the corpus's order."""
    return [item for item in corpus.items() if item.split == split and item.domain in domains]


@lru_cache(maxsize=8)  # a worker asks the same questions in stage after stage
def _encoded(evaluation: Evaluation, corpus: Corpus, items: tuple[Item, ...]) -> object:
    return evaluation.encode(corpus.tokenizer, list(items))
