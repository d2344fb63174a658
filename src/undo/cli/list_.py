"""`undo list`: what there is to choose from."""

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer


def list_kind(
    kind: Annotated[str, typer.Argument(help="recipes, methods, attacks, datasets or evals.")] = "recipes",
) -> None:
    """List recipes, methods, attacks, datasets or evals."""
    if kind == "recipes":
        _list_recipes()
    else:
        _list_plugins(kind)


def _list_recipes() -> None:
    """The shipped recipes by what they are for, and where those of the records lie."""
    from undo.spec.shipped import record_recipes, shipped_entries

    entries = shipped_entries()
    width = max(len(entry.name) for entry in entries)
    for group, members in groupby(entries, key=lambda entry: entry.group):
        print(f"{group}:")
        for entry in members:
            print(f"  {entry.name:{width}}  {entry.summary}")
    if paths := list(record_recipes().values()):
        folder = Path(paths[0]).parent.parent
        print(f"{len(paths)} more lie beside their records, such as: undo run {paths[0]} (see {folder / 'README.md'})")
    else:
        print("More lie beside the records in a clone of the project: records/README.md")


def _list_plugins(kind: str) -> None:
    """The plug-ins of a kind by name, each with the first line of its class."""
    from undo.spec.base import nearest
    from undo.spec.errors import UserError
    from undo.spec.registry import PACKAGES, load, names

    if kind not in PACKAGES:
        raise UserError(f"nothing to list under '{kind}'; {nearest(kind, ['recipes', *PACKAGES])}")
    rows = [(name, (load(kind, name).__doc__ or "").splitlines()[0]) for name in names(kind)]
    width = max(len(name) for name, _ in rows)
    for name, line in rows:
        print(f"{name:{width}}  {line}")
