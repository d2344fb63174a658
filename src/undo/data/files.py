"""Rows of files and folders of this machine: what a file is, is known by its name; nothing is asked of the hub."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from undo.data.json_files import json_rows
from undo.data.plain_text import documents_in
from undo.data.rows import SourceRow, plain_row
from undo.data.tables import arrow_rows, csv_rows, is_saved, parquet_rows, saved_rows
from undo.spec.base import nearest
from undo.spec.errors import UserError
from undo.spec.keys import content_key

OPENERS: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
JSON = {".json": False, ".jsonl": True, ".ndjson": True}
"""Whether every value in it is a row."""
SEPARATED = {".csv": ",", ".tsv": "\t"}
BINARY: Mapping[str, Callable[[Any, str], Iterator[SourceRow]]] = {
    ".parquet": parquet_rows,
    ".arrow": arrow_rows,
    ".feather": arrow_rows,
}
TEXT = (".txt", ".text", ".md", ".markdown", ".rst")
UNREAD = {
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".zst", ".lz4"), "unpack it first"),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub", ".html", ".htm"), "save it as plain text"),
    **dict.fromkeys((".xls", ".xlsx", ".ods"), "save it as CSV"),
    **dict.fromkeys((".yaml", ".yml", ".xml", ".toml", ".pkl", ".pickle", ".pt", ".npy", ".npz"), "write JSON lines"),
    **dict.fromkeys((".h5", ".hdf5", ".db", ".sqlite", ".orc", ".avro", ".tfrecord"), "write Parquet or JSON lines"),
}
"""Files that hold more than text, and what to do with them."""
SUFFIXES = (*OPENERS, *JSON, *SEPARATED, *BINARY, *TEXT, *UNREAD)
SPLITS = ("train", "test", "validation", "valid", "val", "dev")
"""Words in the names of files that name a split, as data sets of the hub have them."""
BESIDES = ("readme", "license", "licence", "dataset_infos.json", "dataset_info.json")
"""How the names of files begin, in small letters, that lie in a folder of texts and are none."""
ENOUGH_FILES = 30
"""So many files of text in a folder are divided among the readers as they are; fewer by their documents."""


def local_rows(path: Path, split: str | None = None, config: str | None = None) -> Iterator[SourceRow]:
    """The rows of a file, or of every file of a folder in the order of their names.

    `split` names the files of a folder that are read, as `train-00000.parquet`, and `config` those of a configuration
    that the folder's README lists; None for all. A file of text in a folder of many has one reader. Raises UserError
    where something cannot be read, with its line.
    """
    if config is not None and (not path.is_dir() or is_saved(path)):
        raise UserError(f"'{path}' has no configuration '{config}'; leave it out")
    if path.is_dir() and is_saved(path):
        yield from saved_rows(path, split)
        return
    if not path.is_dir():
        yield from _file_rows(path, path.name)
        return
    files = files_of(path, split, config)
    whole = sum(_kind(file) == "text" for file in files) >= ENOUGH_FILES
    for file in files:
        name = file.relative_to(path).as_posix()
        owner = content_key(name) if whole and _kind(file) == "text" else ""
        for row in _file_rows(file, f"{path.name}/{name}"):
            yield row._replace(owner=owner)


def files_of(path: Path, split: str | None = None, config: str | None = None) -> list[Path]:
    """The files of a folder that are read. Raises UserError where there is none."""
    if config is not None:
        return _listed_files(path, config, split or SPLITS[0])
    inside = sorted(file for file in path.rglob("*") if file.is_file() and not _is_beside(file.relative_to(path)))
    if not inside:
        kinds = ", ".join((*TEXT, *JSON, *SEPARATED, *BINARY))
        raise UserError(f"'{path}' holds no file of texts; it may hold {kinds}")
    splits = {file: _split_of(file.relative_to(path)) for file in inside}
    if split is None or (split == SPLITS[0] and not any(splits.values())):
        return inside
    if found := [file for file in inside if split in _words(file.relative_to(path))]:
        return found
    known = sorted({name for name in splits.values() if name})
    raise UserError(f"'{path}' has no file of the split '{split}'; " + (f"it has {', '.join(known)}" if known else ""))


def _listed_files(path: Path, config: str, split: str) -> list[Path]:
    """The files of a configuration and split by the folder's README, as data sets of the hub list them."""
    configs = [given for given in _many(_card(path).get("configs")) if isinstance(given, dict)]
    listed = {str(given.get("config_name")): _many(given.get("data_files")) for given in configs}
    if config not in listed:
        raise UserError(f"'{path}' has no configuration '{config}'; {nearest(config, list(listed) or ['none'])}")
    parts = [part if isinstance(part, dict) else {"split": SPLITS[0], "path": part} for part in listed[config]]
    patterns = [(str(part.get("split")), str(pattern)) for part in parts for pattern in _many(part.get("path"))]
    wanted = [pattern for name, pattern in patterns if name == split]
    files = [file for file in sorted(path.rglob("*")) if any(_matches(file, path, pattern) for pattern in wanted)]
    if not files:
        known = ", ".join(f"{name}: {pattern}" for name, pattern in patterns)
        raise UserError(f"configuration '{config}' of '{path}' has no file of the split '{split}' ({known})")
    return files


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _matches(file: Path, folder: Path, pattern: str) -> bool:
    return file.is_file() and fnmatch(file.relative_to(folder).as_posix(), pattern.removeprefix("./"))


