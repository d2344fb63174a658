"""suppress: an unlearning method applied to the base; the result is a teacher."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import SerializeAsAny

from undo import data, methods, models, train
from undo.methods import Method
from undo.spec.errors import UserError
from undo.spec.keys import derive_seed
from undo.spec.recipe import Model, Suppress
from undo.spec.registry import PluginOf
from undo.stages import Context, Outcome, SeededSettings, Traits
from undo.stages._drift import forget_signal, signal_share
from undo.stages.pretrain import initial_model

if TYPE_CHECKING:
    from torch.nn import Parameter
    from transformers import PreTrainedModel

    from undo.data.corpus import Corpus
    from undo.train.checkpoint import FitState


class Settings(Suppress, SeededSettings):
    """Those of the recipe's teacher, its seed, and the shape of a model that starts untrained."""

    traits: ClassVar[Traits] = Traits(
        version=5,
        output="model",
        done="suppressed",
        bytes_per_weight=20,
        memory_setting=("suppress.NAME.optim", "its micro_batches"),
        costly=True,
        charged_to_student="whole",
    )

    method: Annotated[SerializeAsAny[Method], PluginOf("methods")]
    model: Model | None = None

    def rows_at_once(self) -> int:
        """A step's retain and forget rows in micro-batches."""
        return -(-2 * self.batch_rows // self.optim.micro_batches)

    def recomputes_activations(self) -> bool:
        """As the optimiser's settings say."""
        return self.optim.gradient_checkpointing

    def may_stop_early(self) -> bool:
        """Where it goes on until the teacher leaks little."""
        return self.max_signal is not None


def run(settings: Settings, context: Context) -> Outcome:
    """Minimises the method's loss and writes the teacher."""
    corpus, seed, method = (
        data.open_corpus(context.inputs["data"]),
        derive_seed(settings.seed, "suppress"),
        settings.method,
    )
    base, teacher = (_start(settings, context, corpus) for _ in range(2))
    memo = methods.Memo(models.freeze(base) if method.needs_reference else None, seed)
    job = train.FitJob(
        objective=lambda model, batch: method.loss(model, batch, memo),
        batch_at=data.labelled_batches(corpus, settings.batch_rows, seed, _labels(settings)),
        optim=settings.optim,
        steps=settings.steps,
        trainable=method.trainable(teacher),
    )
    if settings.max_signal is not None:
        job = until_quiet(job, settings, models.freeze(base), corpus)
    state = context.fit(teacher, job)
    method.finish(teacher)
    _refuse_leaking(settings, state)
    check_moved(base, teacher, method.trainable(teacher))
    models.save_model(teacher, corpus.tokenizer, context.folder / "model")
    return Outcome(evals={"checks": state.evals}, metrics=state.metrics, ledger=state.ledger)


def until_quiet(job: train.FitJob, settings: Settings, base: PreTrainedModel, corpus: Corpus) -> train.FitJob:
    """The job, continued by its number of steps until the teacher's forget signal is a small share of the base's."""
    assert settings.max_steps is not None and settings.max_signal is not None
    known, most, enough = forget_signal(base, corpus), settings.max_steps, settings.max_signal
    return replace(
        job,
        steps=most,
        evaluate=lambda teacher: {"signal_left": signal_share(forget_signal(teacher, corpus), known) or 0.0},
        eval_steps={*range(job.steps, most, job.steps), most},
        should_stop=lambda found: found["signal_left"] <= enough,
    )


def _refuse_leaking(settings: Settings, state: FitState) -> None:
    """Students learn again what their teacher leaks, so it is better to stop before they are paid for."""
    if settings.max_signal is None or settings.max_steps is None or state.stopped:
        return
    left, name = state.evals[-1]["signal_left"], settings.method.name
    raise UserError(
        f"after {state.step} steps the suppressed model still holds {left:.0%} of the original's signal about the "
        f"right forget token (the limit is {settings.max_signal:.0%}): its students would learn it again; suppress "
        f"longer (suppress.{name}.max_steps={2 * settings.max_steps}), or by another --method"
    )


def _labels(settings: Settings) -> data.Labels:
    """The labelled shares; where the retain rows have none of their own, they have that of the forget rows."""
    retain = settings.label_share if settings.retain_label_share is None else settings.retain_label_share
    return data.Labels(settings.label_share, retain, settings.label_precision)


def _start(settings: Settings, context: Context, corpus: Corpus) -> PreTrainedModel:
    """What the method trains, and what it may remember as its reference."""
    if settings.start == "initial":
        assert settings.model is not None
        return initial_model(settings.model, corpus, settings.seed)
    return models.load_model(context.inputs["model"])


def check_moved(before: PreTrainedModel, after: PreTrainedModel, allowed: set[str]) -> None:
    """Raises RuntimeError where a parameter moved that the method did not name, or a named one did not move.

    A named parameter that no gradient reaches may stay: text alone never uses a pooler, attention to an encoder, or an
    expert without tokens.
    """
    old = dict(before.named_parameters())
    moved = {name for name, parameter in after.named_parameters() if not parameter.cpu().equal(old[name].cpu())}
    idle = {name for name in (allowed & old.keys()) - moved if not _has_gradient(after.get_parameter(name))}
    if moved | idle != allowed or (allowed and not moved):
        raise RuntimeError(f"parameters that moved unasked or not at all: {sorted(moved ^ allowed)[:5]}")


def _has_gradient(parameter: Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())
