"""attack: one variant of an adversary against one model; only its curve is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from undo import data, models, train
from undo.attacks import Means, Training
from undo.evals._answers import sample_answers
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
    """Attacks the model and asks it the test questions: before the first step where that is news, and along the way."""
    corpus = data.open_corpus(context.inputs["data"])
    attacked = prepare(settings, corpus, models.load_model(context.inputs["model"]))
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
    """One variant of an attack on a model, by its settings, before the first step."""
    attack: Any = load("attacks", settings["attack"]["name"]).model_validate(settings["attack"])
    skill = settings["skill"]
    means = Means(corpus, skill, derive_seed(settings["seed"], "attack", skill))
    model = attack.wrap(model, means)
    domains = _domains(attack, skill) + (["neutral"] if _asks_control(settings, corpus) else [])
    examine = examiner(settings, corpus, domains, lambda items: attack.questions(items, means))
    job = _job(attack, means, model, examine) if isinstance(attack, Training) else None
    return Attacked(attack, model, examine, job)


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
