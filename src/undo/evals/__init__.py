"""ONE FILE PER EVALUATION. An evaluation turns items into one score each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from undo.spec.base import Plugin

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from undo.data.dataset import Item


class Evaluation(Plugin, ABC):
    """A way to score a model on items."""

    metric: ClassVar[str]
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool]

    @abstractmethod
    def scores(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, items: list[Item]) -> list[float]:
        """One score per item, in the items' order."""

    def by_domain(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, items: list[Item]
    ) -> dict[str, float]:
        """Mean score per `domain/group`, and per domain the mean over its groups, each with the same weight."""
        groups: dict[str, list[float]] = {}
        for item, score in zip(items, self.scores(model, tokenizer, items), strict=True):
            groups.setdefault(f"{item.domain}/{item.group}", []).append(score)
        by_group = {group: fmean(scores) for group, scores in groups.items()}
        domains = dict.fromkeys(item.domain for item in items)
        of = {
            domain: [score for group, score in by_group.items() if group.startswith(f"{domain}/")] for domain in domains
        }
        return {domain: fmean(scores) for domain, scores in of.items()} | by_group
