"""The claims of arXiv 2506.06278 (C) and our own (P), and what a study says about each of them.

An effect is a number whose sign, or whose place above a line, says whether the claim holds; differences are between
models of one seed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

from undo.report import rows as r
from undo.report.effects import Correlation, Kept, Less, Measure, Share, View, brought_back
from undo.report.rows import Results
from undo.spec.students import NOISE

LOST = 0.05  # of accuracy, or of a loss relative to the other, as the rule for students
AFFORDABLE = 0.8  # of the oracle's compute, at which the strongest noise is said to reach it


class Effect(NamedTuple):
    """What was compared, by which measure, and what keeps the claim from holding whatever the measure says.

    `useless` says that it keeps the claim from holding in part too; `retain` is the pair whose retain stands beside.
    """

    what: str
    measure: Measure
    but: str = ""
    useless: bool = False
    retain: Kept | None = None


Effects = Iterator[Effect]
Pair = TypeVar("Pair", Less, Kept)


@dataclass(frozen=True)
class Claim:
    """A claim, how studies are asked about it, and from which effect on it is shown and not merely pointed to.

    A `specific` one has to be shown in specific recovery too, which tells forgetting from learning slowly; claims that
    are about how fast a model learns have not.
    """

    id: str
    text: str
    unit: str
    effects: Callable[[Results], Effects]
    shown_from: float = 0.0
    specific: bool = True


def _teachers(results: Results) -> list[str]:
    """Those that were attacked."""
    return [row["id"] for row in r.of_role(results, "teacher") if brought_back(results, row["id"])]


def _taught(results: Results, teacher: str) -> list[r.Row]:
    """Students that keep what their teacher could: others relearn slowly because they never learnt."""
    return [row for row in r.students_of(results, teacher) if r.mostly_taught(results, row["id"])]


def _oracle_matching(results: Results) -> Effects:
    """The base's own weights and a fresh start, both matched to the oracle on one stream; alike where some are."""
    for id in (row["id"] for row in _taught(results, "oracle")):
        if _setting(results, id, "noise_from") == "base" and r.by_id(results)[id][0]["noise_alpha"] == 0:
            stream = _setting(results, id, "stream")
            fresh = [other for other in _oracles_students(results) if _setting(results, other, "stream") == stream]
            alike = [other for other in _taught_like(results, id, "oracle", "init", *NOISE) if other in fresh]
            for other in alike or fresh:
                what = f"{other}{_last_loss(results, other)} against {id}{_last_loss(results, id)}"
                yield Effect(what, Less(other, id), "" if alike else "not taught alike")


def _last_loss(results: Results, student: str) -> str:
    """How far from its teacher a student ended."""
    losses = [row["distil"]["losses"][-3:] for row in r.by_id(results)[student] if row["distil"].get("losses")]
    left = r.estimate(value for looks in losses for _, value in looks).mean
    return "" if left is None else f" (KL {left:.2f})"


def _fresh(results: Results, teacher: str) -> list[str]:
    """The teacher's usual fresh student, if it was taught."""
    student = r.fresh_student(results, teacher)
    return [student] if student and r.mostly_taught(results, student) else []


def _distilled(results: Results) -> Effects:
    for teacher in _teachers(results):
        for id in _fresh(results, teacher):
            lost, budgets = _lost(results, teacher, "base"), _early_and_last(results)
            for step in budgets:  # in the end an attack may teach everybody anything
                early = "" if step == budgets[-1] else f" after {step} steps"
                yield Effect(f"{id} against {teacher}{lost and f' ({lost})'}{early}", Less(id, teacher, step))


def _lost(results: Results, model: str, than: str) -> str:
    """A word of warning for a model that lost much of what was to be kept: its retain performance."""
    if _as_useful(results, model, than):
        return ""
    return f"retain {r.mean_of(r.by_id(results)[model], 'retain').text(r.form_of(results, 'retain'))}"


def _noised_by_alpha(results: Results, teacher: str) -> list[str]:
    return [row["id"] for row in _taught(results, teacher) if r.label(row).startswith("UNDO")]


def _rises_with_alpha(results: Results) -> Effects:
    """Per teacher and kind of noise, the students with most and with least of it."""
    for teacher in _teachers(results):
        for low, *_, high in (family for family in _noise_families(results, teacher) if len(family) > 1):
            yield Effect(f"{high} against {low}", Less(high, low))


def _noise_families(results: Results, teacher: str) -> Iterable[list[str]]:
    """Noised students that were made alike but for alpha, by rising alpha."""
    made, families = r.settings_of(results), {}
    for id in (row["id"] for row in _taught(results, teacher) if row["student_init"] == "noised" and row["id"] in made):
        alike = made[id].model_copy(update=dict.fromkeys(("teachers", "noise_alpha")))
        families.setdefault(repr(alike), []).append(id)
    return families.values()


