"""ONE FILE PER EVALUATION. An evaluation turns items into one score each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, ClassVar

from undo.spec.base import Plugin

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from undo.data.dataset import Item


class Evaluation(Plugin, ABC):
    """A way to score a model on items."""

    metric: ClassVar[str]
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool]
    chance: ClassVar[float] = 0.0
    """What guessing scores, for shares."""

    def gap(self, goal: float, score: float) -> float:
        """How far a score falls short of a goal: in points of a share, relative to the goal for a loss."""
        return goal - score if self.higher_is_better else score / goal - 1

    @abstractmethod
    def encode(self, tokenizer: PreTrainedTokenizerBase, items: list[Item]) -> Any:
        """What a model is shown: made once, scored at every evaluation point of every model with this tokenizer."""

    @abstractmethod
    def scores(self, model: PreTrainedModel, encoded: Any) -> list[float]:
        """One score per item, in the items' order."""


def standard_errors(items: list[Item], scores: list[float]) -> dict[str, float]:
    """Standard error of the mean score per domain, as if items were drawn independently; 0 for a single item."""
    of: dict[str, list[float]] = {}
    for item, score in zip(items, scores, strict=True):
        of.setdefault(item.domain, []).append(score)
    return {domain: stdev(each) / len(each) ** 0.5 if len(each) > 1 else 0.0 for domain, each in of.items()}


def by_domain(items: list[Item], scores: list[float]) -> dict[str, float]:
    """Mean score per `domain/group`, and per domain the mean over its groups, each with the same weight."""
    groups: dict[str, list[float]] = {}
    for item, score in zip(items, scores, strict=True):
        groups.setdefault(f"{item.domain}/{item.group}", []).append(score)
    by_group = {group: fmean(of) for group, of in groups.items()}
    domains = dict.fromkeys(item.domain for item in items)
    of = {domain: [score for group, score in by_group.items() if group.startswith(f"{domain}/")] for domain in domains}
    return {domain: fmean(means) for domain, means in of.items()} | by_group
