"""A study's results as one self-contained page: no network, no other file needed to read it."""

import csv
import io
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from undo.report import cost_figures, figures, narrative, pareto, pipeline, style, tables
from undo.report.explorer import explorer
from undo.report.results import Results
from undo.report.tables import Table
from undo.study.artifacts import write_atomically
from undo.study.results import load_results, results_file

ENDS = ("low", "high")
CITATION = """@inproceedings{lee2025distillation,
  title = {Distillation Robustifies Unlearning},
  author = {Lee, Bruce W. and Foote, Addie and Infanger, Alex and Shor, Leni and Kamath, Harish and
            Goldman-Wetzler, Jacob and Woodworth, Bryce and Cloud, Alex and Turner, Alexander Matt},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2025},
  eprint = {2506.06278},
  archivePrefix = {arXiv}
}"""


def write_report(study_folder: Path, results: Results, claims: Table | None) -> Path:
    """Writes the page of a study as `index.html` beside its results. claims: what it says about the paper's claims."""
    target = results_file(study_folder).with_name("index.html")
    write_atomically(target, render(results, claims))
    return target


def save_picture(study_folder: Path, target: Path) -> Path:
    """Writes the headline of a study as one SVG file, for a README. Raises UserError where it has nothing to show."""
    from undo.report import picture, settings_picture

    results = Results.load(study_folder)
    drawn = settings_picture if results.compares_settings() and results.attacks() else picture
    write_atomically(target, drawn.draw(results))
    return target


def save_scores(study_folder: Path, target: Path) -> Path:
    """Writes the rows of `scores` as CSV, intervals as two columns."""
    text = io.StringIO()
    rows = [_flat(score) for score in load_results(study_folder)["scores"]]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(target, text.getvalue())
    return target


def _flat(score: dict[str, Any]) -> dict[str, Any]:
    """A score with `x_ci` as `x_ci_low` and `x_ci_high`."""
    pairs = {name: value for name, value in score.items() if isinstance(value, list)}
    single = {name: value for name, value in score.items() if name not in pairs}
    return single | {
        f"{name}_{end}": value for name, both in pairs.items() for end, value in zip(ENDS, both, strict=True)
    }


def render(results: Results, claims: Table | None = None) -> str:
    """The page's HTML."""
    sections = [_attack_section(results, attack, i) for i, attack in enumerate(results.attacks())]
    headline, costs = _headline(results), _costs(results)
    settings = None if sections else _settings(results)
    drawn = [each for section in sections for each in section["figures"]]
    drawn += [each for each in (headline, settings, costs) if each]
    return template("page.html").render(
        results=results,
        answer=narrative.answer(results),
        findings=narrative.findings(results),
        caveats=narrative.caveats(results),
        headline=headline,
        settings=settings,
        costs=costs,
        key=style.key(results),
        letters=style.LETTERS,
        columns=pipeline.columns(results),
        sections=sections,
        models=tables.models_table(results),
        curves=tables.curves_table(results),
        evidence=claims,
        answers=tables.answer_tables(results),
        benchmarks=tables.benchmarks_table(results.benchmarks) if results.benchmarks else None,
        ledger=tables.ledger_table(results),
        stages=tables.stages_table(results),
        recipe=yaml.safe_dump(results.recipe, sort_keys=False, allow_unicode=True),
        plots={each["id"]: each["plot"] for each in drawn},
        citation=CITATION,
        plotly=plotly(),
        css=asset("page.css"),
        js=asset("page.js"),
    )


def _headline(results: Results) -> dict[str, Any] | None:
    figure = figures.headline(results)
    if figure is None:
        return None
    attack = results.attacks()[0]
    title = f"Robustness over compute, after {results.budgets(attack)[-1]:,} steps of {attack}"
    figure.update_layout(showlegend=False, height=430)  # the page has one legend for all figures of all models
    return shown("headline", "headline", title, figure)


def _settings(results: Results) -> dict[str, Any] | None:
    figure = pareto.settings_pareto(results)
    return None if figure is None else shown("settings", "settings", "What is kept, over what is left", figure)


def _costs(results: Results) -> dict[str, Any] | None:
    figure = cost_figures.cost_bars(results)
    return None if figure is None else shown("costs", "costs", "What each model cost", figure)


def _attack_section(results: Results, attack: str, i: int) -> dict[str, Any]:
    """Everything the page shows about one attack."""
    budgets = results.budgets(attack)
    specific = cost_figures.specific_recovery(results, attack)
    kept = pareto.pareto_panels(results, attack)
    panels = {
        "matching": figures.matching_panels(results, attack),
        "relearning": figures.relearning_panels(results, attack),
        "alpha": {f"Students of {id}": plot for id, plot in figures.alpha_panels(results, attack).items()},
        "pareto": {"Retain over forget": list(kept.values())[-1]} if kept else {},
        "signal": figures.signal_panels(results, attack),
        "labels": figures.label_panels(results, attack),
        "specific": {f"After {budgets[-1]:,} attack steps": specific} if specific else {},
        "explorer": {f"Relearning under {attack}": figures.relearning_axes(results, attack)},
    }
    return {
        "attack": attack,
        "index": i,
        "figures": [
            shown(f"{kind}-{i}-{j}", kind, title, plot)
            for kind, plots in panels.items()
            for j, (title, plot) in enumerate(plots.items())
        ],
        "pareto": {step: _plot(plot) for step, plot in kept.items()},
        "of_settings": results.compares_settings(),
        "explorer": explorer(results, attack),
        "scores": tables.scores_table(results, attack) if budgets else None,
    }


def shown(id: str, kind: str, title: str, figure: Any) -> dict[str, Any]:
    """A figure with its heading and alternative text. The page sets the y title, which plotly would cut or turn."""
    y_title = figure.layout.yaxis.title.text
    alt = f"{title}: {y_title or 'model'} over {figure.layout.xaxis.title.text}. The numbers are in the tables."
    return {"id": id, "kind": kind, "title": title, "y_title": y_title, "alt": alt, "plot": _plot(figure)}


def _plot(figure: Any) -> dict[str, Any]:
    """Data and layout for plotly.js; the template is left to the page, which has a light and a dark one."""
    plot = figure.to_plotly_json()
    del plot["layout"]["template"], plot["layout"]["yaxis"]["title"]
    return plot


@cache
def template(name: str) -> Any:
    """A page of ours, to be filled in."""
    from jinja2 import Environment, FunctionLoader

    own = FunctionLoader(lambda of: (files("undo.report") / of).read_text(encoding="utf-8"))
    return Environment(
        loader=own, autoescape=name.endswith(".html"), trim_blocks=True, lstrip_blocks=True
    ).get_template(name)


@cache
def plotly() -> Any:
    """plotly.js as it was installed."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


@cache
def asset(name: str) -> Any:
    """A text of our own, which goes into the page as it is."""
    from markupsafe import Markup

    return Markup((files("undo.report") / name).read_text(encoding="utf-8"))
