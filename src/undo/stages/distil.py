"""distil: a student learns the teacher's next-token distribution, by the stop rule or for a number of steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from undo import data, methods, models, objectives, train
from undo.data.dataset import Domain
from undo.spec.base import Spec
from undo.spec.keys import derive_seed
from undo.spec.recipe import Model, NoiseRule, Optim, Stop, StudentInit, TeacherCache, taught_steps
from undo.stages import Context, Outcome, SeededSettings, Traits
from undo.stages._scoring import AnyEvaluation, domain_scorer
from undo.stages.cache_teacher import forward_flops
from undo.stages.pretrain import initial_model, next_token_loss

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from undo.data.batches import Batch, TokenBatch
    from undo.data.corpus import Corpus
    from undo.objectives.predictions import Predictions
    from undo.train.loop import Objective


class Noise(Spec):
    """The noise of a student's start (`models.perturb`). Whose weights are noised is an input of the stage."""

    alpha: float
    beta: float
    rule: NoiseRule = "initial"
    parameters: tuple[str, ...] = (".*",)


class Settings(SeededSettings):
    """Where a student starts, what it reads and learns from, and when it is done."""

    traits: ClassVar[Traits] = Traits(
        version=5,
        output="model",
        done="distilled",
        bytes_per_weight=20,
        memory_setting=("distil.optim", "its micro_batches"),
        costly=True,
    )

    model: Model | None = None
    """The shape of a student that starts untrained; None: the teacher's."""
    evaluation: AnyEvaluation
    init: StudentInit
    noise: Noise | None = None
    domains: tuple[Domain, ...]
    forget_share: float = 0.5
    batch_rows: int
    steps: int | None = None
    """Exactly so many steps; None: until the stop rule holds."""
    stop: Stop
    optim: Optim
    temperature: float = 1.0
    teacher_cache: TeacherCache | None = None
    filter_share: float | None = None
    text_share: float | None = None

    def rows_at_once(self) -> int:
        """A step's rows in micro-batches."""
        return -(-self.batch_rows // self.optim.micro_batches)

    def recomputes_activations(self) -> bool:
        """As the optimiser's settings say."""
        return self.optim.gradient_checkpointing

    def may_stop_early(self) -> bool:
        """By the stop rule."""
        return self.steps is None


def run(settings: Settings, context: Context) -> Outcome:
    """Writes the student, and in its evals the gap that it actually reached on the validation split."""
    corpus, stop = data.open_corpus(context.inputs["data"]), settings.stop
    validate, gap = domain_scorer(settings.evaluation, corpus, "valid", ["retain"]), settings.evaluation.gap
    teacher = models.freeze(models.load_model(context.inputs["model"]))
    goal = validate(teacher)["retain"]
    by_rule = settings.steps is None
    steps = stop.max_steps if settings.steps is None else settings.steps
    others = [models.freeze(models.load_model(path)) for path in co_teachers(context.inputs)]
    objective, batch_at = objective_and_batches(settings, corpus, [teacher, *others], context.inputs.get("outputs"))
    student = starting_student(settings, corpus, teacher, context.inputs.get("base"))
    text_from = steps if settings.text_share is None else taught_steps(settings.text_share, steps)
    job = train.FitJob(
        objective=objective,
        batch_at=batch_at,
        optim=settings.optim,
        steps=steps,
        evaluate=validate,
        eval_steps={*range(stop.check_every, steps, stop.check_every), steps},
        second_phase=None if settings.text_share is None else (text_from, next_token_loss),
        should_stop=lambda scores: by_rule and gap(goal, scores["retain"]) <= stop.max_gap,
    )
    state = context.fit(student, job)
    checks = state.evals or [{"step": 0, **validate(student)}]  # noise alone, without a step
    if settings.filter_share not in (None, 1):  # a student that reads every row needs no teacher to choose them
        state.ledger.forward_flops += filtering_flops(corpus, settings.domains, teacher)
    models.save_model(student, corpus.tokenizer, context.folder / "model")
    evals = {
        "teacher_retain": goal,
        "gap": gap(goal, checks[-1]["retain"]),
        "stopped_by_rule": state.stopped if by_rule else None,
        "steps": state.step,
        "checks": checks,
        "losses": [[row["step"], row["loss"]] for row in state.metrics],
        "share_read": _share_read(corpus, settings.domains, batch_at(0), min(state.step, text_from)),
    }
    return Outcome(evals=evals, metrics=state.metrics, ledger=state.ledger)


def co_teachers(inputs: dict[str, Path]) -> list[Path]:
    """The folders of the teachers that teach together with the first one, in the order of their names."""
    return [path for role, path in sorted(inputs.items()) if role.startswith("with-")]


class ObjectiveAndBatches(NamedTuple):
    """What a student minimises, and the rows of each step."""

    objective: Objective
    batch_at: Callable[[int], Batch]


def objective_and_batches(
    settings: Settings, corpus: Corpus, teachers: list[PreTrainedModel], outputs: Path | None
) -> ObjectiveAndBatches:
    """Distillation on all rows of the stream; with `filter_share`, plain text on the rows likeliest to the teacher."""
    teacher, *_ = teachers
    seed, batch_rows, domains = derive_seed(settings.seed, "distil"), settings.batch_rows, settings.domains
    if settings.filter_share is None:
        batch_at = data.domain_batches(corpus, domains, "train", batch_rows, seed, settings.forget_share)
        return ObjectiveAndBatches(distillation_loss(settings, teachers, outputs), batch_at)

    def loss_of(rows: TokenBatch) -> Tensor:
        rows = rows.to(teacher.device)
        losses_BT = objectives.token_losses(_predict(teacher, rows), rows.targets)
        return losses_BT.sum(-1) / (rows.targets != objectives.IGNORE).sum(-1).clamp(min=1)

    batch_at = data.filtered_batches(corpus, domains, loss_of, settings.filter_share, batch_rows, seed)
    return ObjectiveAndBatches(next_token_loss, batch_at)


def filtering_flops(corpus: Corpus, domains: tuple[Domain, ...], teacher: PreTrainedModel) -> int:
    """Counted FLOPs of the teacher reading the whole stream once."""
    rows = sum(len(corpus.rows(domain, "train")) for domain in domains)
    return rows * forward_flops(teacher, data.first_rows(corpus, "retain", "train", 1).to(teacher.device))


def _share_read(corpus: Corpus, domains: tuple[Domain, ...], batch: Batch, steps: int) -> float:
    """The share of the stream's rows that were read at least once in so many steps: what a teacher had to be asked."""
    streams = {domain: len(corpus.rows(domain, "train")) for domain in domains}
    read = sum(min(steps * len(getattr(batch, domain).ids), rows) for domain, rows in streams.items())
    return read / sum(streams.values())


def starting_student(
    settings: Settings, corpus: Corpus, teacher: PreTrainedModel, base: Path | None = None
) -> PreTrainedModel:
    """The student before its first step (PROTOCOL section 3, student initialisation)."""
    seed, shape = settings.seed, settings.model
    match settings.init:
        case "fresh":
            return fresh_student(shape, corpus, teacher, seed)
        case "base_init":
            assert shape is not None
            return initial_model(shape, corpus, seed)
        case "noised":
            noise, noised = settings.noise, models.load_model(base) if base else teacher
            assert noise is not None
            noise_seed = derive_seed(seed, "noise")
            return models.perturb(noised, noise.alpha, noise.beta, noise_seed, noise.rule, noise.parameters)
        case "teacher":
            return models.perturb(teacher, 0.0, 0.0, seed)


def fresh_student(shape: Model | None, corpus: Corpus, teacher: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Untrained weights of its own: of the study's shape, or of the teacher's where the study was given its base."""
    if shape is None:
        return models.untrained_like(teacher, derive_seed(seed, "initial", "student"))
    return initial_model(shape, corpus, seed, of="student")


def distillation_loss(settings: Settings, teachers: list[PreTrainedModel], outputs: Path | None) -> Objective:
    """The divergence on all rows, which carry no labels of what is to be forgotten, as a function of (student, batch).

    A teacher computes its predictions itself, or they come from the folder that a `cache_teacher` stage has written.
    Several teachers teach the mean of their distributions.
    """
    if len(teachers) > 1:
        return _ensemble_loss(teachers)
    (teacher,) = teachers
    cached = data.TeacherOutputs(outputs) if outputs else None
    if cached and settings.teacher_cache and settings.teacher_cache.top_k:
        return lambda student, batch: _terms(
            objectives.top_forward_kl(models.predict(student, batch.all()), cached.top(batch), batch.all().targets)
        )
    head = models.output_head(teacher)

    def loss(student: PreTrainedModel, batch: Batch) -> methods.LossTerms:
        rows = batch.all()
        taught = objectives.Predictions(cached.hidden(batch), head) if cached else _predict(teacher, rows)
        learnt = models.predict(student, rows)
        return _terms(objectives.forward_kl(learnt, taught, rows.targets, settings.temperature))

    return loss


def _ensemble_loss(teachers: list[PreTrainedModel]) -> Objective:
    def loss(student: PreTrainedModel, batch: Batch) -> methods.LossTerms:
        rows = batch.all()
        taught = [_predict(teacher, rows) for teacher in teachers]
        return _terms(objectives.ensemble_kl(models.predict(student, rows), taught, rows.targets))

    return loss


def _predict(teacher: PreTrainedModel, rows: TokenBatch) -> Predictions:
    import torch

    with torch.inference_mode():
        return models.predict(teacher, rows)


def _terms(loss: Tensor) -> methods.LossTerms:
    return methods.LossTerms(loss, {})
