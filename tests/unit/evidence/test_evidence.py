"""Evidence: effects worked out again from the curves, verdicts from the intervals, losses like accuracies."""

import json
import math
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.recipes import SOURCES
from tests.report_synthetic import RATES, as_losses, make_results, read, with_oracle_students, with_students
from undo.cli.main import app
from undo.evidence.judge import _verdict, as_json, gather
from undo.evidence.page import as_markdown
from undo.report.figures import label_panels, signal_panels
from undo.report.narrative import caveats, findings
from undo.report.numbers import estimate
from undo.report.page import render
from undo.report.results import Results, scored
from undo.spec.errors import UserError
from undo.spec.load import load_recipe
from undo.spec.recipe import Distil, Recipe
from undo.spec.students import students
from undo.study.scores import score_rows

ROOT = Path(__file__).parents[3]
SEEDS = (1, 2, 3)


@pytest.fixture
def results():
    return with_oracle_students(make_results(SEEDS))


def by_claim(results):
    rows = gather({"synthetic": read(results)})
    return {(row.claim, row.experiment): row for row in rows}


def best(results, model, seed, of=max):
    curves = [c for c in results["curves"] if (c["model"], c["seed"], c["skill"]) == (model, seed, "forget")]
    return of(point["forget"] for curve in curves for point in curve["points"])


def test_an_effect_is_the_mean_difference_within_seeds(results):
    row = by_claim(results)["C2", "fresh-maxent against maxent"]
    apart = [best(results, "maxent", seed) - best(results, "fresh-maxent", seed) for seed in SEEDS]
    assert row.effect == pytest.approx(sum(apart) / 3, abs=1e-4) and row.n_seeds == 3
    assert row.ci_low < row.effect < row.ci_high and row.verdict == "holds"
    early = by_claim(results)["C2", "fresh-maxent against maxent after 40 steps"]
    assert early.effect != row.effect and early.specific.mean != row.specific.mean


def renamed(results, old: str, new: str, *settings):
    """A student under another name, and how it was made."""
    return with_students(json.loads(json.dumps(results).replace(old, new)), *settings)


def short(of: tuple[str, ...], **settings):
    return {"init": "fresh", "teachers": list(of), "steps": 900, **settings}


@pytest.fixture
def alike(results):
    """The oracle's fresh student took 900 steps, and so did one of MaxEnt's and one of RMU's."""
    results = renamed(results, "fresh-oracle", "fresh-steps900-oracle", short(("oracle", "maxent", "rmu")))
    return renamed(results, "base_init-", "fresh-steps900-")


def test_students_that_were_taught_alike_are_compared(alike):
    """The oracle's student of another length has its own counterparts; one that was not taught is none."""
    told = {what for claim, what in by_claim(alike) if claim == "P2"}
    assert told == {f"fresh-steps900-{of} between {of} and fresh-steps900-oracle" for of in ("maxent", "rmu")}
    for row in alike["models"]:
        if row["id"] == "fresh-steps900-maxent":
            row["distil"] = row["distil"] | {"gap": 0.4}
    told = {what for claim, what in by_claim(alike) if claim == "P2"}
    assert "fresh-maxent between maxent and fresh-steps900-oracle" in told


def test_a_student_that_heard_the_likeliest_tokens_alone_is_taught_alike(alike):
    """Its teacher's tail is what it was spared; set beside the oracle's student it says what the tail passed on."""
    short_tail = renamed(alike, "undo-0.3-maxent", "fresh-top1-steps900-maxent", short(("maxent",), top_k=1))
    for row in short_tail["models"]:
        row |= {"student_init": "fresh", "noise_alpha": None} if row["id"] == "fresh-top1-steps900-maxent" else {}
    told = {what for claim, what in by_claim(short_tail) if claim == "P2" and "-maxent" in what}
    names = ("fresh-steps900-maxent", "fresh-top1-steps900-maxent")
    assert told == {f"{id} between maxent and fresh-steps900-oracle" for id in names}


def test_a_teachers_only_fresh_student_counts_whatever_its_name(results):
    other = renamed(results, "fresh-maxent", "fresh-steps900-maxent", short(("maxent",)))
    rows, usual = by_claim(other), by_claim(results)
    row = rows["C2", "fresh-steps900-maxent against maxent"]
    assert row.effect == usual["C2", "fresh-maxent against maxent"].effect
    assert ("P2", "fresh-steps900-maxent between maxent and fresh-oracle") in rows


def test_a_teacher_that_lost_retain_is_named_as_such(results):
    for row in results["models"]:
        row["retain"] -= 0.6 * (row["id"] == "maxent")
    told = [what for claim, what in by_claim(results) if claim == "C2" and not what.endswith("after 40 steps")]
    assert told == ["fresh-maxent against maxent (retain 35.2\u00a0% [34.2, 36.2])", "fresh-rmu against rmu"]


def test_a_loss_counts_like_an_accuracy(results):
    rows, losses = by_claim(results), by_claim(as_losses(results))
    assert rows.keys() == losses.keys()
    for key in rows:
        scale = 1 if key[0] in ("C3b", "P2", "P3") else 5  # a share of a range, whatever its unit
        assert losses[key].effect == pytest.approx(scale * rows[key].effect, abs=1e-3)
        assert losses[key].verdict == rows[key].verdict


def test_only_a_pretrained_model_tells_whether_it_carries_to_one(results):
    assert "C5" not in {claim for claim, _ in by_claim(results)}
    pretrained = {**results, "recipe": {**results["recipe"], "pretrained": {"path": "somewhere"}}}
    rows = {experiment: row for (claim, experiment), row in by_claim(pretrained).items() if claim == "C5"}
    assert set(rows) == {f"undo-{alpha}-{of} against {of}" for alpha in (0.3, 0.6) for of in ("maxent", "rmu")}
    apart = [best(results, "maxent", seed) - best(results, "undo-0.6-maxent", seed) for seed in SEEDS]
    assert rows["undo-0.6-maxent against maxent"].effect == pytest.approx(sum(apart) / 3, abs=1e-4)
    renamed_recipe = {**pretrained["recipe"], "name": "mine"}
    assert {row.setting for row in gather({"x": read({**pretrained, "recipe": renamed_recipe})})} == {"mine"}, (
        "texts of any kind"
    )


