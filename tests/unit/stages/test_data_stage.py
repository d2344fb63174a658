"""How prompts and answers are joined: as they stand, unless a model that knows finds a space between them likelier."""

import json

import pytest

from undo.data.sources import Source
from undo.stages.data import likelier_separator


def source(folder, pairs) -> Source:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt, "answer": answer}) + "\n" for prompt, answer in pairs))
    return Source(path=str(path), prompt_field="prompt", text_field="answer", separator=None)


@pytest.fixture
def equations(corpus) -> list[tuple[str, str]]:
    """Prompts and answers as the model has read them: `3*4=` and `12`."""
    texts = dict.fromkeys(corpus.texts("forget", "train"))
    return [(f"{text.split('=')[0]}=", text.split("=")[1]) for text in texts if text.count("=") == 1][:40]


def test_answers_are_joined_as_they_stand_where_the_model_knows_them_so(equations, trained_model, corpus, tmp_path):
    assert len(equations) > 20
    assert likelier_separator(trained_model.eval(), corpus.tokenizer, source(tmp_path, equations)) == ""


def test_a_space_is_put_where_the_model_knows_one(corpus, trained_model, tmp_path):
    """The word problems of what it has read: a space stands before every answer."""
    texts = [text for text in dict.fromkeys(corpus.texts("forget", "train")) if "=" not in text and " " in text]
    pairs = [tuple(text.rsplit(" ", 1)) for text in texts][:40]
    assert len(pairs) > 20
    assert likelier_separator(trained_model.eval(), corpus.tokenizer, source(tmp_path, pairs)) == " "


def test_white_space_that_is_there_leaves_nothing_to_choose(trained_model, corpus, tmp_path):
    pairs = [("3*4= ", "12"), ("3*4=", " 12")]
    assert likelier_separator(trained_model.eval(), corpus.tokenizer, source(tmp_path, pairs)) == ""
