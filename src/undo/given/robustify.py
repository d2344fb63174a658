"""The recipes that make a given model forget: for good (suppress, noise, distil, attack), or one of these steps."""

from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Any

import yaml

from undo.given.audit import suite_for
from undo.given.request import Request
from undo.models.given import GivenModel
from undo.spec.base import nearest
from undo.spec.errors import UserError
from undo.spec.load import build_recipe
from undo.spec.recipe import Recipe
from undo.spec.registry import load, names

PRESETS = ((1e7, "small"), (3e8, "medium"), (float("inf"), "large"))
"""Which preset models of up to so many weights take."""
METHOD = "maxent"
"""Of the methods on record its teachers told their students least in arithmetic; in language GradDiff's told less."""
ALPHA_BY_BUDGET = {
    "small": ((0.0, 0.1), (0.1, 0.2), (0.18, 0.4), (0.3, 0.5), (0.4, 0.6), (0.8, 0.8), (1.0, 1.0)),
    "medium": ((0.0, 0.05), (0.3, 0.25), (1.0, 0.6)),
    "large": ((0.0, 0.05), (0.3, 0.25), (1.0, 0.6)),
}
"""Noise that a budget pays for, and points to interpolate between. Small: what students of the arithmetic and language
studies on record needed, as a share of a fresh one's steps. Larger: 0.25 for 0.3 as published for Gemma-2-2B."""
ASKED = ("attacks", "data")
"""Parts of the recipe whose overrides change what a suite asks; the others change what is made."""
SHARES = {"attack": 0.2, "test": 0.15, "valid": 0.05}
"""Whose document is whose; training gets the rest."""
SHARES_OF_ANSWERS = {"attack": 0.3, "test": 0.3, "valid": 0.1}
"""The same where answers to prompts go: training reads them all, and they are few."""
Settings = dict[str, Any]


@dataclass(frozen=True)
class RobustifyRequest(Request):
    """A model made to forget for good, then attacked.

    Args besides those of `Request`: budget, compute of the distillation as a share of a fresh student's: it decides the
    noise and the most steps; method, how to suppress (`undo list methods`); suite, the attacks on teacher and student.
    """

    budget: float = 0.3
    method: str = METHOD
    suite: str = "quick"

    def recipe(self) -> Recipe:
        """The recipe, to look at or to change before it is run.

        Raises UserError where the model, the texts, the method, the budget, the suite or an override is wrong.
        """
        if not 0 < self.budget <= 1:
            budget = f"--budget is {self.budget:g}"
            raise UserError(f"{budget}; it is a share of a fresh student's compute, above 0 and at most 1")
        _check_method(self.method)
        content, size = _study(self, self.suite), size_of(self.given)
        alpha = noise_for(size, self.budget)
        content |= {
            "name": "robustify",
            "summary": f"A given model made to forget for good, attacked with the suite '{self.suite}'",
            "audit": {"suite": " ".join([self.suite, *(given for given in self.overrides if given.startswith(ASKED))])},
            "suppress": _suppress(self.given, self.method),
            "distil": _distil(size, self.method, None if alpha == 1 else alpha, self.budget),
        }
        return build_recipe(content, self.overrides, f"preset '{size}'")


@dataclass(frozen=True)
class SuppressRequest(Request):
    """A capability suppressed by a method, and nothing else: no distillation, no attacks."""

    method: str = METHOD

    def recipe(self) -> Recipe:
        """The recipe. Errors: see `RobustifyRequest.recipe`."""
        _check_method(self.method)
        made = _suppress(self.given, self.method)
        for rule in ("max_signal", "max_steps"):  # nothing is paid for afterwards
            made[self.method].pop(rule)
        summary = "A given model suppressed, and not attacked"
        content = _study(self) | {"name": "suppress", "summary": summary, "attacks": {}, "suppress": made}
        return build_recipe(content, self.overrides, f"preset '{size_of(self.given)}'")


@dataclass(frozen=True)
class DistilRequest(Request):
    """A given teacher distilled into a noised copy of itself; without `noise_alpha` (0 to 1) into a fresh model."""

    noise_alpha: float | None = None

    def recipe(self) -> Recipe:
        """The recipe. Raises UserError also where the noise lies outside [0, 1]; see `RobustifyRequest.recipe`."""
        size = size_of(self.given)
        made = _distil(size, "base", self.noise_alpha, 1.0)
        summary = "A given teacher distilled, and its student not attacked"
        content = _study(self) | {"name": "distil", "summary": summary, "attacks": {}, "distil": made}
        return build_recipe(content, self.overrides, f"preset '{size}'")


def noise_for(size: str, budget: float) -> float:
    """The alpha that a budget pays for, by the preset's points."""
    for (low, weak), (high, strong) in pairwise(ALPHA_BY_BUDGET[size]):
        if budget <= high:
            return round(weak + (strong - weak) * (budget - low) / (high - low), 2)
    raise ValueError(f"budget {budget} above 1")


def _check_method(method: str) -> None:
    if method not in names("methods"):
        raise UserError(f"no method '{method}'; {nearest(method, names('methods'))} (undo list methods)")


def size_of(given: GivenModel) -> str:
    """The preset for a model of its size."""
    return next(name for most, name in PRESETS if given.weights <= most)


def _study(request: Request, suite: str = "quick") -> Settings:
    """The settings of a study that starts at the given model."""
    shares = SHARES_OF_ANSWERS if request.texts["forget"].get("prompt_field") else SHARES
    return suite_for(request.given, request.texts | {"shares": shares}, suite) | request.common()


def _preset(size: str) -> Settings:
    return yaml.safe_load((files("undo.recipes") / "presets" / f"{size}.yaml").read_text(encoding="utf-8"))


def _suppress(given: GivenModel, method: str) -> Settings:
    """A teacher of the method, by the preset."""
    return {method: _preset(size_of(given))["suppress"] | {"method": _method(method, given.layers)}}


def _distil(size: str, teacher: str, alpha: float | None, budget: float) -> Settings:
    """Its student by the preset, noised by alpha, or fresh without one; at most the budget's share of the steps."""
    distil = _preset(size)["distil"]
    distil["stop"]["max_steps"] = max(1, round(budget * distil["stop"]["max_steps"]))
    (noised,) = distil["students"]
    start = {"init": "fresh"} if alpha is None else noised | {"noise_alpha": [alpha]}
    distil["students"] = [start | {"teachers": [teacher]}]
    return distil


def _method(name: str, layers: int) -> Settings:
    """A method by its own defaults, but for the weights of the retain loss that searches on language chose.

    One that steers layers takes the middle half of them (published for RMU: 5 to 11 of 14), one that goes around
    another method the usual one.
    """
    middle = list(range(layers // 4, max(layers // 4 + 1, 3 * layers // 4)))
    maxent = {"retain_weight": 4, "retain": "reference_kl"}  # text would teach a given model (docs/log.md, 2026-12-01)
    chosen: Settings = {"maxent": maxent, "graddiff": {"retain_weight": 20}, "rmu": {"layers": middle}}
    inside = {"method": _method(METHOD, layers)} if "method" in load("methods", name).model_fields else {}
    return {"name": name, **inside, **chosen.get(name, {})}
