"""distil: a student learns the teacher's next-token distribution, by the stop rule or for a number of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from undo import data, methods, models, objectives, train
from undo.spec.keys import derive_seed
from undo.spec.recipe import Optim, Stop, taught_steps
from undo.stages import Context, Outcome
from undo.stages.evaluate import evaluation_of, scorer
from undo.stages.pretrain import initial_model, next_token_loss
from undo.stages.teach import forward_flops

VERSION = 5


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Writes the student, and in its evals the gap that it actually reached on the validation split."""
    corpus = data.open_corpus(context.inputs["data"])
    stop, validate = Stop(**settings["stop"]), scorer(settings["evaluation"], corpus, "valid", ["retain"])
    teacher = models.freeze(models.load_model(context.inputs["model"]))
    goal, gap = validate(teacher)["retain"], evaluation_of(settings["evaluation"]).gap
    ruled = settings["steps"] is None
    steps = stop.max_steps if ruled else settings["steps"]
    others = [models.freeze(models.load_model(path)) for path in beside(context.inputs)]
    objective, batch_at = lesson(settings, corpus, [teacher, *others], context.inputs.get("outputs"))
    student = starting_student(settings, corpus, teacher, context.inputs.get("base"))
    job = train.FitJob(
        objective=objective,
        batch_at=batch_at,
        optim=Optim(**settings["optim"]),
        steps=steps,
        evaluate=validate,
        eval_steps={*range(stop.check_every, steps, stop.check_every), steps},
        later=text_alone(settings.get("text_share"), steps),
        should_stop=lambda scores: ruled and gap(goal, scores["retain"]) <= stop.max_gap,
    )
    state = context.fit(student, job)
    taught = min(state.step, job.later[0]) if job.later else state.step
    checks = state.evals or [{"step": 0, **validate(student)}]  # noise alone, without a step
    if settings["filter_share"] not in (None, 1):  # who reads everything has nothing judged
        state.ledger.forward_flops += judging_flops(corpus, settings["domains"], teacher)
    models.save_model(student, corpus.tokenizer, context.folder / "model")
    evals = {
        "teacher_retain": goal,
        "gap": gap(goal, checks[-1]["retain"]),
        "stopped_by_rule": state.stopped if ruled else None,
        "steps": state.step,
        "checks": checks,
        "losses": [[row["step"], row["loss"]] for row in state.metrics],
        "share_read": _share_read(corpus, settings["domains"], batch_at(0), taught),
    }
    return Outcome(evals=evals, metrics=state.metrics, ledger=state.ledger)


def beside(inputs: dict[str, Path]) -> list[Path]:
    """The folders of those that teach beside the teacher, in the order of their names."""
    return [path for role, path in sorted(inputs.items()) if role.startswith("with-")]


def lesson(settings: dict[str, Any], corpus: Any, teachers: list[Any], outputs: Path | None) -> tuple[Any, Any]:
    """What a student minimises, and on which batches: its teachers' distributions, or the text that one lets pass."""
    teacher, *_ = teachers
    seed, batch_rows, domains = derive_seed(settings["seed"], "distil"), settings["batch_rows"], settings["domains"]
    if settings["filter_share"] is None:
        share = settings.get("forget_share", 0.5)
        batch_at = data.domain_batches(corpus, domains, "train", batch_rows, seed, share)
        return distillation_loss(settings, teachers, outputs), batch_at

    def loss_of(rows: Any) -> Any:
        rows = rows.to(teacher.device)
        losses_BT = objectives.token_losses(_predict(teacher, rows), rows.targets)
        return losses_BT.sum(-1) / (rows.targets != objectives.IGNORE).sum(-1).clamp(min=1)

    share = settings["filter_share"]
    return next_token_loss, data.filtered_batches(corpus, domains, loss_of, share, batch_rows, seed)


def text_alone(share: float | None, steps: int) -> tuple[int, Any] | None:
    """The step from which a student reads its rows as plain text, and what it minimises then."""
    return None if share is None else (taught_steps(share, steps), next_token_loss)


