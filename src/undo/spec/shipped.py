"""What recipes there are: those of the package by name, and those of the records by path. Reads no whole recipe."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

SHIPPED = files("undo.recipes")
GROUPS = (
    "first steps",
    "settings of the paper, at CPU size",
    "the paper's own sizes",
    "models that others trained",
)
"""What shipped recipes are for, in the order in which `undo list recipes` prints them."""

_HEAD = ("group:", "summary:")


@dataclass(frozen=True)
class Entry:
    """A shipped recipe as `undo list recipes` shows it."""

    name: str
    group: str
    summary: str


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.name.removesuffix(".yaml") for path in SHIPPED.iterdir() if path.name.endswith(".yaml"))


def shipped_entries() -> list[Entry]:
    """The shipped recipes, group by group.

    Only the lines of group and summary are parsed, each of which must stand on one line: reading whole recipes takes
    three seconds.
    """
    found = [Entry(name, **_head((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))) for name in shipped_recipes()]
    return sorted(found, key=lambda entry: GROUPS.index(entry.group))


def _head(text: str) -> dict[str, str]:
    return yaml.safe_load("\n".join(line for line in text.splitlines() if line.startswith(_HEAD)))


def run_command(name: str) -> str:
    """The command that runs the recipe of a record: by its name where it is shipped, else by its place."""
    return f"undo run {name if name in shipped_recipes() else f'records/{name}/recipe.yaml'}"


def record_recipes() -> dict[str, str]:
    """Name -> path of the recipes that lie beside the records: under the current folder, else in this clone."""
    clone = Path(__file__).resolve().parents[3]
    for folder in (Path("records"), clone / "records"):
        if found := sorted(folder.glob("*/recipe.yaml")):
            return {path.parent.name: str(path) for path in found}
    return {}
