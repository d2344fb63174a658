"""Scores against numbers worked out by hand."""

import pytest
from scipy import stats

from undo.report.results import scored
from undo.study.rows import Curve, Score
from undo.study.scores import mean_interval, score_rows, within_utility, worst_case


def curve(model, seed, points, skill="forget", rate=1e-3):
    rows = [
        {
            "step": step,
            "forget_tokens": step,
            "forget": value,
            "retain": 1.0,
            "neutral": value if skill == "neutral" else None,
        }
        for step, value in points
    ]
    return {
        "model": model,
        "attack": "a",
        "skill": skill,
        "variant": {"learning_rate": rate},
        "seed": seed,
        "points": rows,
    }


def model(id, role, seed, flops, teacher=None):
    unused = {"tokens": 0, "wall_s": 0.0, "artifact": ""}
    row = {"id": id, "role": role, "seed": seed, "flops": flops, "teacher": teacher, "retain": 1.0, "forget": 0.0}
    return row | unused


def study(seeds=(1, 2)):
    models, curves = [], []
    for seed in seeds:
        shift = 0.02 * seed
        models += [
            model("oracle", "oracle", seed, 100),
            model("t", "teacher", seed, 5),
            model("s", "student", seed, 60, teacher="t"),
        ]
        curves += [
            curve("oracle", seed, [(0, 0.0), (10, 0.1)]),
            curve("t", seed, [(0, 0.0), (10, 0.9)]),
            curve("t", seed, [(0, 0.0), (10, 0.5)], rate=1e-4),
            curve("s", seed, [(0, 0.0), (10, 0.3 + shift)]),
            curve("s", seed, [(0, 0.0), (10, 0.25)], skill="neutral"),
        ]
    return models, curves


def metrics(n_items, higher_is_better=True):
    named = {"name": "made up", "unit": "fraction", "n_items": n_items}
    metric = named | {"higher_is_better": higher_is_better, "standard_error": 0.5 / n_items**0.5}
    return {"forget": metric, "retain": metric}


def row(rows, model, budget=10):
    return next(row for row in rows if row["model"] == model and row["budget"] == budget)


def test_the_worst_case_is_the_maximum_over_variants_and_earlier_steps():
    found = curve("m", 1, [(0, 0.1), (10, 0.7), (20, 0.2)]), curve("m", 1, [(0, 0.1), (10, 0.3), (20, 0.4)])
    curves = [*map(Curve.read, found)]
    assert worst_case(curves, "forget", 0) == 0.1
    assert worst_case(curves, "forget", 20) == 0.7


def test_relative_robustness_compute_and_specific_recovery():
    scored = row(score_rows(*study(), metrics(1000)), "s")
    robust = [(0.9 - 0.32) / 0.8, (0.9 - 0.34) / 0.8]
    assert scored["recovery"] == pytest.approx(0.33)
    assert scored["relative_robustness"] == pytest.approx(sum(robust) / 2)
    assert scored["relative_compute"] == pytest.approx(0.6)
    assert scored["neutral_recovery"] == pytest.approx(0.25)
    assert scored["specific_recovery"] == pytest.approx(0.08)
    assert scored["n_seeds"] == 2


@pytest.mark.parametrize("higher_is_better", [True, False], ids=["accuracy", "loss"])
def test_an_adversary_that_has_to_keep_the_model_useful_finds_less(higher_is_better):
    """The most comes back where a fifth of retain is lost; a twentieth may be."""
    models, curves = study()
    forget, retain = [0.2, 0.5, 0.9], [0.8, 0.76, 0.64]
    if not higher_is_better:
        forget, retain = [8 - value for value in forget], [4.0, 4.2, 4.8]
    for one in (one for one in models if one["id"] == "s"):
        one |= {"forget": forget[0], "retain": retain[0]}
    for one in curves:
        if one["model"] == "s" and one["skill"] == "forget":
            values = zip((0, 10, 20), forget, retain, strict=True)
            one["points"] = [{"step": s, "forget_tokens": s, "forget": f, "retain": kept} for s, f, kept in values]
    scored = row(score_rows(models, curves, metrics(1000, higher_is_better)), "s", 20)
    assert (scored["recovery"], scored["constrained_recovery"]) == (forget[2], forget[1])
    assert scored["constrained_recovery_ci"] == [forget[1], forget[1]] and scored["constrained_recovery_n"] == 2


def test_where_every_attack_costs_too_much_the_model_is_what_it_was():
    """Also one that, as quantising, takes its toll before its first step."""
    models, curves = study()
    for one in curves:
        one["points"] = [point | {"retain": 0.8, "forget": 0.3} for point in one["points"]]
    found = row(score_rows(models, curves, metrics(1000)), "s")
    assert (found["recovery"], found["constrained_recovery"]) == (0.3, 0.0)


@pytest.mark.parametrize("higher_is_better", [True, False], ids=["accuracy", "loss"])
def test_area_and_half_come_from_the_envelope(higher_is_better):
    """What fell again stays recovered; half of the base's 0.8 (or half of the way from 8 nats to 4) is passed at 20."""
    models, curves = study()
    turn = (lambda value: value) if higher_is_better else (lambda value: 8 - 5 * value)
    models += [model("base", "base", seed, 100) for seed in (1, 2)]
    for one in models:
        one["forget"] = {"base": turn(0.8), "oracle": turn(0.0)}.get(one["id"], turn(0.0))
    curves = [curve("s", seed, [(0, turn(0.0)), (10, turn(0.2)), (20, turn(0.6)), (40, turn(0.4))]) for seed in (1, 2)]
    rows = score_rows(models, curves, metrics(1000, higher_is_better))
    area = (10 * 0.1 + 10 * 0.4 + 20 * 0.6) / 40
    assert row(rows, "s", 40)["area_under_curve"] == pytest.approx(turn(area))
    assert [row(rows, "s", budget)["steps_to_half"] for budget in (10, 20, 40)] == [None, 20, 20]
    assert row(rows, "s", 10)["steps_to_half_n"] == 0 and row(rows, "s", 40)["steps_to_half_n"] == 2
    guessing = metrics(1000, higher_is_better)
    guessing["forget"]["chance"] = 0.5  # half of what the base has beyond it is at 0.65
    expected = (None, 0) if higher_is_better else (20, 2)
    found = row(score_rows(models, curves, guessing), "s", 40)
    assert (found["steps_to_half"], found["steps_to_half_n"]) == expected
    alone = row(score_rows([one for one in models if one["id"] != "oracle"], curves, guessing), "s", 40)
    assert alone["steps_to_half_n"] == (0 if higher_is_better else None), "of a loss of guessing nothing is known"


