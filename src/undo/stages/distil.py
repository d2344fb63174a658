"""distil: a student learns the teacher's next-token distribution until the stop rule holds."""

from __future__ import annotations

from typing import Any

from undo import data, methods, models, objectives, train
from undo.spec.keys import derive_seed
from undo.spec.recipe import Optim, Stop
from undo.stages import Context, Outcome
from undo.stages.evaluate import scorer
from undo.stages.pretrain import initial_model

VERSION = 1


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Writes the student, and in its evals the gap that it actually reached on the validation split."""
    corpus = data.open_corpus(context.inputs["data"])
    stop, validate = Stop(**settings["stop"]), scorer(settings["evaluation"], corpus, "valid", ["retain"])
    teacher = models.freeze(models.load_model(context.inputs["model"]))
    goal = validate(teacher)["retain"]
    student = starting_student(settings, corpus, teacher)
    domains = ["retain", "forget"] if settings["stream"] == "mixed" else ["retain"]
    seed = derive_seed(settings["seed"], "distil")
    job = train.FitJob(
        objective=lambda model, batch: distillation_loss(model, teacher, batch),
        batch_at=data.domain_batches(corpus, domains, "train", settings["batch_rows"], seed),
        optim=Optim(**settings["optim"]),
        steps=stop.max_steps,
        evaluate=validate,
        eval_steps={*range(stop.check_every, stop.max_steps, stop.check_every), stop.max_steps},
        should_stop=lambda scores: goal - scores["retain"] <= stop.max_gap,
    )
    state = context.fit(student, job)
    models.save_model(student, corpus.tokenizer, context.folder / "model")
    evals = {
        "teacher_retain": goal,
        "gap": goal - state.evals[-1]["retain"],
        "stopped_by_rule": state.stopped,
        "steps": state.step,
        "checks": state.evals,
    }
    return Outcome(evals=evals, metrics=state.metrics, ledger=state.ledger)


def starting_student(settings: dict[str, Any], corpus: Any, teacher: Any) -> Any:
    """The student before its first step (PROTOCOL section 3, student initialisation)."""
    seed = settings["seed"]
    match settings["init"]:
        case "fresh":
            return initial_model(settings["model"], corpus, seed, of="student")
        case "base_init":
            return initial_model(settings["model"], corpus, seed)
        case "noised":
            noise = (
                settings["noise_alpha"],
                settings["noise_beta"],
                derive_seed(seed, "noise"),
                settings["noise_rule"],
            )
            return models.perturb(teacher, *noise)
        case "teacher":
            return models.perturb(teacher, 0.0, 0.0, seed)
        case other:
            raise ValueError(f"unknown student initialisation '{other}'")


def distillation_loss(student: Any, teacher: Any, batch: Any) -> Any:
    """Forward KL on all rows, which carry no labels of what is to be forgotten."""
    import torch

    rows = batch.all()
    with torch.no_grad():
        teacher_logits = teacher(input_ids=rows.ids).logits
    loss = objectives.forward_kl(student(input_ids=rows.ids).logits, teacher_logits, rows.targets)
    return methods.LossTerms(loss, {})
