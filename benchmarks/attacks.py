"""(c) An attack's ten learning rates beside one, each through the workers that a study uses."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Row
from undo.spec.load import load_recipe
from undo.study.artifacts import Store
from undo.study.environment import available_cores
from undo.study.executor import Execution, Listener
from undo.study.plan import make_plan

STEPS = {True: 60, False: 300}  # quick or not
RECIPES = {True: "smoke", False: "quickstart"}
RATES = [3e-3, 1e-3, 7e-4, 4e-4, 3e-4, 1e-4, 7e-5, 5e-5, 3e-5, 1e-5]


def rows(quick: bool) -> Iterator[Row]:
    """Seconds for ten variants over seconds for one; ten times as many would be one after another."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = {count: _seconds(Path(folder), count, quick) for count in (0, 1, len(RATES))}
    one, ten, cores = seconds[1], seconds[len(RATES)], available_cores()
    yield Row(
        f"attack on {RECIPES[quick]}, {len(RATES)} learning rates on {cores} cores",
        f"1 learning rate, {len(RATES)} times",
        len(RATES) * one / ten,
        2.0,
        f"{ten:.1f} s",
        f"{one:.1f} s each",
        {"ten_over_one": round(ten / one, 3)},
    )


def _seconds(out: Path, variants: int, quick: bool) -> float:
    """Wall time of a study's executor for so many variants of an attack on one model; with none, that is prepared."""
    steps = STEPS[quick]
    points = f"[{steps // 6}, {steps // 3}, {steps // 2}, {steps}]"
    attack = f"{{name: finetune, steps: {steps}, batch_rows: 8, eval_steps: {points}, learning_rates: {RATES}}}"
    steps_of = [
        "pretrain.base_steps=2",
        "pretrain.oracle_steps=2",
        "distil.stop.max_steps=1",
        "distil.stop.check_every=1",
    ]
    recipe = load_recipe(RECIPES[quick], [*steps_of, f"attacks.relearn.attack={attack}"])
    plan, store = make_plan(recipe), Store(out)
    base = next(node for node in plan.models if node.role == "base")
    picked = [run.stage for run in base.attacks[:variants]] or [base.stage]
    wanted = {id for id in plan.stages if id in picked or id in plan.stages[picked[0]].inputs.values()}
    plan.stages = {id: stage for id, stage in plan.stages.items() if id in wanted}
    for id in picked if variants else []:
        store.discard(id)
    (out / "artifacts").mkdir(exist_ok=True)
    started = time.perf_counter()
    failures = Execution(plan, store, available_cores(), Listener()).run()
    assert not failures, failures
    return time.perf_counter() - started
