"""Benchmarks before anything is computed: are the tasks known, and their items on this machine?"""

import json
import subprocess

from undo.spec.errors import UserError
from undo.study import child
from undo.study.artifacts import Store
from undo.study.plan import Plan

NOTHING_DOWNLOADED = {"HF_HUB_OFFLINE": "1"}
"""As for workers: whoever wants to download says so in the environment."""


def check_benchmarks(plan: Plan, store: Store) -> None:
    """Raises UserError where a task that is still to be asked cannot be. In a process of its own: tasks bring code."""
    ids = {node.benchmark for node in plan.models if node.benchmark and not store.done(node.benchmark)}
    missing = [stage for id, stage in plan.stages.items() if id in ids]
    if not missing or plan.recipe.benchmarks is None:
        return
    what = json.dumps([list(plan.recipe.benchmarks.tasks), missing[0].external_inputs.get("tasks")])
    done = subprocess.run(
        child.command("undo.evals._harness", what),
        env=child.environment(NOTHING_DOWNLOADED),
        capture_output=True,
        text=True,
    )
    if done.returncode == 2:
        raise UserError(done.stdout.splitlines()[-1])
    if done.returncode:
        raise RuntimeError(f"looking for the benchmarks failed:\n{done.stderr}")
