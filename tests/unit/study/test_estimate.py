"""The time that a study will take, before it runs."""

from types import SimpleNamespace

import pytest

from undo.study.artifacts import Store
from undo.study.estimate import NOMINAL_RATE, estimate


def stage(seconds: float, *needs: str) -> SimpleNamespace:
    settings = SimpleNamespace(evaluations=lambda: 0)
    return SimpleNamespace(flops=seconds * NOMINAL_RATE, inputs=dict(enumerate(needs)), settings=settings)


CHAIN = {"base": stage(100), "teacher": stage(10, "base"), "student": stage(200, "teacher")}
SIDE_BY_SIDE = {"first": stage(100), "second": stage(100), "third": stage(100), "fourth": stage(100)}


@pytest.mark.parametrize(
    ("stages", "workers", "seconds"),
    [(CHAIN, 1, 310), (CHAIN, 8, 310), (SIDE_BY_SIDE, 1, 400), (SIDE_BY_SIDE, 2, 200), (SIDE_BY_SIDE, 8, 100)],
    ids=["chain", "a chain waits for itself", "one after another", "two at a time", "all at once"],
)
def test_time_is_the_work_shared_out_or_the_longest_chain(stages, workers, seconds, tmp_path):
    assert estimate(SimpleNamespace(stages=stages), Store(tmp_path), workers).seconds == pytest.approx(seconds)