def test_more_noise_is_compared_with_less_of_the_same_kind(results):
    """Of students that differ in their noise's scale or stream too, nothing says what the strength did."""
    usual = {what for claim, what in by_claim(results) if claim == "C3"}
    assert usual == {f"undo-0.6-{of} against undo-0.3-{of}" for of in ("maxent", "rmu")}
    made = {"init": "noised", "noise_alpha": [0.6], "noise_beta": 1, "teachers": ["maxent"]}
    other = renamed(results, "undo-0.6-maxent", "undo-0.6-beta1-maxent", made)
    assert {what for claim, what in by_claim(other) if claim == "C3"} == {"undo-0.6-rmu against undo-0.3-rmu"}
    made["noise_alpha"] = [0.3, 0.6]
    both = renamed(
        renamed(results, "undo-0.6-maxent", "undo-0.6-beta1-maxent", made), "undo-0.3-max", "undo-0.3-beta1-max"
    )
    apart = [best(results, "undo-0.3-maxent", seed) - best(results, "undo-0.6-maxent", seed) for seed in SEEDS]
    row = by_claim(both)["C3", "undo-0.6-beta1-maxent against undo-0.3-beta1-maxent"]
    assert row.effect == pytest.approx(sum(apart) / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("dataset", "setting"),
    [
        ({"name": "arithmetic", "kept_operation": "mul"}, "arithmetic (kept_operation mul)"),
        ({"name": "arithmetic", "test_items": 7}, "arithmetic"),
        ({"name": "concept", "overlap": 0.5}, "concept (overlap 0.5)"),
        ({"name": "concept", "overlap": 0.0}, "concept"),
        ({"name": "language", "pair": "english-korean"}, "language (pair english-korean)"),
        ({"name": "of-a-package-that-is-not-here", "overlap": 0.5}, "of-a-package-that-is-not-here"),
    ],
)
def test_another_task_of_a_dataset_is_told_apart(results, dataset, setting):
    results["recipe"]["data"]["dataset"] = dataset
    assert {row.setting for row in gather({"x": read(results)})} == {setting}


def test_matching_an_oracle_is_judged_by_the_start(results):
    kl = "(KL 1.54)"  # of the last looks: 4, 0.5 and 0.1 and a bit more by seed
    row = by_claim(results)["C1", f"fresh-oracle {kl} against undo-0-from-base-oracle {kl}"]
    assert row.verdict == "holds" and row.effect > 0.3


def test_a_student_matched_as_long_is_what_the_base_is_set_beside(results):
    """Others are only where there is none, and then hold in part; those of another stream are not."""
    at_base = {"init": "noised", "noise_alpha": [0.0], "noise_from": "base", "steps": 900, "teachers": ["oracle"]}
    longer = renamed(results, "undo-0-from-base-oracle", "undo-0-from-base-steps900-oracle", at_base)
    (row,) = (row for (claim, _), row in by_claim(longer).items() if claim == "C1")
    assert row.experiment.startswith("fresh-oracle ") and (row.verdict, row.but) == ("partly", "not taught alike")
    elsewhere = "undo-0-from-base-retain-stream-steps900-oracle"
    streamed = renamed(longer, "undo-0-from-base-steps900-oracle", elsewhere, at_base | {"stream": "retain"})
    assert elsewhere in {made.name for made in students(Distil.model_validate(streamed["recipe"]["distil"]))}
    assert "C1" not in {claim for claim, _ in by_claim(streamed)}
    alike = renamed(longer, "base_init-maxent", "fresh-steps900-oracle", short(("oracle",)))
    for row in alike["models"]:
        if row["id"] == "fresh-steps900-oracle":
            row |= {"teacher": "oracle", "student_init": "fresh"}
    assert [what.split()[0] for claim, what in by_claim(alike) if claim == "C1"] == ["fresh-steps900-oracle"]


def test_the_gap_to_the_oracle_is_split_by_a_student_that_was_told_nothing(results):
    rows = by_claim(results)
    apart = [best(results, "fresh-oracle", seed) - best(results, "oracle", seed) for seed in SEEDS]
    assert rows["P1", "oracle against fresh-oracle"].effect == pytest.approx(sum(apart) / 3, abs=1e-4)
    passed = rows["P2", "fresh-maxent between maxent and fresh-oracle"]
    shares = []
    for seed in SEEDS:
        teacher, student, clean = (best(results, id, seed) for id in ("maxent", "fresh-maxent", "fresh-oracle"))
        shares.append((teacher - student) / (teacher - clean))
    assert passed.effect == pytest.approx(sum(shares) / 3, abs=1e-4) and passed.verdict == "fails here"  # 0.89 < 0.9


def test_a_shared_start_is_compared_with_a_fresh_one_taught_alike(results):
    rows = by_claim(results)
    apart = [best(results, "base_init-rmu", seed) - best(results, "fresh-rmu", seed) for seed in SEEDS]
    assert rows["P6", "fresh-rmu against base_init-rmu"].effect == pytest.approx(sum(apart) / 3, abs=1e-4)
    longer = renamed(results, "fresh-rmu", "fresh-steps900-rmu", short(("rmu",)))
    assert {what for claim, what in by_claim(longer) if claim == "P6"} == {"fresh-maxent against base_init-maxent"}


def test_a_start_at_the_teacher_is_no_fresh_one(results):
    made = {"init": "teacher", "teachers": ["rmu"]}
    at_teacher = renamed(results, "fresh-rmu", "teacher-rmu", made)
    for row in at_teacher["models"]:
        row["student_init"] = "teacher" if row["id"] == "teacher-rmu" else row.get("student_init")
    assert {what for claim, what in by_claim(at_teacher) if claim == "P6"} == {"fresh-maxent against base_init-maxent"}


def test_only_the_base_itself_says_what_its_start_decides(results):
    """Under noise a copy starts elsewhere."""
    for row in results["models"]:
        row["noise_alpha"] = 0.6 if row["id"] == "undo-0-from-base-oracle" else row.get("noise_alpha")
    assert "C1" not in {claim for claim, _ in by_claim(results)}


def filtering(results, name: str, **settings):
    """MaxEnt's student of 0.6 as one that read what MaxEnt found likely."""
    made = {"init": "fresh", "filter_share": 0.5, "teachers": ["maxent"], **settings}
    results = renamed(results, "undo-0.6-maxent", name, made)
    for row in results["models"]:
        row |= {"student_init": "fresh", "noise_alpha": None} if row["id"] == name else {}
    return results


