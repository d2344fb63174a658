"""The card of a model that was made to forget: what was removed, how, on which data, at what cost, and the attacks."""

from typing import TYPE_CHECKING

from undo import __version__
from undo.given.attack_result import AttackResult
from undo.given.certificate import Certificate
from undo.given.verdict import suite_in_words
from undo.report.certificate import worst_of_attacks
from undo.report.numbers import Format, form_of_unit, large, percent, plain
from undo.report.page import template
from undo.report.results import Results
from undo.study.rows import ModelRow

if TYPE_CHECKING:
    from undo.models.export import Exported

Cells = list[str]
ASKED_DOCUMENTS = "Test documents that no training and no adversary saw"
ASKED_ANSWERS = "Test answers that no adversary saw; suppression and distillation read all answers"


def render_card(
    results: Results, student: str, certificate: Certificate, suppressed: Certificate, exported: "Exported"
) -> str:
    """The card's Markdown, from the study's results and the certificates of the student and of its teacher."""
    row = results.first[student]
    assert certificate.before is not None
    prompts = results.dataset["forget"]["prompt_field"] is not None
    return template("card.md").render(
        title=_title(certificate),
        before=certificate.before,
        forget=certificate.forget,
        headline=certificate.headline,
        details=certificate.verdict.partition("\n")[2],
        warnings=certificate.warnings,
        facts=_facts(results, row, exported),
        unit=certificate.metric["unit"],
        n_forget=f"{results.metrics['forget'].n_items:,}",
        n_retain=f"{results.metrics['retain'].n_items:,}",
        cost=[_cost(results, id, name) for id, name in _named(row).items()],
        suite=suite_in_words(certificate.suite),
        margin=percent(certificate.utility["margin"]),
        zero=certificate.scale["zero"],
        one=certificate.scale["one"],
        attacks=attack_rows(certificate, suppressed),
        caution=_caution(certificate, exported.precision),
        data=[_data(name, given) for name, given in (("forget", certificate.forget), ("retain", certificate.retain))],
        asked=ASKED_ANSWERS if prompts else ASKED_DOCUMENTS,
        shares=_shares(results.dataset["shares"], prompts),
        version=__version__,
    )


def _title(certificate: Certificate) -> str:
    """No more than the verdict: a model is without what it forgot only where that is gone."""
    assert certificate.before is not None
    model, texts = certificate.before["name"], certificate.forget["name"]
    if certificate.outcome == "GONE":
        return f"{model} without {texts}"
    found = {"COMES BACK": "it comes back", "NOT GONE": "it is not gone"}.get(certificate.outcome, "undecided")
    return f"{model}, made to forget {texts}: {found}"


def _named(row: ModelRow) -> dict[str, str]:
    return {"base": "the original", row.teacher or "": "suppressed only", row.id: "**this model**"}


def _facts(results: Results, row: ModelRow, exported: "Exported") -> list[tuple[str, str]]:
    distil, rows = row.distil, row.setting("batch_rows", results.recipe["distil"]["batch_rows"])
    assert distil is not None
    start = "freshly initialised weights" if row.noise_alpha is None else f"{row.noise_alpha:g} of noise"
    scale = "" if row.noise_beta is None else f" of scale {row.noise_beta:g}"
    stopped = "within the rule" if distil.stopped_by_rule else "all its steps: the rule did not hold"
    gap = f"{percent(distil.gap)} short of the teacher's retain score on validation, {stopped}"
    return [
        ("suppression", _suppressed(results, row)),
        ("student", f"a copy with {start}{scale}" if row.noise_alpha is not None else start),
        ("distillation", f"{distil.steps} steps of {rows} rows, no labels; {gap}"),
        ("training FLOPs", large(row.flops)),
        ("rows", f"{results.recipe['data']['row_tokens']} tokens"),
        ("precision", f"trained and attacked in fp32, saved in {exported.precision}"),
        *[("configuration", change) for change in exported.changes],
    ]


def _suppressed(results: Results, row: ModelRow) -> str:
    """How many steps the teacher took; where it went on until it said little, what it still says."""
    assert row.teacher is not None
    suppress, ended = results.recipe["suppress"][row.teacher], results.first[row.teacher].suppress
    steps = ended.step if ended else suppress["steps"]
    took = f"{row.method}, {steps} steps of 2 x {suppress['batch_rows']} rows"
    if not ended:
        return took
    return f"{took}; then {percent(ended.signal_left)} of what the original says about the right forget token is left"


def _cost(results: Results, id: str, name: str) -> Cells:
    row = results.first[id]
    scores = [results.form_of(domain)(row.value(domain)) for domain in ("forget", "retain")]
    return [name, *scores, plain(row.retain_kl_from_base or 0.0)]


def attack_rows(own: Certificate, suppressed: Certificate) -> list[Cells]:
    """The worst row of each attack: forget score and recovered fraction of the suppressed model, then of this one."""
    form = form_of_unit(own.metric["unit"])
    worst = [worst_of_attacks(certificate) for certificate in (suppressed, own)]
    return [
        [
            f"`{attack}`" if attack != "none" else "none",
            *(text for of in worst for text in _worst(of.get(attack), form)),
        ]
        for attack in worst[1]
    ]


def _worst(row: AttackResult | None, form: Format) -> Cells:
    if row is None:
        return ["–", "–"]
    fraction = "–" if row.recovered_fraction is None else percent(row.recovered_fraction)
    interval = row.recovered_fraction_interval
    spread = f" [{percent(interval[0])}, {percent(interval[1])}]" if interval else ""
    outside = "" if row.within_utility else " (costs more)"
    return [f"{form(row.recovery)}{outside}", f"{fraction}{spread}"]


def _caution(certificate: Certificate, precision: str) -> str:
    parts = []
    worst = certificate.worst_case
    if worst.oracle is None and worst.neutral is None:
        parts.append("No oracle was given, so what an attack teaches anew counts as recovered.")
    if precision != "float32":
        parts.append(f"The weights were attacked in fp32, before they were rounded to {precision}.")
    return " ".join(parts)


def _data(name: str, given: dict[str, str | None]) -> Cells:
    return [name, f"`{given['name']}`", f"`{given['sha256']}`" if given["sha256"] else "read by name"]


def _shares(shares: dict[str, float], prompts: bool) -> str:
    named = {"attack": "the adversary", "test": "test questions", "valid": "validation"}
    parts = [f"{percent(share)} {named[name]}" for name, share in shares.items()]
    trained = f"{percent(1 - sum(shares.values()))}{' of documents and all answers to prompts' if prompts else ''}"
    return f"{trained} training, {', '.join(parts)}"
