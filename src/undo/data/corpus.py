"""A corpus folder: the tokenizer, one packed token array per (domain, role), and the evaluation items.

tokenizer/    rows-<domain>-<role>.npy    items.jsonl
"""

import json
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np

from undo.data.dataset import DOMAINS, Dataset, Domain, Item
from undo.data.packing import pack
from undo.data.tokenizer import END, PAD, load_tokenizer, token_id, train_tokenizer

ROLES = {"train": ("retain", "forget"), "attack": DOMAINS}
"""Who reads which domains: training never sees the neutral skill, every adversary has draws of its own."""


def write_corpus(dataset: Dataset, vocab_size: int, row_tokens: int, folder: Path) -> dict[str, int]:
    """Builds the folder. Returns the number of tokens per stream."""
    texts = {(d, role): list(dataset.documents(d, role)) for role, domains in ROLES.items() for d in domains}
    # The neutral skill's words too: a token budget must buy as many neutral documents as forget ones.
    learnt = chain(*texts.values(), dataset.tokenizer_texts())
    tokenizer = train_tokenizer(learnt, vocab_size, row_tokens)
    tokenizer.save_pretrained(folder / "tokenizer")
    pad, end = token_id(tokenizer, PAD), token_id(tokenizer, END)
    counts = {}
    for (domain, role), documents in texts.items():
        encoded = [[*ids, end] for ids in tokenizer(documents, verbose=False)["input_ids"]]
        np.save(folder / f"rows-{domain}-{role}.npy", pack(encoded, row_tokens, pad))
        counts[f"{domain}/{role}"] = sum(map(len, encoded))
    with open(folder / "items.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(item._asdict()) + "\n" for item in dataset.items())
    return counts


class Corpus:
    """Reads a corpus folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = load_tokenizer(folder / "tokenizer")
        self.pad = token_id(self.tokenizer, PAD)

    def rows(self, domain: Domain, role: str) -> np.ndarray:
        """Packed token ids (rows, row_tokens), int32."""
        return np.load(self.folder / f"rows-{domain}-{role}.npy", allow_pickle=False)

    def items(self) -> list[Item]:
        """Every evaluation item."""
        with open(self.folder / "items.jsonl", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return [Item(**row | {"options": tuple(row.get("options", ()))}) for row in rows]


@cache
def open_corpus(folder: Path) -> Corpus:
    """The corpus of a folder, opened once per process."""
    return Corpus(folder)