def test_filtering_is_compared_with_distillation(results):
    row = by_claim(filtering(results, "fresh-filter0.5-maxent"))["P7", "fresh-filter0.5-maxent against fresh-maxent"]
    apart = [best(results, "fresh-maxent", seed) - best(results, "undo-0.6-maxent", seed) for seed in SEEDS]
    assert row.effect == pytest.approx(sum(apart) / 3, abs=1e-4)
    assert "P7" not in {claim for claim, _ in by_claim(results)}


def test_a_student_of_texts_that_a_teacher_chose_is_not_distilled_from_it(results):
    """Even where it is the only one that started fresh."""
    alone = filtering(results, "fresh-filter0.5-maxent")
    alone["models"] = [row for row in alone["models"] if row["id"] != "fresh-maxent"]
    told = {claim for claim, what in by_claim(alone) if "fresh-filter0.5-maxent" in what}
    assert not told & {"C2", "P2", "P7"}


def test_filtering_is_compared_at_equal_length_where_that_was_run(alike):
    of_length = filtering(alike, "fresh-filter0.5-steps900-maxent", steps=900)
    told = {what for claim, what in by_claim(of_length) if claim == "P7"}
    assert told == {"fresh-filter0.5-steps900-maxent against fresh-steps900-maxent"}


def test_filtering_at_another_length_is_no_fair_comparison(results, alike):
    """And none at all beside a student of a teacher that lost what was to be kept."""
    longer = filtering(results, "fresh-filter0.5-steps900-maxent", steps=900)
    what = "fresh-filter0.5-steps900-maxent against fresh-maxent"
    for curve in forget_curves(longer, "fresh-filter0.5-steps900-maxent"):
        curve["points"] = [point | {"forget": 0.01 * curve["seed"]} for point in curve["points"]]
    assert "not taught alike" in by_claim(longer)["P7", what].but
    of_length = filtering(alike, "fresh-filter0.5-steps900-maxent", steps=900)
    for row in (*longer["models"], *of_length["models"]):
        row["retain"] -= 0.6 * (row["id"] == "maxent")
    assert "P7" not in {claim for claim, _ in by_claim(longer)}
    (what,) = {told for claim, told in by_claim(of_length) if claim == "P7"}
    assert what.startswith("fresh-filter0.5-steps900-maxent against fresh-steps900-maxent (of maxent: retain ")


def test_retraining_is_compared_with_students_of_its_length_and_is_no_saving(alike):
    """The oracle over again, but shorter: neither filtering (P7) nor robustness bought by distillation (P3)."""
    retrained = filtering(alike, "fresh-filter1-steps900-maxent", filter_share=1, steps=900)
    for row in retrained["models"]:
        row["flops"] *= 0.1 if row["id"] == "fresh-filter1-steps900-maxent" else 1
    told = {claim: what for claim, what in by_claim(retrained) if "filter1" in what}
    assert told["P10"] == "fresh-filter1-steps900-maxent against fresh-steps900-maxent"
    assert not told.keys() & {"P3", "P7"}
    points = [point for curve in forget_curves(retrained, "fresh-filter1-steps900-maxent") for point in curve["points"]]
    for point in points:
        point["forget"] *= 0.1
    row = by_claim(retrained)["P10", told["P10"]]
    apart = [best(alike, "fresh-steps900-maxent", seed) - 0.1 * best(alike, "undo-0.6-maxent", seed) for seed in SEEDS]
    assert row.effect == pytest.approx(sum(apart) / 3, abs=1e-4) and row.verdict == "holds"
    for point in points:
        point["retain"] -= 0.2
    lost = by_claim(retrained)["P10", told["P10"]]
    assert (lost.verdict, lost.but) == ("partly", "it keeps less")


def test_text_after_the_teacher_is_compared_with_the_teacher_to_the_end(results):
    """And is no student by distillation alone, whose leaving less would say what distillation does."""
    teacher, text = "fresh-retain-stream-steps900-maxent", "fresh-retain-stream-text0.5-steps900-maxent"
    made = short(("maxent",), stream="retain")
    results = filtering(results, text, **made, filter_share=None, text_share=0.5)
    rows = by_claim(renamed(results, "fresh-maxent", teacher, made))
    apart = [best(results, "fresh-maxent", seed) - best(results, text, seed) for seed in SEEDS]
    assert rows["P11", f"{text} against {teacher}"].effect == pytest.approx(sum(apart) / 3, abs=1e-4)
    assert [what for claim, what in rows if claim == "P11"] == [f"{text} against {teacher}"]
    assert f"{teacher} against maxent" in {what for claim, what in rows if claim == "C2"}
    assert text not in {what.split()[0] for claim, what in rows if claim == "C2"}


def test_noised_copies_that_read_text_are_compared_at_equal_noise(results):
    made = {"init": "noised", "noise_alpha": [0.3, 0.6], "teachers": ["maxent"], "stream": "retain", "steps": 900}
    names = [f"undo-{alpha}-retain-stream-{text}steps900-maxent" for alpha in (0.3, 0.6) for text in ("", "text0.5-")]
    results = with_students(results, made, made | {"text_share": 0.5})
    text = json.dumps(results).replace("undo-0.3-maxent", names[1]).replace("undo-0.6-maxent", names[2])
    assert not [what for claim, what in by_claim(json.loads(text)) if claim == "P11"], "other noise, nothing to compare"
    results = json.loads(json.dumps(results).replace("undo-0.6-maxent", names[1]).replace("undo-0.3-maxent", names[0]))
    for row in results["models"]:
        row["noise_alpha"] = 0.3 if row["id"] == names[1] else row["noise_alpha"]
    assert [what for claim, what in by_claim(results) if claim == "P11"] == [f"{names[1]} against {names[0]}"]


def test_a_student_of_the_base_says_what_distillation_takes_away(results):
    base = renamed(results, "fresh-oracle", "fresh-base", {"init": "fresh", "teachers": ["base"]})
    for row in base["models"]:
        row["teacher"] = "base" if row["id"] == "fresh-base" else row.get("teacher")
    apart = [best(results, "base", seed) - best(results, "fresh-oracle", seed) for seed in SEEDS]
    assert by_claim(base)["P8", "fresh-base against base"].effect == pytest.approx(sum(apart) / 3, abs=1e-4)