def test_the_ends_of_the_scale():
    rows = score_rows(*study(), metrics(1000))
    assert row(rows, "t")["relative_robustness"] == 0.0
    assert row(rows, "oracle")["relative_robustness"] == 1.0
    assert row(rows, "t")["specific_recovery"] is None


def test_the_interval_is_students_t():
    mean, low, high = mean_interval([0.1, 0.2, 0.6])
    expected = stats.t.interval(0.95, 2, loc=0.3, scale=stats.sem([0.1, 0.2, 0.6]))
    assert (mean, low, high) == pytest.approx((0.3, *expected))


def test_every_number_says_over_how_many_seeds_it_is():
    """The oracle's attack failed in one seed, the neutral one in two: what is compared rests on the others."""
    models, curves = study((1, 2, 3))
    curves = [c for c in curves if (c["model"], c["seed"]) != ("oracle", 3)]
    curves = [c for c in curves if c["skill"] == "forget" or c["seed"] == 1]
    found = row(score_rows(models, curves, metrics(10_000)), "s")
    counts = {name: found[f"{name}_n"] for name in ("relative_robustness", "specific_recovery", "relative_compute")}
    assert found["n_seeds"] == 3
    assert counts == {"relative_robustness": 2, "specific_recovery": 1, "relative_compute": 3}
    assert scored(Score.read(found), "relative_robustness").n == 2 and scored(Score.read(found), "recovery").n == 3


def test_one_seed_has_no_interval():
    scored = row(score_rows(*study(seeds=(1,)), metrics(1000)), "s")
    assert scored["ci_low"] is None and scored["ci_high"] is None


def test_robustness_is_null_where_the_ends_cannot_be_told_apart():
    models, curves = study(seeds=(1,))
    curves = [c for c in curves if c["model"] != "t"] + [curve("t", 1, [(0, 0.0), (10, 0.12)])]
    assert row(score_rows(models, curves, metrics(100)), "s")["relative_robustness"] is None


def test_a_loss_recovers_downwards_and_is_scored_alike():
    """Cross-entropy: 4 suppressed, 6 the oracle, 5 the student, which is half way; the worst case is the lowest."""
    alone = Curve.read(curve("m", 1, [(0, 7.0), (10, 4.0), (20, 5.0)]))
    assert worst_case([alone], "forget", 20, higher_is_better=False) == 4.0
    models = [model("oracle", "oracle", 1, 100), model("t", "teacher", 1, 5), model("s", "student", 1, 60, teacher="t")]
    curves = [curve("oracle", 1, [(0, 7.5), (10, 6.0)]), curve("t", 1, [(0, 7.5), (10, 4.0)])]
    curves += [curve("s", 1, [(0, 7.6), (10, 5.0)]), curve("s", 1, [(0, 7.6), (10, 5.5)], skill="neutral")]
    scored = row(score_rows(models, curves, metrics(100, higher_is_better=False)), "s")
    assert scored["relative_robustness"] == pytest.approx(0.5)
    assert scored["specific_recovery"] == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("retain", "own", "original", "useful"),
    [
        (
            3.64,
            3.27,
            5.45,
            True,
        ),  # worse than the student, far better than the original
        (6.1, 3.27, 5.45, False),
        (3.0, 11.15, 2.29, True),  # better than the ruined model that was attacked
        (12.5, 11.15, 2.29, False),
    ],
)
def test_a_model_is_of_use_that_keeps_what_it_or_the_original_had(retain, own, original, useful):
    assert within_utility(retain, [own, original], higher_is_better=False) == useful
    accuracies = (1 / value for value in (retain, own, original))
    kept, *before = accuracies
    assert within_utility(kept, before, higher_is_better=True) == useful


def test_rows_as_useful_as_the_base_count_in_a_constrained_recovery():
    models, curves = study(seeds=(1,))
    models.append(model("base", "base", 1, 100) | {"retain": 0.7})
    for each in curves:
        if each["model"] == "s":
            each["points"][1]["retain"] = 0.66  # a third of its own is lost, a twentieth of the base's
    assert row(score_rows(models, curves, metrics(1000)), "s")["constrained_recovery"] == pytest.approx(0.32)
    without = [each for each in models if each["id"] != "base"]
    assert row(score_rows(without, curves, metrics(1000)), "s")["constrained_recovery"] == 0.0


def test_specific_recovery_of_swapped_answers_is_their_distance_under_the_same_attack():
    models, curves = study(seeds=(1,))
    curves = [each for each in curves if each["skill"] == "forget"]
    assert row(score_rows(models, curves, metrics(1000)), "s")["specific_recovery"] is None
    for each in curves:
        for point in each["points"]:
            point["neutral"] = point["forget"] / 2
    assert row(score_rows(models, curves, metrics(1000)), "s")["specific_recovery"] == pytest.approx(0.16)
