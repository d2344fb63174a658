"""pretrain: a model from its initialisation, on the domains it may see (base: both; oracle: retain alone)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from undo import data, methods, models, objectives, train
from undo.data.dataset import Domain
from undo.spec.keys import derive_seed
from undo.spec.recipe import Model, Optim
from undo.stages import Context, Outcome, SeededSettings, Traits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from undo.data.batches import Batch
    from undo.data.corpus import Corpus


class Settings(SeededSettings):
    """The shape of the model, and what it reads."""

    traits: ClassVar[Traits] = Traits(version=3, output="model", done="pretrained", bytes_per_weight=20)

    model: Model
    domains: tuple[Domain, ...]
    forget_share: float = 0.5
    steps: int
    batch_rows: int
    optim: Optim

    def rows_at_once(self) -> int:
        """A step's rows in micro-batches."""
        return -(-self.batch_rows // self.optim.micro_batches)


def run(settings: Settings, context: Context) -> Outcome:
    """Trains with next-token cross-entropy and writes the model."""
    corpus = data.open_corpus(context.inputs["data"])
    model = initial_model(settings.model, corpus, settings.seed)
    job = train.FitJob(
        objective=next_token_loss,
        batch_at=data.domain_batches(
            corpus,
            settings.domains,
            "train",
            settings.batch_rows,
            derive_seed(settings.seed, "pretrain"),
            settings.forget_share,
        ),
        optim=settings.optim,
        steps=settings.steps,
    )
    state = context.fit(model, job)
    models.save_model(model, corpus.tokenizer, context.folder / "model")
    return Outcome(metrics=state.metrics, ledger=state.ledger)


def initial_model(shape: Model, corpus: Corpus, seed: int, of: str = "base") -> PreTrainedModel:
    """The weights a model of the study starts from. Base and oracle share theirs; fresh students have their own."""
    tokenizer = corpus.tokenizer
    return models.build_llama(
        **shape.model_dump(),
        row_tokens=tokenizer.model_max_length,
        tokenizer=tokenizer,
        seed=derive_seed(seed, "initial", of),
    )


def next_token_loss(model: PreTrainedModel, batch: Batch) -> methods.LossTerms:
    """Cross-entropy on all rows of the batch."""
    rows = batch.all()
    loss = objectives.cross_entropy(models.predict(model, rows), rows.targets)
    return methods.LossTerms(loss, {})
