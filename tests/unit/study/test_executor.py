"""The order in which ready stages are handed out."""

from undo.spec.load import load_recipe
from undo.study.executor import _order
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
    base, attack = labels.index("base (seed 7)"), labels.index("relearn forget 0.003 on base (seed 7)")
    assert base < attack


def test_a_teacher_is_evaluated_before_its_students_are_paid_for():
    plan = make_plan(load_recipe("smoke", ["seeds=[7,3]"]))
    order, kinds = _order(plan), {}
    for stage in plan.stages.values():
        kinds.setdefault((stage.kind, order[stage.id][0]), []).append(order[stage.id])
    assert max(kinds["evaluate", 0]) < min(kinds["suppress", 0] + kinds["distil", 0] + kinds["attack", 0])
    assert max(kinds["attack", 0]) < min(kinds["evaluate", 1])