def test_teachers_that_teach_together_are_compared_with_the_best_of_them_alone(results):
    both = {"init": "fresh", "with_teachers": ["rmu"], "teachers": ["maxent"]}
    together = filtering(results, "fresh-with-rmu-maxent", **both, filter_share=None)
    means = {
        id: sum(best(results, id, seed) - best(results, "undo-0.6-maxent", seed) for seed in SEEDS) / 3
        for id in ("fresh-maxent", "fresh-rmu")
    }
    least = min(means, key=means.get)
    row = by_claim(together)["P9", f"fresh-with-rmu-maxent against {least}, the best of 2"]
    assert row.effect == pytest.approx(means[least], abs=1e-4)
    assert "P9" not in {claim for claim, _ in by_claim(results)}


def test_what_costs_more_than_half_is_no_saving(results):
    cheap = [experiment for claim, experiment in by_claim(results) if claim == "P3"]
    of = ("undo-0.3-maxent at 0.50", "undo-0.3-rmu at 0.50")
    assert cheap == [f"{what}, after {step} steps" for what in of for step in (40, 150)]


def test_the_short_attack_is_judged_by_its_own_curve_points(results):
    """Robust against 40 steps says nothing about 150: each row is of its own step."""
    row = by_claim(results)["P3", "undo-0.3-maxent at 0.50, after 40 steps"]
    shares = []
    for seed in SEEDS:
        at = {}
        for model in ("maxent", "undo-0.3-maxent", "oracle"):
            curves = [curve for curve in forget_curves(results, model) if curve["seed"] == seed]
            at[model] = max(point["forget"] for curve in curves for point in curve["points"] if point["step"] == 40)
        shares.append((at["maxent"] - at["undo-0.3-maxent"]) / (at["maxent"] - at["oracle"]))
    assert row.effect == pytest.approx(sum(shares) / 3, abs=1e-4)


def test_the_signal_is_ranked_against_what_students_relearn():
    methods = ("maxent", "rmu", "npo", "graddiff")
    results = make_results(SEEDS, methods)
    assert "P4" not in {claim for claim, _ in by_claim(results)}  # all signals are the same: nothing to rank
    for row in results["models"]:
        if row["role"] == "teacher":
            row["forget_signal"] = methods.index(row["id"])
    fresh = {
        row["id"]: float(methods.index(row["teacher"])) for row in results["models"] if row["id"].startswith("fresh-")
    }
    for curve in results["curves"]:
        if curve["model"] in fresh:
            curve["points"] = [{**point, "forget": fresh[curve["model"]] / 10} for point in curve["points"]]
    row = by_claim(results)["P4", f"over the teachers {', '.join(methods)}"]
    assert (row.effect, row.verdict) == (1.0, "holds")
    results["models"] = [row for row in results["models"] if (row["id"], row["seed"]) != ("rmu", 2)]  # its stage failed
    assert by_claim(results)["P4", f"over the teachers {', '.join(methods)}"].n_seeds == 2
    assert "P4" in as_markdown(gather({"x": read(results)}), {"x": read(results)}) and render(read(results))


def test_a_claim_that_the_interval_excludes_fails_and_one_seed_shows_nothing(results):
    assert by_claim(results)["C3b", "undo-0.6-maxent at 0.80"].verdict == "fails here"
    assert by_claim(make_results((1,)))["C2", "fresh-maxent against maxent"].verdict == "partly (one seed)"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.1, 0.2, 0.15], "holds"),
        ([-0.1, 0.4, 0.15], "partly (not shown)"),
        ([0.1, -0.4, -0.15], "fails here (not shown)"),
        ([-0.1, -0.2, -0.15], "fails here"),
        ([0.3], "partly (one seed)"),
        ([-0.3], "fails here (one seed)"),
    ],
)
def test_a_verdict_leans_where_the_mean_lies(results, values, verdict):
    """What points against a claim does not hold in part."""
    assert _verdict(estimate(values), 0.0) == verdict


@pytest.mark.parametrize(
    ("end", "claims"), [("oracle", {"C3b", "P3"}), ("fresh-oracle", {"P2"}), ("fresh-maxent", {"C6"})]
)
def test_where_the_ends_cannot_be_told_apart_nothing_is_said_of_the_way_between(results, end, claims):
    results = with_label_shares(results)
    of_maxent = {claim for claim, what in by_claim(results) if "maxent" in what}
    assert claims <= of_maxent
    for one, other in zip(forget_curves(results, end), forget_curves(results, "maxent"), strict=True):
        one["points"] = other["points"]
    assert not claims & {claim for claim, what in by_claim(results) if "maxent" in what}


def test_a_diffuse_concept_is_judged_while_teacher_and_oracle_can_be_told_apart(results):
    """An attack that teaches the oracle too leaves nothing to divide by at its end."""
    results["recipe"]["data"]["dataset"]["name"] = "concept"
    assert ("C7", "fresh-maxent, short of the oracle after 150 steps") in by_claim(results)
    for one, other in zip(forget_curves(results, "oracle"), forget_curves(results, "maxent"), strict=True):
        one["points"][-1] = other["points"][-1]
    row = by_claim(results)["C7", "fresh-maxent, short of the oracle after 40 steps"]
    short = []
    for seed in SEEDS:
        teacher, student, clean = (
            max(p["forget"] for c in forget_curves(results, id) if c["seed"] == seed for p in c["points"][:-1])
            for id in ("maxent", "fresh-maxent", "oracle")
        )
        short.append(1 - (teacher - student) / (teacher - clean))
    assert row.effect == pytest.approx(sum(short) / 3, abs=1e-4)


def forget_curves(results, model):
    return [curve for curve in results["curves"] if (curve["model"], curve["skill"]) == (model, "forget")]


def test_undo_is_compared_with_suppressed_models_that_keep_as_much():
    """A rival that lost retain is as robust as it is useless."""
    results = make_results(SEEDS, ("maxent", "rmu", "npo", "undial", "graddiff"))
    broken = min(("maxent", "rmu", "npo", "undial", "graddiff"), key=lambda id: best(results, id, 1))
    for row in results["models"]:
        row["retain"] -= 0.2 * (row["id"] == broken)
    rows = {what: row for (claim, what), row in by_claim(results).items() if claim == "C4"}
    hardest = {what.partition("against ")[2] for what in rows if "before" not in what}
    assert broken == "maxent" and hardest == {"the best of 4 (in forget rmu (KL 0.038), in retain rmu)"}
    apart = [best(results, "rmu", seed) - best(results, "undo-0.6-npo", seed) for seed in SEEDS]
    best_of = "the best of 4 (in forget rmu (KL 0.038), in retain rmu)"
    row = rows[f"undo-0.6-npo (KL 0.038) after 150 steps against {best_of}"]
    assert row.effect == pytest.approx(sum(apart) / 3, abs=1e-4)


