"""Any texts: data sets of the Hugging Face hub, or files and folders of Parquet, JSON lines, CSV or plain text."""

import importlib.util
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from undo.data.dataset import DOMAINS, Dataset, Domain, Item, ItemSplit
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
    """The field that holds the text."""
    limit: int | None = Field(default=20_000, ge=1)
    """Reads no more than so many rows, from the first on; None for all."""


class Hub(Dataset):
    """Retain one data set, forget another one; neutral a third, or the forgotten texts under permuted letters.

    A hash of each document's opening decides who reads it; equal documents count once.
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

    def documents(self, domain: Domain, role: Split) -> Iterator[str]:  # type: ignore[override]
        """The documents that belong to the role, in the order in which they were read."""
        yield from self._texts(domain, role)

    def items(self) -> Iterator[Item]:
        """Openings of documents to predict."""
        limits: dict[ItemSplit, int] = {"valid": self.valid_items, "test": self.test_items}
        for domain in DOMAINS:
            for split, limit in limits.items():
                openings = {text[: self.item_chars].strip(): text for text in self._texts(domain, split)}
                for opening, text in islice(openings.items(), limit):
                    yield Item(split, domain, domain, prompt="", answer=opening, ends=len(opening) == len(text))

    def tokenizer_texts(self) -> Iterator[str]:
        """As much neutral text as forget text: their tokens then hold equally much."""
        yield from self._texts("neutral", "train")

    def guide(self) -> str:
        """The names of the data sets; of a file or folder only the last part."""
        kept, forgotten = (source.path.rstrip("/").rsplit("/", 1)[-1] for source in (self.retain, self.forget))
        return f"The beginning of a text. Kept: texts like those of {kept}. Forgotten: texts like those of {forgotten}."

    def _texts(self, domain: Domain, role: str) -> list[str]:
        given = {"retain": self.retain, "forget": self.forget, "neutral": self.neutral}[domain]
        source: Any = given or self.forget  # Any: frozen models are hashable, but their type does not say so
        texts = [text for text in _read(source) if self.shares.split(self.draw, text[: self.item_chars]) == role]
        if not texts:
            held = f"'{source.path}' has no document for {domain} {role}: it holds {len(_read(source))}"
            raise UserError(f"{held}, which chance gave to others; give more, or raise its limit or the share")
        table = {} if given else permuted_letters(_read(source), self.draw)
        return [text.translate(table) for text in texts]


@lru_cache(maxsize=8)  # every stream and every split of the items reads the same texts
def _read(source: Source) -> tuple[str, ...]:
    """The source's texts, without empty and repeated ones."""
    if importlib.util.find_spec("datasets") is None:
        raise UserError("this setting reads through the package 'datasets'; install it: pip install 'undo-llm[hub]'")
    try:
        texts = [_text(row, source) for row in islice(_rows(source), source.limit)]
    except (OSError, ValueError) as error:  # what the library raises for names, splits and files that it cannot find
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"cannot read '{source.path}': {reason}; it must be a file, a folder or a data set of the hub"
        ) from error
    return tuple(dict.fromkeys(text for text in texts if text))


def _rows(source: Source) -> Iterable[dict[str, Any]]:
    from datasets import load_dataset

    path = Path(source.path).expanduser()
    if path.is_dir():
        return load_dataset(str(path), source.config, split=source.split, streaming=True)
    if path.suffix in READERS or path.is_absolute() or source.path.startswith("."):
        files = {source.split: str(path)}
        return load_dataset(READERS.get(path.suffix, "text"), data_files=files, split=source.split, streaming=True)
    return load_dataset(source.path, source.config, split=source.split, streaming=True)


def _text(row: dict[str, Any], source: Source) -> str:
    if source.text_field not in row:
        hint = nearest(source.text_field, list(row))
        raise UserError(f"'{source.path}' has no field '{source.text_field}'; {hint}")
    text = row[source.text_field]
    if not isinstance(text, str):
        raise UserError(f"field '{source.text_field}' of '{source.path}' holds {type(text).__name__}, not text")
    return text.strip()
