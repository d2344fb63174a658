"""Figures, rows and sentences say what results.json says."""

import json

import pytest

from tests.report_synthetic import STEPS, as_losses, make_results, read, with_students
from undo.report import figures, narrative, pareto, pipeline
from undo.report.compare import compare, comparison_figure
from undo.report.cost_figures import _cost_parts
from undo.report.numbers import plain
from undo.report.page import render
from undo.report.results import scored


@pytest.fixture
def results():
    return make_results()


def test_envelope_is_the_highest_variant_so_far_per_seed_then_the_mean(results):
    results["curves"] = [curve for curve in results["curves"] if curve["model"] != "maxent"]
    for seed, values in ((1, [0.0, 0.6, 0.2]), (2, [0.0, 0.4, 0.3])):
        for rate, factor in ((1e-3, 1.0), (3e-3, 0.5)):
            points = [
                {"step": step, "forget_tokens": step, "forget": factor * v, "retain": 0.9, "neutral": None}
                for step, v in zip((0, 5, 10), values, strict=True)
            ]
            key = {"model": "maxent", "attack": "relearn", "skill": "forget", "seed": seed}
            results["curves"].append({**key, "variant": {"learning_rate": rate}, "points": points})
    found = [(step, e.mean) for step, e in read(results).envelope("relearn", "maxent")]
    assert found == [(0, 0.0), (5, pytest.approx(0.5)), (10, pytest.approx(0.5))]


def test_kept_takes_retain_from_the_point_that_decides_forget(results):
    results["curves"] = [c for c in results["curves"] if (c["seed"], c["skill"]) == (1, "forget")]
    curves = [curve for curve in results["curves"] if curve["model"] == "maxent"]
    best = max((point for curve in curves for point in curve["points"]), key=lambda point: point["forget"])
    forget, retain = read(results).kept("relearn", "maxent", 150)
    assert (forget.mean, retain.mean) == (best["forget"], best["retain"])


def test_headline_places_every_score_with_its_interval(results):
    drawn = {
        (t.x[0], t.y[0]): t.error_y.array[0]
        for t in figures.headline(read(results)).data
        if t.mode != "lines" and t.y[0]
    }
    for score in read(results).scores_at("relearn", 150).values():
        if score.relative_robustness:
            half = drawn[score.relative_compute, score.relative_robustness]
            high = score.relative_robustness_ci[1]
            assert half is None if high is None else half == pytest.approx(high - score.relative_robustness)


def test_what_missed_the_stop_rule_is_hollow_wherever_it_is_a_point(results):
    """It relearns slowly because it never learnt: nothing to be read as robustness."""
    for row in results["models"]:
        if (row["id"], row["seed"]) == ("fresh-rmu", 2):
            row["distil"] = row["distil"] | {"gap": 0.4}
    drawn = [figures.headline(read(results)), *pareto.pareto_panels(read(results), "relearn").values()]
    for figure in drawn:
        points = {trace.hovertemplate.split("</b>")[0]: trace.marker for trace in figure.data if trace.hovertemplate}
        assert points["<b>fresh-rmu"].symbol == "square-open" and points["<b>fresh-maxent"].symbol == "circle"
    compared = comparison_figure(compare([read(results), read(make_results((1, 2, 3)))]))
    assert sorted(set(compared.data[0].marker.symbol)) == ["circle", "circle-open"]
    assert "missed the stop rule" in render(read(results)) and "missed the stop rule" not in render(
        read(make_results())
    )


def test_a_panel_per_method_and_a_figure_per_budget(results):
    assert list(figures.relearning_panels(read(results), "relearn")) == ["maxent", "rmu"]
    assert list(figures.alpha_panels(read(results), "relearn")) == ["maxent", "rmu"]
    assert list(pareto.pareto_panels(read(results), "relearn")) == list(STEPS)


def test_one_seed_draws_no_interval():
    results = make_results(seeds=(1,))
    panel = figures.relearning_panels(read(results), "relearn")["maxent"]
    assert all(trace.fill is None for trace in panel.data)
    assert "one seed: no interval" in json.dumps(panel.to_plotly_json())


def test_panels_beside_each_other_are_equally_high(results):
    results["models"] = [row for row in results["models"] if row["id"] != "fresh-rmu"]
    layouts = [panel.layout for panel in figures.relearning_panels(read(results), "relearn").values()]
    assert len({(layout.height, layout.margin.b) for layout in layouts}) == 1


def test_an_axis_of_losses_is_that_of_attacked_models():
    results = as_losses(make_results())
    for curve in results["curves"]:
        curve["points"][0] |= {"forget": 40.0}
    low, high = figures.relearning_panels(read(results), "relearn")["maxent"].layout.yaxis.range
    assert low < 3.1 and 7 < high < 9


