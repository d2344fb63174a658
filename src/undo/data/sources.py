"""Where texts come from: files and folders of this machine, and data sets of the Hugging Face hub."""

import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from undo.data.dataset import Document
from undo.data.files import SPLITS, SUFFIXES, local_rows, stamp_of
from undo.data.forms import Form, document_of, parts_of
from undo.data.rows import SourceRow
from undo.spec.base import Spec, nearest
from undo.spec.errors import UserError

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


class Location(Spec):
    """Where rows are read from."""

    path: str = Field(min_length=1)
    """A file, a folder, or the name of a dataset on the hub (`owner/name`), which is streamed."""
    config: str | None = None
    """The configuration, if a dataset on the hub has several, or a folder whose README lists some."""
    split: str | None = SPLITS[0]
    """The split to read, of a dataset on the hub or of a folder whose files are named by splits; null for all files."""
    revision: str | None = None
    """Branch, tag or commit of a dataset on the hub; null for the newest."""
    limit: int | None = Field(default=20_000, ge=1)
    """Largest number of rows to read, from the first on; null for all."""

    def local(self) -> Path | None:
        """Its place on this machine, None where there is nothing of that name."""
        path = Path(self.path).expanduser()
        try:
            return path if path.exists() else None
        except OSError:  # a name that is too long, or a folder that may not be looked into
            return None


class Source(Location, Form):
    """Where the texts of a domain are, and which fields hold them."""


class Reading(NamedTuple):
    """What was read of a source.

    `owners`: its documents in their order, each with what decides who reads it; `first`: the first row that had one;
    `rows`: how many there were; `empty`: the places of those without a text; `units`: what the documents were in their
    files; `remarks`: what was chosen within rows, how often, and where first; `fields`: the names of all fields.
    """

    owners: dict[Document, str]
    rows: int
    repeated: int
    empty: list[str]
    units: Counter[str]
    remarks: dict[str, tuple[int, str]]
    fields: list[str]


def read_source(source: Source) -> Reading:
    """Reads a source to its limit, once for as long as its files stay as they are.

    Empty and repeated documents are left out. Raises UserError where something cannot be read.
    """
    place = source.local()
    key: Any = source  # frozen models are hashable, but their type does not say so
    return _read(key, stamp_of(place) if place else None)


def read_documents(source: Source) -> tuple[Document, ...]:
    """The source's documents, without empty and repeated ones. Raises UserError where it cannot be read."""
    return tuple(read_source(source).owners)


def fields_of(source: Location) -> list[str]:
    """The names of the fields of its rows, none where all are texts; of a data set of the hub those of its first row.

    Raises UserError where it cannot be read.
    """
    rows = read_rows(source) if source.local() else islice(read_rows(source), 1)
    return list(dict.fromkeys(name for row in rows if not row.plain for name in row.fields))


def read_rows(source: Location) -> Iterator[SourceRow]:
    """Its rows, up to its limit. Raises UserError where it cannot be read."""
    place = source.local()
    if place is None:
        _refuse_missing(source.path)
        return islice(_hub_rows(source), source.limit)
    if not (place.is_file() or place.is_dir()):
        raise UserError(
            f"'{source.path}' is neither a file nor a folder: it is read several times; write it into a file"
        )
    if source.revision is not None:
        raise UserError(f"'{source.path}' is on this machine and has no revision '{source.revision}'; leave it out")
    return islice(local_rows(place, source.split, source.config), source.limit)


@lru_cache(maxsize=8)  # every stream and every split of the items reads the same texts
def _read(source: Source, stamp: Any) -> Reading:
    found = Reading({}, 0, 0, [], Counter(), {}, [])
    rows, repeated, fields, structured = 0, 0, {}, None
    for row in read_rows(source):
        rows += 1
        if not row.plain:
            structured = structured or row
            fields |= dict.fromkeys(row.fields)
        made = document_of(row, source)
        if made.document is None:
            found.empty.append(row.place)
            continue
        for remark in made.remarks:
            count, place = found.remarks.get(remark, (0, row.place))
            found.remarks[remark] = (count + 1, place)
        repeated += made.document in found.owners
        found.units[row.unit] += made.document not in found.owners
        found.owners.setdefault(made.document, made.owner)
    _refuse_unknown(source, structured, list(fields))
    return found._replace(rows=rows, repeated=repeated, fields=list(fields))


def _refuse_unknown(source: Source, row: SourceRow | None, fields: list[str]) -> None:
    """A prompt's field may be missing in a row, but not in all."""
    if row is None or source.prompt_field is None:
        return
    for name in parts_of(source.prompt_field, fields):
        if name.partition(".")[0] not in fields:
            raise UserError(f"'{source.path}' has no field '{name}'; {nearest(name, fields)}")


def _refuse_missing(path: str) -> None:
    """What is not here is asked of the hub only where it may be there."""
    given = Path(path).expanduser()
    here = path.startswith((".", "~", "/")) or given.is_absolute() or not HUB_NAME.fullmatch(path)
    named = given.suffix.lower() in SUFFIXES or path.endswith("/")
    parent = given.parent if given.parent != Path() else Path(".")
    beside = "/" in path and parent.is_dir()
    if not (here or named or beside):
        return
    names = [file.name for file in parent.iterdir()] if parent.is_dir() else []
    hint = f"; {nearest(given.name, names)}" if names and "did you" in nearest(given.name, names) else ""
    raise UserError(f"cannot read '{path}': there is no such file or folder{hint}")


def _hub_rows(source: Location) -> Iterator[SourceRow]:
    """The rows of a data set of the hub. Whatever goes wrong there or on the way is one clear line."""
    if importlib.util.find_spec("datasets") is None:
        raise UserError(
            f"there is no file '{source.path}', and data sets of the hub are read through the package 'datasets'; "
            "install it: pip install 'undo-llm[hub]'"
        )
    from datasets import load_dataset

    version: dict[str, Any] = {"revision": source.revision} if source.revision else {}
    split = source.split or SPLITS[0]
    try:
        rows: Any = load_dataset(source.path, source.config, split=split, streaming=True, **version)
        for number, fields in enumerate(rows, 1):
            yield SourceRow(fields, f"{source.path}, row {number}")
    except Exception as error:  # a network's, a server's, a library's: there is no list of them
        reason = " ".join(str(error).split())[:400] or type(error).__name__
        named = "name configuration and split as owner/name:configuration/split"
        raise UserError(
            f"there is no file '{source.path}', and the data set cannot be read from the hub: {reason}; {named}"
        ) from error
