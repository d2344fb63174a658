"""What a study found, in sentences made from its numbers."""

from dataclasses import dataclass
from itertools import pairwise

from undo.report.numbers import PERCENT, percent, plain
from undo.report.results import Results, label, mean_of, scored
from undo.study.early_warnings import leaking_share
from undo.study.rows import ModelRow, Score

Scores = dict[str, Score]


@dataclass(frozen=True)
class Finding:
    """What came out about one thing."""

    title: str
    points: list[str]


def answer(results: Results) -> list[str]:
    """What came back to whom, for how many suppressed models distillation helped, and how it was asked.

    Where a given model was made to forget, its verdict comes first.
    """
    attack, scores = _largest(results)
    if not scores and not results.recipe.get("attacks", True):
        count = len(results.of_role("teacher"))
        return [f"This study attacks nothing: it looks for settings, of which {count} are shown before any attack."]
    if not scores:
        return ["No attack has been finished, so this study does not answer anything yet."]
    parts = [results.content.get("verdict", {}).get("headline", "")]
    parts += [_came_back(results, attack, scores), _verdict(results, scores), _asked(results, attack)]
    return [part for part in parts if part]


def _came_back(results: Results, attack: str, scores: Scores) -> str:
    """What the attack brought back to a suppressed model, its most robust student and the oracle."""
    teachers = [row.id for row in results.of_role("teacher") if row.id in scores]
    best = _best_student(results, scores)
    teacher = results.first[best.model].teacher if best else next(iter(teachers), None)
    named = [(teacher, "it was only suppressed")] if teacher else [("base", "nothing was suppressed")]
    named += [(best.model, "that was distilled")] if best else []
    named += [("oracle", "it was never learnt")]
    form = results.form_of("forget")
    told = [f"{scored(scores[id], 'recovery').text(form)} where {what} ({id})" for id, what in named if id in scores]
    found = f"After {results.budgets(attack)[-1]:,} steps of “{attack}”, forget is at {', '.join(told)}."
    if best is None:
        return found
    robust, compute = scored(best, "relative_robustness"), scored(best, "relative_compute")
    return (
        f"{found} Between suppression alone (0) and the oracle (1), {best.model} stands at "
        f"{robust.text(plain)}, for {compute.text(percent)} of the FLOPs of pretraining the oracle."
    )


def _best_student(results: Results, scores: Scores) -> Score | None:
    """The score of the most robust student that a suppressed model told something."""
    students = [row for teacher in results.of_role("teacher") for row in results.distilled_from(teacher.id)]
    return _robustest(results, scores, students)


def _asked(results: Results, attack: str) -> str:
    count, seeds = len(results.variants(attack)), len({row.seed for row in results.models})
    spread = "one seed, no interval" if seeds == 1 else f"mean and 95{PERCENT} interval over {seeds} seeds"
    best = "best score" if results.higher_is_better("forget") else "lowest loss"
    reached = f"any of {count} variants" if count > 1 else "the attack"
    return (
        f"Every model was attacked alike; a number is the {best} on forget that {reached} reached "
        f"({results.describe_metric('forget')}; {spread})."
    )


def findings(results: Results) -> list[Finding]:
    """One per suppressed model, and the neutral control."""
    _, scores = _largest(results)
    if not scores:
        return []
    teachers = [row for row in results.named_teachers() if row.id in scores]
    found = [Finding(row.id, _teacher(results, scores, row)) for row in teachers]
    title = "Specific recovery: of the forget skill, minus that of a neutral one that no model ever saw"
    return [*found, Finding(title, _control(results, scores))]


def caveats(results: Results) -> list[str]:
    """What a reader must know before believing the answer."""
    found = []
    if results.is_pilot:
        found.append("A pilot: its questions are those by which settings are chosen, so no number of it is a result.")
    if len(results.seeds) == 1:
        found.append("One seed: no interval, so a difference between two models may be chance.")
    if not results.of_role("oracle"):
        found.append("No oracle in these results, so relative robustness and relative compute are not defined.")
    if not results.of_role("student"):
        found.append("No student in these results, so nothing is said about distillation.")
    if not results.attacks():
        return found  # of candidates, what is weak is what the figure shows
    return [
        *found,
        *_weak_suppression(results),
        *_leaking_teachers(results),
        *_missed_rule(results),
        *_too_few_steps(results),
        *_edges_of_the_grid(results),
    ]


def _largest(results: Results) -> tuple[str, Scores]:
    """The first attack, and its scores at its largest budget."""
    attack = next(iter(results.attacks()), "")
    return attack, results.scores_at(attack, max(results.budgets(attack), default=0))


