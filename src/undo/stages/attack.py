"""attack: one variant of an adversary against one model; only its curve is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import SerializeAsAny

from undo import data, models, objectives, train
from undo.attacks import AdversaryContext, Attack, Training
from undo.data.dataset import Domain, Item
from undo.evals import by_domain
from undo.evals._answers import sample_answers
from undo.spec.errors import NotApplicable, UserError
from undo.spec.keys import derive_seed
from undo.spec.recipe import Skill
from undo.spec.registry import PluginOf
from undo.stages import Context, Outcome, Scores, SeededSettings, Traits
from undo.stages._scoring import AnyEvaluation, certifying_scorer, item_scorer, write_item_scores
from undo.stages.pretrain import next_token_loss

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from undo.data.batches import TokenBatch
    from undo.data.corpus import Corpus
    from undo.train.checkpoint import FitState
    from undo.train.loop import FitJob


class Settings(SeededSettings):
    """One variant of an attack, the skill it is after, and how its result is scored."""

    traits: ClassVar[Traits] = Traits(
        version=3,
        output="scores",
        done="attacked",
        bytes_per_weight=20,
        memory_setting=("attacks.NAME.attack", "its batch_rows"),
        costly=True,
    )

    attack: Annotated[SerializeAsAny[Attack], PluginOf("attacks")]
    skill: Skill
    evaluation: AnyEvaluation
    split: Literal["test", "valid"] = "test"
    certify: bool = False
    """Keep the score of every item and the retain loss, for a certificate."""

    def rows_at_once(self) -> int:
        """Those of a step, where the attack trains."""
        return self.attack.batch_rows if isinstance(self.attack, Training) else 0

    def recomputes_activations(self) -> bool:
        """As the attack says."""
        return isinstance(self.attack, Training) and self.attack.gradient_checkpointing

    def evaluations(self) -> int:
        """One per evaluation step."""
        return len(self.attack.eval_steps) if isinstance(self.attack, Training) else 0


class Attacked(NamedTuple):
    """A model as an attack finds it, how it is asked, and what the attack trains where it does."""

    attack: Attack
    model: PreTrainedModel
    evaluate: Callable[[PreTrainedModel], Scores]
    job: FitJob | None


def run(settings: Settings, context: Context) -> Outcome:
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
    evals: Scores = {"points": points}
    if attacked.attack.starts_at_model:  # others change what is asked, or how a model reads it
        evals["answers"] = sample_answers(models.freeze(attacked.model), corpus)
    return Outcome(evals=evals, metrics=metrics, ledger=ledger)


def prepare(settings: Settings, corpus: Corpus, model: PreTrainedModel) -> Attacked:
    """One variant of an attack on a model, by its settings, before the first step.

    Raises NotApplicable where the model, changed by the attack, cannot be asked or trained any more.
    """
    attack, skill = settings.attack, settings.skill
    adversary = AdversaryContext(corpus, skill, derive_seed(settings.seed, "attack", skill))
    model = _wrapped(attack, model, adversary)
    evaluate = _evaluation(settings, corpus, adversary)
    job = _job(attack, adversary, model, evaluate) if isinstance(attack, Training) else None
    return Attacked(attack, model, evaluate, job)


def _evaluation(settings: Settings, corpus: Corpus, adversary: AdversaryContext) -> Callable[[PreTrainedModel], Scores]:
    """A function that scores the attacked model, by domain and group; for a certificate also every item."""
    domains = _domains(settings.attack, settings.skill)

    def change(items: list[Item]) -> list[Item]:
        return settings.attack.questions(items, adversary)

    if settings.certify:
        control: list[Domain] = ["neutral"] if _asks_control(settings, corpus) else []
        return certifying_scorer(settings.evaluation, corpus, [*domains, *control], change)
    score = item_scorer(settings.evaluation, corpus, settings.split, domains, change)
    return lambda model: by_domain(*score(model))


def _wrapped(attack: Attack, model: PreTrainedModel, adversary: AdversaryContext) -> PreTrainedModel:
    """The attacked model. It is tried on one row, so that what a family cannot take shows before the attack starts."""
    rows = data.first_rows(adversary.corpus, adversary.skill, "attack", 1).to(model.device)
    _loss(model, rows)  # an error of the model itself is not the fault of the attack
    try:
        wrapped = attack.wrap(model, adversary)
        if wrapped is not model:
            _check_applies(attack, wrapped, rows)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # families fail in ways that nobody can list
        if "out of memory" in str(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise NotApplicable(f"{type(model).__name__} breaks under it ({type(error).__name__}: {reason})") from error
    return wrapped


def _check_applies(attack: Attack, wrapped: PreTrainedModel, rows: TokenBatch) -> None:
    loss = _loss(wrapped, rows)
    if not loss.isfinite():
        raise NotApplicable(f"the loss of {type(wrapped).__name__} is not finite under it")
    if isinstance(attack, Training):
        moving = [wrapped.get_parameter(name).requires_grad_() for name in sorted(attack.trainable(wrapped))]
        gradients = models.gradients(_loss(wrapped, rows), moving) if moving else []
        if not any(gradient.any() for gradient in gradients):
            raise NotApplicable(f"no gradient reaches what it trains in {type(wrapped).__name__}")
        with models.restored(moving):  # a wrapper may break once its weights differ from the model's
            models.shift(moving, gradients, 1e-3)
            _loss(wrapped, rows)


def _loss(model: PreTrainedModel, rows: TokenBatch) -> Tensor:
    return objectives.cross_entropy(models.predict(model.eval(), rows), rows.targets)


def _domains(attack: Attack, skill: Skill) -> list[Domain]:
    """The domains to ask. An attack that can be left off cannot harm other skills, so only its own skill is asked."""
    if attack.leaves_model:
        return [skill]
    return ["forget", "retain"] if skill == "forget" else [skill, "forget", "retain"]


def _asks_control(settings: Settings, corpus: Corpus) -> bool:
    """Whether an attack on the forget skill also asks the same prompts for each other's answers.

    Finetuning also teaches the form of an answer, which lowers the loss of every answer; knowledge lowers the loss of
    the right one alone.
    """
    return settings.skill == "forget" and corpus.swaps_answers()


def _job(
    attack: Training,
    adversary: AdversaryContext,
    model: PreTrainedModel,
    evaluate: Callable[[PreTrainedModel], Scores],
) -> FitJob:
    return train.FitJob(
        objective=next_token_loss,
        batch_at=attack.batches(adversary),
        optim=attack.optim(),
        steps=attack.steps,
        trainable=attack.trainable(model),
        evaluate=evaluate,
        eval_steps=attack.eval_steps,
    )


def _start(attacked: Attacked) -> tuple[list[Scores], int]:
    """The point before the first step, and the FLOPs of its evaluation."""
    models.freeze(attacked.model)
    flops, scores = train.count_flops(lambda: attacked.evaluate(attacked.model))
    return [{"step": 0, "tokens": 0, "forget_tokens": 0, **scores}], flops


def _fit(model: PreTrainedModel, job: FitJob, context: Context) -> FitState:
    """Trains what the attack may move, and makes sure that it did: an adapter that gets no gradient is no attack."""
    trainable = job.trainable or ()
    before = {name: model.get_parameter(name).detach().cpu().clone() for name in trainable}
    state = context.fit(model, job)
    if all(old.equal(model.get_parameter(name).cpu()) for name, old in before.items()):
        raise RuntimeError(f"the attack moved none of the {len(before)} parameters that it trains")
    return state
