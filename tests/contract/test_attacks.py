"""What every attack owes."""

import json

import pytest
from pydantic import ValidationError

from undo.attacks import Attack
from undo.spec.recipe import Optim
from undo.spec.registry import load, names

BUDGET = {"steps": 20, "eval_steps": (5, 20)}
KNOBS = {"finetune": {"learning_rates": (1e-3, 3e-4, 1e-5)}}  # knobs that have no default

every_attack = pytest.mark.parametrize("attack", names("attacks"), indirect=True)


@pytest.fixture
def attack(request) -> Attack:
    return load("attacks", request.param)(name=request.param, **BUDGET, **KNOBS.get(request.param, {}))


@every_attack
def test_variants_are_narrowed_copies(attack):
    variants = attack.variants()
    assert variants and all(type(variant) is type(attack) for variant in variants)
    for variant in variants:
        assert variant.variants() == [variant], "a variant holds one setting"
        kept = ("name", "version", "steps", "batch_rows", "eval_steps")
        assert all(getattr(variant, field) == getattr(attack, field) for field in kept)


@every_attack
def test_labels_tell_variants_apart_and_survive_json(attack):
    labels = [variant.label() for variant in attack.variants()]
    assert all(json.loads(json.dumps(label)) == label for label in labels)
    assert len({json.dumps(label) for label in labels}) == len(labels)
    assert len({tuple(label) for label in labels}) == 1, "the same keys for every variant"


@every_attack
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


@every_attack
@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"eval_steps": ()}, {"batch_rows": 0}, {"eval_steps": (5, 21)}], ids=str
)
def test_a_budget_that_cannot_be_spent_is_refused(attack, wrong):
    with pytest.raises(ValidationError):
        type(attack).model_validate({**attack.model_dump(), **wrong})


def test_finetune_is_the_published_adversary():
    attack = load("attacks", "finetune")(name="finetune", **BUDGET, **KNOBS["finetune"])
    optims = [variant.optim() for variant in attack.variants()]
    assert [optim.learning_rate for optim in optims] == [1e-3, 3e-4, 1e-5]
    assert {(o.schedule, o.warmup_steps, o.clip, o.weight_decay) for o in optims} == {("constant", 1, 1.0, 0.0)}


@pytest.mark.parametrize("rate", [0.0, -1e-3])
def test_finetune_refuses_a_rate_that_its_optimiser_would(rate):
    with pytest.raises(ValidationError):
        load("attacks", "finetune")(name="finetune", **BUDGET, learning_rates=(1e-3, rate))
