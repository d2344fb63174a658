"""A study from recipe to results.json in an output folder."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from undo.spec.errors import UserError
from undo.spec.recipe import Recipe
from undo.study.artifacts import Store, write_atomically
from undo.study.benchmarks import check_benchmarks
from undo.study.environment import available_cores, describe_environment
from undo.study.executor import Execution, Listener
from undo.study.plan import Plan
from undo.study.resources import workers_that_fit
from undo.study.results import collect


@dataclass(frozen=True)
class Study:
    """A study that ran: its folder, results, the stages that failed, and how many were taken as they were."""

    folder: Path
    plan: Plan
    results: dict[str, Any]
    failures: dict[str, str]
    cached: int


def run_study(plan: Plan, out: Path, listener: Listener, workers: int | None = None) -> Study:
    """Runs what is missing and writes `recipe.yaml` and `report/results.json`.

    Raises UserError where the output folder cannot be used; failed stages are in the answer, not raised.
    """
    store = Store(out)
    check_benchmarks(plan, store)
    folder = out / plan.study
    with _usable(out, folder):
        save_recipe(plan.recipe, folder / "recipe.yaml")
        cores = available_cores()
        fitting = workers_that_fit(plan, workers or cores, cores, out)
        execution = Execution(plan, store, fitting.number, listener, fitting.threads)
        failures = execution.run()
        results = collect(plan, store, describe_environment(_device(plan, store)), failures)
        study = Study(folder, plan, results, failures, execution.cached)
        save_results(study)
    return study


def save_results(study: Study) -> None:
    """Writes `report/results.json`."""
    text = json.dumps(study.results, indent=1, allow_nan=False)
    write_atomically(study.folder / "report" / "results.json", text)


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes a recipe as YAML, every setting spelt out."""
    write_atomically(path, yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _device(plan: Plan, store: Store) -> str:
    devices = {store.read(id, "stage.json")["device"] for id in plan.stages if store.done(id)}
    return ", ".join(sorted(devices)) or "none"


@contextmanager
def _usable(out: Path, folder: Path) -> Iterator[None]:
    """The output folder exists, can be written and is ours alone; what goes wrong there is one clear line."""
    try:
        (folder / "report").mkdir(parents=True, exist_ok=True)
        (out / "artifacts").mkdir(exist_ok=True)
        with open(out / ".lock", "w") as lock:
            _lock(lock, out)
            yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"the disk of {out} is full; free some space and run the same command again") from None
        made = (folder / "report").is_dir()  # before that, whatever went wrong is about the folder
        if not made or error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from None
        raise


def _lock(file: Any, out: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no flock; there the user keeps two runs apart
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another undo run is using {out}; wait for it, or choose another folder with --out") from None
