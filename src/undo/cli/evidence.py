"""`undo evidence`: what recorded studies say about the claims."""

import json
from pathlib import Path
from typing import Annotated

import typer


def evidence(
    records: Annotated[Path, typer.Argument(help="A folder of records: one folder per study with its results.json.")],
    page: Annotated[Path | None, typer.Option(help="Write the evidence page here, as Markdown.")] = None,
) -> None:
    """Judge the claims by recorded studies; writes evidence.json into the folder."""
    from undo.evidence.judge import as_json, gather
    from undo.evidence.page import as_markdown
    from undo.report.results import Results
    from undo.spec.errors import UserError
    from undo.study.artifacts import write_atomically

    found = {path.parent.name: Results.load(path.parent) for path in sorted(records.glob("*/results.json"))}
    if not found:
        raise UserError(f"{records} holds no <study>/results.json; copy a study's report/results.json there")
    rows = gather(found)
    write_atomically(records / "evidence.json", json.dumps(as_json(rows), indent=1) + "\n")
    print(f"evidence: {records / 'evidence.json'}, {len(rows)} rows")
    if page is not None:
        write_atomically(page, as_markdown(rows, found))
        print(f"page: {page}")
