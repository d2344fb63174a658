"""Claims judged by what recorded studies found: effect, interval, and a verdict that says no more than the interval."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

from undo.data.dataset import Dataset
from undo.report import rows as r
from undo.report.claims import CLAIMS, Claim, Effect
from undo.report.effects import Kept, View
from undo.report.rows import Results
from undo.report.words import caveats
from undo.spec.registry import load, names

HOLDS, PARTLY, FAILS = "holds", "partly", "fails here"
BESIDE = {"specific": "in specific recovery", "useful": "model kept of use", "retain": "retain kept"}
USUAL = "relearn"  # the attack that needs no word


@dataclass(frozen=True)
class Evidence:
    """One row of `evidence.json`.

    `specific` is the effect in specific recovery, where the attack taught a neutral skill too, `useful` that of an
    adversary under the utility constraint; `retain` is how much more the model has than a rival after the attack, where
    a claim asks for that; `but` is what keeps the claim from holding whatever the effect. `also_in` are further records
    that hold the very same models.
    """

    claim: str
    setting: str
    experiment: str
    n_seeds: int
    n_items: int
    effect: float
    ci_low: float | None
    ci_high: float | None
    specific: r.Estimate | None
    useful: r.Estimate | None
    retain: r.Estimate | None
    verdict: str
    but: str
    record: str
    command: str
    also_in: tuple[str, ...] = ()


def gather(records: dict[str, Results]) -> list[Evidence]:
    """Rows for every claim and attack that the records, by name, say something about.

    Searches attack nothing, and pilots are no evidence: settings are chosen by them.
    """
    reported = {name: results for name, results in records.items() if results["recipe"].get("eval_split") != "valid"}
    attacked = [
        (name, r.of_attack(results, attack)) for name, results in reported.items() for attack in r.attacks(results)
    ]
    rows = [
        row
        for claim in CLAIMS
        for name, results in attacked
        for effect in claim.effects(results)
        if (row := _judge(claim, effect, name, results))
    ]
    return _each_once(rows)


def _each_once(rows: list[Evidence]) -> list[Evidence]:
    """Studies that extend one another share models: what several found is one finding."""
    found: dict[Evidence, list[str]] = {}
    for row in rows:
        found.setdefault(replace(row, record="", command=""), []).append(row.record)
    commands = {row.record: row.command for row in rows}
    return [
        replace(row, record=records[0], command=commands[records[0]], also_in=tuple(records[1:]))
        for row, records in found.items()
    ]


def as_json(rows: list[Evidence]) -> list[dict[str, Any]]:
    """The rows of `evidence.json`."""
    beside = [{name: _json(getattr(row, name)) for name in BESIDE} for row in rows]
    return [asdict(row) | more | {"also_in": list(row.also_in)} for row, more in zip(rows, beside, strict=True)]


def _json(found: r.Estimate | None) -> dict[str, float | None] | None:
    return None if found is None else {"effect": found.mean, "ci_low": found.low, "ci_high": found.high}


def as_markdown(rows: list[Evidence], records: dict[str, Results]) -> str:
    """The evidence page: a table per claim, then what limits each of the records that the rows are from."""
    parts = [HEAD, _overview(rows)]
    for claim in CLAIMS:
        of = [row for row in rows if row.claim == claim.id]
        parts.append(f"\n## {claim.id}. {claim.text}\n\nEffect: {claim.unit}.\n")
        parts.append(_table(of) if of else "No record speaks about it yet.\n")
    named = sorted({record.removeprefix("records/") for row in rows for record in (row.record, *row.also_in)})
    limits = [f"- **{name}**: {' '.join(found)}" for name in named if (found := caveats(records[name]))]
    return "\n".join([*parts, "\n## What limits the records\n", *limits, ""])


def _judge(claim: Claim, effect: Effect, name: str, results: Results) -> Evidence | None:
    """None where the effect is not defined in any seed."""
    views = [View(results), View(results, "specific"), View(results, "useful")]
    found, specific, useful = (_rounded(effect.measure.values(view)) for view in views)
    if found is None or found.mean is None:
        return None
    against = "; ".join(filter(None, [effect.but, _not_shown_specifically(claim, effect, specific, results)]))
    verdict, recipe = _verdict(found, claim.shown_from, bool(against), effect.useless), results["recipe"]
    (attack,) = r.attacks(results)
    return Evidence(
        claim=claim.id,
        setting=recipe["name"] if recipe.get("pretrained") else _setting(recipe["data"]["dataset"]),
        experiment=effect.what if attack == USUAL else f"{effect.what} (attack {attack})",
        n_seeds=found.n,
        n_items=results["metrics"]["retain" if isinstance(effect.measure, Kept) else "forget"]["n_items"],
        effect=found.mean,
        ci_low=found.low,
        ci_high=found.high,
        specific=specific,
        useful=useful,
        retain=_rounded(effect.retain.values(View(results))) if effect.retain else None,
        verdict=verdict,
        but=against if effect.useless or not verdict.startswith(FAILS) else "",
        record=f"records/{name}",
        command=f"undo run {recipe['name']}",
    )


def _rounded(values: list[float]) -> r.Estimate | None:
    """As it is written down; None where there is no value."""
    found = r.estimate(values)
    if found.mean is None:
        return None
    mean, low, high = (None if number is None else round(number, 4) for number in (found.mean, found.low, found.high))
    return r.Estimate(mean, low, high, found.n)


def _not_shown_specifically(claim: Claim, effect: Effect, specific: r.Estimate | None, results: Results) -> str:
    """A claim about forgetting has to be shown in specific recovery too, for which a neutral skill is attacked."""
    if not claim.specific or isinstance(effect.measure, Kept):
        return ""
    if "neutral" not in r.skills(results, r.attacks(results)[0]):
        return "no neutral skill attacked"
    if specific is None or specific.low is None or specific.high is None:
        return "not shown in specific recovery"
    if specific.low > claim.shown_from:
        return ""
    return f"{'fails' if specific.high < claim.shown_from else 'not shown'} in specific recovery"


def _setting(dataset: r.Row) -> str:
    """`arithmetic`, or `arithmetic (kept_operation mul)` where the task is not the usual one."""
    name = dataset["name"]
    plugin: Any = load("datasets", name) if name in names("datasets") else Dataset  # somebody else's may be missing
    usual = {field: plugin.model_fields[field].default for field in plugin.task_variant_fields}
    unusual = [f"{field} {dataset[field]}" for field in usual if dataset.get(field, usual[field]) != usual[field]]
    return f"{name} ({', '.join(unusual)})" if unusual else name


def _verdict(found: r.Estimate, shown_from: float, against: bool = False, useless: bool = False) -> str:
    """Holds where the whole interval lies above the line, fails where it lies below; in between the mean decides.

    With something against it a claim holds partly at most, and not at all where what was compared is of no use.
    """
    assert found.mean is not None
    if useless and against:
        return FAILS
    leaning = PARTLY if found.mean > shown_from else FAILS
    if found.low is None or found.high is None:
        return f"{leaning} (one seed)"
    if found.low > shown_from:
        return PARTLY if against else HOLDS
    return FAILS if found.high <= shown_from else f"{leaning} (not shown)"


def _overview(rows: list[Evidence]) -> str:
    """Claims by settings: how many rows have which verdict."""
    settings = sorted({row.setting for row in rows})
    lines = [f"| claim | {' | '.join(settings)} |", "|---" * (1 + len(settings)) + "|"]
    for claim in CLAIMS:
        verdicts = {
            of: Counter(row.verdict for row in rows if (row.claim, row.setting) == (claim.id, of)) for of in settings
        }
        cells = [", ".join(f"{verdict}: {n}" for verdict, n in sorted(verdicts[of].items())) or "-" for of in settings]
        lines.append(f"| {claim.id}. {claim.text} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _table(rows: list[Evidence]) -> str:
    """Numbers beside the effect have a column where any row has them."""
    beside = [name for name in BESIDE if any(getattr(row, name) for row in rows)]
    titles = ["setting", "compared", "seeds × items", "effect, 95 % interval", *(BESIDE[name] for name in beside)]
    lines = [_line([*titles, "verdict", "records, command"]), "|---" * (len(titles) + 2) + "|"]
    for row in rows:
        effect = r.Estimate(row.effect, row.ci_low, row.ci_high).text(r.short)
        more = [found.text(r.short) if (found := getattr(row, name)) else "–" for name in beside]
        verdict = f"{row.verdict} ({row.but})" if row.but else row.verdict
        links = ", ".join(f"[{record}](../{record})" for record in (row.record, *row.also_in))
        counts = f"{row.n_seeds} × {row.n_items:,}"
        lines.append(_line([row.setting, row.experiment, counts, effect, *more, verdict, f"{links}, `{row.command}`"]))
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


HEAD = """# Evidence

What our records say about the claims of arXiv 2506.06278 (C) and about our own (P). `undo evidence` writes this page
and `records/evidence.json` from the records. An effect is the mean over seeds of a number per seed, mostly of a
difference, its interval Student's at 95 %; seeds in which the model named first did not reach its teacher's retain are
left out, and losses above that of guessing count as guessing.

A claim holds where the whole interval lies above the line, which is 0 where the claim names no other, and fails here
where it lies below; where the interval holds the line, neither is shown, and the verdict says to which side the mean
leans. Where the same attack taught a neutral skill that no model ever saw, the effect in specific recovery (forget less
neutral) stands beside it. A claim that is not shown there too, or was not asked there, holds partly, at most: the model
may only learn everything more slowly; it fails there where that interval lies below the line. P1 and C3c are about
that, and C4 before an attack is about retain alone. What else keeps a claim from holding stands in brackets. "Model
kept of use" is the effect of the strongest attack that leaves nine tenths of what the model had of retain; it decides
nothing, since an adversary may want the skill alone.

The attack is `relearn`, finetuning on forget rows, where a row names no other. Rows of one setting share seeds, and
often models: they are several looks at the same few samples, not so many confirmations.

Rows by verdict:
"""