def test_what_keeps_less_than_a_rival_is_only_another_trade():
    """In retain UNDO stands beside the rival that keeps most, whichever is hardest to bring back."""
    results = make_results(SEEDS, ("maxent", "rmu", "npo", "undial", "graddiff"))
    best_of = "the best of 5 (in forget maxent (KL 0.038), in retain graddiff)"
    key = ("C4", f"undo-0.6-npo (KL 0.038) after 150 steps against {best_of}")
    for curve in forget_curves(results, "graddiff"):
        curve["points"] = [point | {"retain": 0.9 + 0.001 * curve["seed"]} for point in curve["points"]]
    for curve in forget_curves(results, "undo-0.6-npo"):
        curve["points"] = [point | {"retain": 0.5} for point in curve["points"]]
    row = by_claim(results)[key]
    assert (row.verdict, row.but) == ("partly", "it keeps less")
    assert row.retain.mean == pytest.approx(-0.402) and row.retain.high < 0 < row.ci_low
    for retain, verdict in ((0.91, ("holds", "")), (0.9015, ("partly", "not shown to keep as much"))):
        for curve in forget_curves(results, "undo-0.6-npo"):
            curve["points"] = [point | {"retain": retain} for point in curve["points"]]
        row = by_claim(results)[key]
        assert (row.verdict, row.but) == verdict


def test_before_an_attack_only_what_is_kept_is_compared():
    """Everybody seems to have forgotten then."""
    results = make_results(SEEDS, ("maxent", "rmu", "npo", "undial", "graddiff"))
    for curve in forget_curves(results, "undial"):
        more = 0.018 + 0.001 * curve["seed"]
        curve["points"] = [point | {"retain": point["retain"] + more} for point in curve["points"]]
    rows = {what: row for (claim, what), row in by_claim(results).items() if claim == "C4" and "before" in what}
    row = rows["undo-0.6-npo (KL 0.038) in retain, before an attack, against undial (KL 0.038), the best of 5"]
    assert row.effect == pytest.approx(-0.02) and row.verdict == "fails here" and row.specific is None
    assert row.n_items == results["metrics"]["retain"]["n_items"] != results["metrics"]["forget"]["n_items"]


def test_pairs_without_a_seed_in_common_are_passed_over():
    """A rival's attack failed in the seeds in which the student was taught."""
    results = make_results(SEEDS, ("maxent", "rmu", "npo", "undial", "graddiff"))
    for row in results["models"]:
        if (row["id"], row["seed"]) == ("undo-0.6-npo", 3):
            row["distil"] = row["distil"] | {"gap": 0.4}
    results["curves"] = [c for c in results["curves"] if c["model"] != "maxent" or c["seed"] == 3]
    rows = [what for claim, what in by_claim(results) if claim == "C4" and "undo-0.6-npo" in what]
    assert rows and not any("maxent" in what for what in rows) and render(read(results))


def test_what_is_trained_without_the_skill_is_no_suppressed_model():
    """A method that starts at the initial weights is set beside UNDO by a claim of its own."""
    results = make_results(SEEDS, ("maxent", "rmu", "npo", "undial", "routed"))
    assert "P5" not in {claim for claim, _ in by_claim(results)}
    results["recipe"]["suppress"]["routed"]["start"] = "initial"
    rows = by_claim(results)
    rivals = [what for claim, what in rows if claim == "C4"]
    assert rivals and all("the best of 4" in what and "in forget routed" not in what for what in rivals)
    apart = [best(results, "undo-0.6-npo", seed) - best(results, "routed", seed) for seed in SEEDS]
    assert rows["P5", "routed against undo-0.6-npo"].effect == pytest.approx(sum(apart) / 3, abs=1e-4)


def test_the_command_writes_rows_and_page(results, tmp_path):
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic" / "results.json").write_text(json.dumps(read(results).content))
    done = CliRunner().invoke(app, ["evidence", str(tmp_path), "--page", str(tmp_path / "evidence.md")])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "evidence.json").read_text())
    fields = {"claim", "setting", "n_seeds", "effect", "ci_low", "ci_high", "verdict", "record", "command"}
    assert rows and all(fields <= row.keys() for row in rows)
    page = (tmp_path / "evidence.md").read_text()
    assert (
        page == as_markdown(gather({"synthetic": read(results)}), {"synthetic": read(results)})
        and "No record speaks about it yet" in page
    )


def test_the_page_opens_with_how_many_rows_say_what(results):
    row = next(row for row in gather({"one": read(results)}) if row.claim == "C3")
    rows = [row, replace(row, verdict="partly"), row, replace(row, setting="zoo")]
    overview = as_markdown(rows, {"one": read(results)}).partition("## C1")[0]
    assert f"| claim | {row.setting} | zoo |" in overview
    (line,) = [line for line in overview.splitlines() if line.startswith("| C3. ")]
    assert line.endswith(f" | {row.verdict}: 2, partly: 1 | {row.verdict}: 1 |")
    assert any(line.startswith("| C7. ") and line.endswith(" | - | - |") for line in overview.splitlines())


@pytest.mark.parametrize("text", ["{", "{}"])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.json").write_text(text)
    done = CliRunner().invoke(app, ["evidence", str(tmp_path)])
    assert isinstance(done.exception, UserError) and "broken/results.json" in str(done.exception)


@pytest.mark.parametrize("of", [lambda results: results, as_losses], ids=["accuracies", "losses"])
def test_the_page_shows_oracle_matching_and_the_signal(results, of):
    html = render(read(of(results)))
    assert "Oracle matching" in html and "Signal left in the teacher" in html


def test_the_signal_is_set_beside_the_only_fresh_student_whatever_its_name(results):
    other = renamed(results, "fresh-maxent", "fresh-steps900-maxent", short(("maxent",)))
    (figure,) = signal_panels(read(other), "relearn").values()
    assert [trace.text[0] for trace in figure.data] == ["maxent", "rmu"]


def test_one_folder_has_every_figure(results):
    """F1 to F8 (F6 is F5 of a study that asks questions)."""
    html = render(read(with_label_shares(results)))
    figures = (
        "pipeline",
        "matching-0-0",
        "relearning-0-0",
        "headline",
        "alpha-0-0",
        "pareto-0-0",
        "labels-0-0",
        "labels-0-1",
        "signal-0-0",
    )
    assert all(f'id="{id}"' in html for id in figures)


