"""`undo show`: a study's answer in the terminal."""

from pathlib import Path
from typing import Annotated

import typer


def show(study: Annotated[Path, typer.Argument(help="A study's folder, such as runs/quickstart-3f9a.")]) -> None:
    """Print a study's answer, its scores and its relearning curves."""
    from undo.cli.summary import print_summary
    from undo.report.narrative import answer
    from undo.report.results import Results

    results = Results.load(study)
    print("\n\n".join([f"{results.study}: {results.recipe['summary']}", *answer(results)]), end="\n\n")
    print_summary(results)
