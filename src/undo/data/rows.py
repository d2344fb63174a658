"""A row of a file or of a data set, with the place that errors name."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from undo.spec.base import nearest
from undo.spec.errors import UserError

Fields = Mapping[str, Any]
"""What a row holds, by the names of its fields."""


class SourceRow(NamedTuple):
    """One row. `plain` ones are documents by themselves, of a file of text, whatever fields are asked for.

    `place` is what errors name, such as `facts.jsonl, line 7`; `unit` is what it was in its file (row, line,
    paragraph); `owner` is a key of the file where all of its rows have one reader, otherwise empty.
    """

    fields: Fields
    place: str
    plain: bool = False
    unit: str = "row"
    owner: str = ""


def plain_row(text: str, place: str) -> SourceRow:
    """A row that is a document."""
    return SourceRow({"text": text}, place, plain=True)


def read_field(row: SourceRow, field: str, kind: type, what: str) -> Any:
    """A row's field of a kind, such as str, which people call `what`. Raises UserError where it is no such one."""
    value = find_field(row, field)
    if not isinstance(value, kind):
        raise UserError(f"{row.place}: field '{field}' holds {type(value).__name__}, not {what}")
    return value


def find_field(row: SourceRow, field: str) -> Any:
    """A row's field; `answers.text` is a field of the field `answers`. Raises UserError where there is none."""
    if field in row.fields:
        return row.fields[field]
    first, _, rest = field.partition(".")
    inner = row.fields.get(first)
    if rest and isinstance(inner, Mapping):
        return find_field(row._replace(fields=inner), rest)
    known = [str(name) for name in (inner if rest and isinstance(inner, Mapping) else row.fields)]
    hint = nearest(field, known) if known else "it has no field at all"
    raise UserError(f"{row.place} has no field '{field}'; {hint}")
