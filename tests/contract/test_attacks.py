"""What every attack owes."""

import copy
import json
from statistics import fmean

import pytest
import torch
from pydantic import ValidationError

from undo import models, stages
from undo.attacks import AdversaryContext, Attack, Training
from undo.spec.recipe import Optim
from undo.spec.registry import load, names
from undo.stages import Context

BUDGET = {"steps": 20, "eval_steps": (5, 20), "batch_rows": 4}
RATES = {"learning_rates": (1e-3, 3e-4, 1e-5)}
KNOBS = {  # several settings on every axis, and what has no default
    "few_shot": {"shots": (1, 4)},
    "finetune": BUDGET | RATES,
    "heldout_facts": BUDGET | RATES,
    "in_context": {"texts": (1, 2)},
    "logit_lens": {"depths": (0.5, 1.0)},
    "lora": BUDGET | RATES | {"ranks": (2, 4)},
    "mix": BUDGET | RATES | {"forget_shares": (0.0, 0.5), "others": ("retain", "neutral")},
    "perturb_relearn": BUDGET | RATES | {"noise_alphas": (0.02, 0.1)},
    "probe": BUDGET | RATES | {"depths": (0.5, 1.0)},
    "quantise": {"bits": (8, 4)},
    "soft_prompt": BUDGET | RATES,
}
CROSS_ENTROPY = {"name": "cross_entropy", "version": 1, "batch_tokens": 4096}


def made(name: str, **knobs) -> Attack:
    return load("attacks", name)(name=name, **KNOBS.get(name, {}) | knobs)


def of_kind(kind: type) -> list[str]:
    return [name for name in names("attacks") if issubclass(load("attacks", name), kind)]


every_attack = pytest.mark.parametrize("attack", names("attacks"), indirect=True)
every_training = pytest.mark.parametrize("attack", of_kind(Training), indirect=True)


@pytest.fixture
def attack(request) -> Attack:
    if request.param == "lora":
        pytest.importorskip("peft")
    return made(request.param)


@pytest.fixture
def means(corpus) -> AdversaryContext:
    return AdversaryContext(corpus, "forget", 7)


@pytest.fixture
def roomy_model(trained_model):
    """Its rows fill the context; a soft prompt needs some places more."""
    trained_model.config.max_position_embeddings = 64
    return trained_model.eval()


@every_attack
def test_variants_are_narrowed_copies(attack):
    variants = attack.variants()
    assert variants and all(type(variant) is type(attack) for variant in variants)
    for variant in variants:
        assert variant.variants() == [variant], "a variant holds one setting"
        kept = set(type(attack).model_fields) - set(attack.axes)
        assert all(getattr(variant, field) == getattr(attack, field) for field in kept)


@every_attack
def test_every_combination_of_settings_is_a_variant(attack):
    settings = [len(getattr(attack, knob)) for knob in attack.axes]
    assert len(attack.variants()) == torch.tensor(settings).prod() and min(settings) > 1


@every_attack
def test_labels_tell_variants_apart_and_survive_json(attack):
    labels = [variant.label() for variant in attack.variants()]
    assert all(json.loads(json.dumps(label)) == label for label in labels)
    assert len({json.dumps(label) for label in labels}) == len(labels)
    assert len({tuple(label) for label in labels}) == 1, "the same keys for every variant"


@every_training
def test_muon_is_a_variant_with_rates_of_its_own(attack):
    both = attack.model_copy(update={"muon_learning_rates": (7e-3,)})
    added = [variant for variant in both.variants() if variant not in attack.variants()]
    assert added and all(variant.optim().optimizer == "muon" for variant in added)
    assert {variant.optim().learning_rate for variant in added} == {7e-3}
    assert len(both.variants()) == len(attack.variants()) + len(added), "AdamW's variants and their keys stay"
    for variant in added:
        assert variant.label()["optimizer"] == "muon"
        assert type(attack).model_validate(json.loads(variant.model_dump_json())) == variant


@every_training
def test_every_variant_has_an_optimiser(attack):
    for variant in attack.variants():
        optim = variant.optim()
        assert isinstance(optim, Optim)
        assert Optim.model_validate(optim.model_dump()) == optim


@every_attack
def test_knobs_survive_json(attack):
    for each in (attack, *attack.variants()):
        again = type(attack).model_validate(json.loads(each.model_dump_json()))
        assert again == each and again.label() == each.label()


@every_attack
def test_an_attack_documents_itself(attack):
    assert type(attack).__doc__
    assert all(field.description for field in type(attack).model_fields.values())


@every_training
@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"eval_steps": ()},
        {"batch_rows": 0},
        {"eval_steps": (5, 21)},
        {"eval_steps": (5, 19)},
        {"learning_rates": (1e-3, 0.0)},
    ],
    ids=str,
)
def test_a_budget_that_cannot_be_spent_is_refused(attack, wrong):
    with pytest.raises(ValidationError):
        type(attack).model_validate({**attack.model_dump(), **wrong})


