"""The recipe of an audit: a suite of attacks, on somebody's own model and texts."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import yaml

from undo import models
from undo.spec.base import nearest
from undo.spec.errors import UserError
from undo.spec.load import build_recipe
from undo.spec.recipe import Recipe

SUITES = files("undo.recipes") / "suites"
ROW_TOKENS = 256  # enough for a fact and its surroundings; attention stays cheap
SPARE_TOKENS = 16  # places that rows leave free in the context: the longest soft prompt of the suites
RATES = ((1e7, 1.0), (3e8, 0.3), (3e9, 0.1))
"""Models with up to so many weights take so much of a suite's learning rates, which are made for small ones."""
LEAST_RATES = 0.03
SHARES = {"attack": 0.45, "test": 0.4, "valid": 0.1}
"""Whose text is whose: nothing is trained but attacks. A few are left for training, which every corpus has."""


def suites() -> list[str]:
    """Names of the suites."""
    return sorted(path.name.removesuffix(".yaml") for path in SUITES.iterdir() if path.name.endswith(".yaml"))


def recipe_of_audit(
    model: str,
    texts: dict[str, Any],
    suite: str,
    compared: dict[str, str | None],
    overrides: Sequence[str],
    benchmarks: dict[str, Any] | None = None,
    adapter: str | None = None,
) -> Recipe:
    """The recipe that attacks a model with a suite.

    Args: texts, the dataset settings of what is to be forgotten and kept; compared, paths of `oracle` and `before`,
    None where there is none; overrides, `key.path=value` on the recipe; benchmarks, the settings of `Benchmarks`;
    adapter, one to merge into the model.
    Raises UserError where the model, the suite or an override is wrong.
    """
    content = suite_for(model, texts | {"shares": SHARES}, suite) | {
        "name": f"audit-{suite}",
        "summary": f"Audit of a given model with the suite '{suite}'",
        "pretrained": pretrained(model, adapter),
        "audit": {"suite": " ".join([suite, *overrides])}
        | {role: {"path": path} for role, path in compared.items() if path is not None},
        **({"benchmarks": benchmarks} if benchmarks else {}),
    }
    return build_recipe(content, overrides, f"suite '{suite}'")


def suite_for(model: str, texts: dict[str, Any], suite: str) -> dict[str, Any]:
    """The settings of a suite (`attacks`, `data`, one seed), with rates and rows that fit the model.

    Raises UserError where there is no such suite, or no such model.
    """
    if suite not in suites():
        raise UserError(f"no suite '{suite}'; {nearest(suite, suites())}")
    given = models.find_model(model)
    content = yaml.safe_load((SUITES / f"{suite}.yaml").read_text(encoding="utf-8"))
    for attack in content["attacks"].values():
        _fit_rates(attack["attack"], given.weights)
    rows = {"row_tokens": _row_tokens(given.context)}
    return content | {"seeds": [1], "data": {"dataset": texts | content["data"]["dataset"], **rows}}


def pretrained(model: str, adapter: str | None) -> dict[str, Any]:
    """The settings of a given model."""
    return {"path": model} | ({} if adapter is None else {"adapter": adapter})


def _fit_rates(attack: dict[str, Any], weights: int) -> None:
    share = next((share for most, share in RATES if weights <= most), LEAST_RATES)
    for rates in ("learning_rates", "muon_learning_rates"):
        if rates in attack:
            attack[rates] = [float(f"{share * rate:.3g}") for rate in attack[rates]]


def _row_tokens(context: int | None) -> int:
    return ROW_TOKENS if context is None else max(8, min(ROW_TOKENS, context - SPARE_TOKENS))
