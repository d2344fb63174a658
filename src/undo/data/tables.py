"""Rows of tables: CSV and TSV by the standard library; Parquet, Arrow and saved data sets by pyarrow."""

import csv
import importlib.util
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from undo.data.rows import SourceRow
from undo.spec.base import nearest
from undo.spec.errors import UserError


def csv_rows(text: str, name: str, separator: str) -> Iterator[SourceRow]:
    """The rows of a CSV file, whose first line names the fields; an empty cell is text without a letter.

    Semicolons part the cells where the first line has no comma, as some spreadsheets write them. Raises UserError with
    the line of what is no row.
    """
    if not text.strip():
        return
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    head = text.split("\n", 1)[0]
    found = ";" if separator == "," and "," not in head and ";" in head else separator
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=found, strict=True)
    try:
        names = next(reader, [])
        if len(set(names)) < len(names):
            raise UserError(f"{name}, line 1: two fields have one name; name each differently")
        for cells in reader:
            if len(cells) > len(names):
                many = f"{len(cells)} cells, but line 1 names {len(names)} fields"
                raise UserError(f"{name}, line {reader.line_num}: {many}; put cells that hold a '{found}' in quotes")
            if cells:
                padded = cells + [None] * (len(names) - len(cells))
                yield SourceRow(dict(zip(names, padded, strict=True)), f"{name}, line {reader.line_num}")
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}; close its quotes, or double those inside") from None


def parquet_rows(file: Any, name: str) -> Iterator[SourceRow]:
    """The rows of a Parquet file (a path, or an open one). Raises UserError where it is none."""
    arrow = _pyarrow(name)
    try:
        batches = arrow.parquet.ParquetFile(file).iter_batches(batch_size=1024)
        yield from _numbered((batch.to_pylist() for batch in batches), name)
    except (OSError, ValueError, OverflowError, arrow.ArrowException) as error:
        raise _unreadable(name, "Parquet", error) from None


def arrow_rows(file: Any, name: str) -> Iterator[SourceRow]:
    """The rows of an Arrow file or stream (a path, or an open one). Raises UserError where it is none."""
    arrow = _pyarrow(name)
    try:
        content = arrow.BufferReader(file.read()) if hasattr(file, "read") else arrow.memory_map(str(file))
        try:
            table = arrow.ipc.open_stream(content).read_all()
        except arrow.ArrowInvalid:
            content.seek(0)
            table = arrow.ipc.open_file(content).read_all()
        yield from _numbered((batch.to_pylist() for batch in table.to_batches(1024)), name)
    except (OSError, ValueError, OverflowError, arrow.ArrowException) as error:
        raise _unreadable(name, "Arrow", error) from None


def is_saved(folder: Path) -> bool:
    """Whether a folder is what `save_to_disk` of the datasets library writes."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def splits_of(folder: Path) -> list[str]:
    """The splits of a saved data set that has several."""
    listed = folder / "dataset_dict.json"
    return [Path(str(part)).name for part in _described(listed, "splits")] if listed.is_file() else []


def saved_rows(folder: Path, split: str | None) -> Iterator[SourceRow]:
    """The rows of a data set that `save_to_disk` wrote; without a split those of all splits.

    Raises UserError where there is no such split, or what the folder names is not there.
    """
    parts = splits_of(folder)
    if parts and split is not None and split not in parts:
        raise UserError(f"'{folder}' has no split '{split}'; {nearest(split, parts)}")
    chosen = [split] if split and parts else parts
    for part in [folder / name for name in chosen] or [folder]:
        for given in _described(part / "state.json", "_data_files"):
            file = part / Path(str(given.get("filename") if isinstance(given, dict) else given)).name
            yield from arrow_rows(file, f"{folder.name}/{file.relative_to(folder).as_posix()}")


def _described(file: Path, key: str) -> list[Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise UserError(f"'{file}' does not say what `save_to_disk` wrote; save the data set again, as Parquet")
    return found


def _numbered(batches: Iterator[list[dict[str, Any]]], name: str) -> Iterator[SourceRow]:
    number = 0
    for batch in batches:
        for fields in batch:
            number += 1
            yield SourceRow(fields, f"{name}, row {number}")


def _pyarrow(name: str) -> Any:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(f"{name} is read through the package 'pyarrow'; install it: pip install 'undo-llm[hub]'")
    import pyarrow
    import pyarrow.ipc
    import pyarrow.parquet

    return pyarrow


def _unreadable(name: str, kind: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{name} is no {kind} file that can be read: {reason}")
