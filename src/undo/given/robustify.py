"""The recipes that make a given model forget: for good (suppress, noise, distil, attack), or one of these steps."""

from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

import yaml

from undo import models
from undo.given.audit import pretrained, suite_for
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


def recipe_of_robustify(
    model: str,
    texts: Settings,
    budget: float,
    method: str = METHOD,
    suite: str = "quick",
    overrides: Sequence[str] = (),
    benchmarks: Settings | None = None,
    adapter: str | None = None,
) -> Recipe:
    """The recipe that makes a model forget and attacks teacher and student with a suite.

    Args: texts, the dataset settings of what is to be forgotten and kept; budget, compute for the distillation as a
    share of a fresh student's: it decides the noise and the most steps; overrides, `key.path=value` on the recipe;
    benchmarks, the settings of `Benchmarks`; adapter, one to merge into the model.
    Raises UserError where the model, the method, the budget, the suite or an override is wrong.
    """
    if not 0 < budget <= 1:
        raise UserError(f"--budget is {budget:g}; it is a share of a fresh student's compute, above 0 and at most 1")
    _check_method(method)
    size, content = _given(model, texts, suite, adapter)
    alpha = noise_for(size, budget)
    content |= {
        "name": "robustify",
        "summary": f"A given model made to forget for good, attacked with the suite '{suite}'",
        "audit": {"suite": " ".join([suite, *(given for given in overrides if given.startswith(ASKED))])},
        **({"benchmarks": benchmarks} if benchmarks else {}),
        "suppress": _suppress(size, method, model),
        "distil": _distil(size, method, None if alpha == 1 else alpha, budget),
    }
    return build_recipe(content, overrides, f"preset '{size}'")


def recipe_of_suppress(
    model: str, texts: Settings, method: str = METHOD, overrides: Sequence[str] = (), adapter: str | None = None
) -> Recipe:
    """The recipe that suppresses with a method, and stops there. Arguments and errors: see `recipe_of_robustify`."""
    _check_method(method)
    size, content = _given(model, texts, "quick", adapter)
    summary, made = "A given model suppressed, and not attacked", _suppress(size, method, model)
    for rule in ("max_signal", "max_steps"):  # nothing is paid for afterwards
        made[method].pop(rule)
    content |= {"name": "suppress", "summary": summary, "attacks": {}, "suppress": made}
    return build_recipe(content, overrides, f"preset '{size}'")


def recipe_of_distil(
    teacher: str, texts: Settings, noise_alpha: float | None = None, overrides: Sequence[str] = ()
) -> Recipe:
    """The recipe that distils a given teacher into a noised copy of itself, or without noise into a fresh model.

    Errors: see `recipe_of_robustify`; also where the noise lies outside [0, 1].
    """
    size, content = _given(teacher, texts, "quick", None)
    summary, made = "A given teacher distilled, and its student not attacked", _distil(size, "base", noise_alpha, 1.0)
    content |= {"name": "distil", "summary": summary, "attacks": {}, "distil": made}
    return build_recipe(content, overrides, f"preset '{size}'")


def noise_for(size: str, budget: float) -> float:
    """The alpha that a budget pays for, by the preset's points."""
    for (low, weak), (high, strong) in pairwise(ALPHA_BY_BUDGET[size]):
        if budget <= high:
            return round(weak + (strong - weak) * (budget - low) / (high - low), 2)
    raise ValueError(f"budget {budget} above 1")


def _check_method(method: str) -> None:
    if method not in names("methods"):
        raise UserError(f"no method '{method}'; {nearest(method, names('methods'))} (undo list methods)")


def _given(model: str, texts: Settings, suite: str, adapter: str | None) -> tuple[str, Settings]:
    """The size of a given model, and the settings of a study that starts at it."""
    shares = SHARES_OF_ANSWERS if texts["forget"].get("prompt_field") else SHARES
    content = suite_for(model, texts | {"shares": shares}, suite) | {"pretrained": pretrained(model, adapter)}
    weights = models.find_model(model).weights
    return next(name for most, name in PRESETS if weights <= most), content


def _preset(size: str) -> Settings:
    return yaml.safe_load((files("undo.recipes") / "presets" / f"{size}.yaml").read_text(encoding="utf-8"))


def _suppress(size: str, method: str, model: str) -> Settings:
    """A teacher of the method, by the preset."""
    return {method: _preset(size)["suppress"] | {"method": _method(method, models.find_model(model).layers)}}


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
