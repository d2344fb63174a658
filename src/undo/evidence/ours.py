"""Claims of our own, each below the comparisons that it rests on."""

from collections.abc import Iterator

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
    setting,
    strongest_noise,
    students_at_goal,
    students_of_oracle,
)
from undo.evidence.measures import Correlation, Kept, Less, Share, View, brought_back
from undo.report.numbers import estimate
from undo.report.results import Results


def _plastic(results: Results) -> Effects:
    """A student of the oracle cannot have been told anything, so what it relearns sooner is plasticity."""
    for id in students_of_oracle(results):
        yield Effect(f"oracle against {id}", Less("oracle", id))


P1 = Claim(
    "P1",
    "Plasticity: a student of the oracle, which has nothing to pass on, relearns faster than it",
    LESS,
    _plastic,
    specific=False,
)


def _nothing_passed(results: Results) -> Effects:
    """Like with like: students that were taught as the oracle's was, but for a cut tail, else the usual one."""
    for student in students_of_oracle(results):
        for teacher in attacked_teachers(results):
            for id in made_alike(results, student, teacher, "top_k") or fresh_at_goal(results, teacher):
                yield Effect(f"{id} between {teacher} and {student}", Share(id, teacher, student))


P2 = Claim(
    "P2",
    "No leakage: a fresh student relearns like a student of the oracle",
    "relative robustness with the oracle's student in the oracle's place; the claim asks for 0.9",
    _nothing_passed,
    0.9,
)


def _for_half(results: Results) -> Effects:
    """Students that cost at most half of the oracle and keep what their teachers could; less of the oracle is none."""
    for id, rows in results.by_id.items():
        cost = estimate(compute_of_oracle(results, id).values()).mean
        teacher = rows[0].teacher or ""
        useful = teacher in results.recipe["suppress"] and as_useful(results, teacher, "base")
        cheap = cost is not None and cost <= 0.5 and brought_back(results, id) and not _retraining(results, id)
        for step in early_and_last(results) if useful and cheap and results.mostly_reached_stop_rule(id) else []:
            yield Effect(f"{id} at {cost:.2f}, after {step} steps", Share(id, teacher, "oracle", step))


def _retraining(results: Results, student: str) -> bool:
    return setting(results, student, "filter_share") == 1


P3 = Claim(
    "P3",
    "As robust as data filtering for at most half of its compute",
    "relative robustness, 0 suppressed, 1 oracle; the claim asks for 0.95",
    _for_half,
    0.95,
)


def _signal_predicts(results: Results) -> Effects:
    """The less signal is left in a teacher, the less its fresh student relearns; loss of retain would tell too."""
    useful = [teacher for teacher in attacked_teachers(results) if as_useful(results, teacher, "base")]
    fresh = {id: teacher for teacher in useful for id in fresh_at_goal(results, teacher)}
    left = {id: _less_signal(results, teacher) for id, teacher in fresh.items()}
    if left and all(left.values()):
        yield Effect(f"over the teachers {', '.join(fresh.values())}", Correlation(left, ranks=True, at_least=4))


def _less_signal(results: Results, teacher: str) -> dict[int, float]:
    signals = {row.seed: row.forget_signal for row in results.by_id[teacher]}
    return {seed: -signal for seed, signal in signals.items() if signal is not None}


P4 = Claim(
    "P4",
    "The signal left in a teacher predicts what its fresh student relearns",
    "rank correlation over teachers, by seed",
    _signal_predicts,
)


def _localisation(results: Results) -> Effects:
    for id in attacked_teachers(results):
        for student in strongest_noise(results) if results.trained_from_start(id) else []:
            if as_useful(results, id, student):
                yield Effect(f"{id} against {student}", Less(id, student))


P5 = Claim("P5", "Localising the skill while training leaves less to relearn than UNDO", LESS, _localisation)


def _shared_start(results: Results) -> Effects:
    for teacher, id in _of_init(results, "base_init"):
        for other in made_alike(results, id, teacher, "init"):
            if results.first[other].student_init == "fresh":
                yield Effect(f"{other} against {id}", Less(other, id))


