"""docs/add-an-attack.md is run: its file is put beside the others and attacks a model, its recipe is read."""

import re
import shlex

import pytest
import yaml

from tests.contract import test_attacks as contract
from tests.pages import assert_names_exist, block, page, registered
from undo.attacks import Attack, Training
from undo.spec import registry
from undo.spec.load import load_recipe

PAGE = page("add-an-attack.md")


@pytest.fixture
def finetune_part(tmp_path, monkeypatch):
    """The page's attack, registered as if its file lay in undo/attacks."""
    with registered("attacks", "finetune_part", block(PAGE, "python"), tmp_path, monkeypatch) as attack:
        yield attack


def test_the_file_is_a_registered_attack_that_keeps_the_contract(finetune_part, trained_model, corpus, batch, tmp_path):
    attack = finetune_part.model_validate({"name": "finetune_part", **contract.BUDGET, **contract.RATES})
    assert "finetune_part" in registry.names("attacks")
    means = contract.AdversaryContext(corpus, "forget", 7)
    contract.test_variants_are_narrowed_copies(attack)
    contract.test_every_combination_of_settings_is_a_variant(attack)
    contract.test_labels_tell_variants_apart_and_survive_json(attack)
    contract.test_knobs_survive_json(attack)
    contract.test_an_attack_documents_itself(attack)
    contract.test_the_model_is_left_as_it_was(attack, trained_model.eval(), means)
    contract.test_the_seed_decides_the_wrapping_and_the_questions(attack, trained_model, corpus, batch)
    contract.test_an_attack_runs_and_says_what_it_cost(attack, trained_model, corpus, tmp_path)


def test_a_part_moves_and_the_rest_does_not(finetune_part, tiny_model):
    attack = finetune_part(name="finetune_part", **contract.BUDGET, **contract.RATES)
    mlps, attentions = (v.trainable(tiny_model) for v in attack.variants()[:: len(attack.learning_rates)])
    names = {name for name, _ in tiny_model.named_parameters()}
    assert mlps == {name for name in names if ".mlp." in name}
    assert attentions == {name for name in names if ".self_attn." in name}


def test_the_recipe_and_the_command_are_read(finetune_part):
    part = yaml.safe_load(block(PAGE, "yaml"))["attacks"]["part"]
    recipe = load_recipe("smoke", [f"attacks.part={part}"])
    assert isinstance(recipe.attacks["part"].attack, finetune_part) and recipe.attacks["part"].skills[1] == "neutral"
    undo, run, name, change = shlex.split(block(PAGE, "sh"))
    assert (undo, run) == ("undo", "run")
    assert isinstance(load_recipe(name, [change]).attacks["relearn"].attack, finetune_part)


def test_what_the_page_names_is_there():
    assert_names_exist(PAGE, "test_attacks.py", "attacks")
    for name in re.findall(r"^\| `(\w+)\(", PAGE, flags=re.MULTILINE):
        assert hasattr(Training, name)
    assert all(hasattr(Attack, name) for name in ("axes", "starts_at_model", "leaves_model"))
