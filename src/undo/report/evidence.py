"""Claims judged by what recorded studies found: effect, interval, and a verdict that says no more than the interval."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from undo.data.dataset import Dataset
from undo.report import rows as r
from undo.report.claims import CLAIMS, Claim
from undo.report.rows import Results
from undo.report.words import caveats
from undo.spec.registry import load, names

HOLDS, PARTLY, FAILS = "holds", "partly", "fails here"


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
        if values
    ]


def as_json(rows: list[Evidence]) -> list[dict[str, Any]]:
    """The rows of `evidence.json`."""
    return [asdict(row) for row in rows]


def as_markdown(rows: list[Evidence], records: dict[str, Results]) -> str:
    """The evidence page: a table per claim, then what limits each of the records that the rows are from."""
    parts = [HEAD, _overview(rows)]
    for claim in CLAIMS:
        of = [row for row in rows if row.claim == claim.id]
        parts.append(f"\n## {claim.id}. {claim.text}\n\nEffect: {claim.unit}.\n")
        parts.append(_table(of) if of else "No record speaks about it yet.\n")
    named = sorted({row.record.removeprefix("records/") for row in rows})
    limits = [f"- **{name}**: {' '.join(found)}" for name in named if (found := caveats(records[name]))]
    return "\n".join([*parts, "\n## What limits the records\n", *limits, ""])


def _judge(claim: Claim, what: str, values: list[float], name: str, results: Results) -> Evidence:
    found = r.estimate(values)
    assert found.mean is not None
    recipe = results["recipe"]
    return Evidence(
        claim=claim.id,
        setting=recipe["name"] if recipe.get("pretrained") else _setting(recipe["data"]["dataset"]),
        experiment=what,
        n_seeds=found.n,
        effect=round(found.mean, 4),
        ci_low=None if found.low is None else round(found.low, 4),
        ci_high=None if found.high is None else round(found.high, 4),
        verdict=_verdict(found, claim.shown_from),
        record=f"records/{name}",
        command=f"undo run {recipe['name']}",
    )


def _setting(dataset: r.Row) -> str:
    """`arithmetic`, or `arithmetic (kept_operation mul)` where the task is not the usual one."""
    name = dataset["name"]
    plugin: Any = load("datasets", name) if name in names("datasets") else Dataset  # somebody else's may be missing
    usual = {field: plugin.model_fields[field].default for field in plugin.apart}
    unusual = [f"{field} {dataset[field]}" for field in usual if dataset.get(field, usual[field]) != usual[field]]
    return f"{name} ({', '.join(unusual)})" if unusual else name


def _verdict(found: r.Estimate, shown_from: float) -> str:
    """Holds where the whole interval lies above the line, fails where it lies below; in between the mean decides."""
    assert found.mean is not None
    leaning = PARTLY if found.mean > shown_from else FAILS
    if found.low is None or found.high is None:
        return f"{leaning} (one seed)"
    if found.low > shown_from:
        return HOLDS
    return leaning if leaning == PARTLY or found.high <= shown_from else f"{FAILS} (not shown)"


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
    titles = ("setting", "compared", "n", "effect, 95 % interval", "verdict", "record, command")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        effect = r.Estimate(row.effect, row.ci_low, row.ci_high, row.n_seeds).text(lambda value: f"{value:.2f}")
        link = f"[{row.record}](../{row.record}), `{row.command}`"
        lines.append(f"| {row.setting} | {row.experiment} | {row.n_seeds} | {effect} | {row.verdict} | {link} |")
    return "\n".join(lines) + "\n"


HEAD = """# Evidence

What our records say about the claims of arXiv 2506.06278 (C) and about our own (P). `undo evidence` writes this page
and `records/evidence.json` from the records. An effect is the mean over seeds of a number per seed, mostly of a
difference, its interval Student's at 95 %. A claim holds where the whole interval lies above the line and fails here
where it lies below; where it lies on the line, the claim holds partly if the mean is above, and that it fails is not
shown if the mean is below. Rows of one setting share seeds, and often models: they are several looks
at the same few samples, not so many confirmations.

Rows by verdict:
"""
