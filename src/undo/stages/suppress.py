"""suppress: an unlearning method applied to the base; the result is a teacher."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from undo import data, methods, models, train
from undo.spec.errors import UserError
from undo.spec.keys import derive_seed
from undo.spec.recipe import Optim
from undo.spec.registry import load
from undo.stages import Context, Outcome
from undo.stages.evaluate import forget_signal, signal_share
from undo.stages.pretrain import initial_model

VERSION = 5


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Minimises the method's loss and writes the teacher."""
    corpus, seed = data.open_corpus(context.inputs["data"]), derive_seed(settings["seed"], "suppress")
    method: Any = load("methods", settings["method"]["name"]).model_validate(settings["method"])
    base, teacher = (_start(settings, context, corpus) for _ in range(2))
    reference = models.freeze(base) if method.needs_reference else None
    if reference is not None:
        models.output_head(reference)  # found out here, where nothing is counted and nothing cast
    memo = methods.Memo(reference, seed)
    job = train.FitJob(
        objective=lambda model, batch: method.loss(model, batch, memo),
        batch_at=data.labelled_batches(corpus, settings["batch_rows"], seed, _labels_of(settings)),
        optim=Optim(**settings["optim"]),
        steps=settings["steps"],
        trainable=method.trainable(teacher),
    )
    if settings.get("max_signal") is not None:
        job = until_quiet(job, settings, models.freeze(base), corpus)
    state = context.fit(teacher, job)
    method.finish(teacher)
    _refuse_telling(settings, state)
    check_moved(base, teacher, method.trainable(teacher))
    models.save_model(teacher, corpus.tokenizer, context.folder / "model")
    return Outcome(evals={"checks": state.evals}, metrics=state.metrics, ledger=state.ledger)


def until_quiet(job: train.FitJob, settings: dict[str, Any], base: Any, corpus: Any) -> train.FitJob:
    """The job, gone on with by its number of steps until the teacher's signal is a small enough share of the base's."""
    known, most = forget_signal(base, corpus), settings["max_steps"]
    return replace(
        job,
        steps=most,
        evaluate=lambda teacher: {"signal_left": signal_share(forget_signal(teacher, corpus), known) or 0.0},
        eval_steps={*range(job.steps, most, job.steps), most},
        should_stop=lambda found: found["signal_left"] <= settings["max_signal"],
    )


def _refuse_telling(settings: dict[str, Any], state: Any) -> None:
    """What a teacher still says, its students learn again: better to stop here than to pay for them."""
    if settings.get("max_signal") is None or state.stopped:
        return
    left, name = state.evals[-1]["signal_left"], settings["method"]["name"]
    raise UserError(
        f"after {state.step} steps the suppressed model still says {left:.0%} of what the original says about the "
        f"right forget token (the limit is {settings['max_signal']:.0%}): its students would learn it again; suppress "
        f"longer (suppress.{name}.max_steps={2 * settings['max_steps']}), or by another --method"
    )


def _labels_of(settings: dict[str, Any]) -> data.Labels:
    """The shares of a recipe's teacher; an unset share of the retain rows is that of the forget rows."""
    share = settings["label_share"]
    return data.Labels(share, settings.get("retain_label_share", share), settings["label_precision"])


def _start(settings: dict[str, Any], context: Context, corpus: Any) -> Any:
    """What the method trains, and what it may remember as its reference."""
    if settings["start"] == "initial":
        return initial_model(settings["model"], corpus, settings["seed"])
    return models.load_model(context.inputs["model"])


def check_moved(before: Any, after: Any, allowed: set[str]) -> None:
    """The parameters the method named have moved, but for those that no gradient reaches; anything else is a defect.

    Families have weights that text alone never uses: a pooler, attention to an encoder, an expert without tokens.
    """
    old = dict(before.named_parameters())
    moved = {name for name, parameter in after.named_parameters() if not parameter.cpu().equal(old[name].cpu())}
    idle = {name for name in (allowed & old.keys()) - moved if not _has_gradient(after.get_parameter(name))}
    if moved | idle != allowed or (allowed and not moved):
        raise RuntimeError(f"parameters that moved unasked or not at all: {sorted(moved ^ allowed)[:5]}")


def _has_gradient(parameter: Any) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())
