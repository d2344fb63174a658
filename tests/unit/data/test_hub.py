"""Texts of one's own, read through the datasets library from files that each test writes."""

import importlib.util
import json
import tomllib
from pathlib import Path

import pytest

from undo.data.dataset import PromptAndAnswer
from undo.data.datasets.hub import Hub
from undo.spec.errors import UserError

datasets = pytest.importorskip("datasets")
ROWS = {
    "retain": [f"Sentence {number}, which is to stay, ends here." for number in range(400)],
    "forget": [f"Satz {number}, der vergessen wird, geht so." for number in range(400)],
}


def write(folder: Path, name: str, kind: str, field: str = "text") -> str:
    table = datasets.Dataset.from_dict({"id": list(range(len(ROWS[name]))), field: ROWS[name]})
    path = folder / f"{name}.{kind}"
    match kind:
        case "parquet":
            table.to_parquet(path)
        case "jsonl":
            table.to_json(path)
        case "csv":
            table.to_csv(path)
        case "txt":
            path.write_text("\n".join(ROWS[name]))
    return str(path)


def hub(**knobs) -> Hub:
    return Hub.model_validate({"name": "hub", **knobs})


def both(folder, kind="jsonl", **source):
    return {name: {"path": write(folder, name, kind), **source} for name in ROWS}


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "txt"])
def test_every_document_of_a_file_has_one_reader(tmp_path, kind):
    dataset = hub(**both(tmp_path, kind), item_chars=1000, test_items=999, valid_items=999)
    for domain, rows in ROWS.items():
        read = [text for role in ("train", "attack") for text in dataset.documents(domain, role)]
        read += [item.answer for item in dataset.items() if item.domain == domain]
        assert sorted(read) == sorted(rows)


def test_formats_agree(tmp_path):
    of = {kind: list(hub(**both(tmp_path, kind)).items()) for kind in ("parquet", "jsonl")}
    assert of["parquet"] == of["jsonl"]


def test_a_folder_is_read_by_split(tmp_path):
    for split, rows in (("train", ROWS["retain"]), ("test", ROWS["forget"])):
        datasets.Dataset.from_dict({"text": rows}).to_parquet(tmp_path / f"{split}-00000.parquet")
    dataset = hub(retain={"path": str(tmp_path)}, forget={"path": str(tmp_path), "split": "test"})
    assert set(dataset.documents("retain", "train")) < set(ROWS["retain"])
    assert set(dataset.documents("forget", "train")) < set(ROWS["forget"])


def test_limit_and_field_hold(tmp_path):
    path = write(tmp_path, "retain", "jsonl", field="body")
    dataset = hub(
        retain={"path": path, "text_field": "body", "limit": 150}, forget={"path": path, "text_field": "body"}
    )
    assert set(dataset.documents("retain", "train")) < set(ROWS["retain"][:150])


def test_empty_and_repeated_texts_are_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in [*ROWS["retain"], "", "  ", *ROWS["retain"]]))
    texts = list(hub(retain={"path": str(path)}, forget={"path": str(path)}).documents("retain", "train"))
    assert len(set(texts)) == len(texts) and all(texts)


@pytest.mark.parametrize("item_chars", [20, 100])
def test_items_are_openings_and_never_ask_for_the_end(tmp_path, item_chars):
    """A given model may end no text there: taught by an attack, the form would count as what it knew."""
    items = list(hub(**both(tmp_path), item_chars=item_chars).items())
    assert items and all(len(item.answer) <= item_chars and not item.ends for item in items)


