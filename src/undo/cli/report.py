"""`undo report`: the page of a study, written again from its results."""

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    study: Annotated[Path, typer.Argument(help="A study's folder, such as runs/quickstart-3f9a.")],
    picture: Annotated[Path | None, typer.Option(help="Write the headline figure here too, as SVG.")] = None,
    scores: Annotated[Path | None, typer.Option(help="Write the rows of scores here too, as CSV.")] = None,
) -> None:
    """Write a study's report again from its results."""
    from undo.report.page import save_picture, save_scores, write_report
    from undo.spec.errors import UserError
    from undo.study.results import results_schema

    results = study / "report" / "results.json"
    if not results.is_file():
        raise UserError(f"{study} holds no report/results.json; name the folder that 'undo run' printed")
    try:
        missing = set(results_schema()["required"]) - set(json.loads(results.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{results} is not valid JSON ({error}); write it again with 'undo run'") from None
    if missing:
        raise UserError(f"{results} lacks {', '.join(sorted(missing))}; write it again with 'undo run'")
    print(f"report: {write_report(study)}")
    if picture is not None:
        print(f"picture: {save_picture(study, picture)}")
    if scores is not None:
        print(f"scores: {save_scores(study, scores)}")
