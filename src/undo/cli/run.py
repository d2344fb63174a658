"""`undo run`: a study from recipe to report."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[str, typer.Argument(help="A shipped recipe (undo list recipes) or the path of a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as seeds=[1,2] distil.stop.max_gap=0.03."),
]
OUT = Path("runs")
Out = Annotated[Path, typer.Option(help="Folder for studies and artifacts.")]


def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Out = OUT,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: the cores.")] = None,
) -> int:
    """Run a study: compute what is missing, then write its report."""
    from undo import api
    from undo.cli.errors import DONE, FAILED, tell
    from undo.cli.progress import open_progress
    from undo.cli.summary import print_summary
    from undo.report.narrative import answer
    from undo.report.results import Results
    from undo.study.environment import available_cores

    started, spec = time.monotonic(), api.load_recipe(recipe, overrides or [])
    processes = workers or available_cores()
    plan = api.plan(spec)
    with open_progress(plan, out, processes) as listener:
        study = api.run(plan, out, processes, listener)
    for stage_id, message in study.failures.items():
        tell(f"failed: {study.plan.stages[stage_id].label}: {message}")
    results = Results(study.results)
    print_summary(results)
    print(answer(results)[0])
    print(f"report: {study.folder / 'report' / 'index.html'}")
    done = f"{listener.computed} stages computed, {study.cached} cached"
    if study.failures:
        tell(
            f"{len(study.failures)} stages failed; {done}. What they do not touch is complete; run again after a change"
        )
        return FAILED
    again = ["undo", "run", recipe, *(overrides or []), *(["--out", str(out)] if out != OUT else [])]
    print(f"{done}, {time.monotonic() - started:.0f} s; again: {shlex.join(again)}")
    return DONE
