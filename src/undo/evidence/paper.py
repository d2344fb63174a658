"""The claims of arXiv 2506.06278, each below the comparisons that it rests on."""

from undo.evidence.claim import LESS, Claim, Effect, Effects
from undo.evidence.comparisons import (
    as_useful,
    attacked_teachers,
    compute_of_oracle,
    early_and_last,
    fresh_at_goal,
    keeps_less,
    least_effect,
    lost_retain,
    made_alike,
    noised_by_alpha,
    setting,
    strongest_noise,
    students_at_goal,
    students_of_oracle,
)
from undo.evidence.measures import Correlation, Kept, Less, Share, View
from undo.report.numbers import estimate
from undo.report.results import Results
from undo.spec.students import NOISE
from undo.study.rows import ModelRow

AFFORDABLE = 0.8  # of the oracle's compute, at which the paper's strongest noise reaches it


def _oracle_matching(results: Results) -> Effects:
    """The base's own weights and a fresh start, both matched to the oracle on one stream; alike where some are."""
    for id in (row.id for row in students_at_goal(results, "oracle")):
        if setting(results, id, "noise_from") == "base" and results.first[id].noise_alpha == 0:
            stream = setting(results, id, "stream")
            fresh = [other for other in students_of_oracle(results) if setting(results, other, "stream") == stream]
            alike = [other for other in made_alike(results, id, "oracle", "init", *NOISE) if other in fresh]
            for other in alike or fresh:
                what = f"{other}{_last_loss(results, other)} against {id}{_last_loss(results, id)}"
                yield Effect(what, Less(other, id), "" if alike else "not taught alike")


def _last_loss(results: Results, student: str) -> str:
    """How far from its teacher a student ended."""
    losses = [row.distil.losses[-3:] for row in results.by_id[student] if row.distil and row.distil.losses]
    left = estimate(value for looks in losses for _, value in looks).mean
    return "" if left is None else f" (KL {left:.2f})"


C1 = Claim("C1", "Matching an oracle is not enough: the start decides", LESS, _oracle_matching)


def _distilled(results: Results) -> Effects:
    for teacher in attacked_teachers(results):
        for id in fresh_at_goal(results, teacher):
            lost, budgets = lost_retain(results, teacher, "base"), early_and_last(results)
            for step in budgets:  # in the end an attack may teach everybody anything
                early = "" if step == budgets[-1] else f" after {step} steps"
                yield Effect(f"{id} against {teacher}{lost and f' ({lost})'}{early}", Less(id, teacher, step))


C2 = Claim("C2", "Unlearn-and-Distill: a fresh student relearns less than its suppressed teacher", LESS, _distilled)


def _rises_with_alpha(results: Results) -> Effects:
    """Per teacher and kind of noise, the students with most and with least of it."""
    for teacher in attacked_teachers(results):
        for low, *_, high in (family for family in _noise_families(results, teacher) if len(family) > 1):
            yield Effect(f"{high} against {low}", Less(high, low))


def _noise_families(results: Results, teacher: str) -> list[list[str]]:
    """Of students that were made alike but for alpha, those at their goal, by rising alpha."""
    at_goal = {row.id for row in students_at_goal(results, teacher)}
    return [[row.id for row in family if row.id in at_goal] for family in results.noise_families(teacher)]


C3 = Claim("C3", "UNDO: more noise, more robustness", LESS, _rises_with_alpha)


def _reaches_oracle(results: Results) -> Effects:
    for teacher in attacked_teachers(results):
        for strongest in noised_by_alpha(results, teacher)[-1:]:
            cost = estimate(compute_of_oracle(results, strongest).values()).mean
            what = strongest if cost is None else f"{strongest} at {cost:.2f}"
            dear = "its cost is not known" if cost is None else "it costs more" if cost > AFFORDABLE + 1e-9 else ""
            yield Effect(what, Share(strongest, teacher, "oracle"), dear)


C3b = Claim(
    "C3b",
    "UNDO at its strongest is as robust as data filtering, for at most 0.8 of its compute",
    "relative robustness, 0 suppressed, 1 oracle; the claim asks for 0.95",
    _reaches_oracle,
    0.95,
)


def _rises_with_compute(results: Results) -> Effects:
    """Over all noised students of a teacher: within a seed, robustness is recovery on another scale."""
    for teacher in attacked_teachers(results):
        noised = [row.id for row in students_at_goal(results, teacher) if row.student_init == "noised"]
        costs = {id: compute_of_oracle(results, id) for id in noised}
        if noised and all(costs.values()):
            measure = Correlation(costs, ranks=False, at_least=3)
            yield Effect(f"over {len(noised)} noised students of {teacher}", measure)


C3c = Claim(
    "C3c",
    "The more compute a noised student took, the more robust it is",
    "correlation of robustness with compute over the noised students of a teacher, by seed; in line at 1",
    _rises_with_compute,
    specific=False,
)