def test_the_evidence_on_record_is_that_of_the_records(tmp_path):
    records = {path.parent.name: Results.load(path.parent) for path in sorted(ROOT.glob("records/*/results.json"))}
    rows, stale = gather(records), "stale: undo evidence records --page docs/evidence.md"
    assert json.loads((ROOT / "records/evidence.json").read_text()) == as_json(rows), stale
    assert (ROOT / "docs/evidence.md").read_text() == as_markdown(rows, records), stale


@pytest.mark.parametrize("record", sorted(path.parent.name for path in ROOT.glob("records/*/results.json")))
def test_a_record_is_of_the_recipe_that_its_command_runs(record):
    """With what has become a default since; the summary is words."""
    later = {
        "arithmetic": {"teacher_cache"},  # exact: it saves teachers' passes, and says the same to students
    }.get(record, set())
    recorded = Recipe.model_validate(json.loads((ROOT / "records" / record / "results.json").read_text())["recipe"])
    (found, shipped) = (recipe.model_dump() for recipe in (recorded, load_recipe(SOURCES[recorded.name])))
    distils = [settings.pop("distil") or {} for settings in (found, shipped)]
    del found["summary"], shipped["summary"]
    assert found == shipped
    assert {key for key in distils[0] if distils[0][key] != distils[1][key]} == later


@pytest.mark.parametrize("record", sorted(path.parent.name for path in ROOT.glob("records/*/results.json")))
def test_the_scores_on_record_are_those_of_its_curves(record):
    results = json.loads((ROOT / "records" / record / "results.json").read_text())
    again = score_rows(results["models"], results["curves"], results["metrics"])
    assert len(again) == len(results["scores"])
    for one, other in zip(again, results["scores"], strict=True):
        assert one.keys() == other.keys()
        for field in one:
            flat = [value[field] if isinstance(value[field], list) else [value[field]] for value in (one, other)]
            assert flat[0] == pytest.approx(flat[1], abs=1e-9), field


README_STUDIES = {  # setting: records, the first that has a model speaks for it
    "arithmetic": ("arithmetic_methods", "arithmetic_controls"),
    "language": ("language_methods", "language_controls"),
    "language, Korean": ("language_korean",),
    "knowledge": ("knowledge", "knowledge_controls"),
    "concept": ("concept_methods",),
}
README_MODELS = (
    "base",
    "maxent",
    "fresh-(steps2400-)?maxent",
    "undo-0.8-maxent|undo-0.6-maxent",  # the one where there is one
    "fresh-filter0.5.*-maxent",
    "oracle",
)


def readme_row(setting: str, steps: int) -> str:
    """What came back in a setting, as docs/results.md has it."""
    studies = [Results.load(ROOT / "records" / name) for name in README_STUDIES[setting]]
    cells = []
    for pattern in README_MODELS:
        found = [
            scored(score, "recovery").text(results.form_of("forget"))
            for results, wanted in product(studies, pattern.split("|"))
            for score in results.scores
            if (score.attack, score.budget) == ("relearn", steps) and re.fullmatch(wanted, score.model)
        ]
        cells.append(found[0] if found else "–")
    named = f"[{setting}](../records/README.md#{README_STUDIES[setting][0]}), {steps} steps"
    return f"| {named} | {len(studies[0].seeds)} | {' | '.join(cells)} |"


@pytest.mark.parametrize(
    ("setting", "steps"),
    [
        ("arithmetic", 40),
        ("arithmetic", 300),
        ("language", 40),
        ("language", 120),
        ("language, Korean", 40),
        ("language, Korean", 120),
        ("knowledge", 150),
        ("concept", 5),
    ],
)
def test_the_results_show_what_came_back_on_record(setting, steps):
    row = readme_row(setting, steps)
    assert row in (ROOT / "docs/results.md").read_text().splitlines(), f"the records say: {row}"


def test_a_search_is_no_evidence(results):
    assert gather({"search": read({**results, "curves": [], "scores": []})}) == []


def with_label_shares(results, method="maxent"):
    """Its two teachers, `rmu` said to be of some method and to have seen 1 % of the labels."""
    suppress = {name: dict(knobs) for name, knobs in results["recipe"]["suppress"].items()}
    suppress["rmu"] |= {"label_share": 0.01, "method": {"name": method}}
    models = [row | ({"method": method} if row["id"] == "rmu" else {}) for row in results["models"]]
    return {**results, "models": models, "recipe": {**results["recipe"], "suppress": suppress}}


def test_few_labels_are_compared_with_all_of_them(results):
    row = by_claim(with_label_shares(results))["C6", "fresh-rmu (1 % of the labels) against maxent"]
    shares = []
    for seed in SEEDS:
        teacher, full, few = (best(results, id, seed) for id in ("maxent", "fresh-maxent", "fresh-rmu"))
        shares.append((teacher - few) / (teacher - full))
    assert row.effect == pytest.approx(sum(shares) / 3, abs=1e-3)
    other = with_label_shares(results, method="rmu")
    assert "C6" not in {claim for claim, _ in by_claim(other)} and "Label budget" not in render(read(other)), (
        "two methods"
    )
    results["recipe"]["suppress"]["rmu"]["label_precision"] = 0.8
    wrong = "fresh-rmu (1 % of the labels, 80 % of them right) against maxent"
    assert by_claim(with_label_shares(results))["C6", wrong].effect == row.effect
    results["recipe"]["suppress"]["rmu"] |= {"retain_label_share": 1.0, "label_precision": 1.0}
    assert ("C6", "fresh-rmu (1 % of the forget labels) against maxent") in by_claim(with_label_shares(results))
    for model in results["models"]:
        if model["id"] == "fresh-rmu":
            model["distil"] = model["distil"] | {"gap": 0.4}
    assert "C6" not in {claim for claim, _ in by_claim(with_label_shares(results))}, "it was not taught"
    assert "Label budget" in render(read(with_label_shares(results))) and "Label budget" not in render(read(results))


