"""What claims compare: a study's attacked models, students that learnt what they were to, and models made alike."""

from statistics import fmean
from typing import Any, TypeVar

from undo.evidence.measures import Kept, Less, View, brought_back
from undo.report.numbers import Estimate
from undo.report.results import Results, label
from undo.study.rows import ModelRow

LOST = 0.05  # of accuracy, or of a loss relative to the other, as the rule for students
AnyPair = TypeVar("AnyPair", Less, Kept)


def attacked_teachers(results: Results) -> list[str]:
    """Ids of the suppressed models that were attacked."""
    return [row.id for row in results.of_role("teacher") if brought_back(results, row.id)]


def students_at_goal(results: Results, teacher: str) -> list[ModelRow]:
    """Students that reached the stop rule in most seeds. One that learnt little relearns little, and proves nothing."""
    return [row for row in results.students_of(teacher) if results.mostly_reached_stop_rule(row.id)]


def fresh_at_goal(results: Results, teacher: str) -> list[str]:
    """The teacher's usual fresh student, if it reached the stop rule in most seeds."""
    student = results.fresh_student(teacher)
    return [student] if student and results.mostly_reached_stop_rule(student) else []


def noised_by_alpha(results: Results, teacher: str) -> list[str]:
    """A teacher's noised students of the usual kind that reached the stop rule, by rising alpha."""
    return [row.id for row in students_at_goal(results, teacher) if label(row).startswith("UNDO")]


def strongest_noise(results: Results) -> list[str]:
    """Per teacher the student with the most noise."""
    return [student for id in attacked_teachers(results) for student in noised_by_alpha(results, id)[-1:]]


def students_of_oracle(results: Results) -> list[str]:
    """Fresh students of the oracle that reached the stop rule."""
    return [row.id for row in students_at_goal(results, "oracle") if row.student_init == "fresh"]


def made_alike(results: Results, student: str, teacher: str, *but: str) -> list[str]:
    """A teacher's students that reached the stop rule and were made as some student was, but for some settings."""
    at_goal = {row.id for row in students_at_goal(results, teacher)}
    return [id for id in results.made_alike(student, teacher, *but) if id in at_goal]


def setting(results: Results, student: str, name: str) -> Any:
    """A setting of a student; None where it is the default, or there is no such student."""
    return results.first[student].setting(name) if student in results.first else None


def as_useful(results: Results, model: str, than: str) -> bool:
    """Whether a model keeps what another one does: one that lost everything passes nothing on, and proves nothing."""
    kept, usual = (results.mean(id, "retain").mean for id in (model, than))
    if kept is None or usual is None:
        return True
    lost = usual - kept if results.higher_is_better("retain") else kept / usual - 1
    return lost <= LOST


def lost_retain(results: Results, model: str, than: str) -> str:
    """A word of warning for a model that lost much of what was to be kept: its retain performance."""
    if as_useful(results, model, than):
        return ""
    return f"retain {results.mean(model, 'retain').text(results.form_of('retain'))}"


def compute_of_oracle(results: Results, model: str) -> dict[int, float]:
    """What a model cost of what the oracle did, by seed, failed ones too; nothing where the oracle was given."""
    oracle = {row.seed: row.flops for row in results.by_id.get("oracle", [])}
    rows = results.by_id[model]
    return {row.seed: row.flops / oracle[row.seed] for row in rows if oracle.get(row.seed)}


def early_and_last(results: Results) -> list[int]:
    """An attack of 40 steps, as published (fewer where nobody looked then), and one of all of them."""
    budgets = results.budgets(results.attacks()[0])
    early = max((step for step in budgets if step <= 40), default=budgets[-1])
    return list(dict.fromkeys([early, budgets[-1]]))


def least_effect(results: Results, pairs: list[AnyPair]) -> AnyPair | None:
    """The pair with the least mean effect; None where none has an effect in any seed."""
    means = {pair: fmean(values) for pair in pairs if (values := pair.values(View(results)))}
    return min(means, key=lambda pair: means[pair], default=None)


def keeps_less(retained: Estimate) -> str:
    """What to say against a model that keeps less of retain than its rival, or is not shown to keep as much."""
    if retained.mean is None or retained.mean >= 0:
        return ""
    return "it keeps less" if retained.high is not None and retained.high < 0 else "not shown to keep as much"
