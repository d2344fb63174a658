"""The claims of arXiv 2506.06278 (C) and our own (P), and what a study says about each of them.

An effect is a number whose sign, or whose place above a line, says whether the claim holds; differences are between
models of one seed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from undo.report import rows as r
from undo.report.rows import Results
from undo.study.scores import within_noise, worst_case

LOST = 0.05  # of accuracy, or of a loss relative to the other, as the rule for students
Effects = Iterator[tuple[str, list[float]]]
"""(what was compared, the effect in every seed), as often as a study compares it."""


@dataclass(frozen=True)
class Claim:
    """A claim, how studies are asked about it, and from which effect on it is shown and not merely pointed to."""

    id: str
    text: str
    unit: str
    effects: Callable[[Results], Effects]
    shown_from: float = 0.0


def _recovery(results: Results, model: str, budget: int | None = None) -> dict[int, float]:
    """Worst case over the variants of the first attack, by seed; larger is more relearnt, for losses too."""
    attack, higher = r.attacks(results)[0], r.higher_is_better(results, "forget")
    step = r.budgets(results, attack)[-1] if budget is None else budget
    seeds = r.curves_of(results, attack, model)
    sign = 1 if higher else -1
    return {seed: sign * worst_case(curves, "forget", step, higher) for seed, curves in seeds.items()}


def _less_relearnt(results: Results, model: str, than: str, budget: int | None = None) -> list[float]:
    """How much less of the skill comes back to one model than to another, by seed."""
    one, other = _recovery(results, model, budget), _recovery(results, than, budget)
    return [other[seed] - one[seed] for seed in one if seed in other]


def _shares(results: Results, model: str, floor: str, ceiling: str, budget: int | None = None) -> list[float]:
    """Where a model's recovery lies between two others', by seed: 0 the floor's, 1 the ceiling's.

    Nothing where floor and ceiling cannot be told apart.
    """
    one, low, high = (_recovery(results, id, budget) for id in (model, floor, ceiling))
    seeds = [seed for seed in one if seed in low and seed in high]
    spans = [low[seed] - high[seed] for seed in seeds]
    error = results["metrics"]["forget"].get("standard_error", 0.0)  # decides for one seed only; older records lack it
    if not seeds or within_noise(spans, error):
        return []
    return [(low[seed] - one[seed]) / span for seed, span in zip(seeds, spans, strict=True)]


def _teachers(results: Results) -> list[str]:
    """Those that were attacked."""
    return [row["id"] for row in r.of_role(results, "teacher") if _recovery(results, row["id"])]


def _taught(results: Results, teacher: str) -> list[r.Row]:
    """Students that keep what their teacher could: others relearn slowly because they never learnt."""
    return [row for row in r.students_of(results, teacher) if r.keeps_retain(results, row["id"])]


def _oracle_matching(results: Results) -> Effects:
    for id in (row["id"] for row in _taught(results, "oracle")):
        at_the_base = _setting(results, id, "noise_from") == "base" and r.by_id(results)[id][0]["noise_alpha"] == 0
        for other in _oracles_students(results) if at_the_base else ():
            yield f"{other} against {id}", _less_relearnt(results, other, id)


def _fresh(results: Results, teacher: str) -> list[str]:
    """The teacher's fresh student of the usual name, or the only one, if it was taught."""
    fresh = [row["id"] for row in r.students_of(results, teacher) if row["student_init"] == "fresh"]
    usual = [id for id in fresh if id == f"fresh-{teacher}"] or fresh
    return [id for id in usual if len(usual) == 1 and r.keeps_retain(results, id)]


def _distilled(results: Results) -> Effects:
    for teacher in _teachers(results):
        for id in _fresh(results, teacher):
            yield f"{id} against {teacher}{_lost(results, teacher)}", _less_relearnt(results, id, teacher)


def _lost(results: Results, teacher: str) -> str:
    """A word of warning for a teacher that lost much of what was to be kept: its retain performance."""
    if _as_useful(results, teacher, "base"):
        return ""
    return f" (retain {r.mean_of(r.by_id(results)[teacher], 'retain').text(r.form_of(results, 'retain'))})"


