"""The evidence page: what the records say about every claim, as Markdown."""

from collections import Counter

from undo.evidence.claims import CLAIMS
from undo.evidence.judge import BESIDE, Evidence
from undo.report.narrative import caveats
from undo.report.numbers import Estimate, short
from undo.report.results import Results


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
        effect = Estimate(row.effect, row.ci_low, row.ci_high).text(short)
        more = [found.text(short) if (found := getattr(row, name)) else "–" for name in beside]
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
