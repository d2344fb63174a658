"""What datasets of given texts share: whose document is whose."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from undo.data.dataset import Dataset, Document, Domain, PromptAndAnswer, whole
from undo.data.neutral import ciphered, deranged
from undo.data.shares import Shares, Split
from undo.data.sources import Location, Source, read_documents, read_source
from undo.spec.errors import UserError


class Texts(Dataset):
    """Documents of data sets. A hash of each one's opening, of its prompt, or of its file's name in a folder of many
    files of text, decides who reads it.

    Training reads all prompts with their answers, whoever else does: facts do not follow from each other, so that each
    has to be taught, or forgotten, itself. Adversary and questions share none.
    """

    licence: ClassVar[str] = "that of the data sets"

    retain: Source
    """Texts to keep."""
    forget: Source
    """Texts to forget."""
    neutral: Source | None = None
    """Texts like the forgotten ones that no model is trained on, for the control; null makes them of the forgotten
    ones (prompts get each other's answers, documents get letters and digits exchanged)."""
    shares: Shares = Shares()
    """Shares of the documents that the adversary, validation and test get; training gets the rest."""
    item_chars: int = Field(default=400, ge=20)
    """Characters of a document that make an item, from its start; what exceeds the model's context is not scored."""
    test_items: int = Field(default=400, ge=1)
    """Largest number of items per domain on the test split."""
    valid_items: int = Field(default=100, ge=1)
    """Largest number of items per domain on the validation split."""
    data_seed: int = 0
    """Seed of the split into readers and of the neutral texts; the same for all seeds of a study."""

    def documents(self, domain: Domain, role: Split) -> Iterator[Document]:  # type: ignore[override]
        """The documents that belong to the role, in the order in which they were read."""
        found = self._documents(domain, role)
        if not found:  # only of what is made of others
            told = f"'{self.forget.path}': its answers for {role} are all alike, or it has nothing but signs"
            raise UserError(f"{told}, so what a model knows cannot be told from the form; give prompts that differ")
        yield from found

    def tokenizer_texts(self) -> Iterator[str]:
        """As much neutral text as forget text: their tokens then hold equally much."""
        yield from map(whole, self._documents("neutral", "train"))

    def sources(self) -> dict[str, Path]:
        """Those of the data sets that lie on this machine."""
        paths = {f"{name}.path": value.local() for name, value in self if isinstance(value, Location)}
        return {name: path for name, path in paths.items() if path}

    def _documents(self, domain: Domain, role: str) -> list[Document]:
        if domain == "neutral" and self.neutral is None:
            return self._unknown_to_all(role)
        source: Any = {"retain": self.retain, "forget": self.forget, "neutral": self.neutral}[domain]
        # Any: frozen models are hashable, but their type does not say so
        documents = [found for found, owner in read_source(source).owners.items() if self._has(found, owner, role)]
        if not documents:
            held = f"'{source.path}' has no document for {domain} {role}: it holds {len(read_documents(source))}"
            raise UserError(f"{held}, which chance gave to others; give more, or raise its limit or the share")
        return documents

    def _unknown_to_all(self, role: str) -> list[Document]:
        """Of prompts the same ones with each other's answers; of documents a cipher."""
        source: Any = self.forget
        given, all_documents = self._documents("forget", role), read_documents(source)
        pairs = deranged([document for document in given if isinstance(document, PromptAndAnswer)], self.data_seed)
        texts = [document for document in given if not isinstance(document, PromptAndAnswer)]
        return [*pairs, *ciphered(texts, all_documents, self.data_seed)]

    def _has(self, document: Document, owner: str, role: str) -> bool:
        """Whether a document is the role's: what has one owner has one reader, answers besides training."""
        reader = self.shares.split(self.data_seed, owner[: self.item_chars])
        return role == reader or (role == "train" and not isinstance(document, str))