def _card(path: Path) -> dict[str, Any]:
    """What the head of a folder's README says."""
    try:
        head = (path / "README.md").read_text(encoding="utf-8").split("---")[1]
        found = yaml.safe_load(head)
    except (OSError, ValueError, IndexError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def stamp_of(path: Path) -> tuple[Any, ...]:
    """What changes when somebody writes into a file or a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())


def kinds_of(files: list[Path]) -> str:
    """How many files of which kind, in words."""
    kinds = Counter(
        "".join(file.suffixes[-2:] if _packed(file) else file.suffixes[-1:]) or "no suffix" for file in files
    )
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _is_beside(path: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return hidden or path.name.lower().startswith(BESIDES)


def _words(path: Path) -> list[str]:
    return re.split(r"[^a-z0-9]+", path.as_posix().lower())


def _split_of(path: Path) -> str | None:
    return next((word for word in _words(path) if word in SPLITS), None)


def _packed(file: Path) -> bool:
    return file.suffix.lower() in OPENERS


def _suffix(file: Path) -> str:
    """What it is, below its compression."""
    return (Path(file.stem) if _packed(file) else file).suffix.lower()


def _kind(file: Path) -> str:
    suffix = _suffix(file)
    return "rows" if suffix in JSON or suffix in SEPARATED or suffix in BINARY else "text"


def _file_rows(file: Path, name: str) -> Iterator[SourceRow]:
    suffix = _suffix(file)
    if suffix in UNREAD:
        raise UserError(f"'{name}': {suffix} files are not read; {UNREAD[suffix]}")
    try:
        if suffix in BINARY:
            yield from BINARY[suffix](io.BytesIO(_bytes(file, name)) if _packed(file) else file, name)
            return
        text = _text(_bytes(file, name), name)
    except OSError as error:
        raise UserError(f"cannot read '{file}': {error.strerror or error}") from None
    if suffix in JSON:
        yield from json_rows(text, name, JSON[suffix])
    elif suffix in SEPARATED:
        yield from csv_rows(text, name, SEPARATED[suffix])
    else:
        yield from _text_rows(text, name)


def _text_rows(text: str, name: str) -> Iterator[SourceRow]:
    unit, parts = documents_in(text)
    for part in parts:
        yield plain_row(part.text, f"{name}, line {part.line}")._replace(unit=unit)


def _bytes(file: Path, name: str) -> bytes:
    content = file.read_bytes()
    try:
        return OPENERS[file.suffix.lower()](content) if _packed(file) else content
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        reason = f"it does not unpack as {file.suffix.lower()} ({error})"
        raise UserError(f"'{name}' is damaged or wrongly named: {reason}") from None


def _text(content: bytes, name: str) -> str:
    """The content as text, with line ends as one sign. Raises UserError where it is none."""
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise UserError(
            f"cannot read {name}, line {line}: {what}; convert the file: iconv -f latin1 -t utf-8 (or what it is)"
        ) from None
    if "\x00" in text:
        raise UserError(
            f"cannot read '{name}' as text: it holds zero bytes; save it as text, JSON lines, CSV or Parquet"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")
