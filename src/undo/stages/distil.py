"""distil: a student learns the teacher's next-token distribution until the stop rule holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from undo import data, methods, models, objectives, train
from undo.spec.keys import derive_seed
from undo.spec.recipe import Optim, Stop
from undo.stages import Context, Outcome
from undo.stages.evaluate import scorer
from undo.stages.pretrain import initial_model

VERSION = 2


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Writes the student, and in its evals the gap that it actually reached on the validation split."""
    corpus = data.open_corpus(context.inputs["data"])
    stop, validate = Stop(**settings["stop"]), scorer(settings["evaluation"], corpus, "valid", ["retain"])
    teacher = models.freeze(models.load_model(context.inputs["model"]))
    goal = validate(teacher)["retain"]
    student = starting_student(settings, corpus, teacher)
    seed = derive_seed(settings["seed"], "distil")
    job = train.FitJob(
        objective=distillation_loss(settings, teacher, context.inputs.get("outputs")),
        batch_at=data.domain_batches(corpus, settings["domains"], "train", settings["batch_rows"], seed),
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


def distillation_loss(settings: dict[str, Any], teacher: Any, outputs: Path | None) -> Any:
    """The divergence on all rows, which carry no labels of what is to be forgotten, as a function of (student, batch).

    The teacher computes its predictions itself, or they come from the folder that a `teach` stage has written.
    """
    cached = data.TeacherOutputs(outputs) if outputs else None
    if cached and settings["teacher_cache"]["top_k"]:
        return lambda student, batch: _terms(
            objectives.top_forward_kl(models.predict(student, batch.all()), cached.top(batch), batch.all().targets)
        )
    share, head = settings["jsd_teacher_share"], models.output_head(teacher)

    def loss(student: Any, batch: Any) -> Any:
        rows = batch.all()
        taught = objectives.Predictions(cached.hidden(batch), head) if cached else _predict(teacher, rows)
        learnt = models.predict(student, rows)
        if share is None:
            return _terms(objectives.forward_kl(learnt, taught, rows.targets))
        return _terms(objectives.jensen_shannon(learnt, taught, rows.targets, share))

    return loss


def _predict(teacher: Any, rows: Any) -> Any:
    import torch

    with torch.inference_mode():
        return models.predict(teacher, rows)


def _terms(loss: Any) -> Any:
    return methods.LossTerms(loss, {})
