"""The Python face of the tool: the same verbs as the command line."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undo import models
from undo.evidence.section import evidence_table
from undo.given.audit import AuditRequest
from undo.given.certificate import Certificate, certify
from undo.given.robustify import METHOD, DistilRequest, RobustifyRequest, SuppressRequest
from undo.report import page
from undo.report.card import render_card
from undo.report.certificate import write_certificate
from undo.report.results import Results
from undo.spec.errors import StudyFailed, UserError
from undo.spec.load import load_recipe
from undo.spec.recipe import Recipe
from undo.study.artifacts import CARD, Store, write_atomically
from undo.study.executor import Listener
from undo.study.plan import ModelNode, Plan, make_plan
from undo.study.runner import Study, run_study, save_recipe, save_results

SHARD_SIZE = "5GB"
"""The largest file of weights, as transformers writes them."""


def plan(recipe: Recipe | str | Path) -> Plan:
    """The graph of a recipe (or of a shipped name, or a path)."""
    return make_plan(recipe if isinstance(recipe, Recipe) else load_recipe(recipe))


def run(
    recipe: Plan | Recipe | str | Path,
    out: str | Path = "runs",
    workers: int | None = None,
    listener: Listener | None = None,
) -> Study:
    """Runs a recipe, or its plan, to the report. Finished stages are not run again; the answer names failed ones."""
    study = run_study(_planned(recipe), Path(out), listener or Listener(), workers)
    write_report(study.folder)
    return study


def write_report(study: Path) -> Path:
    """Writes a study's page, claims included, from the results in its folder; the answer is the page."""
    results = Results.load(study)
    return page.write_report(study, results, evidence_table(results))


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
    adapter: str | Path | None = None,
    fields: Mapping[str, str] | None = None,
    separator: str | None = None,
) -> Certificate:
    """Attacks a model with a suite, and writes `certificate.json` and `certificate.html` into `out`.

    What the arguments mean: `AuditRequest`, whose `recipe()` is what runs here. Errors: see it and `run_audit`.
    """
    request = AuditRequest(
        model,
        forget,
        retain,
        oracle=oracle,
        before=before,
        suite=suite,
        adapter=adapter,
        fields=fields,
        separator=separator,
        overrides=overrides,
        benchmarks=benchmarks,
    )
    return run_audit(request.recipe(), out, workers, listener)


def run_audit(
    recipe: Plan | Recipe, out: str | Path = "audit", workers: int | None = None, listener: Listener | None = None
) -> Certificate:
    """Runs the recipe of an audit, and writes `certificate.json` and `certificate.html` into `out`.

    Raises StudyFailed where a model could not be asked at all; attacks that failed are named on the certificate.
    """
    study = run_study(_planned(recipe), Path(out), listener or Listener(), workers)
    if not all(Store(Path(out)).done(node.evaluation) for node in study.plan.models):
        raise StudyFailed(_failures(study))
    certificate = certify(study, Store(Path(out)))
    write_certificate(certificate, Path(out))
    return certificate


@dataclass(frozen=True)
class Made:
    """A model that `suppress` or `distil` made: its folder, its test scores and those of the one it was made of.

    Scores are by domain (retain, forget), in the unit that `study.results["metrics"]` names.
    """

    model: Path
    scores: dict[str, float]
    before: dict[str, float]
    study: Study


def suppress(
    model: str | Path,
    forget: str | Path,
    retain: str | Path,
    method: str = METHOD,
    out: str | Path = "suppressed",
    overrides: Sequence[str] = (),
    adapter: str | Path | None = None,
    workers: int | None = None,
    listener: Listener | None = None,
    fields: Mapping[str, str] | None = None,
    separator: str | None = None,
) -> Made:
    """Suppresses a capability with a method (`undo list methods`), which hides it; the result is a teacher to distil.

    overrides, such as `suppress.maxent.steps=50`, change the preset of the model's size.
    Raises UserError for wrong input before the start, StudyFailed where a stage failed.
    """
    request = SuppressRequest(
        model,
        forget,
        retain,
        method=method,
        adapter=adapter,
        fields=fields,
        separator=separator,
        overrides=overrides,
    )
    return _step(request.recipe(), "teacher", out, workers, listener)


def distil(
    teacher: str | Path,
    forget: str | Path,
    retain: str | Path,
    noise_alpha: float | None = None,
    out: str | Path = "distilled",
    overrides: Sequence[str] = (),
    workers: int | None = None,
    listener: Listener | None = None,
    fields: Mapping[str, str] | None = None,
    separator: str | None = None,
) -> Made:
    """Distils a suppressed model on both kinds of text, without their labels, until the stop rule holds.

    noise_alpha: the student is a copy of the teacher under so much noise (0 to 1: UNDO), without it a fresh model
    (Unlearn-and-Distill). overrides, such as `distil.stop.max_steps=200`, change the preset of the model's size.
    Errors: see `suppress`.
    """
    request = DistilRequest(
        teacher, forget, retain, noise_alpha=noise_alpha, fields=fields, separator=separator, overrides=overrides
    )
    return _step(request.recipe(), "student", out, workers, listener)