def _noised_by_alpha(results: Results, teacher: str) -> list[str]:
    return [row["id"] for row in _taught(results, teacher) if r.label(row).startswith("UNDO")]


def _rises_with_alpha(results: Results) -> Effects:
    """Per teacher and kind of noise, the students with most and with least of it."""
    for teacher in _teachers(results):
        for low, *_, high in (family for family in _noise_families(results, teacher) if len(family) > 1):
            yield f"{high} against {low}", _less_relearnt(results, high, low)


def _noise_families(results: Results, teacher: str) -> Iterable[list[str]]:
    """Noised students that were made alike but for alpha, by rising alpha."""
    made, families = r.settings_of(results), {}
    for id in (row["id"] for row in _taught(results, teacher) if row["student_init"] == "noised" and row["id"] in made):
        alike = made[id].model_copy(update=dict.fromkeys(("teachers", "noise_alpha")))
        families.setdefault(repr(alike), []).append(id)
    return families.values()


def _reaches_oracle(results: Results) -> Effects:
    for teacher in _teachers(results):
        for strongest in _noised_by_alpha(results, teacher)[-1:]:
            yield strongest, _shares(results, strongest, teacher, "oracle")


def _pareto(results: Results) -> Effects:
    """The strongest noised student against the most robust of the suppressed models that keep as much as it does."""
    suppressed = [id for id in _teachers(results) if not _localised(results, id)]
    for student in _strongest(results):
        rivals = [id for id in suppressed if _as_useful(results, id, student)]
        for step in _early_and_last(results) if len(rivals) > 3 else []:
            best = min(rivals, key=lambda id: r.estimate(_recovery(results, id, step).values()).mean or 0.0)
            what = f"{student} against {best}, the best of {len(rivals)}, after {step} steps"
            yield what, _less_relearnt(results, student, best, step)


def _early_and_last(results: Results) -> list[int]:
    """An attack of 40 steps, as published (fewer where nobody looked then), and one of all of them."""
    budgets = r.budgets(results, r.attacks(results)[0])
    early = max((step for step in budgets if step <= 40), default=budgets[-1])
    return list(dict.fromkeys([early, budgets[-1]]))


def _strongest(results: Results) -> list[str]:
    """Per teacher the student with the most noise."""
    return [student for id in _teachers(results) for student in _noised_by_alpha(results, id)[-1:]]


def _localised(results: Results, teacher: str) -> bool:
    """Whether a method trained the model from its initial weights: no suppression, but another kind of pretraining."""
    return results["recipe"]["suppress"][teacher].get("start") == "initial"


def _localisation(results: Results) -> Effects:
    for id in _teachers(results):
        for student in _strongest(results) if _localised(results, id) else []:
            if _as_useful(results, id, student):
                yield f"{id} against {student}", _less_relearnt(results, id, student)


def _carries(results: Results) -> Effects:
    """Noised students of studies that start at somebody's model."""
    if results["recipe"].get("pretrained"):
        for teacher in _teachers(results):
            for id in _noised_by_alpha(results, teacher):
                yield f"{id} against {teacher}", _less_relearnt(results, id, teacher)


def _few_labels(results: Results) -> Effects:
    suppress = results["recipe"]["suppress"]
    right = {name: knobs for name, knobs in suppress.items() if r.right_labels(knobs)}
    few = {name: knobs for name, knobs in right.items() if knobs.get("label_share", 1) < 1}
    for name, knobs in few.items():
        alike = [other for other in right if other not in few and _method(right[other]) == _method(knobs)]
        for full in (full for full in alike[:1] if _as_useful(results, name, full)):
            for id, usual in product(_fresh(results, name), _fresh(results, full)):
                yield f"{id} ({_labels(knobs)}) against {full}", _shares(results, id, full, usual)


def _method(knobs: r.Row) -> str:
    return knobs["method"]["name"]


def _labels(knobs: r.Row) -> str:
    share, retain = knobs["label_share"], knobs.get("retain_label_share")
    return f"{100 * share:g} % of the {'' if retain in (None, share) else 'forget '}labels"


