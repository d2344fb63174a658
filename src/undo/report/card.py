"""The card of a model that was made to forget: what was removed, how, on which data, at what cost, and the attacks."""

from typing import TYPE_CHECKING

from undo import __version__
from undo.given.attack_result import AttackResult
from undo.given.certificate import Certificate
from undo.given.verdict import suite_in_words
from undo.report import rows as r
from undo.report.certificate import worst_of_attacks
from undo.report.page import template

if TYPE_CHECKING:
    from undo.models.export import Exported

Cells = list[str]
ASKED_DOCUMENTS = "Test documents that no training and no adversary saw"
ASKED_ANSWERS = "Test answers that no adversary saw; suppression and distillation read all answers"


def render_card(
    results: r.Results, student: str, certificate: Certificate, suppressed: Certificate, exported: "Exported"
) -> str:
    """The card's Markdown, from the study's results and the certificates of the student and of its teacher."""
    recipe, row = results["recipe"], r.by_id(results)[student][0]
    assert certificate.before is not None
    prompts = recipe["data"]["dataset"]["forget"]["prompt_field"] is not None
    return template("card.md").render(
        title=_title(certificate),
        before=certificate.before,
        forget=certificate.forget,
        headline=certificate.headline,
        details=certificate.verdict.partition("\n")[2],
        warnings=certificate.warnings,
        facts=_facts(results, row, exported),
        unit=certificate.metric["unit"],
        n_forget=f"{results['metrics']['forget']['n_items']:,}",
        n_retain=f"{results['metrics']['retain']['n_items']:,}",
        cost=[_cost(results, id, name) for id, name in _named(row).items()],
        suite=suite_in_words(certificate.suite),
        margin=r.percent(certificate.utility["margin"]),
        zero=certificate.scale["zero"],
        one=certificate.scale["one"],
        attacks=attack_rows(certificate, suppressed),
        caution=_caution(certificate, exported.precision),
        data=[_data(name, given) for name, given in (("forget", certificate.forget), ("retain", certificate.retain))],
        asked=ASKED_ANSWERS if prompts else ASKED_DOCUMENTS,
        shares=_shares(recipe["data"]["dataset"]["shares"], prompts),
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


def _named(row: r.Row) -> dict[str, str]:
    return {"base": "the original", row["teacher"]: "suppressed only", row["id"]: "**this model**"}


def _facts(results: r.Results, row: r.Row, exported: "Exported") -> list[tuple[str, str]]:
    recipe, distil = results["recipe"], row["distil"]
    suppress = recipe["suppress"][row["teacher"]]
    rows = r.settings_of(results)[row["id"]].batch_rows or recipe["distil"]["batch_rows"]
    start = "freshly initialised weights" if row["noise_alpha"] is None else f"{row['noise_alpha']:g} of noise"
    scale = "" if row["noise_beta"] is None else f" of scale {row['noise_beta']:g}"
    stopped = "within the rule" if distil["stopped_by_rule"] else "all its steps: the rule did not hold"
    gap = f"{r.percent(distil['gap'])} short of the teacher's retain score on validation, {stopped}"
    return [
        ("suppression", _suppressed(results, row, suppress)),
        ("student", f"a copy with {start}{scale}" if row["noise_alpha"] is not None else start),
        ("distillation", f"{distil['steps']} steps of {rows} rows, no labels; {gap}"),
        ("training FLOPs", r.large(row["flops"])),
        ("rows", f"{recipe['data']['row_tokens']} tokens"),
        ("precision", f"trained and attacked in fp32, saved in {exported.precision}"),
        *[("configuration", change) for change in exported.changes],
    ]


def _suppressed(results: r.Results, row: r.Row, suppress: dict) -> str:
    """How many steps the teacher took; where it went on until it said little, what it still says."""
    ended = r.by_id(results)[row["teacher"]][0].get("suppress")
    steps = ended["step"] if ended else suppress["steps"]
    took = f"{row['method']}, {steps} steps of 2 x {suppress['batch_rows']} rows"
    if not ended:
        return took
    return (
        f"{took}; then {r.percent(ended['signal_left'])} of what the original says about the right forget token is left"
    )


def _cost(results: r.Results, id: str, name: str) -> Cells:
    row = r.by_id(results)[id][0]
    scores = [r.form_of(results, domain)(row[domain]) for domain in ("forget", "retain")]
    return [name, *scores, r.plain(row["retain_kl_from_base"])]


def attack_rows(own: Certificate, suppressed: Certificate) -> list[Cells]:
    """The worst row of each attack: forget score and recovered fraction of the suppressed model, then of this one."""
    form = r.percent if own.metric["unit"] == "fraction" else r.plain
    worst = [worst_of_attacks(certificate) for certificate in (suppressed, own)]
    return [
        [
            f"`{attack}`" if attack != "none" else "none",
            *(text for of in worst for text in _worst(of.get(attack), form)),
        ]
        for attack in worst[1]
    ]


def _worst(row: AttackResult | None, form: r.Format) -> Cells:
    if row is None:
        return ["–", "–"]
    fraction = "–" if row.recovered_fraction is None else r.percent(row.recovered_fraction)
    interval = row.recovered_fraction_interval
    spread = f" [{r.percent(interval[0])}, {r.percent(interval[1])}]" if interval else ""
    outside = "" if row.within_utility else " (costs more)"
    return [f"{form(row.recovery)}{outside}", f"{fraction}{spread}"]


def _caution(certificate: Certificate, precision: str) -> str:
    parts = []
    if certificate.oracle is None:
        parts.append("No oracle was given, so what an attack teaches anew counts as recovered.")
    if precision != "float32":
        parts.append(f"The weights were attacked in fp32, before they were rounded to {precision}.")
    return " ".join(parts)


def _data(name: str, given: dict[str, str | None]) -> Cells:
    return [name, f"`{given['name']}`", f"`{given['sha256']}`" if given["sha256"] else "read by name"]


def _shares(shares: dict[str, float], prompts: bool) -> str:
    named = {"attack": "the adversary", "test": "test questions", "valid": "validation"}
    parts = [f"{r.percent(share)} {named[name]}" for name, share in shares.items()]
    trained = f"{r.percent(1 - sum(shares.values()))}{' of documents and all answers to prompts' if prompts else ''}"
    return f"{trained} training, {', '.join(parts)}"
