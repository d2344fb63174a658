"""The options that ask lm-eval's tasks as well."""

from typing import Annotated, Any

import typer

Names = Annotated[
    list[str] | None, typer.Option(help="A task of lm-eval to ask as well, such as wmdp_bio or mmlu; may repeat.")
]
Tasks = Annotated[str | None, typer.Option(help="A folder with lm-eval tasks of your own.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Items per benchmark; default: all.")]


def benchmark_settings(names: list[str] | None, folder: str | None, limit: int | None) -> dict[str, Any] | None:
    """The recipe's settings of what is given, None where nothing is. Raises UserError for options without a task."""
    from undo.spec.errors import UserError

    given = {"folder": folder, "limit": limit}
    if not names and (folder or limit):
        raise UserError("--benchmark-tasks and --benchmark-limit need --benchmark: the name of a task")
    return {"tasks": names} | {name: value for name, value in given.items() if value} if names else None
