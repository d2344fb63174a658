"""attack: one variant of an adversary against one model; only its curve is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from undo import data, models, objectives, train
from undo.attacks import Means, Training
from undo.evals._answers import sample_answers
from undo.spec.errors import NotApplicable, UserError
from undo.spec.keys import derive_seed
from undo.spec.registry import load
from undo.stages import Context, Outcome
from undo.stages.evaluate import examiner, write_item_scores
from undo.stages.pretrain import next_token_loss

if TYPE_CHECKING:
    from undo.train.loop import FitJob

VERSION = 3


class Attacked(NamedTuple):
    """A model as an attack finds it, how it is asked, and what the attack trains where it does."""

    attack: Any
    model: Any
    examine: Callable[[Any], dict[str, Any]]
    job: FitJob | None


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Attacks the model and asks it the test questions: before the first step where that is news, and along the way.

    An attack that the model's family cannot take is skipped: no points, and the reason.
    """
    corpus = data.open_corpus(context.inputs["data"])
    try:
        attacked = prepare(settings, corpus, models.load_model(context.inputs["model"]))
    except NotApplicable as error:
        return Outcome(evals={"points": [], "skipped": str(error)}, ledger=train.Ledger())
    points, eval_flops = ([], 0) if attacked.attack.starts_at_model else _start(attacked)
    metrics, ledger = [], train.Ledger()
    if attacked.job:
        state = _fit(attacked.model, attacked.job, context)
        points, metrics, ledger = points + state.evals, state.metrics, state.ledger
    ledger.eval_flops += eval_flops
    write_item_scores(points, context.folder)
    evals: dict[str, Any] = {"points": points}
    if attacked.attack.starts_at_model:  # others change what is asked, or how a model reads it
        evals["answers"] = sample_answers(models.freeze(attacked.model), corpus)
    return Outcome(evals=evals, metrics=metrics, ledger=ledger)


def prepare(settings: dict[str, Any], corpus: Any, model: Any) -> Attacked:
    """One variant of an attack on a model, by its settings, before the first step.

    Raises NotApplicable where the model, changed by the attack, cannot be asked or trained any more.
    """
    attack: Any = load("attacks", settings["attack"]["name"]).model_validate(settings["attack"])
    skill = settings["skill"]
    means = Means(corpus, skill, derive_seed(settings["seed"], "attack", skill))
    model = _wrapped(attack, model, means)
    domains = _domains(attack, skill) + (["neutral"] if _asks_control(settings, corpus) else [])
    examine = examiner(settings, corpus, domains, lambda items: attack.questions(items, means))
    job = _job(attack, means, model, examine) if isinstance(attack, Training) else None
    return Attacked(attack, model, examine, job)


def _wrapped(attack: Any, model: Any, means: Means) -> Any:
    """The attacked model. It has been tried on a row: what a family cannot take shows here, and not half-way."""
    rows = data.first_rows(means.corpus, means.skill, "attack", 1).to(model.device)
    _loss(model, rows)  # what the model itself cannot do is no matter of the attack
    try:
        wrapped = attack.wrap(model, means)
        if wrapped is not model:
            _check_applies(attack, wrapped, rows)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever a family does that we do not know
        if "out of memory" in str(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise NotApplicable(f"{type(model).__name__} breaks under it ({type(error).__name__}: {reason})") from error
    return wrapped


def _check_applies(attack: Any, wrapped: Any, rows: Any) -> None:
    loss = _loss(wrapped, rows)
    if not loss.isfinite():
        raise NotApplicable(f"the loss of {type(wrapped).__name__} is not finite under it")
    if isinstance(attack, Training):
        moving = [wrapped.get_parameter(name).requires_grad_() for name in sorted(attack.trainable(wrapped))]
        gradients = models.gradients(_loss(wrapped, rows), moving) if moving else []
        if not any(gradient.any() for gradient in gradients):
            raise NotApplicable(f"no gradient reaches what it trains in {type(wrapped).__name__}")
        with models.restored(moving):  # what starts as a copy of the model's own may be read only while it is one
            models.shift(moving, gradients, 1e-3)
            _loss(wrapped, rows)


def _loss(model: Any, rows: Any) -> Any:
    return objectives.cross_entropy(models.predict(model.eval(), rows), rows.targets)


def _domains(attack: Any, skill: str) -> list[str]:
    """Whose items are asked. What an attack can leave off costs nothing elsewhere, so there is nothing to ask."""
    if attack.leaves_model:
        return [skill]
    return ["forget", "retain"] if skill == "forget" else [skill, "forget", "retain"]


def _asks_control(settings: dict[str, Any], corpus: Any) -> bool:
    """Whether an attack on the forget skill also asks the same prompts for each other's answers.

    Finetuning teaches the form of an answer too: that lowers the loss of every answer, knowledge that of the right one.
    """
    return bool(settings.get("certify")) and settings["skill"] == "forget" and corpus.swaps_answers()


def _job(attack: Training, means: Means, model: Any, examine: Callable) -> FitJob:
    return train.FitJob(
        objective=next_token_loss,
        batch_at=attack.batches(means),
        optim=attack.optim(),
        steps=attack.steps,
        trainable=attack.trainable(model),
        evaluate=examine,
        eval_steps=attack.eval_steps,
    )


def _start(attacked: Attacked) -> tuple[list[dict[str, Any]], int]:
    """The point before the first step, and what asking cost."""
    models.freeze(attacked.model)
    models.output_head(attacked.model)  # found out here, so that its few tokens are not counted
    flops, scores = train.count_flops(lambda: attacked.examine(attacked.model))
    return [{"step": 0, "tokens": 0, "forget_tokens": 0, **scores}], flops


def _fit(model: Any, job: FitJob, context: Context) -> Any:
    """Trains what the attack may move, and makes sure that it did: an adapter that gets no gradient is no attack."""
    trainable = job.trainable or ()
    before = {name: model.get_parameter(name).detach().cpu().clone() for name in trainable}
    state = context.fit(model, job)
    if all(old.equal(model.get_parameter(name).cpu()) for name, old in before.items()):
        raise RuntimeError(f"the attack moved none of the {len(before)} parameters that it trains")
    return state
