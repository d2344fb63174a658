"""docs/data-formats.md is run: every file on the page is read, or refused, as the page says."""

import re

import pytest

from tests.pages import page
from undo.data import files, own
from undo.data.dataset import PromptAndAnswer
from undo.data.own import own_texts
from undo.data.sources import Source, read_documents
from undo.spec.errors import UserError

PAGE = page("data-formats.md")
EXAMPLES = re.findall(r"\n`([\w.-]+)`\n```\w+\n(.*?)```\n(Documents|Refused): ([^\n]*)", PAGE, flags=re.DOTALL)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a file that a few lines are enough for."""
    monkeypatch.setattr(own, "LEAST_DOCUMENTS", 1)
    (tmp_path / "retain.txt").write_text("Something else.")

    def reader(name, content):
        (tmp_path / name).write_text(content)
        return own_texts(str(tmp_path / name), str(tmp_path / "retain.txt"))["forget"]

    return reader


def test_the_page_has_its_examples():
    assert len(EXAMPLES) == PAGE.count("\nDocuments: ") + PAGE.count("\nRefused: ") >= 16


@pytest.mark.parametrize(("name", "content", "kind", "said"), EXAMPLES, ids=[example[0] for example in EXAMPLES])
def test_an_example_is_read_as_the_page_says(read, name, content, kind, said):
    if kind == "Refused":
        with pytest.raises(UserError) as refused:
            read(name, content)
        assert said[1:-1] in str(refused.value) and "\n" not in str(refused.value)
        return
    documents = read_documents(Source(**read(name, content)))
    count, first = re.fullmatch(r"(\d+)\. First: (.*)", said).groups()
    texts = tuple(text.replace("\\n", "\n") for text in re.findall("`(.*?)`", first))
    assert len(documents) == int(count)
    assert documents[0] == (PromptAndAnswer(*texts) if len(texts) == 2 else texts[0])


def test_the_page_names_every_suffix_and_field():
    known = {*files.OPENERS, *files.JSON, *files.SEPARATED, *files.BINARY, *files.TEXT}
    names = {*own.PROMPTS, *own.ANSWERS, *own.CONTEXTS, *own.CHATS, *own.CHOICES, *own.CHOSEN, *own.SYSTEM}
    assert [name for name in sorted(known | names) if f"`{name}`" not in PAGE] == []