def _verdict(results: Results, scores: Scores) -> str:
    """For how many teachers the interval of the best student lies above that of suppression alone, and of 1."""
    best = [_robustest(results, scores, results.distilled_from(row.id)) for row in results.of_role("teacher")]
    known = [scored(score, "relative_robustness") for score in best if score]
    if not known:
        students = [row.id for row in results.of_role("student") if row.id in scores]
        missed = students and not any(results.reached_stop_rule(id) for id in students)
        reason = "No student kept its teacher's retain" if missed else "Relative robustness is defined for no student"
        return f"{reason}, so nothing is said about distillation here."
    if any(robust.low is None for robust in known):
        return "Single values follow; without an interval they do not show a difference."
    over, short = (sum(test) for test in ([(e.low or 0) > 0 for e in known], [(e.high or 1) < 1 for e in known]))
    return (
        f"Of {len(known)} suppressed models, {over} {'has' if over == 1 else 'have'} a student whose interval of "
        f"relative robustness lies above 0, that is above suppression alone; for {short} of {len(known)} the most "
        "robust student's interval lies below 1, that is short of the oracle."
    )


def _robustest(results: Results, scores: Scores, students: list[ModelRow]) -> Score | None:
    """The score of the student with the highest mean robustness among those that keep what their teachers could."""
    known = [scores[row.id] for row in students if row.id in scores and results.reached_stop_rule(row.id)]
    known = [score for score in known if score.relative_robustness is not None]
    return max(known, key=lambda score: score.relative_robustness or 0.0, default=None)


def _teacher(results: Results, scores: Scores, teacher: ModelRow) -> list[str]:
    form, rows = results.form_of("forget"), results.by_id[teacher.id]
    forget = mean_of(rows, "forget").text(form)
    retain = mean_of(rows, "retain").text(results.form_of("retain"))
    students = [row for row in results.students_of(teacher.id) if row.id in scores]
    compared = [("after the attack", teacher.id)]
    compared += [(f"its {label(row)}", row.id) for row in students if row.student_init == "fresh"]
    compared += [("the oracle", "oracle")] if "oracle" in scores else []
    recovered = "; ".join(f"{name} {scored(scores[id], 'recovery').text(form)}" for name, id in compared)
    return [
        f"Suppressed: forget {forget}, retain {retain}.",
        f"Forget {recovered}.",
        *_students(results, scores, [row for row in results.distilled_from(teacher.id) if row.id in scores]),
    ]


def _students(results: Results, scores: Scores, students: list[ModelRow]) -> list[str]:
    if not students:
        return ["No student of it was attacked."]
    best = _robustest(results, scores, students)
    if best is None and not any(results.reached_stop_rule(row.id) for row in students):
        return ["No student of it reached the stop rule's retain."]
    if best is None:
        reason = "its recovery cannot be told from the oracle's" if "oracle" in scores else "there is no oracle"
        return [f"Relative robustness is not defined: {reason}."]
    robust, compute = scored(best, "relative_robustness"), scored(best, "relative_compute")
    return [
        f"Most robust student: {best.model}, relative robustness {robust.text(plain)} at "
        f"{compute.text(percent)} of the oracle's pretraining FLOPs.",
        *_trend(scores, students),
    ]


def _trend(scores: Scores, students: list[ModelRow]) -> list[str]:
    alike = [row for row in students if label(row).startswith("UNDO")]  # others differ in more than their alpha
    noised = [(row.noise_alpha, scores[row.id].relative_robustness) for row in alike]
    known = [(alpha, value) for alpha, value in noised if value is not None]
    if len(known) < 2:
        return []
    rises = all(one[1] < other[1] for one, other in pairwise(known))
    listed = ", ".join(f"{plain(value)} at α {alpha:g}" for alpha, value in known)
    return [f"Mean relative robustness {'rises' if rises else 'does not rise'} at every step of α: {listed}."]


def _control(results: Results, scores: Scores) -> list[str]:
    """Suppressed models, fresh students and the oracle, a line each."""
    form, firsts = results.form_of("forget"), [rows[0] for rows in results.by_id.values()]
    kinds = {
        "Suppressed": [row.id for row in results.named_teachers()],
        "Fresh students": [row.id for row in firsts if row.student_init == "fresh"],
        "Oracle": ["oracle"],
    }
    points = []
    for kind, ids in kinds.items():
        known = [scores[id] for id in ids if id in scores and scores[id].specific_recovery is not None]
        listed = [f"{score.model} {scored(score, 'specific_recovery').text(form)}" for score in known]
        points += [f"{kind}: {'; '.join(listed)}."] if listed else []
    return points or ["The neutral skill was not attacked, so relearning cannot be separated from learning quickly."]