def test_filtering_by_few_labels_is_compared_with_filtering_by_all(results):
    made = {"init": "fresh", "filter_share": 0.5, "teachers": ["maxent", "rmu"]}
    results = renamed(results, "base_init-", "fresh-filter0.5-", made)
    for row in results["models"]:
        row["student_init"] = "fresh" if "filter" in row["id"] else row["student_init"]
    row = by_claim(with_label_shares(results))["C6", "fresh-filter0.5-rmu (1 % of the labels) against maxent"]
    shares = []
    for seed in SEEDS:
        teacher, full, few = (
            best(results, id, seed) for id in ("maxent", "fresh-filter0.5-maxent", "fresh-filter0.5-rmu")
        )
        shares.append((teacher - few) / (teacher - full))
    assert row.effect == pytest.approx(sum(shares) / 3, abs=1e-3)
    panels = label_panels(read(with_label_shares(results)), "relearn")
    for panel in panels.values():
        lines = {line.name: line for line in panel.data}
        fresh, filtered = lines["fresh student"], lines["fresh-filter0.5 student"]
        assert filtered.x == fresh.x == (1, 100) and filtered.line.dash != fresh.line.dash
    retain = [row["retain"] for row in results["models"] if row["id"] == "fresh-rmu"]
    kept = {line.name: line for line in panels["What was kept"].data}["fresh student"]
    assert kept.y[0] == pytest.approx(sum(retain) / 3), "beside what comes back"
    results["scores"] = [score for score in results["scores"] if "filter" not in score["model"]]
    for panel in label_panels(read(with_label_shares(results)), "relearn").values():
        assert "fresh-filter0.5 student" not in {line.name for line in panel.data}, "it was not attacked"


def test_what_comes_back_with_the_model_of_use_stands_beside_it(results):
    """The higher rate ruins the suppressed model: under the constraint the lower one's last point counts."""
    for curve in forget_curves(results, "maxent"):
        ruined = curve["variant"]["learning_rate"] == max(RATES)
        points = zip(curve["points"], (0.95, 0.94, 0.93, 0.9), strict=True)
        curve["points"] = [
            point | {"retain": retain - 0.5 * (ruined and point["step"] > 0)} for point, retain in points
        ]
    for curve in forget_curves(results, "fresh-maxent"):
        curve["points"] = [point | {"retain": 0.95} for point in curve["points"]]
    low = [c for c in forget_curves(results, "maxent") if c["variant"]["learning_rate"] == min(RATES)]
    apart = [curve["points"][-1]["forget"] - best(results, "fresh-maxent", curve["seed"]) for curve in low]
    row = by_claim(results)["C2", "fresh-maxent against maxent"]
    assert row.useful.mean == pytest.approx(sum(apart) / 3, abs=1e-4) and row.useful.mean < row.effect
    assert row.verdict == "holds", "an adversary may want the forget skill alone"


def test_every_attack_has_its_rows(results):
    """Worked out from its own curves; only the usual one needs no word."""
    usual = by_claim(results)
    mixed = [curve | {"attack": "mixed"} for curve in results["curves"] if curve["skill"] == "forget"]
    for curve in mixed:
        curve["points"] = [point | {"forget": point["forget"] / 2} for point in curve["points"]]
    curves = results["curves"] + mixed
    both = by_claim({**results, "curves": curves, "scores": score_rows(results["models"], curves, results["metrics"])})
    assert all(both[key] == row for key, row in usual.items())
    one, other = both["C2", "fresh-maxent against maxent"], both["C2", "fresh-maxent against maxent (attack mixed)"]
    assert other.effect == pytest.approx(one.effect / 2, abs=1e-4)
    assert (other.verdict, other.but) == ("partly", "no neutral skill attacked")


def test_a_folder_without_records_is_one_line(tmp_path):
    done = CliRunner().invoke(app, ["evidence", str(tmp_path)])
    assert isinstance(done.exception, UserError) and "holds no <study>/results.json" in str(done.exception)


def test_labels_that_cost_the_student_its_retain_are_not_enough(results):
    """Whatever its robustness; what its teacher lost is its own affair, since a filtered one reads texts itself."""
    results, row = with_label_shares(results), ("C6", "fresh-rmu (1 % of the labels) against maxent")
    usual = by_claim(results)[row].verdict
    for model in results["models"]:
        model["retain"] -= 0.6 * (model["id"] == "rmu")
    assert by_claim(results)[row].verdict == usual != "fails here"
    for model in results["models"]:
        model["retain"] -= 0.6 * (model["id"] == "fresh-rmu")
    judged = by_claim(results)[row]
    assert judged.verdict == "fails here" and judged.but.startswith("its retain ")


def test_labels_that_specific_recovery_does_not_bear_out_are_enough_in_part(results):
    """Only a student that lost retain makes them useless."""
    results = with_label_shares(results)
    for curve in forget_curves(results, "fresh-rmu"):
        curve["points"] = [point | {"forget": -0.1 - 0.01 * curve["seed"]} for point in curve["points"]]
    for curve in (c for c in results["curves"] if (c["model"], c["skill"]) == ("fresh-rmu", "neutral")):
        curve["points"] = [point | {"neutral": -0.6} for point in curve["points"]]
    row = by_claim(results)["C6", "fresh-rmu (1 % of the labels) against maxent"]
    assert row.specific.high < 0.9 and (row.verdict, row.but) == ("partly", "fails in specific recovery")


def test_seeds_in_which_a_student_was_not_taught_are_left_out(results):
    for row in results["models"]:
        if (row["id"], row["seed"]) == ("fresh-maxent", 2):
            row["distil"] = row["distil"] | {"gap": 0.4}
    row = by_claim(results)["C2", "fresh-maxent against maxent"]
    apart = [best(results, "maxent", seed) - best(results, "fresh-maxent", seed) for seed in (1, 3)]
    assert row.effect == pytest.approx(sum(apart) / 2, abs=1e-4) and row.n_seeds == 2
    for row in results["models"]:
        if (row["id"], row["seed"]) == ("fresh-maxent", 3):
            row["distil"] = row["distil"] | {"gap": 0.4}
    assert ("C2", "fresh-maxent against maxent") not in by_claim(results), "most seeds were not taught"