def judging_flops(corpus: Any, domains: list[str], teacher: Any) -> int:
    """Counted FLOPs of the teacher reading the whole stream once."""
    rows = sum(len(corpus.rows(domain, "train")) for domain in domains)
    return rows * forward_flops(teacher, data.first_rows(corpus, "retain", "train", 1).to(teacher.device))


def _share_read(corpus: Any, domains: list[str], batch: Any, steps: int) -> float:
    """The share of the stream's rows that were read at least once in so many steps: what a teacher had to be asked."""
    streams = {domain: len(corpus.rows(domain, "train")) for domain in domains}
    read = sum(min(steps * len(getattr(batch, domain).ids), rows) for domain, rows in streams.items())
    return read / sum(streams.values())


def starting_student(settings: dict[str, Any], corpus: Any, teacher: Any, base: Path | None = None) -> Any:
    """The student before its first step (PROTOCOL section 3, student initialisation)."""
    seed = settings["seed"]
    match settings["init"]:
        case "fresh":
            return fresh_student(settings["model"], corpus, teacher, seed)
        case "base_init":
            return initial_model(settings["model"], corpus, seed)
        case "noised":
            noise = (
                settings["noise_alpha"],
                settings["noise_beta"],
                derive_seed(seed, "noise"),
                settings["noise_rule"],
                tuple(settings["noise_parameters"]),
            )
            return models.perturb(models.load_model(base) if base else teacher, *noise)
        case "teacher":
            return models.perturb(teacher, 0.0, 0.0, seed)
        case other:
            raise ValueError(f"unknown student initialisation '{other}'")


def fresh_student(shape: dict[str, Any] | None, corpus: Any, teacher: Any, seed: int) -> Any:
    """Untrained weights of its own: of the study's shape, or of the teacher's where the study was given its base."""
    if shape is None:
        return models.untrained_like(teacher, derive_seed(seed, "initial", "student"))
    return initial_model(shape, corpus, seed, of="student")


def distillation_loss(settings: dict[str, Any], teachers: list[Any], outputs: Path | None) -> Any:
    """The divergence on all rows, which carry no labels of what is to be forgotten, as a function of (student, batch).

    A teacher computes its predictions itself, or they come from the folder that a `teach` stage has written. Several
    teach the mean of their distributions.
    """
    if len(teachers) > 1:
        return _ensemble_loss(teachers)
    (teacher,) = teachers
    cached = data.TeacherOutputs(outputs) if outputs else None
    if cached and settings["teacher_cache"]["top_k"]:
        return lambda student, batch: _terms(
            objectives.top_forward_kl(models.predict(student, batch.all()), cached.top(batch), batch.all().targets)
        )
    share, head = settings["jsd_teacher_share"], models.output_head(teacher)
    temperature = settings.get("temperature", 1.0)

    def loss(student: Any, batch: Any) -> Any:
        rows = batch.all()
        taught = objectives.Predictions(cached.hidden(batch), head) if cached else _predict(teacher, rows)
        learnt = models.predict(student, rows)
        if share is None:
            return _terms(objectives.forward_kl(learnt, taught, rows.targets, temperature))
        return _terms(objectives.jensen_shannon(learnt, taught, rows.targets, share))

    return loss


def _ensemble_loss(teachers: list[Any]) -> Any:
    for teacher in teachers:
        models.output_head(teacher)  # found out here, so that its few tokens are not counted

    def loss(student: Any, batch: Any) -> Any:
        rows = batch.all()
        taught = [_predict(teacher, rows) for teacher in teachers]
        return _terms(objectives.ensemble_kl(models.predict(student, rows), taught, rows.targets))

    return loss


def _predict(teacher: Any, rows: Any) -> Any:
    import torch

    with torch.inference_mode():
        return models.predict(teacher, rows)


def _terms(loss: Any) -> Any:
    return methods.LossTerms(loss, {})
