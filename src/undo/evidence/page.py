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

This page says what the recorded studies show about the claims of arXiv 2506.06278 (C) and about our own (P). `undo
evidence` writes it, and `records/evidence.json`, from the records.

**An effect** is one number per seed, usually a difference between two models. The table gives its mean over seeds and a
95 % Student interval. A seed is left out if the model named first did not reach its teacher's retain score. A loss
above that of guessing counts as guessing.

**A verdict** compares the interval with a threshold, which is 0 unless the claim names another one:

- *holds*: the whole interval lies above the threshold;
- *fails here*: the whole interval lies below it;
- *partly (not shown)* or *fails here (not shown)*: the interval contains the threshold, so the result is inconclusive;
  the word says on which side the mean lies. With a single seed there is no interval at all;
- *partly*: the interval lies above the threshold, but something in brackets speaks against the claim.

**Specific recovery** is the forget score less the score on a neutral skill that no model ever saw, after the same
attack. It separates forgetting from learning slowly. A claim about forgetting that is not shown in specific recovery,
or was not measured there, holds partly at most. P1 and C3c are about how fast a model learns, and C4 before an attack
is about retain alone, so they need no neutral skill.

**Model kept of use** is the effect of the strongest attack that leaves the model at least nine tenths of its retain
score. It decides nothing, because an adversary may not care about retain.

The attack is `relearn` (finetuning on forget rows) unless a row names another one. Rows of one setting share seeds, and
often models, so they are not independent confirmations.

Rows by verdict:
"""