def test_what_learns_everything_more_slowly_is_not_shown_to_have_forgotten(results):
    """Both learn the neutral skill as fast as the forgotten one comes back: all of the effect is plasticity."""
    row = by_claim(results)["C2", "fresh-maxent against maxent"]
    assert row.specific.mean == pytest.approx(row.effect, abs=1e-3) and row.verdict == "holds"
    both = [curve for curve in results["curves"] if curve["model"] in ("maxent", "fresh-maxent")]
    neutral, forget = ([c for c in both if c["skill"] == skill] for skill in ("neutral", "forget"))
    for one, other in zip(neutral, forget, strict=True):
        pairs = zip(one["points"], other["points"], strict=True)
        one["points"] = [point | {"neutral": back["forget"]} for point, back in pairs]
    row = by_claim(results)["C2", "fresh-maxent against maxent"]
    assert row.specific.mean == 0 < row.ci_low
    assert (row.verdict, row.but) == ("partly", "not shown in specific recovery")
    for curve in neutral:
        if curve["model"] == "fresh-maxent":  # the student learns it more slowly than the forgotten one comes back
            curve["points"] = [point | {"neutral": point["neutral"] - 0.1} for point in curve["points"]]
    row = by_claim(results)["C2", "fresh-maxent against maxent"]
    assert row.specific.high < 0 < row.ci_low and (row.verdict, row.but) == ("partly", "fails in specific recovery")
    results["curves"] = [curve for curve in results["curves"] if curve["skill"] != "neutral"]
    row = by_claim(results)["C2", "fresh-maxent against maxent"]
    assert row.specific is None and (row.verdict, row.but) == ("partly", "no neutral skill attacked")


def test_what_the_neutral_attack_cannot_show_is_not_shown(results):
    """Where it ran, one seed without an interval, or ends that cannot be told apart, are no support."""
    few = {**results, "curves": [c for c in results["curves"] if c["skill"] == "forget" or c["seed"] == 1]}
    row = by_claim(few)["C2", "fresh-maxent against maxent"]
    assert row.specific.n == 1 and (row.verdict, row.but) == ("partly", "not shown in specific recovery")
    for curve in forget_curves(results, "undo-0.6-maxent"):
        curve["points"] = [point | {"forget": -0.1 - 0.01 * curve["seed"]} for point in curve["points"]]
    both = [curve for curve in results["curves"] if curve["model"] in ("maxent", "oracle")]
    for one, other in zip(*([c for c in both if c["skill"] == skill] for skill in ("neutral", "forget")), strict=True):
        pairs = zip(one["points"], other["points"], strict=True)
        one["points"] = [point | {"neutral": back["forget"]} for point, back in pairs]
    row = by_claim(results)["C3b", "undo-0.6-maxent at 0.80"]
    assert row.specific is None and (row.verdict, row.but) == ("partly", "not shown in specific recovery")


def test_the_strongest_noise_has_to_be_affordable(results):
    for curve in forget_curves(results, "undo-0.6-maxent"):
        curve["points"] = [point | {"forget": -0.1 - 0.01 * curve["seed"]} for point in curve["points"]]
    assert by_claim(results)["C3b", "undo-0.6-maxent at 0.80"].verdict == "holds"
    for row in results["models"]:
        row["flops"] *= 1.1 if row["id"] == "undo-0.6-maxent" else 1
    row = by_claim(results)["C3b", "undo-0.6-maxent at 0.88"]
    assert (row.verdict, row.but) == ("partly", "it costs more")
    for row in results["models"]:
        row["flops"] = 0 if row["id"] == "oracle" else row["flops"]  # somebody else's
    row = by_claim(results)["C3b", "undo-0.6-maxent"]
    assert (row.verdict, row.but) == ("partly", "its cost is not known")


def test_robustness_is_correlated_with_compute_within_a_seed(results):
    """Three students on a line: what costs more relearns less by as much."""
    made = {"init": "noised", "noise_alpha": [0.9], "teachers": ["maxent"]}
    results = renamed(results, "base_init-maxent", "undo-0.9-maxent", made)
    costs = {"undo-0.3-maxent": 0.2, "undo-0.6-maxent": 0.5, "undo-0.9-maxent": 0.6}
    for row in results["models"]:
        row |= {"student_init": "noised", "noise_alpha": 0.9} if row["id"] == "undo-0.9-maxent" else {}
        row["flops"] = costs.get(row["id"], 1.0) * (1e11 if row["id"] in costs else row["flops"])
    for id, cost in costs.items():
        for curve in forget_curves(results, id):
            curve["points"] = [point | {"forget": 1 - cost * curve["seed"] / 4} for point in curve["points"]]
    row = by_claim(results)["C3c", "over 3 noised students of maxent"]
    assert (row.effect, row.verdict) == (1.0, "holds")


def test_a_loss_above_that_of_guessing_is_no_more_forgotten(results):
    losses = as_losses(results)
    for curve in forget_curves(losses, "fresh-rmu"):
        curve["points"] = [point | {"forget": 40.0 + curve["seed"]} for point in curve["points"]]
    losses["recipe"]["data"]["vocab_size"] = 1000
    row = by_claim(losses)["C2", "fresh-rmu against rmu"]
    apart = [math.log(1000) - best(losses, "rmu", seed, min) for seed in SEEDS]
    assert row.effect == pytest.approx(sum(apart) / 3, abs=1e-4)


def test_what_several_studies_share_is_one_row(results):
    renamed_study = {**results, "recipe": {**results["recipe"], "name": "further"}}
    rows, alone = gather({"one": read(results), "two": read(renamed_study)}), gather({"one": read(results)})
    assert [replace(row, also_in=()) for row in rows] == alone
    assert {(row.command, *row.also_in) for row in rows} == {("undo run records/synthetic/recipe.yaml", "records/two")}
    assert "[records/two](../records/two)" in as_markdown(rows, {"one": read(results), "two": read(renamed_study)})


def test_a_student_that_lost_retain_is_no_success(results):
    """It relearns slowly because it learnt nothing: neither evidence nor the most robust student."""
    for row in results["models"]:
        if row["id"] == "undo-0.3-maxent":
            row["distil"] = row["distil"] | {"gap": 0.4, "stopped_by_rule": None}
    cheap = [experiment for claim, experiment in by_claim(results) if claim == "P3"]
    assert cheap and not any("undo-0.3-maxent" in experiment for experiment in cheap)
    (caveat,) = [text for text in caveats(read(results)) if "Too few steps" in text]
    assert "undo-0.3-maxent" in caveat
    for row in results["models"]:
        if row["role"] == "student" and row["teacher"] == "maxent":
            row["distil"] = row["distil"] | {"gap": 0.4}
    (found,) = [finding for finding in findings(read(results)) if finding.title == "maxent"]
    assert "No student of it reached the stop rule's retain." in found.points
