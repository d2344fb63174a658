"""Any texts: files and folders (docs/data-formats.md), or data sets of the Hugging Face hub."""

from collections.abc import Iterator
from itertools import islice
from typing import ClassVar

from undo.data.dataset import DOMAINS, Document, Item, ItemSplit
from undo.data.datasets._texts import Texts


class Hub(Texts):
    """Retain one data set, forget another one; neutral a third, or what no model knows, made of the forgotten texts.

    A hash of each document's opening, of its prompt, or in a folder of many files of text of its file's name decides
    who reads it; equal documents count once. Training reads all prompts with their answers, whoever else does: facts do
    not follow from each other, so that each has to be taught, or forgotten, itself. Adversary and questions share none.
    """

    evaluation: ClassVar[str] = "cross_entropy"
    version: int = 2
    """1 asked for the end of a text too."""

    def items(self) -> Iterator[Item]:
        """Answers to prompts, and openings of documents, to predict.

        Not their ends: a given model may never end a text there, and an attack that taught it the form alone would seem
        to bring back what it knew.
        """
        limits: dict[ItemSplit, int] = {"valid": self.valid_items, "test": self.test_items}
        for domain in DOMAINS:
            for split, limit in limits.items():
                asked = dict.fromkeys(map(self._asked, self._documents(domain, split)))
                for prompt, answer in islice(asked, limit):
                    yield Item(split, domain, domain, prompt=prompt, answer=answer, ends=False)

    def guide(self) -> str:
        """The names of the data sets; of a file or folder only the last part."""
        kept, forgotten = (source.path.rstrip("/").rsplit("/", 1)[-1] for source in (self.retain, self.forget))
        return f"The beginning of a text. Kept: texts like those of {kept}. Forgotten: texts like those of {forgotten}."

    def _asked(self, document: Document) -> tuple[str, str]:
        """What is given and what is asked for."""
        prompt, answer = ("", document) if isinstance(document, str) else document
        opening = answer[: self.item_chars]
        return prompt, opening.rstrip() if prompt else opening.strip()