def _as_useful(results: Results, model: str, than: str) -> bool:
    """Whether a model keeps what another one does: one that lost everything passes nothing on, and proves nothing."""
    kept, usual = (r.mean_of(r.by_id(results).get(id, []), "retain").mean for id in (model, than))
    if kept is None or usual is None:
        return True
    lost = usual - kept if r.higher_is_better(results, "retain") else kept / usual - 1
    return lost <= LOST


def _diffuse(results: Results) -> Effects:
    if results["recipe"]["data"]["dataset"]["name"] == "concept":
        for teacher in _teachers(results):
            for id in _fresh(results, teacher):
                yield _short_of_oracle(results, id, teacher)


def _short_of_oracle(results: Results, student: str, teacher: str) -> tuple[str, list[float]]:
    """After as many steps as still tell teacher and oracle apart: few, where the attack teaches the oracle too."""
    budgets = r.budgets(results, r.attacks(results)[0])
    shares = {step: _shares(results, student, teacher, "oracle", step) for step in budgets}
    step = max((step for step in budgets if shares[step]), default=budgets[-1])
    return f"{student}, short of the oracle after {step} steps", [1 - share for share in shares[step]]


def _oracles_students(results: Results) -> list[str]:
    return [row["id"] for row in _taught(results, "oracle") if row["student_init"] == "fresh"]


def _plastic(results: Results) -> Effects:
    """A student of the oracle cannot have been told anything, so what it relearns sooner is plasticity."""
    for id in _oracles_students(results):
        yield f"oracle against {id}", _less_relearnt(results, "oracle", id)


def _nothing_passed(results: Results) -> Effects:
    """Like with like: students that were taught as the oracle's was, but for a cut tail, else the usual one."""
    for student in _oracles_students(results):
        for teacher in _teachers(results):
            for id in _taught_like(results, student, teacher, "top_k") or _fresh(results, teacher):
                yield f"{id} between {teacher} and {student}", _shares(results, id, teacher, student)


def _taught_like(results: Results, student: str, teacher: str, *but: str) -> list[str]:
    """Students of a teacher that were made as some student was, but for some settings."""
    made = r.settings_of(results)
    rest = {id: settings.model_copy(update=dict.fromkeys(("teachers", *but))) for id, settings in made.items()}
    return [row["id"] for row in _taught(results, teacher) if student in rest and rest.get(row["id"]) == rest[student]]


def _setting(results: Results, student: str, name: str) -> Any:
    """A setting of a student; None where the recipe knows no such student."""
    return getattr(r.settings_of(results).get(student), name, None)


def _of_init(results: Results, init: str) -> Iterator[tuple[str, str]]:
    """(teacher, student) for students that started in some way and were taught."""
    for teacher in _teachers(results):
        yield from ((teacher, row["id"]) for row in _taught(results, teacher) if row["student_init"] == init)


def _shared_start(results: Results) -> Effects:
    for teacher, id in _of_init(results, "base_init"):
        for other in _taught_like(results, id, teacher, "init"):
            if r.by_id(results)[other][0]["student_init"] == "fresh":
                yield f"{other} against {id}", _less_relearnt(results, other, id)


def _filtered(results: Results) -> Effects:
    """Plain training on what a teacher finds likely, beside a student that it taught; alike where there is one."""
    for teacher, id in _of_init(results, "fresh"):
        if _setting(results, id, "filter_share") is not None:
            alike = [other for other in _taught_like(results, id, teacher, "filter_share") if other != id]
            for other in alike or _fresh(results, teacher):
                yield f"{id} against {other}", _less_relearnt(results, id, other)


def _distilled_alone(results: Results) -> Effects:
    for id in _fresh(results, "base"):
        yield f"{id} against base", _less_relearnt(results, id, "base")


