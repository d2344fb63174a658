"""The curves to choose from are those of results.json."""

from statistics import fmean

import pytest

from tests.report_synthetic import RATES, STEPS, make_results, read
from undo.report.explorer import explorer


@pytest.fixture(scope="module")
def results():
    return make_results()


def values(results, model, skill, rate, seed):
    curve = next(
        c
        for c in results["curves"]
        if (c["model"], c["skill"], c["seed"], c["variant"]["learning_rate"]) == (model, skill, seed, rate)
    )
    return [point[skill] for point in curve["points"]]


def test_a_variant_of_a_seed_is_drawn_as_it_was_measured(results):
    found = explorer(read(results), "relearn")
    assert found["steps"] == list(STEPS)
    for rate in RATES:
        for skill in ("forget", "neutral"):
            line = found["lines"][f"{skill}|learning_rate {rate:g}|2"]["rmu"]
            assert line == values(results, "rmu", skill, rate, 2)


def test_the_worst_case_is_the_best_of_all_variants_up_to_a_step_and_the_mean_that_of_the_seeds(results):
    found = explorer(read(results), "relearn")["lines"]["forget|worst case|mean"]["undo-0.6-maxent"]
    by_seed = []
    for seed in (1, 2):
        both = [values(results, "undo-0.6-maxent", "forget", rate, seed) for rate in RATES]
        by_seed.append([max(max(line[: i + 1]) for line in both) for i in range(len(STEPS))])
    assert found == pytest.approx([fmean(pair) for pair in zip(*by_seed, strict=True)])


def test_the_method_with_most_students_comes_first_and_one_seed_has_no_mean():
    results = make_results(seeds=(7,))
    results["models"] = [m for m in results["models"] if m["teacher"] != "maxent"]
    choices = explorer(read(results), "relearn")["choices"]
    assert choices["method"] == ["rmu", "maxent"] and choices["seed"] == ["7"]
    assert choices["variant"] == ["worst case", "learning_rate 0.001", "learning_rate 0.003"]
