"""A corpus for a model that brings its tokenizer: no padding, or one that is the end too, with and without a begin."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as tokenizer_models
from transformers import PreTrainedTokenizerFast

from undo import data
from undo.data.dataset import Item
from undo.data.datasets.arithmetic import Arithmetic
from undo.data.packing import token_ids
from undo.data.tokenizer import END, NO_TOKEN, PAD
from undo.evals import _questions
from undo.objectives import IGNORE
from undo.spec.errors import UserError

SMALL = {"name": "arithmetic", "max_operand": 6, "max_factor": 4, "documents_per_domain": 40}
SPECIALS = ["<eos>", "<bos>", "<other>"]
KINDS = {
    "no padding": {"eos_token": "<eos>"},
    "padding is the end": {"eos_token": "<eos>", "pad_token": "<eos>"},
    "begin and end": {"eos_token": "<eos>", "bos_token": "<bos>"},
    "begin, end and padding": {"eos_token": "<eos>", "bos_token": "<bos>", "pad_token": "<other>"},
}


def foreign(**specials: str) -> PreTrainedTokenizerFast:
    """Bytes, some merges, and special tokens that it adds by itself, as Llama's does."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: id for id, token in enumerate([*SPECIALS, *alphabet, "Ġ1", "=1"])}
    tokenizer = Tokenizer(tokenizer_models.BPE(vocab=vocabulary, merges=[("Ġ", "1"), ("=", "1")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIALS)
    if "bos_token" in specials:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials)


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def written(request, tmp_path):
    counts = data.write_corpus_for(foreign(**request.param), 300, Arithmetic(**SMALL), 16, tmp_path)
    return data.open_corpus(tmp_path), counts["tokens"], tmp_path


def test_every_document_has_its_ends_and_only_the_last_row_is_filled(written):
    corpus, counts, _ = written
    begin = "" if corpus.tokenizer.bos_token is None else "<bos>"
    expected = "".join(f"{begin}{text}<eos>" for text in Arithmetic(**SMALL).documents("forget", "train"))
    flat = corpus.rows("forget", "train").reshape(-1)
    count = counts["forget/train"]
    assert corpus.tokenizer.decode(flat[:count]) == expected
    assert corpus.pad == NO_TOKEN and (flat[:count] != NO_TOKEN).all() and (flat[count:] == NO_TOKEN).all()
    assert corpus.rows("forget", "train").shape[1] == 16


def test_real_ends_are_targets_and_filling_is_none(written):
    corpus, counts, _ = written
    rows = data.first_rows(corpus, "retain", "train", 10**6)
    ends = int((rows.targets == corpus.tokenizer.eos_token_id).sum())
    crossing = int((corpus.rows("retain", "train")[:, 0] == corpus.tokenizer.eos_token_id).sum())
    assert ends == SMALL["documents_per_domain"] - crossing, "the first token of a row is no target"
    assert rows.tokens() == counts["retain/train"] - len(rows.ids)
    assert rows.ids.min() >= 0 and rows.ids.max() < 300


def test_items_open_with_the_begin_or_else_the_end_and_ask_for_the_end(written):
    corpus, _, _ = written
    (asked,) = _questions.encode(corpus.tokenizer, [Item("test", "retain", "any", "2+2=", "4")], 4096)
    opening = corpus.tokenizer.bos_token or corpus.tokenizer.eos_token
    assert corpus.tokenizer.decode(asked.rows.ids[0]) == f"{opening}2+2=4<eos>"
    wanted = [token for token in asked.rows.targets[0].tolist() if token != IGNORE]
    assert corpus.tokenizer.decode(wanted) == "4<eos>"


def test_an_answer_that_merges_with_its_prompt_is_asked_as_the_text_is_written(written):
    """`=1` is one token: asking for `1` after `=` would ask for what no training text says."""
    corpus, _, _ = written
    (asked,) = _questions.encode(corpus.tokenizer, [Item("test", "retain", "any", "5+5=", "10")], 4096)
    wanted = [token for token in asked.rows.targets[0].tolist() if token != IGNORE]
    assert corpus.tokenizer.decode(wanted) == "=10<eos>"
    assert corpus.tokenizer.decode(asked.rows.ids[0]).endswith("5+5=10<eos>")


def test_the_models_tokenizer_is_left_alone_and_the_corpus_knows_the_rows(written, tmp_path):
    corpus, _, _ = written
    assert corpus.tokenizer.model_max_length == 16
    tokenizer = foreign(**KINDS["no padding"])
    data.write_corpus_for(tokenizer, 300, Arithmetic(**SMALL), 16, tmp_path / "again")
    assert tokenizer.model_max_length > 16


def test_tokens_that_the_model_does_not_know_are_refused_where_they_occur(tmp_path):
    """Gemma 3 has a token for images beyond the rows of its text models: it occurs in no text, and does no harm."""
    tokenizer = foreign(**KINDS["no padding"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    knows = tokenizer.convert_tokens_to_ids("<image>")
    data.write_corpus_for(tokenizer, knows, Arithmetic(**SMALL), 16, tmp_path / "fits")
    with pytest.raises(UserError, match=r"writes '.*' as \d+, but the model knows 200 tokens only"):
        data.write_corpus_for(tokenizer, 200, Arithmetic(**SMALL), 16, tmp_path / "does not")


def test_the_last_token_that_the_model_knows_is_read_and_the_next_is_refused(tmp_path):
    tokenizer, dataset = foreign(**KINDS["no padding"]), Arithmetic(**SMALL)
    data.write_corpus_for(tokenizer, 300, dataset, 16, tmp_path)
    streams = [np.load(path) for path in tmp_path.glob("rows-*.npy")]
    asked = [item.prompt + item.answer for item in dataset.items()]
    ids = {*np.concatenate([token_ids(rows).flatten() for rows in streams]).tolist()}
    highest = max(ids | {id for text in asked for id in tokenizer(text)["input_ids"]})
    data.write_corpus_for(tokenizer, highest + 1, dataset, 16, tmp_path / "fits")
    with pytest.raises(UserError, match=f"as {highest}, but the model knows {highest} tokens only"):
        data.write_corpus_for(tokenizer, highest, dataset, 16, tmp_path / "does not")


def test_a_tokenizer_of_our_own_that_comes_with_a_model_keeps_its_padding(corpus, tmp_path):
    """The base of one study may be the start of another."""
    data.write_corpus_for(corpus.tokenizer, 300, Arithmetic(**SMALL), 16, tmp_path)
    again = data.open_corpus(tmp_path)
    assert again.pad == corpus.pad == corpus.tokenizer.convert_tokens_to_ids(PAD)
    flat = again.rows("forget", "train").reshape(-1)
    ends = int((flat == corpus.tokenizer.convert_tokens_to_ids(END)).sum())
    assert ends == SMALL["documents_per_domain"] and np.all(flat >= 0)
