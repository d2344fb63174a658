"""The order in which ready stages are handed out, and workers that die."""

import subprocess
import sys

import pytest

from undo.spec.load import load_recipe
from undo.study.artifacts import Store
from undo.study.executor import Execution, Listener, Worker, _order
from undo.study.plan import make_plan


def test_seeds_finish_one_after_the_other_and_long_chains_go_first():
    plan = make_plan(load_recipe("smoke", ["seeds=[7,3]"]))
    order = _order(plan)
    ready = (stage for stage in plan.stages.values() if stage.kind != "evaluate")
    in_order = sorted(ready, key=lambda stage: order[stage.id])
    labels = [stage.label for stage in in_order]
    first, second = ([i for i, label in enumerate(labels) if label.endswith(f"(seed {s})")] for s in (7, 3))
    assert max(first) < min(second)
    assert labels[:2] == ["data", "base (seed 7)"]
    base, attack = labels.index("base (seed 7)"), labels.index("relearn forget adamw 0.003 on base (seed 7)")
    assert base < attack


def test_a_teacher_is_evaluated_before_its_students_are_paid_for():
    plan = make_plan(load_recipe("smoke", ["seeds=[7,3]"]))
    order, kinds = _order(plan), {}
    for stage in plan.stages.values():
        kinds.setdefault((stage.kind, order[stage.id][0]), []).append(order[stage.id])
    assert max(kinds["evaluate", 0]) < min(kinds["suppress", 0] + kinds["distil", 0] + kinds["attack", 0])
    assert max(kinds["attack", 0]) < min(kinds["evaluate", 1])


@pytest.fixture
def execution(tmp_path):
    plan = make_plan(load_recipe("smoke"))
    execution = Execution(plan, Store(tmp_path), 2, Listener())
    execution.waiting = dict(plan.stages)
    return execution


def test_nothing_dear_is_begun_before_the_given_model_is_known_to_know(execution, monkeypatch):
    """Thirteen attacks on what nobody knew end in a verdict about nothing."""
    node = next(node for node in execution.plan.models if node.id == "base")
    monkeypatch.setattr(type(execution.plan), "knower", lambda plan: node)
    monkeypatch.setattr(execution.store, "done", lambda id: id != node.evaluation)
    starting = {stage.kind for stage in execution.plan.stages.values() if execution._may_start(stage)}
    assert starting == {"data", "pretrain", "evaluate"}
    monkeypatch.setattr(execution.store, "done", lambda id: True)
    assert all(map(execution._may_start, execution.plan.stages.values()))


@pytest.fixture
def dead():
    process = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.wait()
    return Worker(process)


def test_a_worker_that_dies_while_idle_gets_no_more_stages(execution, dead):
    """The kernel ends whom it likes when memory is short; an idle worker keeps much of it."""
    processes = [dead]
    execution._on_message(dead, {"event": "died"}, processes)
    assert processes == [] and execution.failures == {}


def test_a_stage_given_to_a_worker_that_has_just_died_fails_and_nothing_else(execution, dead):
    stage, processes = next(iter(execution.plan.stages.values())), [dead]
    execution._give(dead, stage)
    execution._on_message(dead, {"event": "died"}, processes)
    assert processes == [] and list(execution.failures) == [stage.id]
