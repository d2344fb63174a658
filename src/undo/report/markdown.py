"""A study, or several side by side, as Markdown: for a pull request or a log."""

from undo.report import narrative, tables
from undo.report.compare import Comparison
from undo.report.results import Results
from undo.report.tables import Cell, Table


def as_markdown(results: Results) -> str:
    """The answer, what to read with care, and the scores at each attack's largest budget."""
    scored = [tables.scores_table(results, attack) for attack in results.attacks() if results.budgets(attack)]
    caveats = [f"- {caveat}" for caveat in narrative.caveats(results)]
    parts = [
        f"## {results.study}",
        *narrative.answer(results),
        *(["Read with care:\n\n" + "\n".join(caveats)] * any(caveats)),
    ]
    return "\n\n".join([*parts, *map(as_table, scored)]) + "\n"


def comparison_as_markdown(comparison: Comparison) -> str:
    """The studies' scores side by side, and where their recipes differ."""
    shown = [as_table(table) for table in (comparison.scores, comparison.differences) if table.lines]
    return "\n\n".join([f"## {comparison.title}", *shown]) + "\n"


def as_table(table: Table) -> str:
    """A table with its caption; links to records stay out, for they lead nowhere from there."""
    titles = [table.first, *(f"{title} ({unit})" if unit else title for title, unit in table.columns)]
    lines = [[line.name, *map(_text, line.cells)] for line in table.lines]
    head = [f"**{table.caption}**", ""]
    return "\n".join([*head, _row(titles), "|---" + "|--:" * len(table.columns) + "|", *map(_row, lines)])


def _text(cell: Cell) -> str:
    return f"{cell.text} {cell.spread}".strip()


def _row(cells: list[str]) -> str:
    """Bars and line ends would end a cell."""
    return f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in cells)} |"
