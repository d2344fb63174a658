"""The Python face of the tool: the same verbs as the command line."""

from pathlib import Path

from undo.report.page import write_report
from undo.spec.load import load_recipe
from undo.spec.recipe import Recipe
from undo.study.executor import Listener
from undo.study.plan import Plan, Stage, make_plan
from undo.study.runner import Study, run_study


class Silent:
    """A listener that says nothing."""

    def started(self, stage: Stage) -> None:
        """A stage began."""

    def progressed(self, stage: Stage, step: int, steps: int, loss: float | None) -> None:
        """A stage has done some steps."""

    def finished(self, stage: Stage) -> None:
        """A stage is complete."""

    def failed(self, stage: Stage, message: str) -> None:
        """A stage failed; its siblings go on."""

    def noted(self, message: str) -> None:
        """Something worth a line."""


def plan(recipe: Recipe | str | Path) -> Plan:
    """The graph of a recipe (or of a shipped name, or a path)."""
    return make_plan(_recipe(recipe))


def run(
    recipe: Recipe | str | Path, out: str | Path = "runs", workers: int | None = None, listener: Listener | None = None
) -> Study:
    """Runs a study to its report. Finished stages are taken as they are; failed ones are named in the answer."""
    study = run_study(_recipe(recipe), Path(out), listener or Silent(), workers)
    write_report(study.folder)
    return study


def _recipe(recipe: Recipe | str | Path) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
