"""pretrain: a model from its initialisation, on the domains it may see (base: both; oracle: retain alone)."""

from __future__ import annotations

from typing import Any

from undo import data, methods, models, objectives, train
from undo.spec.keys import derive_seed
from undo.spec.recipe import Optim
from undo.stages import Context, Outcome

VERSION = 3


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Trains with next-token cross-entropy and writes the model."""
    corpus = data.open_corpus(context.inputs["data"])
    model = initial_model(settings["model"], corpus, settings["seed"])
    job = train.FitJob(
        objective=next_token_loss,
        batch_at=data.domain_batches(
            corpus,
            settings["domains"],
            "train",
            settings["batch_rows"],
            derive_seed(settings["seed"], "pretrain"),
            settings.get("forget_share", 0.5),
        ),
        optim=Optim(**settings["optim"]),
        steps=settings["steps"],
    )
    state = context.fit(model, job)
    models.save_model(model, corpus.tokenizer, context.folder / "model")
    return Outcome(metrics=state.metrics, ledger=state.ledger)


def initial_model(shape: dict[str, Any], corpus: Any, seed: int, of: str = "base") -> Any:
    """The weights a model of the study starts from. Base and oracle share theirs; fresh students have their own."""
    tokenizer = corpus.tokenizer
    return models.build_llama(
        **shape, row_tokens=tokenizer.model_max_length, tokenizer=tokenizer, seed=derive_seed(seed, "initial", of)
    )


def next_token_loss(model: Any, batch: Any) -> Any:
    """Cross-entropy on all rows of the batch."""
    rows = batch.all()
    loss = objectives.cross_entropy(models.predict(model, rows), rows.targets)
    return methods.LossTerms(loss, {})
