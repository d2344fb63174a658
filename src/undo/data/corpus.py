"""A corpus folder: the tokenizer, one packed token array per (domain, role), and the evaluation items.

tokenizer/    rows-<domain>-<role>.npy    items.jsonl
"""

import copy
import json
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from undo.data.dataset import DOMAINS, Dataset, Document, Domain, Item, PromptAndAnswer, whole
from undo.data.packing import as_prompt, pack, token_ids
from undo.data.tokenizer import encode_texts, load_tokenizer, opening_id, row_padding, same_opening, train_tokenizer
from undo.spec.errors import UserError

ROLES = {"train": ("retain", "forget"), "attack": DOMAINS}
"""Who reads which domains: training never sees the neutral skill, every adversary has draws of its own."""
Texts = dict[tuple[Domain, str], list[Document]]
"""Documents by domain and role."""
Counts = dict[str, dict[str, int]]
"""`tokens` and `rows` by stream, such as `forget/train`."""


def write_corpus(dataset: Dataset, vocab_size: int, row_tokens: int, folder: Path) -> Counts:
    """Builds the folder with a tokenizer that learns the texts. Returns tokens and rows per stream."""
    texts = _texts(dataset)
    # The neutral skill's words too: a token budget must buy as many neutral documents as forget ones.
    learnt = chain(map(whole, chain(*texts.values())), dataset.tokenizer_texts())
    return _write(dataset, texts, train_tokenizer(learnt, vocab_size, row_tokens), folder)


def write_corpus_for(
    tokenizer: PreTrainedTokenizerBase, vocabulary: int, dataset: Dataset, row_tokens: int, folder: Path
) -> Counts:
    """Builds the folder with a model's own tokenizer; `vocabulary` is the number of tokens that the model knows.

    Returns the numbers of tokens and of rows per stream. Raises UserError where a text has a token that the model does
    not know.
    """
    texts, tokenizer = _texts(dataset), copy.deepcopy(tokenizer)
    tokenizer.model_max_length = row_tokens
    asked = [item.prompt + answer for item in dataset.items() for answer in (item.answer, *item.options)]
    written = [*map(whole, chain(*texts.values())), *asked]
    highest = max(max(ids) for ids in _closed(tokenizer, written))
    if highest >= vocabulary:
        token = tokenizer.convert_ids_to_tokens(highest)
        raise UserError(f"the tokenizer writes {token!r} as {highest}, but the model knows {vocabulary} tokens only")
    return _write(dataset, texts, tokenizer, folder)


def _texts(dataset: Dataset) -> Texts:
    return {(d, role): list(dataset.documents(d, role)) for role, domains in ROLES.items() for d in domains}


def _write(dataset: Dataset, texts: Texts, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Counts:
    tokenizer.save_pretrained(folder / "tokenizer")
    counts: Counts = {"tokens": {}, "rows": {}}
    for (domain, role), documents in texts.items():
        encoded = _closed(tokenizer, documents)
        rows = pack(encoded, tokenizer.model_max_length, row_padding(tokenizer))
        np.save(folder / f"rows-{domain}-{role}.npy", rows)
        counts["tokens"][f"{domain}/{role}"] = sum(map(len, encoded))
        counts["rows"][f"{domain}/{role}"] = len(rows)
    with open(folder / "items.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(item._asdict()) + "\n" for item in dataset.items())
    return counts


def _closed(tokenizer: PreTrainedTokenizerBase, documents: Sequence[Document]) -> list[list[int]]:
    """The documents' tokens, each with its end, and with its beginning where that is another token."""
    opening, end = opening_id(tokenizer), tokenizer.eos_token_id
    begin = [] if opening == end else [opening]
    assert isinstance(end, int)
    return [[*begin, *ids, end] for ids in _encoded(tokenizer, documents)]


def _encoded(tokenizer: PreTrainedTokenizerBase, documents: Sequence[Document]) -> list[list[int]]:
    """The documents' own tokens, those of prompts marked as such."""
    encoded = encode_texts(tokenizer, [whole(document) for document in documents])
    prompts = encode_texts(
        tokenizer, [document.prompt for document in documents if isinstance(document, PromptAndAnswer)]
    )
    starts = iter(prompts)
    for ids, document in zip(encoded, documents, strict=True):
        if isinstance(document, PromptAndAnswer):
            start = same_opening(next(starts), ids)
            ids[:start] = as_prompt(ids[:start])
    return encoded


class Corpus:
    """Reads a corpus folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = load_tokenizer(folder / "tokenizer")
        self.pad = row_padding(self.tokenizer)

    def rows(self, domain: Domain, role: str) -> np.ndarray:
        """Packed token ids (rows, row_tokens), int32, prompts marked; `pad` fills the end of the last row."""
        return np.load(self.folder / f"rows-{domain}-{role}.npy", allow_pickle=False)

    def pack(self, documents: list[str]) -> np.ndarray:
        """Texts of one's own as packed rows like those of the corpus."""
        return pack(_closed(self.tokenizer, documents), self.tokenizer.model_max_length, self.pad)

    def texts(self, domain: Domain, role: str) -> list[str]:
        """The documents of a stream as text again, as the tokenizer decodes them."""
        flat = token_ids(self.rows(domain, role)).flatten()
        ends = np.flatnonzero(flat == self.tokenizer.eos_token_id)
        opening = opening_id(self.tokenizer)
        documents = [ids[ids != opening] for ids in np.split(flat, ends + 1)[:-1]]
        return [str(self.tokenizer.decode(ids.tolist(), skip_special_tokens=True)) for ids in documents]

    def swaps_answers(self) -> bool:
        """Whether its neutral test items are prompts of its forget items with each other's answers."""
        tested = [item for item in self.items() if item.split == "test"]
        forget, neutral = ({i.prompt for i in tested if i.domain == domain} for domain in ("forget", "neutral"))
        return bool(neutral) and "" not in neutral and neutral <= forget

    def items(self) -> list[Item]:
        """Every evaluation item."""
        with open(self.folder / "items.jsonl", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return [Item(**row | {"options": tuple(row.get("options", ()))}) for row in rows]


@cache
def open_corpus(folder: Path) -> Corpus:
    """The corpus of a folder, opened once per process."""
    return Corpus(folder)