def test_the_suppression_of_all_who_teach_is_suppression():
    """A student of two teachers pays for both; none of them wrote its outputs down."""
    results = with_students(make_results(), {"init": "fresh", "with_teachers": ["rmu"], "teachers": ["maxent"]})
    results = json.loads(json.dumps(results).replace('"base_init-maxent"', '"fresh-with-rmu-maxent"'))
    taught = [row for row in results["models"] if row["id"] == "fresh-with-rmu-maxent"]
    of = {stage["id"]: stage["ledger"]["flops"] for stage in results["stages"] if "flops" in stage["ledger"]}
    for row in taught:
        teachers = [m["flops"] for m in results["models"] if m["role"] == "teacher" and m["seed"] == row["seed"]]
        row["flops"] = of[row["artifact"].removeprefix("artifacts/")] + sum(teachers)
    parts = _cost_parts(read(results), read(results).by_id["fresh-with-rmu-maxent"])
    assert parts["suppression"] == sum(teachers) and parts["teacher's kept outputs"] == 0


def test_a_search_shows_its_settings_instead_of_a_headline(results):
    search = {**results, "curves": [], "scores": [], "recipe": {**results["recipe"], "attacks": {}}}
    points = {t.name: (t.x, t.y) for t in pareto.settings_pareto(read(search)).data}
    means = [pytest.approx(read(results).mean("rmu", name).mean) for name in ("forget", "retain")]
    assert [points["rmu"][0][0], points["rmu"][1][0]] == means
    assert "looks for settings" in narrative.answer(read(search))[0] and not any(
        "costs" in c for c in narrative.caveats(read(search))
    )
    html = render(read(search))
    assert "What is kept, over what is left" in html and "No attack has been finished" not in html


def of_settings():
    """One method with students, and nine settings of another that taught nobody."""
    results = make_results(methods=("maxent", *(f"rmu-{i}" for i in range(9))))
    results["models"] = [row for row in results["models"] if not (row.get("teacher") or "").startswith("rmu")]
    for row in results["models"]:
        row["method"] = "rmu" if row["id"].startswith("rmu") else row["method"]
    return results


def test_settings_by_the_dozen_are_told_apart_by_method_after_an_attack_too():
    """And only what taught somebody has a panel of curves and findings of its own."""
    results = of_settings()
    assert list(figures.relearning_panels(read(results), "relearn")) == ["maxent"]
    assert [finding.title for finding in narrative.findings(read(results))][:-1] == ["maxent"]
    *_, last = pareto.pareto_panels(read(results), "relearn").values()
    drawn = {trace.name: trace for trace in last.data}
    assert {"base", "oracle", "maxent", "rmu", "UNDO student", "fresh student"} <= drawn.keys()
    assert len(drawn["rmu"].x) == 9 and len(drawn["UNDO student"].x) == 2
    forget, retain = read(results).kept("relearn", "rmu-4", STEPS[-1])
    assert (forget.mean, retain.mean) == (drawn["rmu"].x[4], drawn["rmu"].y[4])
    for row in results["models"]:
        if row["id"] == "fresh-maxent":
            row["distil"] = row["distil"] | {"gap": 0.4}
    hollow = {trace.name: trace.marker.symbol for trace in pareto.pareto_panels(read(results), "relearn")[0].data}
    assert hollow["fresh student"] == ("hexagram-open",) and hollow["UNDO student"] == ("hexagram", "hexagram")
    usual = [*pareto.pareto_panels(read(make_results()), "relearn").values()][-1]
    assert len(usual.data) == len(read(make_results()).by_id), "elsewhere a point is a model by itself"


def test_the_boxes_of_a_search_are_its_methods():
    results = make_results(methods=tuple(f"rmu-{i}" for i in range(9)))
    for row in results["models"]:
        row["method"] = row["method"] and "rmu"
    (box,) = dict(pipeline.columns(read(results)))["suppress"]
    assert (box.title, box.note) == ("rmu", "9 settings; each")


def test_no_headline_where_robustness_is_undefined(results):
    results["scores"] = [row | {"relative_robustness": None} for row in results["scores"]]
    assert figures.headline(read(results)) is None


@pytest.mark.parametrize("of", [lambda results: results, as_losses], ids=["accuracies", "losses"])
def test_the_answer_opens_with_what_came_back_to_whom(results, of):
    results = of(results)
    scores, form = read(results).scores_at("relearn", 150), read(results).form_of("forget")
    students = [score for id, score in scores.items() if id.endswith(("-maxent", "-rmu"))]
    best = max(students, key=lambda score: score.relative_robustness).model
    opening, _, asked = narrative.answer(read(results))
    for id in (best.partition("-")[2], best, "oracle"):
        assert f"{scored(scores[id], 'recovery').text(form)} where" in opening and f"({id})" in opening
    assert f"{best} stands at {scored(scores[best], 'relative_robustness').text(plain)}" in opening
    assert ("best score" in asked) == results["metrics"]["forget"]["higher_is_better"]


