"""Results as a study writes them, with made-up numbers in the order that the protocol expects."""

import math
from typing import Any

from undo.report.results import Results
from undo.spec.recipe import Distil
from undo.spec.students import students
from undo.study.scores import score_rows

STEPS = (0, 10, 40, 150)
RATES = (3e-3, 1e-3)
SCORES_SHOWN = (
    *("n_seeds", "recovery", "constrained_recovery", "neutral_recovery", "specific_recovery", "relative_robustness"),
    *("relative_compute", "area_under_curve", "steps_to_half"),
)
"""Columns of the report's table of scores, in their order."""


def make_results(seeds: tuple[int, ...] = (1, 2), methods: tuple[str, ...] = ("maxent", "rmu")) -> dict[str, Any]:
    """Base, oracle, and per method a teacher and four students."""
    models = [model for seed in seeds for model in _models(seed, methods)]
    curves = [_curve(model, skill, rate) for model in models for skill in ("forget", "neutral") for rate in RATES]
    metrics = {
        name: {
            "name": f"exact match, {name}",
            "higher_is_better": True,
            "unit": "fraction",
            "n_items": items,
            "standard_error": 0.5 / items**0.5,
        }
        for name, items in (("forget", 800), ("retain", 801), ("neutral", 802), ("heldout_forget", 80))
    }
    return {
        "study": "synthetic-0a1b",
        "recipe": _recipe(seeds, methods),
        "environment": {
            "python": "3.11.7",
            "packages": {"torch": "2.13.0"},
            "commit": None,
            "device": "cpu",
            "cores": 2,
        },
        "metrics": metrics,
        "models": models,
        "curves": curves,
        "scores": score_rows(models, curves, metrics),
        "answers": [
            answer for model in models if model["seed"] == seeds[0] for answer in _answers(model["id"], seeds[0])
        ],
        "stages": [stage for model in models for stage in _stages(model)] + [_attack_stage(curve) for curve in curves],
        "totals": {"study_s": 640.0, "base_pretraining_s": 80.0, "study_over_base": 8.0},
        "failures": [],
    }