def _pareto(results: Results) -> Effects:
    """The strongest noised student against suppressed models that keep as much as it does, before and after an attack.

    In what comes back against the one to which least does, in what is kept then against the one that keeps most.
    """
    suppressed = [id for id in attacked_teachers(results) if not results.trained_from_start(id)]
    for student in strongest_noise(results):
        rivals = [id for id in suppressed if as_useful(results, id, student)]
        for step in dict.fromkeys([0, *early_and_last(results)]) if len(rivals) > 3 else []:
            yield from _beside_rivals(results, student, rivals, step)


def _beside_rivals(results: Results, student: str, rivals: list[str], step: int) -> Effects:
    """Before an attack everybody seems to have forgotten: there what is kept is all that can be compared."""
    hard = least_effect(results, [Less(student, rival, step) for rival in rivals])
    kept = least_effect(results, [Kept(student, rival, step) for rival in rivals])
    named = f"{student}{_disruption(results, student)}"
    if kept is not None and step == 0:
        rival = f"{kept.than}{_disruption(results, kept.than)}"
        yield Effect(f"{named} in retain, before an attack, against {rival}, the best of {len(rivals)}", kept)
    elif hard is not None and kept is not None:
        best = f"in forget {hard.than}{_disruption(results, hard.than)}, in retain {kept.than}"
        what = f"{named} after {step} steps against the best of {len(rivals)} ({best})"
        yield Effect(what, hard, keeps_less(estimate(kept.values(View(results)))), retain=kept)


def _disruption(results: Results, model: str) -> str:
    """How far a model is from the base on retain text."""
    found = results.mean(model, "retain_kl_from_base").mean
    return "" if found is None else f" (KL {found:.2g})"


C4 = Claim(
    "C4",
    "Pareto: UNDO relearns less than what is only suppressed, robustly trained or not, and keeps no less",
    f"{LESS}; retain beside it, against the rival that keeps most; in brackets KL(base || model) on retain text",
    _pareto,
)


def _carries(results: Results) -> Effects:
    """Noised students of studies that start at somebody's model."""
    if results.pretrained:
        for teacher in attacked_teachers(results):
            for id in noised_by_alpha(results, teacher):
                yield Effect(f"{id} against {teacher}", Less(id, teacher))


C5 = Claim("C5", "It carries to a pretrained model", LESS, _carries)


def _few_labels(results: Results) -> Effects:
    """Teachers of few labels, right or in part wrong, beside one of the same method that saw all: alike students.

    What counts of retain is the student's: one that reads what a ruined teacher chose may still learn it.
    """
    teachers = results.of_role("teacher")
    few = [row for row in teachers if row.setting("label_share", 1) < 1]
    for teacher in few:
        alike = [row.id for row in teachers if row not in few and row.method == teacher.method]
        for full in alike[:1]:
            for id in (row.id for row in students_at_goal(results, teacher.id) if row.student_init == "fresh"):
                for usual in made_alike(results, id, full):
                    lost = lost_retain(results, id, usual)
                    what = f"{id} ({_labels(teacher)}) against {full}"
                    yield Effect(what, Share(id, full, usual), lost and f"its {lost}", bool(lost))


def _labels(teacher: ModelRow) -> str:
    share, retain = teacher.setting("label_share"), teacher.setting("retain_label_share")
    precision = teacher.setting("label_precision", 1.0)
    right = "" if precision == 1 else f", {100 * precision:g} % of them right"
    return f"{100 * share:g} % of the {'' if retain in (None, share) else 'forget '}labels{right}"


C6 = Claim(
    "C6",
    "Few labels are enough",
    "share of the full labels' robustness that a student keeps; the claim asks for 0.9",
    _few_labels,
    0.9,
)


def _diffuse(results: Results) -> Effects:
    if results.dataset["name"] == "concept":
        for teacher in attacked_teachers(results):
            for id in fresh_at_goal(results, teacher):
                yield _short_of_oracle(results, id, teacher)


def _short_of_oracle(results: Results, student: str, teacher: str) -> Effect:
    """After as many steps as still tell teacher and oracle apart: few, where the attack teaches the oracle too."""
    budgets = results.budgets(results.attacks()[0])
    at = {step: Share(student, teacher, "oracle", step, short=True) for step in budgets}
    step = max((step for step in budgets if at[step].values(View(results))), default=budgets[-1])
    return Effect(f"{student}, short of the oracle after {step} steps", at[step])


C7 = Claim(
    "C7",
    "It fails for a diffuse concept",
    "by how much relative robustness falls short of the oracle's 1; the claim asks for more than 0.1",
    _diffuse,
    0.1,
)

CLAIMS = [C1, C2, C3, C3b, C3c, C4, C5, C6, C7]
