"""Any texts: data sets of the Hugging Face hub, or files and folders of Parquet, JSON lines, CSV or plain text."""

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from undo.data.dataset import DOMAINS, Dataset, Document, Domain, Item, ItemSplit, Pair, whole
from undo.data.permutation import permuted_letters
from undo.data.shares import Shares, Split
from undo.spec.base import Spec, nearest
from undo.spec.errors import UserError

READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".txt": "text"}


class Source(Spec):
    """Where the texts of a domain are."""

    path: str = Field(min_length=1)
    """A file, a folder, or the name of a data set on the hub (`owner/name`), which is read as a stream."""
    config: str | None = None
    """The data set's configuration, where it has several."""
    split: str = "train"
    """The data set's split; of a single file, all of it is read whatever the split's name."""
    text_field: str = "text"
    """The field that holds the text, or the answer to a prompt."""
    prompt_field: str | None = None
    """The field that holds a prompt: it is read before the text, and never trained on. Rows without one are texts."""
    limit: int | None = Field(default=20_000, ge=1)
    """Reads no more than so many rows, from the first on; None for all."""


class Hub(Dataset):
    """Retain one data set, forget another one; neutral a third, or the forgotten texts under permuted letters.

    A hash of each document's opening, or of its prompt, decides who reads it; equal documents count once. Training
    reads all prompts with their answers, whoever else does: facts do not follow from each other, so that each has to be
    taught, or forgotten, itself. Adversary and questions share none.
    """

    evaluation: ClassVar[str] = "cross_entropy"
    licence: ClassVar[str] = "that of the data sets"

    retain: Source
    """Texts to keep."""
    forget: Source
    """Texts to forget."""
    neutral: Source | None = None
    """Texts like the forgotten ones that no model reads; None for the forgotten ones with their letters permuted."""
    shares: Shares = Shares()
    """Whose document is whose."""
    item_chars: int = Field(default=400, ge=20)
    """Items are the first so many characters of a document; what exceeds the model's context is not asked."""
    test_items: int = Field(default=400, ge=1)
    """Items per domain on the test split, if there are so many."""
    valid_items: int = Field(default=100, ge=1)
    """Items per domain on the validation split, if there are so many."""
    draw: int = 0
    """Seed of the split and of the permutation; the same for every seed of a study."""

    def documents(self, domain: Domain, role: Split) -> Iterator[Document]:  # type: ignore[override]
        """The documents that belong to the role, in the order in which they were read."""
        yield from self._documents(domain, role)

    def items(self) -> Iterator[Item]:
        """Answers to prompts, and openings of documents, to predict."""
        limits: dict[ItemSplit, int] = {"valid": self.valid_items, "test": self.test_items}
        for domain in DOMAINS:
            for split, limit in limits.items():
                asked = {self._asked(document): document for document in self._documents(domain, split)}
                for (prompt, answer), document in islice(asked.items(), limit):
                    ends = len(prompt) + len(answer) == len(whole(document))
                    yield Item(split, domain, domain, prompt=prompt, answer=answer, ends=ends)

    def tokenizer_texts(self) -> Iterator[str]:
        """As much neutral text as forget text: their tokens then hold equally much."""
        yield from map(whole, self._documents("neutral", "train"))

    def sources(self) -> dict[str, Path]:
        """Those of the data sets that lie on this machine."""
        named = {"retain": self.retain, "forget": self.forget, "neutral": self.neutral}
        paths = {name: Path(source.path).expanduser() for name, source in named.items() if source}
        return {name: path for name, path in paths.items() if path.exists()}

    def guide(self) -> str:
        """The names of the data sets; of a file or folder only the last part."""
        kept, forgotten = (source.path.rstrip("/").rsplit("/", 1)[-1] for source in (self.retain, self.forget))
        return f"The beginning of a text. Kept: texts like those of {kept}. Forgotten: texts like those of {forgotten}."

    def _asked(self, document: Document) -> tuple[str, str]:
        """What is given and what is asked for."""
        prompt, answer = ("", document) if isinstance(document, str) else document
        opening = answer[: self.item_chars]
        return prompt, opening.rstrip() if prompt else opening.strip()

    def _documents(self, domain: Domain, role: str) -> list[Document]:
        given = {"retain": self.retain, "forget": self.forget, "neutral": self.neutral}[domain]
        source: Any = given or self.forget  # Any: frozen models are hashable, but their type does not say so
        documents = [found for found in read_documents(source) if self._has(found, role)]
        if not documents:
            held = f"'{source.path}' has no document for {domain} {role}: it holds {len(read_documents(source))}"
            raise UserError(f"{held}, which chance gave to others; give more, or raise its limit or the share")
        table = {} if given else permuted_letters(map(whole, read_documents(source)), self.draw)
        return [_translated(document, table) for document in documents]

    def _has(self, document: Document, role: str) -> bool:
        """Whether a document is the role's: all answers to a prompt have one reader besides training."""
        if isinstance(document, str):
            return self.shares.split(self.draw, document[: self.item_chars]) == role
        return role in ("train", self.shares.split(self.draw, document.prompt[: self.item_chars]))


