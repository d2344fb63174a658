"""Rows of JSON: lines of objects, a list of them, or an object that holds the list."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from undo.data.rows import SourceRow, plain_row
from undo.spec.errors import UserError

_BETWEEN = re.compile(r"[\s,]*")  # a comma after a row, as of a list that was cut into lines, changes nothing
_SPACE = re.compile(r"\s*")


class _Value(NamedTuple):
    value: Any
    line: int


def json_rows(text: str, name: str, lines: bool) -> Iterator[SourceRow]:
    """The rows of a file called `name`; `lines`: whether it says by its name that every value is a row.

    Raises UserError with the line of what is no JSON, or no row.
    """
    values = _values(text, name)
    first, second = next(values, None), next(values, None)
    if first is None:
        return
    if second is None and not lines and isinstance(first.value, dict) and text.lstrip().startswith("{"):
        yield from _inside(first.value, name)
        return
    for value in (first, second) if second else (first,):
        yield _row(value.value, f"{name}, line {value.line}")
    for value in values:
        yield _row(value.value, f"{name}, line {value.line}")


def _values(text: str, name: str) -> Iterator[_Value]:
    """What stands in a list, or one after another, with the lines that it starts on."""
    decoder = json.JSONDecoder(parse_float=str, parse_constant=_constant)  # numbers as they are written
    at = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches nothing too
    listed = text.startswith("[", at)
    line, counted = 1, 0
    at += listed
    while True:
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        line, counted = line + text.count("\n", counted, at), at
        if at == len(text) or (listed and text[at] == "]"):
            break
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}, line {line}: {_reason(error, line)}") from None
        yield _Value(value, line)
    if listed and text[at:].strip() != "]":
        what = "the list has no end (`]`)" if at == len(text) else "text after the end of the list"
        raise UserError(f"{name}, line {line}: {what}")


def _constant(text: str) -> str | None:
    """NaN is how some libraries write that there is nothing."""
    return None if text == "NaN" else text


def _reason(error: Exception, line: int) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return "this is nested too deeply" if isinstance(error, RecursionError) else "a number is too long to be read"
    where = f"column {error.colno}" if error.lineno == line else f"line {error.lineno}, column {error.colno}"
    return f"no complete JSON ({error.msg[0].lower()}{error.msg[1:]}, {where}); mend or remove it"


def _row(value: Any, place: str) -> SourceRow:
    """A text alone is a document."""
    if isinstance(value, dict):
        return SourceRow(value, place)
    if isinstance(value, str):
        return plain_row(value, place)
    raise UserError(f"{place}: a row must be an object with fields, not {_kind(value)}")


def _kind(value: Any) -> str:
    return {list: "a list", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def _inside(table: dict[str, Any], name: str) -> Iterator[SourceRow]:
    """The rows in the only list of objects that an object has, of its columns, or itself as one row."""
    lists = {key: value for key, value in table.items() if isinstance(value, list)}
    holders = [key for key, value in lists.items() if value and all(isinstance(row, dict) for row in value)]
    if len(holders) > 1:
        raise UserError(f"{name} has several lists of rows ({', '.join(holders)}); write each into a file of its own")
    if holders:
        rows = [inner for row in lists[holders[0]] for inner in _unfolded(row)]
    elif len(table) == len(lists) == 1:
        (rows,) = lists.values()
    elif len(table) == len(lists) and len({len(column) for column in lists.values()}) == 1:
        rows = [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]
    else:
        rows = [table]
    for number, row in enumerate(rows, 1):
        yield _row(row, f"{name}, row {number}")


def _unfolded(article: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The questions of an article in the form of SQuAD; any other row itself."""
    paragraphs = article.get("paragraphs")
    if not isinstance(paragraphs, list) or not all(isinstance(part, dict) and "qas" in part for part in paragraphs):
        yield article
        return
    for paragraph in paragraphs:
        for asked in paragraph["qas"]:
            yield {"context": paragraph.get("context"), **(asked if isinstance(asked, dict) else {"question": asked})}
