"""`undo report`: the page of a study, written again from its results; of several, side by side."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Studies = Annotated[
    list[Path],
    typer.Argument(metavar="STUDY...", help="A study's folder, such as runs/quickstart-3f9a; several: compare."),
]


class Format(StrEnum):
    """What is written."""

    html = "html"
    md = "md"


def report(
    study: Studies,
    format: Annotated[
        Format, typer.Option(help="html: a page in the study's folder; md: text to standard output.")
    ] = Format.html,
    out: Annotated[
        Path | None, typer.Option(help="Where the page of several studies goes (default: comparison.html).")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the headline figure here too, as SVG.")] = None,
    scores: Annotated[Path | None, typer.Option(help="Write the rows of scores here too, as CSV.")] = None,
) -> None:
    """Write a study's report again from its results, or put studies side by side."""
    if len(study) > 1:
        _several(study, format, out or Path("comparison.html"), picture or scores)
        return
    from undo.api import write_report
    from undo.report.markdown import as_markdown
    from undo.report.page import save_picture, save_scores
    from undo.report.results import Results
    from undo.spec.errors import UserError

    if out is not None:
        raise UserError("--out is for the page of several studies; that of one lies in its own folder")
    (folder,) = study
    results = Results.load(folder)
    if format is Format.md:
        print(as_markdown(results), end="")
    else:
        print(f"report: {write_report(folder)}")
    if picture is not None:
        save_picture(folder, picture)
        typer.echo(f"picture: {picture}", err=format is Format.md)
    if scores is not None:
        save_scores(folder, scores)
        typer.echo(f"scores: {scores}", err=format is Format.md)


def _several(studies: list[Path], format: Format, out: Path, of_one: Path | None) -> None:
    from undo.report.compare import compare, write_comparison
    from undo.report.markdown import comparison_as_markdown
    from undo.report.results import Results
    from undo.spec.errors import UserError

    if of_one is not None:
        raise UserError("--picture and --scores are those of one study; name one")
    comparison = compare([Results.load(study) for study in studies])
    if format is Format.md:
        print(comparison_as_markdown(comparison), end="")
    else:
        write_comparison(comparison, out)
        print(f"report: {out}")
