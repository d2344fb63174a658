"""An audit in words: the headline says whether it is gone and what that cost; the rest adds what the numbers say."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from undo.given.certificate import AttackResult
from undo.given.verdict import Case, headline, verdict

METRIC = {"name": "exact match", "n_items": 100, "unit": "fraction", "higher_is_better": True}
SCALE = {"zero": "guessing", "one": "what it knew"}


def row(fraction, attack="relearn", spread=0.02, **more):
    low, high = (None, None) if fraction is None else (fraction - spread, fraction + spread)
    usual = {
        "attack": attack,
        "variant": {},
        "budget": 10,
        "forget_tokens": 100,
        "recovery": fraction or 0.0,
        "recovery_interval": (low, high),
        "oracle": 0.0,
        "neutral": None,
        "specific_recovery": None,
        "specific_recovery_interval": None,
        "recovered_fraction": fraction,
        "recovered_fraction_interval": None if fraction is None else (low, high),
        "retain_loss": 1.0,
        "within_utility": True,
    }
    return AttackResult(**usual | more)


def at_rate(rate, fraction, attack="relearn", optimizer="adamw"):
    variant = {} if rate is None else {"optimizer": optimizer, "learning_rate": rate}
    return row(fraction, attack, variant=variant)


def case(worst, *others, plain=None, suppressed=None, before=1.0, own=1.0, scale=SCALE, free=None):
    alone = None if suppressed is None else SimpleNamespace(worst_case=row(suppressed))
    return Case(
        suite="quick",
        metric=METRIC,
        scale=scale,
        utility={"retain_loss": own, "before_retain_loss": before, "margin": 0.1, "limit": 1.1 * max(own, before or 0)},
        attacks=[plain or row(0.0, "none"), worst, *others],
        worst_case=worst,
        worst_unconstrained=free or worst,
        failures=[],
        suppressed=alone,
    )


@pytest.mark.parametrize(
    ("found", "opens"),
    [
        (case(row(0.01)), "GONE: the most that an attack brought back is 1 % [-1, 3]"),
        (case(row(0.23)), "COMES BACK 23 % [21, 25]."),
        (case(row(0.23), suppressed=0.64), "COMES BACK 23 % [21, 25] (suppressed alone: 64 %)."),
        (case(row(0.95)), "NOT GONE: practically all comes back, 95 % [93, 97] after the worst one"),
        (case(row(0.4), plain=row(0.3, "none")), "NOT GONE: 30 % [28, 32] is there without an attack, 40 %"),
        (case(row(0.2, spread=0.4)), "UNDECIDED: 20 % [-20, 60] came back, an interval too wide"),
        (case(row(None), scale={}), "UNDECIDED: nothing is given to measure by."),
        (
            case(row(0.01, oracle=None)),
            "UNDECIDED: attacks brought back 1 % [-1, 3] more than the model shows by itself",
        ),
        (case(row(0.01, oracle=None, neutral=5.0)), "GONE: "),
    ],
    ids=["gone", "back", "back-teacher", "all-back", "never-gone", "wide", "no-scale", "no-control", "swapped"],
)
def test_the_headline_opens_with_the_verdict(found, opens):
    assert headline(found).startswith(opens)
    assert verdict(found).splitlines()[0] == headline(found)


def test_a_model_that_nobody_attacked_is_not_called_gone():
    """Nor is one of which all attacks were skipped or failed."""
    plain = row(0.0, "none")
    found = replace(case(plain), attacks=[plain])
    assert headline(found).startswith("UNDECIDED: nothing was attacked.") and "suite of attacks" in headline(found)


def test_right_answers_ahead_of_others_come_back_without_a_scale():
    ahead = row(None, specific_recovery=0.5, specific_recovery_interval=(0.3, 0.7))
    assert headline(case(ahead, scale={})).startswith("COMES BACK: attacked, right answers are 50 % ahead")
    assert headline(case(ahead, plain=ahead, scale={})).startswith("NOT GONE: without an attack, right answers")


def test_a_damaged_model_is_called_so_in_the_first_line():
    """SmolLM2 after three steps of distillation: worse than guessing, and "13 % came back" was all that was said."""
    told = headline(case(row(0.13), before=2.29, own=11.15))
    assert "The model is DAMAGED: retain 2.29 -> 11.15 nats per token." in told and "Next: train longer" in headline(
        case(row(0.13), before=2.29, own=11.15, suppressed=0.5)
    )
    assert "DAMAGED" not in headline(case(row(0.13), before=2.29, own=2.5))
    assert "Retain 5.45 -> 3.27 nats per token." in headline(case(row(0.13), before=5.45, own=3.27))


@pytest.mark.parametrize(
    ("found", "advice"),
    [
        (case(row(0.8), suppressed=0.64), "distilling did not help"),
        (case(row(0.3), suppressed=0.64), "a higher --budget"),
        (case(row(0.3)), "undo robustify"),
        (case(row(0.0)), "--suite standard"),
        (case(row(0.0, spread=0.4)), "more forget texts"),
        (case(row(None), scale={}), "give --before or --oracle"),
    ],
)
def test_the_headline_says_what_to_do_next(found, advice):
    assert advice in headline(found).partition("Next: ")[2]


def test_the_worst_row_without_the_constraint_stands_beside_the_one_within():
    free = row(0.81, retain_loss=7.0, within_utility=False)
    told = verdict(case(row(0.23), free, free=free))
    assert "need not keep the model useful got 81 % [79, 83] by 'relearn' (10 steps) (retain 7.00" in told
    assert "need not" not in verdict(case(row(0.23)))


def test_attacks_that_decide_nothing_are_named():
    told = verdict(case(row(0.1), row(0.9, "soft_prompt", decides=False)))
    assert "What 'soft_prompt' brought out decides nothing" in told


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
    worst = at_rate(rate, 0.9, "relearn" if rate else "few_shot")
    found = verdict(case(worst, *(at_rate(other, 0.1) for other in others)))
    assert expected in found if expected else "that was tried" not in found


def test_rates_of_another_attack_or_optimiser_are_no_part_of_the_grid():
    assert "that was tried" not in verdict(case(at_rate(1e-3, 0.9), at_rate(1e-2, 0.1, "lora")))
    assert "that was tried" not in verdict(case(at_rate(1e-3, 0.9), at_rate(1e-2, 0.1, optimizer="muon")))
