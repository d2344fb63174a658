"""The Python face of the tool: the same verbs as the command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from undo.data.own import own_texts
from undo.report.certificate import write_certificate
from undo.report.page import write_report
from undo.spec.load import load_recipe
from undo.spec.recipe import Recipe
from undo.study.artifacts import Store
from undo.study.audit import recipe_of_audit
from undo.study.certificate import Certificate, certify
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


def audit(
    model: str | Path,
    forget: str | Path,
    retain: str | Path,
    oracle: str | Path | None = None,
    before: str | Path | None = None,
    suite: str = "quick",
    out: str | Path = "audit",
    overrides: Sequence[str] = (),
    workers: int | None = None,
    listener: Listener | None = None,
    benchmarks: Mapping[str, Any] | None = None,
) -> Certificate:
    """Attacks a model with a suite, and writes `certificate.json` and `certificate.html` into `out`.

    benchmarks: what lm-eval asks the given models besides, such as `{"tasks": ["wmdp_bio"]}` (see `Benchmarks`).
    """
    recipe = audit_recipe(model, forget, retain, oracle, before, suite, overrides, benchmarks)
    return run_audit(recipe, out, workers, listener)


def audit_recipe(
    model: str | Path,
    forget: str | Path,
    retain: str | Path,
    oracle: str | Path | None = None,
    before: str | Path | None = None,
    suite: str = "quick",
    overrides: Sequence[str] = (),
    benchmarks: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of an audit, to look at or to change before it is run."""
    compared = {"oracle": oracle and str(oracle), "before": before and str(before)}
    asked = dict(benchmarks) if benchmarks else None
    return recipe_of_audit(str(model), own_texts(str(forget), str(retain)), suite, compared, overrides, asked)


def run_audit(
    recipe: Recipe, out: str | Path = "audit", workers: int | None = None, listener: Listener | None = None
) -> Certificate:
    """Runs the recipe of an audit, and writes `certificate.json` and `certificate.html` into `out`."""
    study = run_study(recipe, Path(out), listener or Silent(), workers)
    certificate = certify(study, Store(Path(out)))
    write_certificate(certificate, Path(out))
    return certificate


def _recipe(recipe: Recipe | str | Path) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