def _step(recipe: Recipe, role: str, out: str | Path, workers: int | None, listener: Listener | None) -> Made:
    """Runs a recipe that makes one model, and writes that into the study's folder, in the given one's precision."""
    if len(recipe.seeds) > 1:
        raise UserError("seeds: this makes one model; give one seed, and run again for another")
    study = run(recipe, out, workers, listener)
    if study.failures:
        raise StudyFailed(_failures(study))
    node, given = next(node for node in study.plan.models if node.role == role), study.plan.given
    assert given is not None
    made = study.folder / "model"
    models.export_model(Store(Path(out)).folder(node.stage) / "model", given.folder, made, SHARD_SIZE)
    rows = {row["id"]: {domain: row[domain] for domain in ("retain", "forget")} for row in study.results["models"]}
    return Made(made, rows[node.id], rows["base"], study)


@dataclass(frozen=True)
class Robustified:
    """A model that was made to forget: its folder, its certificate and that of its teacher, and the study behind it."""

    model: Path
    certificate: Certificate
    suppressed: Certificate
    study: Study


def robustify(
    model: str | Path,
    forget: str | Path,
    retain: str | Path,
    out: str | Path = "robustified",
    budget: float = 0.3,
    method: str = METHOD,
    suite: str = "quick",
    overrides: Sequence[str] = (),
    benchmarks: Mapping[str, Any] | None = None,
    adapter: str | Path | None = None,
    workers: int | None = None,
    listener: Listener | None = None,
    shard_size: str = SHARD_SIZE,
    fields: Mapping[str, str] | None = None,
    separator: str | None = None,
) -> Robustified:
    """Makes a model forget for good and attacks what came of it.

    What the arguments mean: `RobustifyRequest`, whose `recipe()` is what runs here; shard_size, the largest file of
    weights. Errors: see it and `run_robustify`.
    """
    request = RobustifyRequest(
        model,
        forget,
        retain,
        budget=budget,
        method=method,
        suite=suite,
        adapter=adapter,
        fields=fields,
        separator=separator,
        overrides=overrides,
        benchmarks=benchmarks,
    )
    return run_robustify(request.recipe(), out, workers, listener, shard_size)


def run_robustify(
    recipe: Plan | Recipe,
    out: str | Path = "robustified",
    workers: int | None = None,
    listener: Listener | None = None,
    shard_size: str = SHARD_SIZE,
) -> Robustified:
    """Runs such a recipe; writes `model/` with its card, certificates of student and teacher, report and recipe.

    Another run into `out` takes their place. Raises UserError for another kind of recipe, a size of shards that is
    none, and a given model that would be overwritten; StudyFailed where there is no student or no answer about it.
    """
    check_shard_size(shard_size)
    asked = recipe.recipe if isinstance(recipe, Plan) else recipe
    if asked.audit is None or not asked.students():
        raise UserError(
            "this is no recipe of `undo robustify`: it needs `audit`, `suppress` and `distil` with a student"
        )
    if asked.pretrained and Path(asked.pretrained.path).expanduser().resolve() == (Path(out) / "model").resolve():
        raise UserError(f"--out: {out} would be written over the model that it is made of; name another folder")
    return _handed_over(run(recipe, out, workers, listener), Path(out), shard_size)


def check_shard_size(text: str) -> None:
    """Raises UserError for what is no size of a file, such as 5GB."""
    if not re.fullmatch(r"[1-9]\d*(\.\d+)?\s*[KMGT]i?B", text, re.IGNORECASE):
        raise UserError(f"--shard-size: '{text}' is no size of a file; write it like 5GB or 500MB")


def _handed_over(study: Study, out: Path, shard_size: str) -> Robustified:
    """What a user takes away, written beside the study."""
    store, (teacher, student) = Store(out), _made(study, Store(out))
    assert study.plan.given is not None
    places = {node.id: store.folder(node.stage) / "model" for node in (student, teacher)}
    exported = models.export_model(places[student.id], study.plan.given.folder, out / "model", shard_size)
    suppressed = certify(study, store, teacher.id, places[teacher.id])
    certificate = certify(study, store, student.id, out / "model", suppressed)
    write_certificate(certificate, out)
    write_certificate(suppressed, out / "suppressed")
    write_atomically(
        out / "model" / CARD, render_card(Results(study.results), student.id, certificate, suppressed, exported)
    )
    save_recipe(study.plan.recipe, out / "recipe.yaml")
    study.results["verdict"] = {"model": student.id, "outcome": certificate.outcome, "headline": certificate.headline}
    save_results(study)
    write_report(study.folder)
    return Robustified(out / "model", certificate, suppressed, study)


def _made(study: Study, store: Store) -> tuple[ModelNode, ModelNode]:
    """The first student and its teacher, evaluated. Raises StudyFailed where a stage before that failed."""
    nodes = {node.id: node for node in study.plan.models}
    student = next(node for node in study.plan.models if node.role == "student")
    teacher = nodes[student.teacher or ""]
    if all(store.done(node.evaluation) for node in (teacher, student)):
        return teacher, student
    raise StudyFailed(_failures(study))


def _failures(study: Study) -> str:
    return "\n".join(f"{study.plan.stages[id].label}: {text}" for id, text in study.failures.items())


def _planned(recipe: Plan | Recipe | str | Path) -> Plan:
    return recipe if isinstance(recipe, Plan) else plan(recipe)
