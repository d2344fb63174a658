"""What one study says about the claims, as a table for its report."""

from undo.evidence.claim import Claim
from undo.evidence.claims import CLAIMS
from undo.evidence.judge import Evidence, gather
from undo.report.numbers import Estimate, short
from undo.report.results import Results
from undo.report.tables import NOTHING, Cell, Line, Table, filled


def evidence_table(results: Results) -> Table | None:
    """The claims that a study says something about, a row per comparison; None where it says nothing."""
    rows = gather({results.study: results})
    texts = {claim.id: claim for claim in CLAIMS}
    columns = [("seeds", "n"), ("effect", "95\u00a0% interval"), ("in specific recovery", "forget - neutral")]
    columns += [("retain kept", "against the best rival"), ("verdict", "")]
    lines = [Line(row.experiment, _evidence_cells(row), group=_claim(texts[row.claim])) for row in rows]
    caption = "Each claim by what this study found"
    return filled(Table(caption, "compared", columns, lines, groups="claim")) if lines else None


def _claim(claim: Claim) -> str:
    return f"{claim.id}. {claim.text} (effect: {claim.unit})"


def _evidence_cells(row: Evidence) -> list[Cell]:
    effect = Estimate(row.effect, row.ci_low, row.ci_high)
    numbers = [_interval_cell(found) for found in (effect, row.specific, row.retain)]
    return [Cell(str(row.n_seeds), row.n_seeds), *numbers, Cell(row.verdict, spread=row.but)]


def _interval_cell(found: Estimate | None) -> Cell:
    if found is None or found.mean is None:
        return NOTHING
    return Cell(short(found.mean), found.mean, found.interval(short))