def _of_init(results: Results, init: str) -> Iterator[tuple[str, str]]:
    """(teacher, student) for students that started in some way and were taught."""
    for teacher in attacked_teachers(results):
        yield from ((teacher, row.id) for row in students_at_goal(results, teacher) if row.student_init == init)


P6 = Claim(
    "P6",
    "A shared start passes something on: from the base's own initial weights more comes back",
    LESS,
    _shared_start,
)


def _filtered(results: Results) -> Effects:
    """Plain training on what a teacher finds likely, beside a student that it taught; alike where there is one.

    An unlike student of a teacher that lost retain says nothing: it relearns little, since it learnt little.
    """
    for teacher, id in _of_init(results, "fresh"):
        if 0 < (setting(results, id, "filter_share") or 0) < 1:
            alike, lost = _told_instead(results, id, teacher), lost_retain(results, teacher, "base")
            for other in alike or ([] if lost else fresh_at_goal(results, teacher)):
                what = f"{id} against {other}{lost and f' (of {teacher}: {lost})'}"
                yield Effect(what, Less(id, other), "" if alike else "not taught alike")


def _told_instead(results: Results, plain: str, teacher: str, *but: str) -> list[str]:
    """Students that a teacher told about what another one read plainly, alike but for that and some settings."""
    alike = made_alike(results, plain, teacher, "filter_share", *but)
    return [id for id in alike if setting(results, id, "filter_share") is None]


P7 = Claim("P7", "Training on what the suppressed model finds likely leaves less than distilling it", LESS, _filtered)


def _distilled_alone(results: Results) -> Effects:
    for id in fresh_at_goal(results, "base"):
        yield Effect(f"{id} against base", Less(id, "base"))


P8 = Claim(
    "P8", "Distillation takes something away by itself, from a base that nothing suppressed", LESS, _distilled_alone
)


def _taught_together(results: Results) -> Effects:
    """A student of several teachers, beside that of one of them alone to whom least came back."""
    for teacher, id in _of_init(results, "fresh"):
        others = setting(results, id, "with_teachers") or ()
        alike = [other for one in (teacher, *others) for other in made_alike(results, id, one, "with_teachers")]
        alone = [other for other in alike if not setting(results, other, "with_teachers")]
        best = least_effect(results, [Less(id, other) for other in alone]) if others else None
        if best is not None:
            yield Effect(f"{id} against {best.than}{f', the best of {len(alone)}' if len(alone) > 1 else ''}", best)


P9 = Claim("P9", "Several teachers leave less to relearn than any of them alone", LESS, _taught_together)


def _retrained(results: Results) -> Effects:
    """Plain training on all of a stream, beside students whom a teacher told about the same rows for as long."""
    for teacher, id in _of_init(results, "fresh"):
        for other in _told_instead(results, id, teacher, "top_k", "text_share") if _retraining(results, id) else []:
            yield _beside(results, id, other)


def _beside(results: Results, model: str, other: str) -> Effect:
    """How much less of the forget skill comes back, and a word where less of retain is kept."""
    kept = estimate(Kept(model, other, 0).values(View(results)))
    return Effect(f"{model} against {other}", Less(model, other), keeps_less(kept))


P10 = Claim(
    "P10",
    "Retraining for as long as a student is taught leaves less to relearn and keeps no less",
    LESS,
    _retrained,
)


def _text_after(results: Results) -> Effects:
    """Students that read plain text when they had heard their teacher, beside those whom it taught to the end."""
    readers = {row.id for row in results.of_role("student") if row.setting("text_share")}
    for teacher in attacked_teachers(results):
        for id in (row.id for row in students_at_goal(results, teacher) if row.id in readers):
            for other in made_alike(results, id, teacher, "text_share"):
                if other not in readers:
                    yield _beside(results, id, other)


P11 = Claim(
    "P11",
    "Plain text after the teacher leaves less than the teacher to the end, and keeps no less",
    LESS,
    _text_after,
)

CLAIMS = [P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11]
