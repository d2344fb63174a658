"""The warning before distillation: whose signal is large, and when it is known."""

import json

import pytest

from undo.spec.load import load_recipe
from undo.study.artifacts import MANIFEST, Store
from undo.study.early_warnings import ignorant_bases, leaking_share, leaking_teachers
from undo.study.executor import Execution, Listener, Worker
from undo.study.plan import make_plan


@pytest.mark.parametrize(
    ("signal", "base", "oracle", "share"),
    [
        (6.0, 9.0, 4.0, 0.4),
        (4.4, 9.0, 4.0, None),  # a twelfth of the way
        (2.4, 9.0, -1.4, 2.4 / 9.0),  # an oracle that is sure of other tokens says no less than nothing
        (2.0, 9.0, None, 2.0 / 9.0),
        (-2.6, 9.0, -1.4, None),
        (4.9, 4.9, 4.0, None),  # the base itself has hardly anything to tell
        (None, 9.0, 4.0, None),
    ],
)
def test_a_share_is_the_way_from_the_oracle_to_the_base(signal, base, oracle, share):
    assert leaking_share(signal, base, oracle) == (share if share is None else pytest.approx(share))


@pytest.fixture
def study(tmp_path):
    """A plan, a store, and a function that leaves a model's evaluation in it."""
    plan, store = make_plan(load_recipe("smoke")), Store(tmp_path)
    nodes = {node.id: node for node in plan.models}

    def leave(stage: str, **evals) -> None:
        store.folder(stage).mkdir(parents=True)
        (store.folder(stage) / "evals.json").write_text(json.dumps(evals))
        (store.folder(stage) / MANIFEST).write_text("{}")

    def evaluated(**signals: float) -> None:
        for id, signal in signals.items():
            shares = {"forget": 0.9, "retain": 0.8}
            leave(nodes[id].evaluation, forget_signal=signal, test=shares, test_items=dict.fromkeys(shares, 100))

    return plan, store, nodes, leave, evaluated


@pytest.mark.parametrize(
    ("forget", "retain", "told"),
    [(0.11, 0.11, []), (0.09, 0.8, ["forget 9%"]), (0.0, 0.02, ["forget 0%, retain 2%"])],
)
def test_a_base_that_knows_nothing_is_told_of_at_once(study, forget, retain, told):
    """A tenth is two standard errors of a hundred items above guessing, which in arithmetic finds nothing."""
    plan, store, nodes, leave, _ = study
    assert ignorant_bases(plan, store) == {}
    shares = {"forget": forget, "retain": retain}
    leave(nodes["base"].evaluation, test=shares, test_items=dict.fromkeys(shares, 100), forget_signal=0.0)
    warnings = ignorant_bases(plan, store)
    assert list(warnings) == [nodes["base"].evaluation] * len(told)
    assert all(f"hardly better than guessing: {text};" in warnings[nodes["base"].evaluation] for text in told)


def test_the_warning_waits_for_base_and_oracle_and_names_the_teacher(study):
    plan, store, nodes, _, evaluated = study
    evaluated(maxent=5.0, rmu=0.2)
    assert leaking_teachers(plan, store) == {}
    evaluated(base=9.0)
    assert leaking_teachers(plan, store) == {}
    evaluated(oracle=-1.0)
    (evaluation, warning), *others = leaking_teachers(plan, store).items()
    assert evaluation == nodes["maxent"].evaluation and not others
    assert warning.startswith("warning: maxent (seed 1) leaks: it holds 56% of the base's signal")


def test_no_warning_where_nothing_is_left_to_save(study):
    """A teacher without students, and one whose students are made already."""
    plan, store, nodes, leave, evaluated = study
    evaluated(base=9.0, oracle=-1.0, graddiff=5.0, rmu=5.0)
    assert set(leaking_teachers(plan, store)) == {nodes["rmu"].evaluation}, "graddiff teaches nobody in smoke"
    leave(nodes["fresh-rmu"].stage)
    assert leaking_teachers(plan, store) == {}


class Notes(Listener):
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def noted(self, message: str) -> None:
        self.lines.append(message)


def test_a_study_tells_it_once_when_the_evaluation_is_there(study):
    plan, store, nodes, _, evaluated = study
    evaluated(base=9.0, oracle=-1.0, maxent=5.0)
    execution = Execution(plan, store, 1, notes := Notes())
    for id in ("base", "maxent", "oracle"):
        stage = plan.stages[nodes[id].evaluation]
        assert execution._on_message(Worker(None, stage), {"event": "done"}, [])  # type: ignore[arg-type]
    assert len(notes.lines) == 1 and "maxent (seed 1) leaks: it holds 56%" in notes.lines[0]