def _rises_with_compute(results: Results) -> Effects:
    """Over all noised students of a teacher: within a seed, robustness is recovery on another scale."""
    for teacher in _teachers(results):
        noised = [row["id"] for row in _taught(results, teacher) if row["student_init"] == "noised"]
        costs = {id: _compute(results, id) for id in noised}
        if noised and all(costs.values()):
            measure = Correlation(costs, ranks=False, at_least=3)
            yield Effect(f"over {len(noised)} noised students of {teacher}", measure)


def _compute(results: Results, model: str) -> dict[int, float]:
    """What a model cost of what the oracle did, by seed, failed ones too; nothing where the oracle was given."""
    oracle = {row["seed"]: row["flops"] for row in r.by_id(results).get("oracle", [])}
    rows = r.by_id(results)[model]
    return {row["seed"]: row["flops"] / oracle[row["seed"]] for row in rows if oracle.get(row["seed"])}


def _reaches_oracle(results: Results) -> Effects:
    for teacher in _teachers(results):
        for strongest in _noised_by_alpha(results, teacher)[-1:]:
            cost = r.estimate(_compute(results, strongest).values()).mean
            what = strongest if cost is None else f"{strongest} at {cost:.2f}"
            dear = "its cost is not known" if cost is None else "it costs more" if cost > AFFORDABLE + 1e-9 else ""
            yield Effect(what, Share(strongest, teacher, "oracle"), dear)


def _pareto(results: Results) -> Effects:
    """The strongest noised student against suppressed models that keep as much as it does, before and after an attack.

    In what comes back against the one to which least does, in what is kept then against the one that keeps most.
    """
    suppressed = [id for id in _teachers(results) if not r.localised(results, id)]
    for student in _strongest(results):
        rivals = [id for id in suppressed if _as_useful(results, id, student)]
        for step in dict.fromkeys([0, *_early_and_last(results)]) if len(rivals) > 3 else []:
            yield from _beside_rivals(results, student, rivals, step)


def _beside_rivals(results: Results, student: str, rivals: list[str], step: int) -> Effects:
    """Before an attack everybody seems to have forgotten: there what is kept is all that can be compared."""
    hard = _smallest(results, [Less(student, rival, step) for rival in rivals])
    kept = _smallest(results, [Kept(student, rival, step) for rival in rivals])
    named = f"{student}{_disruption(results, student)}"
    if kept is not None and step == 0:
        rival = f"{kept.than}{_disruption(results, kept.than)}"
        yield Effect(f"{named} in retain, before an attack, against {rival}, the best of {len(rivals)}", kept)
    elif hard is not None and kept is not None:
        best = f"in forget {hard.than}{_disruption(results, hard.than)}, in retain {kept.than}"
        what = f"{named} after {step} steps against the best of {len(rivals)} ({best})"
        yield Effect(what, hard, _keeps_less(r.estimate(kept.values(View(results)))), retain=kept)


def _disruption(results: Results, model: str) -> str:
    """How far a model is from the base on retain text."""
    found = r.mean_of(r.by_id(results)[model], "retain_kl_from_base").mean
    return "" if found is None else f" (KL {found:.2g})"


def _smallest(results: Results, pairs: list[Pair]) -> Pair | None:
    """The pair with the least mean effect; None where none has an effect in any seed."""
    means = {pair: fmean(values) for pair in pairs if (values := pair.values(View(results)))}
    return min(means, key=lambda pair: means[pair], default=None)


def _keeps_less(retained: r.Estimate) -> str:
    if retained.mean is None or retained.mean >= 0:
        return ""
    return "it keeps less" if retained.high is not None and retained.high < 0 else "not shown to keep as much"


def _early_and_last(results: Results) -> list[int]:
    """An attack of 40 steps, as published (fewer where nobody looked then), and one of all of them."""
    budgets = r.budgets(results, r.attacks(results)[0])
    early = max((step for step in budgets if step <= 40), default=budgets[-1])
    return list(dict.fromkeys([early, budgets[-1]]))


def _strongest(results: Results) -> list[str]:
    """Per teacher the student with the most noise."""
    return [student for id in _teachers(results) for student in _noised_by_alpha(results, id)[-1:]]


def _localisation(results: Results) -> Effects:
    for id in _teachers(results):
        for student in _strongest(results) if r.localised(results, id) else []:
            if _as_useful(results, id, student):
                yield Effect(f"{id} against {student}", Less(id, student))


def _carries(results: Results) -> Effects:
    """Noised students of studies that start at somebody's model."""
    if results["recipe"].get("pretrained"):
        for teacher in _teachers(results):
            for id in _noised_by_alpha(results, teacher):
                yield Effect(f"{id} against {teacher}", Less(id, teacher))


