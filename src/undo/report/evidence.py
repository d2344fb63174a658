"""The claims of arXiv 2506.06278, each judged by what recorded studies found: effect, interval, verdict.

An effect is a number whose sign says whether the claim holds; differences are between models of one seed, and the
interval is over seeds. A verdict never says more than the interval does.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from undo.report import rows as r
from undo.study.scores import worst_case

Results = r.Results
Effects = Iterator[tuple[str, list[float]]]
"""(what was compared, the effect in every seed), as often as a study compares it."""

HOLDS, PARTLY, FAILS = "holds", "partly", "fails here"


@dataclass(frozen=True)
class Claim:
    """A claim, how studies are asked about it, and from which effect on it is shown and not merely pointed to."""

    id: str
    text: str
    unit: str
    effects: Callable[[Results], Effects]
    shown_from: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """One row of `evidence.json`."""

    claim: str
    setting: str
    experiment: str
    n_seeds: int
    effect: float
    ci_low: float | None
    ci_high: float | None
    verdict: str
    record: str
    command: str


def gather(records: dict[str, Results]) -> list[Evidence]:
    """Rows for every claim that the records, by name, say something about; searches, without attacks, say nothing."""
    attacked = {name: results for name, results in records.items() if results["curves"]}
    return [
        _judge(claim, what, values, name, results)
        for claim in CLAIMS
        for name, results in attacked.items()
        for what, values in claim.effects(results)
    ]


def as_json(rows: list[Evidence]) -> list[dict[str, Any]]:
    """The rows of `evidence.json`."""
    return [asdict(row) for row in rows]


def as_markdown(rows: list[Evidence]) -> str:
    """The evidence page: a table per claim."""
    parts = [HEAD]
    for claim in CLAIMS:
        of = [row for row in rows if row.claim == claim.id]
        parts.append(f"\n## {claim.id}. {claim.text}\n\nEffect: {claim.unit}.\n")
        parts.append(_table(of) if of else "No record speaks about it yet.\n")
    return "\n".join(parts)


def _judge(claim: Claim, what: str, values: list[float], name: str, results: Results) -> Evidence:
    found = r.estimate(values)
    assert found.mean is not None
    recipe = results["recipe"]
    return Evidence(
        claim=claim.id,
        setting=recipe["data"]["dataset"]["name"],
        experiment=what,
        n_seeds=found.n,
        effect=round(found.mean, 4),
        ci_low=None if found.low is None else round(found.low, 4),
        ci_high=None if found.high is None else round(found.high, 4),
        verdict=_verdict(found, claim.shown_from),
        record=f"records/{name}",
        command=f"undo run {recipe['name']}",
    )


def _verdict(found: r.Estimate, shown_from: float) -> str:
    """Holds where the whole interval lies above the line, fails where it lies below, and partly in between."""
    if found.low is None or found.high is None:
        return f"{PARTLY} (one seed)"
    if found.low > shown_from:
        return HOLDS
    return FAILS if found.high <= shown_from else PARTLY


def _table(rows: list[Evidence]) -> str:
    titles = ("setting", "compared", "n", "effect, 95 % interval", "verdict", "record, command")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        effect = r.Estimate(row.effect, row.ci_low, row.ci_high, row.n_seeds).text(lambda value: f"{value:.2f}")
        link = f"[{row.record}](../{row.record}), `{row.command}`"
        lines.append(f"| {row.setting} | {row.experiment} | {row.n_seeds} | {effect} | {row.verdict} | {link} |")
    return "\n".join(lines) + "\n"


# -- what a study says about a claim -----------------------------------------------------------------------------------


def _recovery(results: Results, model: str, budget: int | None = None) -> dict[int, float]:
    """Worst case over the variants of the first attack, by seed; larger is more relearnt, for losses too."""
    attack, higher = r.attacks(results)[0], r.higher_is_better(results, "forget")
    step = r.budgets(results, attack)[-1] if budget is None else budget
    seeds = r.curves_of(results, attack, model)
    sign = 1 if higher else -1
    return {seed: sign * worst_case(curves, "forget", step, higher) for seed, curves in seeds.items()}


def _less_relearnt(results: Results, model: str, than: str) -> list[float]:
    """How much less of the skill comes back to one model than to another, by seed."""
    one, other = _recovery(results, model), _recovery(results, than)
    return [other[seed] - one[seed] for seed in one if seed in other]


def _shares(results: Results, model: str, floor: str, ceiling: str) -> list[float]:
    """Where a model's recovery lies between two others', by seed: 0 the floor's, 1 the ceiling's."""
    one, low, high = (_recovery(results, id) for id in (model, floor, ceiling))
    return [(low[s] - one[s]) / (low[s] - high[s]) for s in one if s in low and s in high and low[s] != high[s]]


def _oracle_matching(results: Results) -> Effects:
    students = {row["id"]: row for row in r.of_role(results, "student") if row.get("teacher") == "oracle"}
    fresh = [id for id, row in students.items() if row["student_init"] == "fresh"]
    for id in (id for id in students if "from-base" in id):
        for other in fresh:
            yield f"{other} against {id}", _less_relearnt(results, other, id)


def _distilled(results: Results) -> Effects:
    for teacher in r.of_role(results, "teacher"):
        for row in r.students_of(results, teacher["id"]):
            if row["id"] == f"fresh-{teacher['id']}":
                yield f"{row['id']} against {teacher['id']}", _less_relearnt(results, row["id"], teacher["id"])


def _noised_by_alpha(results: Results, teacher: str) -> list[r.Row]:
    return [row for row in r.students_of(results, teacher) if r.label(row).startswith("UNDO")]


def _rises_with_alpha(results: Results) -> Effects:
    for teacher in r.of_role(results, "teacher"):
        noised = _noised_by_alpha(results, teacher["id"])
        if len(noised) > 1:
            low, high = noised[0]["id"], noised[-1]["id"]
            yield f"{high} against {low}", _less_relearnt(results, high, low)


def _reaches_oracle(results: Results) -> Effects:
    for teacher in r.of_role(results, "teacher"):
        noised = _noised_by_alpha(results, teacher["id"])
        if noised and r.curves_of(results, r.attacks(results)[0], "oracle"):
            strongest = noised[-1]["id"]
            yield strongest, _shares(results, strongest, teacher["id"], "oracle")


def _pareto(results: Results) -> Effects:
    """The strongest noised student against the most robust model that was only suppressed."""
    teachers = [row["id"] for row in r.of_role(results, "teacher") if _recovery(results, row["id"])]
    if len(teachers) < 4:
        return
    best = min(teachers, key=lambda id: r.estimate(_recovery(results, id).values()).mean or 0.0)
    for teacher in r.of_role(results, "teacher"):
        for row in _noised_by_alpha(results, teacher["id"])[-1:]:
            yield f"{row['id']} against {best}, the best of {len(teachers)}", _less_relearnt(results, row["id"], best)


def _few_labels(results: Results) -> Effects:
    suppress = results["recipe"]["suppress"]
    full = [name for name, knobs in suppress.items() if knobs.get("label_share", 1) == 1 and r.right_labels(knobs)]
    few = [name for name, knobs in suppress.items() if knobs.get("label_share", 1) < 1 and r.right_labels(knobs)]
    students = {row["id"] for row in r.of_role(results, "student")}
    for name in few:
        if full and {f"fresh-{name}", f"fresh-{full[0]}"} <= students:
            share = 100 * suppress[name]["label_share"]
            what = f"fresh-{name} ({share:g} % of the labels) against {full[0]}"
            yield what, _shares(results, f"fresh-{name}", full[0], f"fresh-{full[0]}")


def _diffuse(results: Results) -> Effects:
    if results["recipe"]["data"]["dataset"]["name"] == "concept":
        for teacher in r.of_role(results, "teacher"):
            if any(row["id"] == f"fresh-{teacher['id']}" for row in r.students_of(results, teacher["id"])):
                id = f"fresh-{teacher['id']}"
                yield f"{id}, short of the oracle", [1 - s for s in _shares(results, id, teacher["id"], "oracle")]


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
]

HEAD = """# Evidence

What our records say about the claims of arXiv 2506.06278. `undo evidence` writes this page and `records/evidence.json`
from the records. An effect is the mean over seeds of a difference within a seed, its interval Student's at 95 %. A
claim holds where the whole interval lies above the line, fails here where it lies below, and holds partly in between.
"""