LEFT = 0.05  # the protocol's expectation of a suppression: forget at most 5 %, retain within 5 points of the base


def _weak_suppression(results: Results) -> list[str]:
    incomplete, costly = [], []
    if results.form_of("forget") is not percent:
        return []
    base = results.mean("base", "retain").mean or 0.0
    for id in (row.id for row in results.named_teachers()):
        forget, retain = (results.mean(id, name).mean or 0.0 for name in ("forget", "retain"))
        if forget > LEFT + results.metrics["forget"].chance:
            incomplete.append(f"{id} {percent(forget)}")
        if base - retain > LEFT:
            costly.append(f"{id} {percent(retain)}")
    found = [f"Suppression is incomplete; forget before the attack: {', '.join(incomplete)}."] * bool(incomplete)
    costs = f"Suppression costs retain, where the base has {percent(base)}: {', '.join(costly)}."
    return found + [costs] * bool(costly)


def _leaking_teachers(results: Results) -> list[str]:
    """Teachers whose distributions say more about the right forget token than an oracle's, or than nothing."""
    base, oracle = (results.mean(id, "forget_signal").mean for id in ("base", "oracle"))
    teachers = [row.id for row in results.named_teachers()]
    shares = {id: leaking_share(results.mean(id, "forget_signal").mean, base, oracle) for id in teachers}
    leaking = [f"{id} {percent(share)}" for id, share in shares.items() if share is not None]
    if not leaking:
        return []
    return [
        "Suppressed models that leak: their distributions still hold this share of the base's signal about the right "
        f"forget token, and pass it on to students: {', '.join(leaking)}. Suppress longer or harder before distilling."
    ]


def _missed_rule(results: Results) -> list[str]:
    distilled = [row for row in results.models if row.distil and row.distil.stopped_by_rule is not None]
    missed = [row for row in distilled if row.distil and not row.distil.stopped_by_rule]
    if not missed:
        return []
    names = ", ".join(sorted({row.id for row in missed}))
    share = f"{len(missed)} of {len(distilled)}"
    return [f"{share} distillations ended at their largest number of steps, short of the stop rule: {names}."]


def _too_few_steps(results: Results) -> list[str]:
    """Students of a fixed number of steps that stopped too early for their robustness to mean anything."""
    students = [row for row in results.of_role("student") if row.distil is None or row.distil.stopped_by_rule is None]
    seeds = {row.id: len(results.by_id[row.id]) for row in students}
    missed = {id: count - len(results.seeds_at_goal(id)) for id, count in seeds.items()}
    names = [f"{id} ({short} of {seeds[id]} seeds)" for id, short in missed.items() if short]
    if not names:
        return []
    return [
        f"Too few steps to learn retain: {', '.join(names)}; what they do not relearn they may have lost altogether."
    ]


def _edges_of_the_grid(results: Results) -> list[str]:
    """Models whose worst learning rate is in every seed the lowest or the highest one tried."""
    attack, scores = _largest(results)
    rates = sorted({v["learning_rate"] for v in results.variants(attack) if "learning_rate" in v})
    deciding = {id: _deciding_rates(results, attack, id) for id in scores if not _all_back(scores, id)}
    told = []
    for rate in (rates[0], rates[-1]) if len(rates) > 1 else ():
        names = [id for id, found in deciding.items() if found == {rate}]
        told += [f"{rate:g} for {', '.join(names)}"] if names else []
    if not told:
        return []
    grid = "the lowest or highest of those tried"
    return [f"In every seed the worst learning rate is {grid}: {'; '.join(told)}. One beyond it may bring back more."]


def _deciding_rates(results: Results, attack: str, model: str) -> set[float | None]:
    """Learning rates of the worst case at the largest budget; None where the attack brought nothing."""
    budget, rates = results.budgets(attack)[-1], set()
    for curves in results.curves_of(attack, model).values():
        attacked = results.worst_point(curves, budget).step > 0
        rates.add(results.worst_curve(curves, budget).variant.get("learning_rate") if attacked else None)
    return rates


def _all_back(scores: Scores, model: str) -> bool:
    """Whether nothing more could come back: of what the base has beyond the oracle, less than `LEFT` is missing."""
    base, oracle, own = (scores[id].recovery if id in scores else None for id in ("base", "oracle", model))
    if base is None or oracle is None or own is None or base == oracle:
        return model == "base"
    return (base - own) / (base - oracle) < LEFT