def _few_labels(results: Results) -> Effects:
    """Teachers of few labels, right or in part wrong, beside one of the same method that saw all: alike students.

    What counts of retain is the student's: one that reads what a ruined teacher chose may still learn it.
    """
    suppress = results["recipe"]["suppress"]
    few = {name: knobs for name, knobs in suppress.items() if knobs.get("label_share", 1) < 1}
    for name, knobs in few.items():
        alike = [other for other in suppress if other not in few and _method(suppress[other]) == _method(knobs)]
        for full in alike[:1]:
            for id in (row["id"] for row in _taught(results, name) if row["student_init"] == "fresh"):
                for usual in _taught_like(results, id, full):
                    lost = _lost(results, id, usual)
                    what = f"{id} ({_labels(knobs)}) against {full}"
                    yield Effect(what, Share(id, full, usual), lost and f"its {lost}", bool(lost))


def _method(knobs: r.Row) -> str:
    return knobs["method"]["name"]


def _labels(knobs: r.Row) -> str:
    share, retain = knobs["label_share"], knobs.get("retain_label_share")
    right = "" if r.right_labels(knobs) else f", {100 * knobs['label_precision']:g} % of them right"
    return f"{100 * share:g} % of the {'' if retain in (None, share) else 'forget '}labels{right}"


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


def _short_of_oracle(results: Results, student: str, teacher: str) -> Effect:
    """After as many steps as still tell teacher and oracle apart: few, where the attack teaches the oracle too."""
    budgets = r.budgets(results, r.attacks(results)[0])
    at = {step: Share(student, teacher, "oracle", step, short=True) for step in budgets}
    step = max((step for step in budgets if at[step].values(View(results))), default=budgets[-1])
    return Effect(f"{student}, short of the oracle after {step} steps", at[step])


def _oracles_students(results: Results) -> list[str]:
    return [row["id"] for row in _taught(results, "oracle") if row["student_init"] == "fresh"]


def _plastic(results: Results) -> Effects:
    """A student of the oracle cannot have been told anything, so what it relearns sooner is plasticity."""
    for id in _oracles_students(results):
        yield Effect(f"oracle against {id}", Less("oracle", id))


def _nothing_passed(results: Results) -> Effects:
    """Like with like: students that were taught as the oracle's was, but for a cut tail, else the usual one."""
    for student in _oracles_students(results):
        for teacher in _teachers(results):
            for id in _taught_like(results, student, teacher, "top_k") or _fresh(results, teacher):
                yield Effect(f"{id} between {teacher} and {student}", Share(id, teacher, student))


def _taught_like(results: Results, student: str, teacher: str, *but: str) -> list[str]:
    """Students of a teacher that were made as some student was, but for some settings.

    A kind of noised students has several strengths; of those only the student's own is alike.
    """
    made, alpha = r.settings_of(results), r.by_id(results)[student][0]["noise_alpha"]
    rest = {id: settings.model_copy(update=dict.fromkeys(("teachers", *but))) for id, settings in made.items()}
    taught = [row for row in _taught(results, teacher) if "noise_alpha" in but or row["noise_alpha"] == alpha]
    return [row["id"] for row in taught if student in rest and rest.get(row["id"]) == rest[student]]


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
                yield Effect(f"{other} against {id}", Less(other, id))


def _filtered(results: Results) -> Effects:
    """Plain training on what a teacher finds likely, beside a student that it taught; alike where there is one.

    An unlike student of a teacher that lost retain says nothing: it relearns little, since it learnt little.
    """
    for teacher, id in _of_init(results, "fresh"):
        if 0 < (_setting(results, id, "filter_share") or 0) < 1:
            alike, lost = _told_instead(results, id, teacher), _lost(results, teacher, "base")
            for other in alike or ([] if lost else _fresh(results, teacher)):
                what = f"{id} against {other}{lost and f' (of {teacher}: {lost})'}"
                yield Effect(what, Less(id, other), "" if alike else "not taught alike")


def _retrained(results: Results) -> Effects:
    """Plain training on all of a stream, beside students whom a teacher told about the same rows for as long."""
    for teacher, id in _of_init(results, "fresh"):
        for other in _told_instead(results, id, teacher, "top_k", "text_share") if _retraining(results, id) else []:
            yield _beside(results, id, other)


def _text_after(results: Results) -> Effects:
    """Students that read plain text when they had heard their teacher, beside those whom it taught to the end."""
    readers = r.then_text(results)
    for teacher in _teachers(results):
        for id in (row["id"] for row in _taught(results, teacher) if row["id"] in readers):
            for other in _taught_like(results, id, teacher, "text_share"):
                if other not in readers:
                    yield _beside(results, id, other)


