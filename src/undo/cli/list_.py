"""`undo list`: what there is to choose from."""

from typing import Annotated

import typer


def list_kind(
    kind: Annotated[str, typer.Argument(help="recipes, methods, attacks, datasets or evals.")] = "recipes",
) -> None:
    """List recipes, methods, attacks, datasets or evals."""
    from undo.spec.base import nearest
    from undo.spec.errors import UserError
    from undo.spec.load import load_recipe, shipped_recipes
    from undo.spec.registry import PACKAGES, load, names

    if kind == "recipes":
        rows = [(name, load_recipe(name).summary) for name in shipped_recipes()]
    elif kind in PACKAGES:
        rows = [(name, (load(kind, name).__doc__ or "").splitlines()[0]) for name in names(kind)]
    else:
        raise UserError(f"nothing to list under '{kind}'; {nearest(kind, ['recipes', *PACKAGES])}")
    width = max(len(name) for name, _ in rows)
    for name, line in rows:
        print(f"{name:{width}}  {line}")
