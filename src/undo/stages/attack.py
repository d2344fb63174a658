"""attack: one variant of an adversary against one model; only its curve is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undo import data, models, train
from undo.spec.keys import derive_seed
from undo.spec.registry import load
from undo.stages import Context, Outcome
from undo.stages.evaluate import scorer
from undo.stages.pretrain import next_token_loss

if TYPE_CHECKING:
    from undo.train.loop import FitJob

VERSION = 2


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Trains on the adversary's own draws of the skill and asks the test questions along the way."""
    job = attack_job(settings, data.open_corpus(context.inputs["data"]))
    state = context.fit(models.load_model(context.inputs["model"]), job)
    return Outcome(evals={"points": state.evals}, metrics=state.metrics, ledger=state.ledger)


def attack_job(settings: dict[str, Any], corpus: Any) -> FitJob:
    """What the adversary does to a model, by the settings of one variant."""
    attack: Any = load("attacks", settings["attack"]["name"]).model_validate(settings["attack"])
    skill = settings["skill"]
    domains = ["forget", "retain"] if skill == "forget" else [skill, "forget", "retain"]
    seed = derive_seed(settings["seed"], "attack", skill)
    return train.FitJob(
        objective=next_token_loss,
        batch_at=data.adversary_batches(corpus, skill, attack.batch_rows, seed),
        optim=attack.optim(),
        steps=attack.steps,
        evaluate=scorer(settings["evaluation"], corpus, "test", domains),
        eval_steps=attack.eval_steps,
    )
