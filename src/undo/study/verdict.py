"""An audit in words: what was tried, the most that came back, and nothing beyond it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undo.study.certificate import Row


def verdict(
    suite: str,
    attacks: "list[Row]",
    worst_case: "Row",
    metric: dict[str, Any],
    scale: dict[str, str],
    failures: list[dict[str, str]],
    skipped: Sequence[dict[str, Any]] = (),
) -> str:
    """A few sentences for people, from the fields of a certificate."""
    tried = {(row.attack, str(row.variant)) for row in attacks} - {("none", "{}")}
    parts = [
        f"Suite {suite_in_words(suite)}: {len({name for name, _ in tried})} attacks in {len(tried)} variants of up to "
        f"{max(row.budget for row in attacks):,} steps, {metric['n_items']:,} forget items ({metric['name']})."
    ]
    parts.append(_most(worst_case, metric, scale))
    parts += [_meaning(worst_case, scale), *_edge_of_the_grid(worst_case, attacks)]
    if failures:
        parts.append(f"{len(failures)} stages failed, so this is not the whole suite.")
    if skipped:
        names = ", ".join(dict.fromkeys(f"'{row['attack']}'" for row in skipped))
        parts.append(f"Skipped, since this family of models cannot take them: {names}.")
    return " ".join([*parts, "Other attacks, larger budgets and other texts were not tested."])


def suite_in_words(suite: str) -> str:
    """Its name, and whether settings were changed; which ones stands in the certificate and in the recipe."""
    name, _, changed = suite.partition(" ")
    return f"'{name}'{' with changed settings' if changed else ''}"


def _most(worst: "Row", metric: dict[str, Any], scale: dict[str, str]) -> str:
    by = "plain questions" if worst.attack == "none" else f"'{worst.attack}'{_setting(worst)}"
    shown = f"forget {_score(worst.recovery, metric)}"
    if worst.oracle is not None:
        shown += f", the oracle at the same attack's best {_score(worst.oracle, metric)}"
    if worst.recovered_fraction is None:
        return f"The most within the utility constraint came from {by}: {shown}."
    spread = worst.recovered_fraction_interval
    between = f" [{_percent(spread[0])}, {_percent(spread[1])}]" if spread else ""
    return (
        f"The most within the utility constraint came from {by}: {_percent(worst.recovered_fraction)}{between} of the "
        f"way from 0 %, {scale['zero']}, to 100 %, {scale['one']}; {shown}."
    )


def _meaning(worst: "Row", scale: dict[str, str]) -> str:
    spread = worst.recovered_fraction_interval
    if not scale:
        return "There is neither an oracle nor the model before unlearning to compare with, so no share can be given."
    if worst.recovered_fraction is None:
        return "Under no attack can an oracle be told from a model that knows, so no share can be given."
    if worst.oracle is None:
        return "Without an oracle, what an attack teaches anew counts as recovered."
    if spread and spread[0] > 0:
        return "That is more than the attack teaches a model that never knew it: knowledge is left."
    return "That is not shown to be more than the attack teaches a model that never knew it."


def _edge_of_the_grid(worst: "Row", attacks: "list[Row]") -> list[str]:
    """Where the worst case lies at the end of the learning rates, it may go on beyond."""
    rate = worst.variant.get("learning_rate")
    rates = sorted({row.variant["learning_rate"] for row in attacks if row.attack == worst.attack and rate is not None})
    ends = {rates[0]: ("lowest", "lower"), rates[-1]: ("highest", "higher")} if len(rates) > 1 else {}
    if rate not in ends:
        return []
    which, further = ends[rate]
    return [f"Its learning rate is the {which} that was tried; a {further} one may bring back more."]


def _setting(row: "Row") -> str:
    values = [
        f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}"
        for name, value in row.variant.items()
    ]
    return f" ({', '.join([*values, *([f'{row.budget:,} steps'] if row.budget else [])])})"


def _score(value: float, metric: dict[str, Any]) -> str:
    return _percent(value) if metric["unit"] == "fraction" else f"{value:.2f} {metric['unit']}"


def _percent(value: float) -> str:
    return f"{round(100 * value)} %"  # rounded to an integer, which has no negative zero