def _for_half(results: Results) -> Effects:
    """Students that cost at most half of the oracle and keep what their teachers could."""
    last = r.budgets(results, attack := r.attacks(results)[0])[-1]
    for id, score in r.scores_at(results, attack, last).items():
        teacher = r.by_id(results)[id][0].get("teacher") or ""
        cheap = score["relative_compute"] is not None and score["relative_compute"] <= 0.5
        useful = teacher in results["recipe"]["suppress"] and _as_useful(results, teacher, "base")
        for step in _early_and_last(results) if useful and cheap and r.keeps_retain(results, id) else []:
            what = f"{id} at {score['relative_compute']:.2f}, after {step} steps"
            yield what, _shares(results, id, teacher, "oracle", step)


def _signal_predicts(results: Results) -> Effects:
    """Rank correlation, over teachers, of the signal left with what their fresh students relearn."""
    from scipy.stats import spearmanr  # takes a second to import

    signals = {(row["id"], row["seed"]): row.get("forget_signal") for row in results["models"]}
    useful = [teacher for teacher in _teachers(results) if _as_useful(results, teacher, "base")]
    relearnt = {teacher: _recovery(results, id) for teacher in useful for id in _fresh(results, teacher)}
    if len(relearnt) < 4:
        return
    ranks, seeds = [], set.intersection(*map(set, relearnt.values()))
    for seed in sorted(seed for seed in seeds if all(signals.get((id, seed)) is not None for id in relearnt)):
        left, back = [signals[teacher, seed] for teacher in relearnt], [of[seed] for of in relearnt.values()]
        if len(set(left)) > 1 and len(set(back)) > 1:  # else there is nothing to rank
            found: Any = spearmanr(left, back)  # its stubs know no attributes
            ranks.append(float(found.statistic))
    yield f"over the teachers {', '.join(relearnt)}", ranks


LESS = "how much less of the forget skill the attack brings back (accuracy, or nats per token), by seed"
CLAIMS = [
    Claim("C1", "Matching an oracle is not enough: the start decides", LESS, _oracle_matching),
    Claim("C2", "Unlearn-and-Distill: a fresh student relearns less than its suppressed teacher", LESS, _distilled),
    Claim("C3", "UNDO: more noise, more robustness", LESS, _rises_with_alpha),
    Claim(
        "C3b",
        "UNDO at its strongest is as robust as data filtering",
        "relative robustness, 0 suppressed, 1 oracle; the claim asks for 0.95",
        _reaches_oracle,
        0.95,
    ),
    Claim("C4", "UNDO is ahead of what is only suppressed, robustly trained or not", LESS, _pareto),
    Claim("C5", "It carries to a pretrained model", LESS, _carries),
    Claim(
        "C6",
        "Few labels are enough",
        "share of the full labels' robustness that a student keeps; the claim asks for 0.9",
        _few_labels,
        0.9,
    ),
    Claim(
        "C7",
        "It fails for a diffuse concept",
        "by how much relative robustness falls short of the oracle's 1; the claim asks for more than 0.1",
        _diffuse,
        0.1,
    ),
    Claim(
        "P1",
        "Plasticity: a student of the oracle, which has nothing to pass on, relearns faster than it",
        LESS,
        _plastic,
    ),
    Claim(
        "P2",
        "No leakage: a fresh student relearns like a student of the oracle",
        "relative robustness with the oracle's student in the oracle's place; the claim asks for 0.9",
        _nothing_passed,
        0.9,
    ),
    Claim(
        "P3",
        "As robust as data filtering for at most half of its compute",
        "relative robustness, 0 suppressed, 1 oracle; the claim asks for 0.95",
        _for_half,
        0.95,
    ),
    Claim(
        "P4",
        "The signal left in a teacher predicts what its fresh student relearns",
        "rank correlation over teachers, by seed",
        _signal_predicts,
    ),
    Claim("P5", "Localising the skill while training leaves less to relearn than UNDO", LESS, _localisation),
    Claim(
        "P6",
        "A shared start passes something on: from the base's own initial weights more comes back",
        LESS,
        _shared_start,
    ),
    Claim("P7", "Training on what the suppressed model finds likely leaves less than distilling it", LESS, _filtered),
    Claim(
        "P8", "Distillation takes something away by itself, from a base that nothing suppressed", LESS, _distilled_alone
    ),
]
