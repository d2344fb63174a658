"""The recipe of an audit: a suite of attacks, on somebody's own model and texts."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from undo.given.request import Request
from undo.models.given import GivenModel
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


@dataclass(frozen=True)
class AuditRequest(Request):
    """An audit of a model: the suite of attacks, and the models it is compared with.

    Args besides those of `Request`: suite, `quick`, `standard` or `exhaustive`; oracle, a model that never knew the
    forget texts; before, the model before unlearning.
    """

    suite: str = "quick"
    oracle: str | Path | None = None
    before: str | Path | None = None

    def recipe(self) -> Recipe:
        """The recipe, to look at or to change before it is run.

        Raises UserError where the model, the texts, the suite or an override is wrong.
        """
        compared = {"oracle": self.oracle, "before": self.before}
        content = suite_for(self.given, self.texts | {"shares": SHARES}, self.suite) | {
            "name": f"audit-{self.suite}",
            "summary": f"Audit of a given model with the suite '{self.suite}'",
            "audit": {"suite": " ".join([self.suite, *self.overrides])}
            | {role: {"path": str(path)} for role, path in compared.items() if path is not None},
            **self.common(),
        }
        return build_recipe(content, self.overrides, f"suite '{self.suite}'")


def suite_for(given: GivenModel, texts: dict[str, Any], suite: str) -> dict[str, Any]:
    """The settings of a suite (`attacks`, `data`, one seed), with rates and rows that fit the model.

    Raises UserError where there is no such suite.
    """
    if suite not in suites():
        raise UserError(f"no suite '{suite}'; {nearest(suite, suites())}")
    content = yaml.safe_load((SUITES / f"{suite}.yaml").read_text(encoding="utf-8"))
    for attack in content["attacks"].values():
        _fit_rates(attack["attack"], given.weights)
    rows = {"row_tokens": _row_tokens(given.context)}
    return content | {"seeds": [1], "data": {"dataset": texts | content["data"]["dataset"], **rows}}


def _fit_rates(attack: dict[str, Any], weights: int) -> None:
    share = next((share for most, share in RATES if weights <= most), LEAST_RATES)
    for rates in ("learning_rates", "muon_learning_rates"):
        if rates in attack:
            attack[rates] = [float(f"{share * rate:.3g}") for rate in attack[rates]]


def _row_tokens(context: int | None) -> int:
    return ROW_TOKENS if context is None else max(8, min(ROW_TOKENS, context - SPARE_TOKENS))
