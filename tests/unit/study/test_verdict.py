"""An audit in words: what it adds to the numbers."""

import pytest

from undo.study.certificate import Row
from undo.study.verdict import verdict

METRIC = {"name": "exact match", "n_items": 100, "unit": "fraction"}
SCALE = {"zero": "guessing", "one": "what it knew"}


def row(rate, recovery, attack="relearn"):
    return Row(
        attack=attack,
        variant={} if rate is None else {"learning_rate": rate},
        budget=10,
        forget_tokens=100,
        recovery=recovery,
        recovery_interval=(recovery, recovery),
        oracle=None,
        recovered_fraction=recovery,
        recovered_fraction_interval=(recovery, recovery),
        retain_loss=1.0,
        within_utility=True,
    )


def said(worst, *others):
    return verdict("quick", [worst, *others], worst, METRIC, SCALE, [])


@pytest.mark.parametrize(
    ("rate", "others", "expected"),
    [
        (1e-4, (1e-3, 1e-2), "the lowest that was tried; a lower one"),
        (1e-2, (1e-3, 1e-4), "the highest that was tried; a higher one"),
        (1e-3, (1e-2, 1e-4), None),
        (1e-3, (), None),
        (None, (1e-2, 1e-4), None),
    ],
)
def test_a_worst_case_at_the_end_of_the_rates_may_go_on_beyond(rate, others, expected):
    found = said(row(rate, 0.9, "relearn" if rate else "few_shot"), *(row(other, 0.1) for other in others))
    assert expected in found if expected else "that was tried" not in found


def test_rates_of_another_attack_are_no_part_of_the_grid():
    assert "that was tried" not in said(row(1e-3, 0.9), row(1e-2, 0.1, "lora"))
