"""Rows of data sets of the Hugging Face hub, or of files and folders of Parquet, JSON lines, CSV or plain text."""

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from undo.data.dataset import Document, Pair
from undo.spec.base import Spec, nearest
from undo.spec.errors import UserError

READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".txt": "text"}


class Rows(Spec):
    """Where rows are."""

    path: str = Field(min_length=1)
    """A file, a folder, or the name of a data set on the hub (`owner/name`), which is read as a stream."""
    config: str | None = None
    """The data set's configuration, where it has several."""
    split: str = "train"
    """The data set's split; of a single file, all of it is read whatever the split's name."""
    limit: int | None = Field(default=20_000, ge=1)
    """Reads no more than so many rows, from the first on; None for all."""


class Source(Rows):
    """Where the texts of a domain are."""

    text_field: str = "text"
    """The field that holds the text, or the answer to a prompt."""
    prompt_field: str | None = None
    """The field that holds a prompt: it is read before the text, and never trained on. Rows without one are texts."""


@lru_cache(maxsize=8)  # every stream and every split of the items reads the same texts
def read_documents(source: Source) -> tuple[Document, ...]:
    """The source's documents, without empty and repeated ones. Raises UserError where it cannot be read."""
    documents = [_document(row, source) for row in read_rows(source)]
    return tuple(dict.fromkeys(document for document in documents if document))


def fields_of(source: Rows) -> list[str]:
    """The names of the fields of its first row, none where it has no row. Raises UserError where it cannot be read."""
    with _reading(source):
        return list(next(iter(_stream(source)), {}))


def read_rows(source: Rows) -> Iterator[dict[str, Any]]:
    """Its rows, up to its limit. Raises UserError where it cannot be read."""
    with _reading(source):
        yield from islice(_stream(source), source.limit)


def read_field(row: dict[str, Any], field: str, path: str, kind: type, what: str) -> Any:
    """A row's field of a kind, such as str, which people call `what`. Raises UserError where it is no such one."""
    if field not in row:
        raise UserError(f"'{path}' has no field '{field}'; {nearest(field, list(row))}")
    if not isinstance(row[field], kind):
        raise UserError(f"field '{field}' of '{path}' holds {type(row[field]).__name__}, not {what}")
    return row[field]


@contextmanager
def _reading(source: Rows) -> Iterator[None]:
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


def _stream(source: Rows) -> Iterable[dict[str, Any]]:
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
    text = read_field(row, source.text_field, source.path, str, "text").rstrip()
    if source.prompt_field is None:
        return text.lstrip() or None
    given = row | {source.prompt_field: ""} if row.get(source.prompt_field, "") is None else row
    prompt = read_field(given, source.prompt_field, source.path, str, "text")
    if not prompt.strip() or not text.strip():
        return text.lstrip() or None
    apart = prompt[-1].isspace() or text[0].isspace()
    return Pair(prompt, text if apart else f" {text}")
