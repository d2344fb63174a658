"""Texts of one's own: told apart by their rows, refused where nothing can be made of them."""

import json

import pytest

from undo.data.own import own_texts
from undo.data.sources import Source, read_documents
from undo.spec.errors import UserError

pytest.importorskip("datasets")
LINES = [f"Line {number}." for number in range(40)]


def rows(folder, name, **fields):
    path = folder / f"{name}.jsonl"
    table = [{field: f"{value} {number}" for field, value in fields.items()} for number in range(40)]
    path.write_text("\n".join(map(json.dumps, table)))
    return str(path)


def lines(folder, name, texts=LINES):
    path = folder / f"{name}.txt"
    path.write_text("\n".join(texts))
    return str(path)


@pytest.mark.parametrize("pair", [("prompt", "completion"), ("question", "answer"), ("instruction", "output")])
def test_prompts_and_answers_are_found_by_their_names(tmp_path, pair):
    forget, retain = rows(tmp_path, "forget", **dict.fromkeys(pair, "x")), lines(tmp_path, "retain")
    found = own_texts(forget, retain)
    assert found["forget"] == {"path": forget, "limit": None, "prompt_field": pair[0], "text_field": pair[1]}
    assert found["retain"] == {"path": retain, "limit": None}


def test_a_text_field_is_a_document_whatever_stands_beside_it(tmp_path):
    forget = rows(tmp_path, "forget", text="a", prompt="b", answer="c")
    assert own_texts(forget, lines(tmp_path, "retain"))["forget"] == {"path": forget, "limit": None}


def test_files_are_read_to_their_end(tmp_path):
    """What is not read is neither forgotten nor asked about, though the certificate names the whole file."""
    many = [f"Line {number}." for number in range(20_050)]  # more than the usual limit
    found = own_texts(lines(tmp_path, "forget", many), lines(tmp_path, "retain"))
    assert len(read_documents(Source(**found["forget"]))) == len(many)


def message(forget, retain):
    with pytest.raises(UserError) as refused:
        own_texts(forget, retain)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_rows_of_neither_are_refused_with_what_would_do(tmp_path):
    said = message(rows(tmp_path, "forget", body="a"), lines(tmp_path, "retain"))
    assert "has the fields body" in said and "prompt and answer" in said


def test_what_is_to_be_kept_cannot_be_forgotten(tmp_path):
    kept = lines(tmp_path, "kept", [*LINES, "and more", "and more of it"])
    assert "hold the same texts" in message(lines(tmp_path, "forget"), kept)


@pytest.mark.parametrize("texts", [[], ["one line"], ["the same line"] * 100], ids=["none", "one", "repeated"])
def test_too_little_is_refused_before_anything_runs(tmp_path, texts):
    said = message(lines(tmp_path, "few", texts), lines(tmp_path, "retain"))
    assert f"holds {len(set(texts))}, and 30 are the least" in said


def test_a_missing_file_is_refused_before_anything_runs(tmp_path):
    assert "cannot read" in message(str(tmp_path / "absent.jsonl"), lines(tmp_path, "retain"))


@pytest.mark.parametrize(("forget", "retain", "option"), [("", "kept.txt", "--forget"), ("gone.txt", "", "--retain")])
def test_an_empty_name_is_one_line(forget, retain, option):
    """As an unset variable of a shell gives it."""
    with pytest.raises(UserError, match=f"{option} is empty"):
        own_texts(forget, retain)