def _models(seed: int, methods: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = [_model("base", "base", seed, speed=9.0, forget=0.98), _model("oracle", "oracle", seed, speed=0.05)]
    for i, method in enumerate(methods):
        rows.append(_model(method, "teacher", seed, method, speed=3.0 + i, flops=2e9))
        made = {"method": method, "teacher": method}
        for alpha in (0.3, 0.6):
            of = {"student_init": "noised", "noise_alpha": alpha, "noise_beta": 0.1}
            cost = (0.2 + alpha) * 1e11
            rows.append(
                _model(
                    f"undo-{alpha}-{method}", "student", seed, speed=1.6 - 2 * alpha + i / 9, flops=cost, **of, **made
                )
            )
        for init, speed in (("fresh", 0.15), ("base_init", 0.17)):
            rows.append(
                _model(f"{init}-{method}", "student", seed, speed=speed, flops=9.5e10, student_init=init, **made)
            )
    return rows


def _model(id: str, role: str, seed: int, method: str | None = None, **values: Any) -> dict[str, Any]:
    kind = {"teacher": "suppress", "student": "distil"}.get(role, "pretrain")
    drift = 0.004 * seed
    row = {
        "id": id, "role": role, "seed": seed, "method": method, "teacher": None, "student_init": None,
        "noise_alpha": None, "noise_beta": None, "retain": 0.96 - drift, "forget": 0.01 + drift, "neutral": 0.02,
        "heldout_retain": 0.7, "heldout_forget": 0.1, "groups": {}, "retain_kl_from_base": 0.03 + drift,
        "forget_kl_from_uniform": 0.2, "forget_signal": 0.4 + drift, "weights_from_base": 0.1 + drift,
        "barrier_to_base": 0.5, "flops": 1e11,
        "tokens": 2_400_000, "forget_tokens": 0, "wall_s": 40.0 + seed,
        "artifact": f"artifacts/{kind}-{id}-{seed}",
    }  # fmt: skip
    if role == "student":
        row["distil"] = {
            "teacher_retain": 0.95,
            "gap": 0.031 + drift,
            "stopped_by_rule": seed == 1,
            "steps": 400,
            "losses": [[1, 4.0], [200, 0.5 + drift], [400, 0.1 + drift]],
        }
    return row | values


def _curve(model: dict[str, Any], skill: str, rate: float) -> dict[str, Any]:
    speed = model["speed"] if skill == "forget" else 0.3
    points = []
    for step in STEPS:
        learnt = 1 - math.exp(-speed * step * rate * 5 * (1 + 0.03 * model["seed"]))
        values = {"forget": 0.02, "neutral": None, "retain": 0.95 - 0.0005 * step * rate / 1e-3}
        values[skill] = model[skill] + (1 - model[skill]) * learnt
        points.append({"step": step, "tokens": 512 * step, "forget_tokens": 512 * step, **values})
    artifact = f"artifacts/attack-{model['id']}-{skill}-{rate}-{model['seed']}"
    key = {"model": model["id"], "attack": "relearn", "skill": skill, "seed": model["seed"], "artifact": artifact}
    return {**key, "variant": {"learning_rate": rate}, "points": points}


def _answers(model: str, seed: int) -> list[dict[str, Any]]:
    asked = {"model": model, "seed": seed, "domain": "forget", "given": "6*7=", "expected": "42"}
    after = [
        {**asked, "attack": "relearn", "variant": {"learning_rate": rate}, "said": f"after {rate:g}"} for rate in RATES
    ]
    return [{**asked, "attack": None, "variant": None, "said": "42" if model == "base" else "17"}, *after]


def _stages(model: dict[str, Any]) -> list[dict[str, Any]]:
    id = model["artifact"].removeprefix("artifacts/")
    common = {"seed": model["seed"], "device": "cpu", "label": f"{model['id']} (seed {model['seed']})"}
    ledger = {"flops": model["flops"], "eval_flops": 1e8, "tokens": 1000, "wall_s": 9.5, "stage_cpu_s": 10.5}
    made = {**common, "id": id, "kind": id.partition("-")[0], "inputs": {}, "ledger": ledger}
    tested = {**common, "id": f"evaluate-{id}", "kind": "evaluate", "inputs": {"model": id}}
    return [made, {**tested, "ledger": {"stage_cpu_s": 1.5}}]


def _attack_stage(curve: dict[str, Any]) -> dict[str, Any]:
    ledger = {"flops": 1e9, "eval_flops": 1e9, "tokens": 76_800, "wall_s": 1.0, "stage_cpu_s": 1.25}
    id = curve["artifact"].removeprefix("artifacts/")
    return {
        "id": id,
        "kind": "attack",
        "label": id,
        "seed": curve["seed"],
        "inputs": {},
        "device": "cpu",
        "ledger": ledger,
    }


def _recipe(seeds: tuple[int, ...], methods: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": "synthetic",
        "summary": "Made-up numbers.",
        "seeds": list(seeds),
        "data": {"dataset": {"name": "synthetic"}},
        "pretrain": {"base_steps": 2400, "oracle_steps": 1800},
        "suppress": {name: {"method": {"name": name}, "steps": 30} for name in methods},
        "distil": {
            "optim": {"learning_rate": 3e-3},
            "stop": {"max_gap": 0.05, "max_steps": 2400},
            "students": [
                {"init": "noised", "noise_alpha": [0.3, 0.6], "teachers": list(methods)},
                *({"init": init, "teachers": list(methods)} for init in ("fresh", "base_init")),
            ],
        },
    }


def with_oracle_students(results: dict[str, Any]) -> dict[str, Any]:
    """The same study with two students of the oracle: one that starts at the base and relearns fast, one fresh."""
    seeds = results["recipe"]["seeds"]
    started = {"student_init": "noised", "noise_alpha": 0.0, "noise_beta": 0.1, "speed": 6.0}
    more = [
        _model(id, "student", seed, None, teacher="oracle", **how)
        for seed in seeds
        for id, how in (
            ("undo-0-from-base-oracle", started),
            ("fresh-oracle", {"student_init": "fresh", "speed": 0.1}),
        )
    ]
    models = [*results["models"], *more]
    curves = [_curve(model, skill, rate) for model in more for skill in ("forget", "neutral") for rate in RATES]
    curves = [*results["curves"], *curves]
    scores = score_rows(models, curves, results["metrics"])
    changed = {**results, "models": models, "curves": curves, "scores": scores}
    at_base = {"init": "noised", "noise_alpha": [0.0], "noise_from": "base", "teachers": ["oracle"]}
    return with_students(changed, at_base, {"init": "fresh", "teachers": ["oracle"]})


def with_students(results: dict[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
    """The same with further kinds of students in its recipe."""
    recipe = results["recipe"]
    distil = recipe["distil"] | {"students": [*recipe["distil"]["students"], *more]}
    return {**results, "recipe": {**recipe, "distil": distil}}


def as_losses(results: dict[str, Any]) -> dict[str, Any]:
    """The same study measured in nats, where lower is better: 8 nats where the accuracy is 0, 3 where it is 1."""
    names = ("forget", "retain", "neutral", "heldout_forget", "heldout_retain")

    def lossy(row: dict[str, Any]) -> dict[str, Any]:
        return row | {name: 8 - 5 * row[name] for name in names if row.get(name) is not None}

    metrics = {
        name: metric | {"name": f"cross-entropy, {name}", "higher_is_better": False, "unit": "nats per token"}
        for name, metric in results["metrics"].items()
    }
    models = [lossy(row) for row in results["models"]]
    curves = [curve | {"points": [lossy(point) for point in curve["points"]]} for curve in results["curves"]]
    scores = score_rows(models, curves, metrics)
    return {**results, "metrics": metrics, "models": models, "curves": curves, "scores": scores}


def read(results: dict[str, Any]) -> Results:
    """The results as a report reads them, each model with the settings that the recipe has for it now."""
    recipe = results["recipe"]
    made = dict(recipe.get("suppress", {}))
    if recipe.get("distil"):
        made |= {each.name: each.settings() for each in students(Distil.model_validate(recipe["distil"]))}
    models = [row | ({"settings": made[row["id"]]} if row["id"] in made else {}) for row in results["models"]]
    return Results({**results, "models": models})