def _beside(results: Results, model: str, other: str) -> Effect:
    """How much less of the forget skill comes back, and a word where less of retain is kept."""
    kept = r.estimate(Kept(model, other, 0).values(View(results)))
    return Effect(f"{model} against {other}", Less(model, other), _keeps_less(kept))


def _retraining(results: Results, student: str) -> bool:
    return _setting(results, student, "filter_share") == 1


def _told_instead(results: Results, plain: str, teacher: str, *but: str) -> list[str]:
    """Students that a teacher told about what another one read plainly, alike but for that and some settings."""
    alike = _taught_like(results, plain, teacher, "filter_share", *but)
    return [id for id in alike if _setting(results, id, "filter_share") is None]


def _distilled_alone(results: Results) -> Effects:
    for id in _fresh(results, "base"):
        yield Effect(f"{id} against base", Less(id, "base"))


def _taught_together(results: Results) -> Effects:
    """A student of several teachers, beside that of one of them alone to whom least came back."""
    for teacher, id in _of_init(results, "fresh"):
        others = _setting(results, id, "with_teachers") or ()
        alike = [other for one in (teacher, *others) for other in _taught_like(results, id, one, "with_teachers")]
        alone = [other for other in alike if not _setting(results, other, "with_teachers")]
        best = _smallest(results, [Less(id, other) for other in alone]) if others else None
        if best is not None:
            yield Effect(f"{id} against {best.than}{f', the best of {len(alone)}' if len(alone) > 1 else ''}", best)


def _for_half(results: Results) -> Effects:
    """Students that cost at most half of the oracle and keep what their teachers could; less of the oracle is none."""
    for id, rows in r.by_id(results).items():
        cost = r.estimate(_compute(results, id).values()).mean
        teacher = rows[0].get("teacher") or ""
        useful = teacher in results["recipe"]["suppress"] and _as_useful(results, teacher, "base")
        cheap = cost is not None and cost <= 0.5 and brought_back(results, id) and not _retraining(results, id)
        for step in _early_and_last(results) if useful and cheap and r.mostly_taught(results, id) else []:
            yield Effect(f"{id} at {cost:.2f}, after {step} steps", Share(id, teacher, "oracle", step))


def _signal_predicts(results: Results) -> Effects:
    """The less signal is left in a teacher, the less its fresh student relearns; loss of retain would tell too."""
    useful = [teacher for teacher in _teachers(results) if _as_useful(results, teacher, "base")]
    fresh = {id: teacher for teacher in useful for id in _fresh(results, teacher)}
    left = {id: _less_signal(results, teacher) for id, teacher in fresh.items()}
    if left and all(left.values()):
        yield Effect(f"over the teachers {', '.join(fresh.values())}", Correlation(left, ranks=True, at_least=4))


def _less_signal(results: Results, teacher: str) -> dict[int, float]:
    signals = {row["seed"]: row.get("forget_signal") for row in r.by_id(results)[teacher]}
    return {seed: -signal for seed, signal in signals.items() if signal is not None}


LESS = "how much less of the forget skill the attack brings back (accuracy, or nats per token), by seed"
CLAIMS = [
    Claim("C1", "Matching an oracle is not enough: the start decides", LESS, _oracle_matching),
    Claim("C2", "Unlearn-and-Distill: a fresh student relearns less than its suppressed teacher", LESS, _distilled),
    Claim("C3", "UNDO: more noise, more robustness", LESS, _rises_with_alpha),
    Claim(
        "C3b",
        "UNDO at its strongest is as robust as data filtering, for at most 0.8 of its compute",
        "relative robustness, 0 suppressed, 1 oracle; the claim asks for 0.95",
        _reaches_oracle,
        0.95,
    ),
    Claim(
        "C3c",
        "The more compute a noised student took, the more robust it is",
        "correlation of robustness with compute over the noised students of a teacher, by seed; in line at 1",
        _rises_with_compute,
        specific=False,
    ),
    Claim(
        "C4",
        "Pareto: UNDO relearns less than what is only suppressed, robustly trained or not, and keeps no less",
        f"{LESS}; retain beside it, against the rival that keeps most; in brackets KL(base || model) on retain text",
        _pareto,
    ),
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
        specific=False,
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
    Claim("P9", "Several teachers leave less to relearn than any of them alone", LESS, _taught_together),
    Claim(
        "P10",
        "Retraining for as long as a student is taught leaves less to relearn and keeps no less",
        LESS,
        _retrained,
    ),
    Claim(
        "P11",
        "Plain text after the teacher leaves less than the teacher to the end, and keeps no less",
        LESS,
        _text_after,
    ),
]
