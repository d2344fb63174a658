"""evaluate: a model asked everything, before any attack."""

from __future__ import annotations

from typing import ClassVar

from undo import data, models
from undo.data.dataset import DOMAINS
from undo.evals import by_domain, standard_errors
from undo.evals._answers import sample_answers
from undo.stages import Context, Outcome, Scores, StageSettings, Traits
from undo.stages._drift import disruption, neighbourhood
from undo.stages._scoring import AnyEvaluation, certifying_scorer, item_scorer, write_item_scores


class Settings(StageSettings):
    """How items are scored."""

    traits: ClassVar[Traits] = Traits(version=4, output="scores", done="evaluated", informs=True)

    evaluation: AnyEvaluation
    certify: bool = False
    """Keep the score of every item and the retain loss, for a certificate."""


def run(settings: Settings, context: Context) -> Outcome:
    """Scores per split, domain and group, the numbers of items, and the disruption of retain text."""
    corpus = data.open_corpus(context.inputs["data"])
    model = models.freeze(models.load_model(context.inputs["model"]))
    evals: Scores = {}
    for split in ("valid", "test", "heldout"):
        items, scores = item_scorer(settings.evaluation, corpus, split, DOMAINS)(model)
        evals[split] = by_domain(items, scores)
        evals[f"{split}_items"] = {domain: sum(item.domain == domain for item in items) for domain in DOMAINS}
        evals[f"{split}_standard_errors"] = standard_errors(items, scores)
    if settings.certify:
        points = [{"step": 0, **certifying_scorer(settings.evaluation, corpus, DOMAINS)(model)}]
        write_item_scores(points, context.folder)
        evals["retain_loss"] = points[0]["retain_loss"]
    base = models.freeze(models.load_model(context.inputs["base"]))
    evals |= disruption(model, base, corpus) | {"answers": sample_answers(model, corpus)}
    return Outcome(evals=evals | neighbourhood(model, base, corpus))
