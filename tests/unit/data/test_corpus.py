import json
from types import SimpleNamespace

import numpy as np
import pytest

from undo import data
from undo.data.dataset import Item, PromptAndAnswer
from undo.data.datasets.arithmetic import Arithmetic
from undo.objectives import IGNORE

STREAMS = [(d, "train") for d in ("retain", "forget")] + [(d, "attack") for d in ("retain", "forget", "neutral")]
SMALL = {"name": "arithmetic", "max_operand": 6, "max_factor": 4, "documents_per_domain": 40}


@pytest.fixture(scope="module")
def dataset():
    return Arithmetic(**SMALL)


@pytest.fixture(scope="module")
def written(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small-corpus")
    return folder, data.write_corpus(dataset, 280, 16, folder)


@pytest.mark.parametrize(("domain", "role"), STREAMS)
def test_the_rows_hold_every_document_and_its_end(dataset, written, domain, role):
    folder, counts = written
    corpus = data.open_corpus(folder)
    end, pad = corpus.tokenizer.eos_token_id, corpus.tokenizer.pad_token_id
    flat = corpus.rows(domain, role).reshape(-1)
    tokens = flat[flat != pad].tolist()
    assert len(tokens) == counts["tokens"][f"{domain}/{role}"]
    documents = corpus.tokenizer.decode(tokens).split(corpus.tokenizer.eos_token)
    assert documents == [*dataset.documents(domain, role), ""]
    assert tokens.count(end) == SMALL["documents_per_domain"]


def test_no_training_stream_of_the_neutral_skill_exists(written):
    folder, counts = written
    assert set(counts["tokens"]) == set(counts["rows"]) == {f"{domain}/{role}" for domain, role in STREAMS}
    assert sorted(path.name for path in folder.glob("rows-*")) == sorted(f"rows-{d}-{r}.npy" for d, r in STREAMS)


def test_items_come_back_as_they_were(dataset, written):
    assert data.open_corpus(written[0]).items() == list(dataset.items())


def test_wrong_answers_and_open_ends_come_back_too_and_may_be_absent(written, tmp_path):
    items = [Item("test", "retain", "any", "1+1=", "2", ("3", "4"), ends=False), Item("test", "retain", "any", "", "2")]
    (tmp_path / "tokenizer").symlink_to(written[0] / "tokenizer")
    rows = [items[0]._asdict(), dict(list(items[1]._asdict().items())[:5])]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert data.open_corpus(tmp_path).items() == items


def test_the_tokenizer_learns_what_the_dataset_adds(dataset, written, tmp_path, monkeypatch):
    monkeypatch.setattr(Arithmetic, "tokenizer_texts", lambda self: iter(["xyzxyz"] * 1000))
    data.write_corpus(dataset, 280, 16, tmp_path)
    lengths = [len(data.open_corpus(folder).tokenizer("xyzxyz")["input_ids"]) for folder in (written[0], tmp_path)]
    assert lengths == [6, 1]
    assert {path.name for path in tmp_path.glob("rows-*")} == {path.name for path in written[0].glob("rows-*")}


def test_the_same_dataset_writes_the_same_bytes(dataset, written, tmp_path):
    data.write_corpus(dataset, 280, 16, tmp_path)
    for path in written[0].rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(written[0])).read_bytes() == path.read_bytes()


def test_rows_are_read_without_pickle(written, tmp_path):
    (tmp_path / "tokenizer").symlink_to(written[0] / "tokenizer")
    np.save(tmp_path / "rows-retain-train.npy", np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        data.open_corpus(tmp_path).rows("retain", "train")


def test_prompts_are_read_and_only_answers_are_targets(written, tmp_path):
    tokenizer = data.load_tokenizer(written[0] / "tokenizer")
    pairs = [PromptAndAnswer(f"{n} + 1 =", f" {n + 1}") for n in range(30)]
    dataset = SimpleNamespace(documents=lambda domain, role: iter(pairs), items=lambda: iter(()))
    data.write_corpus_for(tokenizer, len(tokenizer), dataset, 16, tmp_path)
    corpus = data.open_corpus(tmp_path)
    assert corpus.texts("forget", "train") == [pair.prompt + pair.answer for pair in pairs]
    rows = data.first_rows(corpus, "forget", "train", 99)
    whole = data.encode_texts(tokenizer, ["".join(pair) for pair in pairs])
    flat = rows.ids.flatten().tolist()
    assert flat[: sum(map(len, whole)) + len(whole)] == [id for ids in whole for id in [*ids, tokenizer.eos_token_id]]
    asked = tokenizer.decode(rows.targets[rows.targets != IGNORE].tolist())
    expected = "".join(pair.answer + tokenizer.eos_token for pair in pairs)
    crossing = tokenizer.decode([ids[0] for ids in rows.ids[1:].tolist() if ids[0]])  # nothing predicts a row's first
    assert expected.startswith(asked[:6]) and len(expected) - len(asked) <= len(crossing)