@lru_cache(maxsize=8)  # every stream and every split of the items reads the same texts
def read_documents(source: Source) -> tuple[Document, ...]:
    """The source's documents, without empty and repeated ones. Raises UserError where it cannot be read."""
    with _reading(source):
        documents = [_document(row, source) for row in islice(_rows(source), source.limit)]
    return tuple(dict.fromkeys(document for document in documents if document))


def fields_of(source: Source) -> list[str]:
    """The names of the fields of its first row, none where it has no row. Raises UserError where it cannot be read."""
    with _reading(source):
        return list(next(iter(_rows(source)), {}))


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    """What goes wrong while reading is one clear line."""
    if importlib.util.find_spec("datasets") is None:
        raise UserError("this setting reads through the package 'datasets'; install it: pip install 'undo-llm[hub]'")
    try:
        yield
    except (OSError, ValueError) as error:  # what the library raises for names, splits and files that it cannot find
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"cannot read '{source.path}': {reason}; it must be a file, a folder or a data set of the hub"
        ) from error


def _rows(source: Source) -> Iterable[dict[str, Any]]:
    from datasets import load_dataset

    path = Path(source.path).expanduser()
    if path.is_dir():
        return load_dataset(str(path), source.config, split=source.split, streaming=True)
    if path.suffix in READERS or path.is_absolute() or source.path.startswith("."):
        files = {source.split: str(path)}
        return load_dataset(READERS.get(path.suffix, "text"), data_files=files, split=source.split, streaming=True)
    return load_dataset(source.path, source.config, split=source.split, streaming=True)


def _document(row: dict[str, Any], source: Source) -> Document | None:
    """A row's document, None where it is empty. A space parts prompt and answer where nothing else does."""
    text = _text(row, source.text_field, source.path).rstrip()
    if source.prompt_field is None:
        return text.lstrip() or None
    prompt = _text(row, source.prompt_field, source.path)
    if not prompt.strip() or not text.strip():
        return text.lstrip() or None
    apart = prompt[-1].isspace() or text[0].isspace()
    return Pair(prompt, text if apart else f" {text}")


def _text(row: dict[str, Any], field: str, path: str) -> str:
    if field not in row:
        raise UserError(f"'{path}' has no field '{field}'; {nearest(field, list(row))}")
    text = row[field]
    if not isinstance(text, str):
        raise UserError(f"field '{field}' of '{path}' holds {type(text).__name__}, not text")
    return text


def _translated(document: Document, table: dict[int, str]) -> Document:
    if isinstance(document, str):
        return document.translate(table)
    return Pair(*(part.translate(table) for part in document))