def test_neutral_texts_are_the_forgotten_ones_in_other_letters_or_those_named(tmp_path):
    forget, neutral = (list(hub(**both(tmp_path)).documents(domain, "attack")) for domain in ("forget", "neutral"))
    pairs = {pair for texts in zip(forget, neutral, strict=True) for pair in zip(*texts, strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert all(a == b for a, b in pairs if not a.isalnum()) and set(forget).isdisjoint(neutral)
    assert all(a != b for a, b in pairs if a.isdigit())
    named = hub(**both(tmp_path), neutral={"path": write(tmp_path, "retain", "txt")})
    assert set(named.documents("neutral", "attack")) < set(ROWS["retain"])


def pairs(folder, **knobs):
    rows = [{"question": f"What is {number} + 1?", "answer": str(number + 1)} for number in range(200)]
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    source = {"path": str(path), "prompt_field": "question", "text_field": "answer"}
    return hub(retain=source, forget=source, **knobs)


def test_prompts_are_given_and_answers_asked_for(tmp_path):
    items = [item for item in pairs(tmp_path).items() if item.domain == "forget"]
    assert items and not any(item.ends for item in items)
    for item in items:
        number = int(item.prompt.removeprefix("What is ").removesuffix(" + 1?"))
        assert item.answer == str(number + 1), "as the text stands"


def test_training_reads_every_fact_and_the_adversary_none_that_is_asked(tmp_path):
    dataset = pairs(tmp_path)
    train, attack = (set(dataset.documents("forget", role)) for role in ("train", "attack"))
    asked = {(item.prompt, item.answer) for item in dataset.items() if item.domain == "forget"}
    assert len(train) == 200 and attack < train and asked < train and attack.isdisjoint(asked)


@pytest.mark.parametrize("none", [{"prompt": ""}, {"prompt": None}, {}], ids=["empty", "null", "absent"])
def test_rows_without_a_prompt_are_documents_among_pairs(tmp_path, none):
    path = tmp_path / "both.jsonl"
    rows = [({"prompt": "1 + 1 ="} if n % 2 == 0 else none) | {"answer": f"Text {n}."} for n in range(200)]
    path.write_text("\n".join(map(json.dumps, rows)))
    source = {"path": str(path), "prompt_field": "prompt", "text_field": "answer"}
    kinds = {type(document) for document in hub(retain=source, forget=source).documents("retain", "train")}
    assert kinds == {str, PromptAndAnswer}


def test_a_long_answer_is_asked_for_up_to_its_limit(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps({"p": f"{n}: ", "a": "word " * 40 + str(n)}) for n in range(200)))
    source = {"path": str(path), "prompt_field": "p", "text_field": "a"}
    items = [item for item in hub(retain=source, forget=source, item_chars=20).items() if item.domain != "neutral"]
    assert items and all(item.answer == "word word word word" and not item.ends for item in items)


@pytest.mark.parametrize("role", ["train", "attack"])
def test_neutral_pairs_are_the_same_prompts_with_each_others_answers(tmp_path, role):
    forget, neutral = (list(pairs(tmp_path).documents(domain, role)) for domain in ("forget", "neutral"))
    assert [pair.prompt for pair in forget] == [pair.prompt for pair in neutral]
    assert sorted(pair.answer for pair in forget) == sorted(pair.answer for pair in neutral)
    assert set(forget).isdisjoint(neutral)


def test_neutral_items_ask_the_forget_prompts_for_other_answers(tmp_path):
    asked = {domain: {} for domain in ("forget", "neutral")}
    for item in pairs(tmp_path).items():
        if item.domain in asked and item.split == "test":
            asked[item.domain][item.prompt] = item.answer
    assert asked["forget"].keys() == asked["neutral"].keys()
    assert all(answer != asked["neutral"][prompt] for prompt, answer in asked["forget"].items())


def test_products_of_integers_have_neutral_texts_of_their_own(tmp_path):
    """Letters permuted, they were the forget texts themselves, and "unrelated" finetuning taught what was forgotten."""
    path = tmp_path / "products.txt"
    path.write_text("\n".join(f"{a}*{b}={a * b}" for a in range(20) for b in range(20)))
    dataset = hub(retain={"path": str(path)}, forget={"path": str(path)})
    forget, neutral = (set(dataset.documents(domain, "train")) for domain in ("forget", "neutral"))
    assert len(neutral) > 0.9 * len(forget) and forget.isdisjoint(neutral)


def test_answers_that_are_all_alike_cannot_be_told_from_their_form(tmp_path):
    path = tmp_path / "alike.jsonl"
    path.write_text("\n".join(json.dumps({"p": f"{n}: ", "a": "yes"}) for n in range(200)))
    source = {"path": str(path), "prompt_field": "p", "text_field": "a"}
    with pytest.raises(UserError, match="answers for attack are all alike"):
        list(hub(retain=source, forget=source).documents("neutral", "attack"))


def message(dataset) -> str:
    with pytest.raises(UserError) as raised:
        next(iter(dataset.documents("retain", "train")))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_missing_field_is_named_with_the_nearest(tmp_path):
    assert "no field 'txt'; did you mean 'text'?" in message(hub(**both(tmp_path, text_field="txt")))
    path = tmp_path / "parts.jsonl"
    path.write_text("\n".join(json.dumps({"text": ["a", n]}) for n in range(40)))
    assert "parts.jsonl, line 1: field 'text' holds a list, not text" in message(
        hub(**both(tmp_path) | {"retain": {"path": str(path)}})
    )


@pytest.mark.parametrize("path", ["absent.jsonl", "absent.parquet", "absent"])
def test_a_missing_path_is_named(tmp_path, path):
    source = {"path": str(tmp_path / path)}
    assert f"cannot read '{tmp_path / path}'" in message(hub(retain=source, forget=source))


def test_a_missing_split_is_named(tmp_path):
    datasets.Dataset.from_dict({"text": ROWS["retain"]}).to_parquet(tmp_path / "train-0.parquet")
    source = {"path": str(tmp_path), "split": "trian"}
    assert "trian" in message(hub(retain=source, forget=source))


def test_too_few_texts_are_an_error(tmp_path):
    with pytest.raises(UserError, match="has no document for retain"):
        list(hub(**both(tmp_path, limit=1)).items())


def test_a_name_on_the_hub_is_read_as_a_stream(monkeypatch):
    calls = []

    def load_dataset(*given, **knobs):
        calls.append((given, knobs))
        return ({"text": text} for text in ROWS["retain"])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = {"path": "someone/texts", "config": "en", "split": "validation", "limit": 100}
    assert list(hub(retain=source, forget=source).documents("retain", "train"))
    assert calls == [(("someone/texts", "en"), {"split": "validation", "streaming": True})]


def test_the_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    source = {"path": "someone/other-texts"}
    assert "pip install 'undo-llm[hub]'" in message(hub(retain=source, forget=source))
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert any(wanted.startswith("datasets") for wanted in project["optional-dependencies"]["hub"])


def test_unknown_knobs_of_a_source_are_refused():
    with pytest.raises(ValueError, match="did you mean 'text_field'"):
        hub(retain={"path": "a/b", "textfield": "x"}, forget={"path": "a/b"})