@every_attack
def test_the_model_is_left_as_it_was(attack, roomy_model, means):
    before, hooks = copy.deepcopy(roomy_model.state_dict()), [len(m._forward_hooks) for m in roomy_model.modules()]
    wrapped = attack.variants()[-1].wrap(roomy_model, means)
    if isinstance(attack, Training):
        with torch.no_grad():
            for name in attack.trainable(wrapped) if wrapped is not roomy_model else ():
                wrapped.get_parameter(name).add_(1.0)
    after = roomy_model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    assert [len(m._forward_hooks) for m in roomy_model.modules()] == hooks


@every_attack
def test_the_seed_decides_the_wrapping_and_the_questions(attack, roomy_model, corpus, batch):
    variant = attack.variants()[-1]
    items = [item for item in corpus.items() if item.split == "test" and item.domain == "forget"]

    def once(seed):
        means = AdversaryContext(corpus, "forget", seed)
        wrapped = variant.wrap(roomy_model, means)
        with torch.no_grad():
            return wrapped(input_ids=batch.forget.ids).logits, variant.questions(items, means)

    (logits, asked), (again, asked_again) = once(3), once(3)
    assert torch.equal(logits, again) and asked == asked_again
    assert torch.isfinite(logits).all() and logits.shape[:2] == batch.forget.ids.shape


@every_attack
def test_asked_items_are_those_of_the_test_in_their_order(attack, corpus, means):
    items = [item for item in corpus.items() if item.split == "test" and item.domain in ("forget", "retain")]
    asked = attack.variants()[0].questions(items, means)
    if len(asked) == len(items):
        assert [(new.domain, new.group, new.answer) for new in asked] == [(i.domain, i.group, i.answer) for i in items]
        assert all(new.prompt.endswith(old.prompt) for new, old in zip(asked, items, strict=True))
    else:
        assert asked == [item for item in items if item in asked]


def run_stage(attack, model, corpus, tmp_path, **settings):
    """One variant by the stage itself."""
    models.save_model(model, corpus.tokenizer, tmp_path / "model")
    (tmp_path / "stage").mkdir()
    context = Context(tmp_path / "stage", {"data": corpus.folder, "model": tmp_path / "model"}, lambda *_: None, 1e9)
    settings = {
        "attack": attack.model_dump(mode="json"),
        "skill": "forget",
        "seed": 1,
        "evaluation": CROSS_ENTROPY,
    } | settings
    return stages.run("attack", settings, context)


@every_attack
def test_an_attack_runs_and_says_what_it_cost(attack, roomy_model, corpus, tmp_path):
    variant = attack.variants()[0]
    outcome = run_stage(variant, roomy_model, corpus, tmp_path)
    steps = [point["step"] for point in outcome.evals["points"]]
    trained = [5, 20] if isinstance(attack, Training) else []
    assert steps == ([] if attack.starts_at_model else [0]) + trained
    assert all(point["forget"] == point["forget"] for point in outcome.evals["points"])
    assert all(("retain" in point) != attack.leaves_model for point in outcome.evals["points"])
    assert bool(outcome.ledger.flops) == isinstance(attack, Training) and outcome.ledger.eval_flops > 0


@pytest.mark.parametrize("skill", ["forget", "neutral"])
def test_an_attack_that_stays_in_the_model_is_asked_what_it_cost(skill, trained_model, corpus, tmp_path):
    """On either skill: what finetuning on the neutral one costs retain is part of the control."""
    (variant, *_) = made("finetune").variants()
    points = run_stage(variant, trained_model, corpus, tmp_path, skill=skill).evals["points"]
    assert all({skill, "forget", "retain"} <= set(point) for point in points)


def forget_loss(model, corpus, items) -> float:
    asker = load("evals", "cross_entropy")(name="cross_entropy")
    return fmean(asker.scores(model.eval(), asker.encode(corpus.tokenizer, items)))


@pytest.mark.parametrize("attack", sorted(set(of_kind(Training)) - {"perturb_relearn"}), indirect=True)
def test_positive_control_training_brings_the_skill_nearer(attack, untrained, corpus, tmp_path):
    """On a model that can still learn everything, the budget moves the forget loss the right way."""
    model = copy.deepcopy(untrained)
    model.config.max_position_embeddings = 64
    points = run_stage(attack.variants()[0], model, corpus, tmp_path).evals["points"]
    items = [item for item in corpus.items() if item.split == "test" and item.domain == "forget"]
    asked = attack.questions(items, AdversaryContext(corpus, "forget", 1))
    start = points[0]["forget"] if points[0]["step"] == 0 else forget_loss(untrained, corpus, asked)
    assert points[-1]["forget"] < start - 0.002
