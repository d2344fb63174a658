"""Claims judged by what recorded studies found: effect, interval, and a verdict that says no more than the interval."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from undo.data.dataset import Dataset
from undo.evidence.claim import Claim, Effect
from undo.evidence.claims import CLAIMS
from undo.evidence.measures import Kept, View
from undo.report.numbers import Estimate, estimate
from undo.report.results import Results
from undo.spec.registry import load, names
from undo.spec.shipped import run_command

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
    specific: Estimate | None
    useful: Estimate | None
    retain: Estimate | None
    verdict: str
    but: str
    record: str
    command: str
    also_in: tuple[str, ...] = ()


def gather(records: dict[str, Results]) -> list[Evidence]:
    """Rows for every claim and attack that the records, by name, say something about.

    Searches attack nothing, and pilots are no evidence: settings are chosen by them.
    """
    reported = {name: results for name, results in records.items() if not results.is_pilot}
    attacked = [(name, results.of_attack(attack)) for name, results in reported.items() for attack in results.attacks()]
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


def _json(found: Estimate | None) -> dict[str, float | None] | None:
    return None if found is None else {"effect": found.mean, "ci_low": found.low, "ci_high": found.high}


def _judge(claim: Claim, effect: Effect, name: str, results: Results) -> Evidence | None:
    """None where the effect is not defined in any seed."""
    views = [View(results), View(results, "specific"), View(results, "useful")]
    found, specific, useful = (_rounded(effect.measure.values(view)) for view in views)
    if found is None or found.mean is None:
        return None
    against = "; ".join(filter(None, [effect.but, _not_shown_specifically(claim, effect, specific, results)]))
    verdict = _verdict(found, claim.shown_from, bool(against), effect.useless)
    (attack,) = results.attacks()
    return Evidence(
        claim=claim.id,
        setting=results.recipe["name"] if results.pretrained else _setting(results.dataset),
        experiment=effect.what if attack == USUAL else f"{effect.what} (attack {attack})",
        n_seeds=found.n,
        n_items=results.metrics["retain" if isinstance(effect.measure, Kept) else "forget"].n_items,
        effect=found.mean,
        ci_low=found.low,
        ci_high=found.high,
        specific=specific,
        useful=useful,
        retain=_rounded(effect.retain.values(View(results))) if effect.retain else None,
        verdict=verdict,
        but=against if effect.useless or not verdict.startswith(FAILS) else "",
        record=f"records/{name}",
        command=run_command(results.recipe["name"]),
    )


def _rounded(values: list[float]) -> Estimate | None:
    """As it is written down; None where there is no value."""
    found = estimate(values)
    if found.mean is None:
        return None
    mean, low, high = (None if number is None else round(number, 4) for number in (found.mean, found.low, found.high))
    return Estimate(mean, low, high, found.n)


def _not_shown_specifically(claim: Claim, effect: Effect, specific: Estimate | None, results: Results) -> str:
    """A claim about forgetting has to be shown in specific recovery too, for which a neutral skill is attacked."""
    if not claim.specific or isinstance(effect.measure, Kept):
        return ""
    if "neutral" not in results.skills(results.attacks()[0]):
        return "no neutral skill attacked"
    if specific is None or specific.low is None or specific.high is None:
        return "not shown in specific recovery"
    if specific.low > claim.shown_from:
        return ""
    return f"{'fails' if specific.high < claim.shown_from else 'not shown'} in specific recovery"


def _setting(dataset: dict[str, Any]) -> str:
    """`arithmetic`, or `arithmetic (kept_operation mul)` where the task is not the usual one."""
    name = dataset["name"]
    plugin: Any = load("datasets", name) if name in names("datasets") else Dataset  # somebody else's may be missing
    usual = {field: plugin.model_fields[field].default for field in plugin.task_variant_fields}
    unusual = [f"{field} {dataset[field]}" for field in usual if dataset.get(field, usual[field]) != usual[field]]
    return f"{name} ({', '.join(unusual)})" if unusual else name


def _verdict(found: Estimate, shown_from: float, against: bool = False, useless: bool = False) -> str:
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
