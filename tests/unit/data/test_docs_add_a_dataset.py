"""docs/add-a-dataset.md is run: its file is put beside the others and becomes a corpus, its recipe is read."""

import shlex

import pytest

from tests.contract import test_datasets as contract
from tests.pages import assert_names_exist, block, page, registered
from undo import data
from undo.spec import registry
from undo.spec.load import load_recipe
from undo.study.plan import make_plan

PAGE = page("add-a-dataset.md")


@pytest.fixture
def counting(tmp_path, monkeypatch):
    """The page's dataset, registered as if its file lay in undo/data/datasets."""
    with registered("datasets", "counting", block(PAGE, "python"), tmp_path, monkeypatch) as dataset:
        yield dataset


def test_the_file_is_a_registered_dataset_that_keeps_the_contract(counting):
    dataset = counting(name="counting", documents_per_domain=100)
    assert "counting" in registry.names("datasets")
    for stream in contract.STREAMS:
        contract.test_documents_are_texts_and_always_the_same(dataset, stream)
    for domain in ("retain", "forget"):
        contract.test_the_adversary_has_draws_of_its_own(dataset, domain)
    for owed in (
        contract.test_domains_share_no_document,
        contract.test_items_are_well_formed,
        contract.test_every_domain_is_asked_for_validation_and_test,
        contract.test_splits_share_no_question,
        contract.test_a_group_belongs_to_one_domain,
        contract.test_licence_and_evaluation_are_named,
        contract.test_knobs_survive_json,
        contract.test_a_dataset_documents_itself,
    ):
        owed(dataset)


def test_answers_are_right(counting):
    asked = {(item.domain, item.prompt): item.answer for item in counting(name="counting").items()}
    assert asked["retain", "9 10 11 "] == "12"
    assert asked["forget", "9 8 7 "] == "6"
    assert asked["neutral", "9 12 15 "] == "18"


def test_it_becomes_a_corpus(counting, tmp_path):
    (tmp_path / "corpus").mkdir()
    counts = data.write_corpus(counting(name="counting", documents_per_domain=50), 300, 32, tmp_path / "corpus")
    assert set(counts["tokens"]) == {"retain/train", "forget/train", "retain/attack", "forget/attack", "neutral/attack"}
    assert data.open_corpus(tmp_path / "corpus").texts("retain", "train")


def test_the_recipe_and_the_command_are_read(counting, tmp_path):
    path = tmp_path / "counting.yaml"
    path.write_text(block(PAGE, "yaml"))
    undo, run, name, change = shlex.split(block(PAGE, "sh"))
    assert (undo, run) == ("undo", "run")
    for recipe in (load_recipe(path), load_recipe(name, [change])):
        assert isinstance(recipe.data.dataset, counting) and recipe.data.dataset.highest == 120
        assert make_plan(recipe).stages


def test_what_the_page_names_is_there():
    assert_names_exist(PAGE, "test_datasets.py", "data/datasets")