def test_a_student_of_texts_that_its_teacher_chose_is_not_told_of_as_distilled(results):
    """However robust it is: nobody told it anything."""
    made = {"init": "fresh", "filter_share": 0.5, "teachers": ["maxent", "rmu"]}
    results = json.loads(json.dumps(with_students(results, made)).replace("base_init-", "fresh-filter0.5-"))
    for score in results["scores"]:
        if score["model"].startswith("fresh-filter0.5-"):
            score |= {"relative_robustness": 0.999, "relative_robustness_ci": [0.99, 1.2]}
    told = " ".join(
        [
            *narrative.answer(read(results)),
            *(point for found in narrative.findings(read(results)) for point in found.points),
        ]
    )
    assert "Most robust student" in told and "0.999" not in told


def test_sentences_count_only_what_the_intervals_show(results):
    assert "Of 2 suppressed models, 2 have a student" in narrative.answer(read(results))[1]
    for row in results["scores"]:
        row["relative_robustness_ci"] = [-0.1, 1.2]
    assert "Of 2 suppressed models, 0 have a student" in narrative.answer(read(results))[1]
    assert "for 0 of 2" in narrative.answer(read(results))[1]


def test_sentences_of_one_seed_claim_nothing():
    results = make_results(seeds=(1,))
    assert "do not show a difference" in narrative.answer(read(results))[1]
    assert any(caveat.startswith("One seed: no interval") for caveat in narrative.caveats(read(results)))


def test_sentences_say_when_robustness_does_not_rise_with_alpha(results):
    assert any("rises at every step" in point for point in narrative.findings(read(results))[0].points)
    for row in results["scores"]:
        if row["model"] == "undo-0.6-maxent":
            row["relative_robustness"] = 0.0
    assert any("does not rise" in point for point in narrative.findings(read(results))[0].points)


def test_sentences_name_students_that_are_not_the_usual_ones(results):
    """Neither two "fresh students" in a row, nor a trend over students that differ in more than alpha."""
    text = json.dumps(results)
    named = json.loads(
        text.replace("base_init-maxent", "fresh-top8-maxent").replace("undo-0.6-maxent", "undo-0.6-of-mlp-maxent")
    )
    for row in named["models"]:
        row["student_init"] = "fresh" if row["id"] == "fresh-top8-maxent" else row["student_init"]
    points = " ".join(narrative.findings(read(named))[0].points)
    assert points.count("its fresh student") == 1 and "its fresh-top8-maxent" in points and "step of α" not in points


def test_caveats_name_what_is_missing_and_weak(results):
    for row in results["models"]:
        if row["id"] == "rmu":
            row["forget"] = 0.3
    results["models"] = [row for row in results["models"] if row["role"] in ("base", "teacher")]
    caveats = " ".join(narrative.caveats(read(results)))
    assert (
        "No oracle" in caveats
        and "No student" in caveats
        and "incomplete; forget before the attack: rmu 30.0" in caveats
    )


def test_a_teacher_that_leaks_is_named(results):
    for row in results["models"]:
        row["forget_signal"] = {"base": 9.0, "oracle": 4.0, "maxent": 4.2, "rmu": 5.0}.get(row["id"], 0.0)
    told = [caveat for caveat in narrative.caveats(read(results)) if "that leak" in caveat]
    assert len(told) == 1 and ": rmu 20.0" in told[0]


def test_what_guessing_scores_is_no_incomplete_suppression(results):
    for row in results["models"]:
        row["forget"] = 0.27
    assert any("is incomplete" in caveat for caveat in narrative.caveats(read(results)))
    results["metrics"]["forget"]["chance"] = 0.25
    assert not any("is incomplete" in caveat for caveat in narrative.caveats(read(results)))


def edges(results):
    return [caveat for caveat in narrative.caveats(read(results)) if "worst learning rate" in caveat]


def give(results, model, rate, value, seeds=(1, 2), step=150):
    """What an attack at a rate reached on forget, in some seeds."""
    for curve in results["curves"]:
        at = (curve["model"], curve["skill"], curve["variant"]["learning_rate"])
        if at == (model, "forget", rate) and curve["seed"] in seeds:
            next(point for point in curve["points"] if point["step"] == step)["forget"] = value


def test_a_worst_case_at_the_edge_of_the_grid_is_named_where_seeds_agree(results):
    give(results, "fresh-rmu", 3e-3, 0.6)
    assert "0.003 for " in edges(results)[0] and "fresh-rmu" in edges(results)[0].split("0.003 for ")[1]
    give(results, "fresh-rmu", 1e-3, 0.7, seeds=(2,))
    assert not any("fresh-rmu" in caveat for caveat in edges(results))


def test_sentences_tell_students_that_lost_retain_from_robustness_that_is_undefined(results):
    for row in results["models"]:
        if row["role"] == "student":
            row["distil"] = {"gap": 0.5, "stopped_by_rule": False, "steps": 9}
    assert narrative.answer(read(results))[1].startswith("No student kept its teacher's retain, so nothing is said")
    for row in results["models"]:
        row.pop("distil", None)
    for row in results["scores"]:
        row["relative_robustness"] = None
    assert narrative.answer(read(results))[1].startswith("Relative robustness is defined for no student")
