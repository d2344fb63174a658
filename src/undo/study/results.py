"""Finished artifacts become results.json: models, curves, scores. Pure arithmetic on JSON; no torch."""

import json
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

from undo.spec.errors import UserError
from undo.spec.registry import load
from undo.spec.shipped import run_command
from undo.study.artifacts import Store
from undo.study.plan import ModelNode, Plan
from undo.study.scores import score_rows

DISTIL = ("teacher_retain", "gap", "stopped_by_rule", "steps", "losses")


def results_schema() -> dict[str, Any]:
    """The project's own copy of the contract."""
    return json.loads((files("undo.study") / "results.schema.json").read_text(encoding="utf-8"))


def load_results(study: Path) -> dict[str, Any]:
    """The results in a study's folder. Raises UserError where there are none whole, with what to do about it."""
    from jsonschema import Draft202012Validator  # not needed to run a study, and slow to import
    from jsonschema.exceptions import best_match

    path, recipe = results_file(study), study / "recipe.yaml"
    if not path.is_file() and recipe.is_file():
        raise UserError(f"{study} is not finished; go on with: {resume(study)}")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{study} holds no report/results.json; name the folder that 'undo run' printed") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); write it again with 'undo run'") from None
    if damage := best_match(Draft202012Validator(results_schema()).iter_errors(results)):
        problem = damage.message if len(damage.message) <= 120 else f"...{damage.message[-80:]}"  # a long value leads
        raise UserError(f"{path} is damaged at {damage.json_path}: {problem}; write it again with 'undo run'")
    return results


def results_file(study: Path) -> Path:
    """Where a study's results lie; in a record of them it is the folder itself."""
    kept = study / "results.json"
    return kept if kept.is_file() else study / "report" / "results.json"


def resume(study: Path) -> str:
    """The command that computes what a study's folder lacks; a record of one has no recipe beside it."""
    if not (study / "recipe.yaml").is_file() and results_file(study).is_file():
        return run_command(load_results(study)["recipe"]["name"])
    return f"undo run {shlex.quote(str(study / 'recipe.yaml'))} --out {shlex.quote(str(study.parent))}"


def collect(plan: Plan, store: Store, environment: dict[str, Any], failures: dict[str, str]) -> dict[str, Any]:
    """Everything a study found, as `results.schema.json` says. Stages that failed are named and left out."""
    whole = [node for node in plan.models if store.done(node.stage) and store.done(node.evaluation)]
    metrics = _metrics(plan, store, whole)
    models = [_model_row(plan, store, node) for node in whole]
    curves = [curve for node in whole for curve in _curves(store, node, plan.recipe.eval_split)]
    skipped = [row for node in whole for row in _skipped(store, node)]
    return {
        "study": plan.study,
        "recipe": plan.recipe.model_dump(mode="json"),
        "environment": environment,
        "metrics": metrics,
        "models": models,
        "curves": curves,
        "scores": score_rows(models, curves, metrics),
        **({"skipped": skipped} if skipped else {}),
        "benchmarks": [row for node in whole for row in _benchmarks(store, node)],
        "answers": [row for node in whole if node.seed == plan.recipe.seeds[0] for row in _answers(store, node)],
        "stages": [_stage_row(plan, store, id) for id in plan.stages if store.done(id)],
        "totals": _totals(plan, store),
        "failures": [{"stage": id, "label": plan.stages[id].label, "message": text} for id, text in failures.items()],
    }


def _metrics(plan: Plan, store: Store, nodes: list[ModelNode]) -> dict[str, Any]:
    evaluation: Any = load("evals", load("datasets", plan.recipe.data.dataset.name).evaluation)  # type: ignore[attr-defined]
    evals = [store.read(node.evaluation, "evals.json") for node in nodes]

    def metric(domain: str, split: str) -> dict[str, Any]:
        count = evals[0][f"{split}_items"].get(domain, 0) if evals else 0
        errors = [found[f"{split}_standard_errors"].get(domain, 0.0) for found in evals]
        if evaluation.unit == "fraction" and count:
            errors.append(0.5 / count**0.5)  # a share's largest one: models near 0 and 1 move after the attack
        return {
            "name": f"{evaluation.metric}, {domain} {split}",
            "higher_is_better": evaluation.higher_is_better,
            "unit": evaluation.unit,
            "n_items": count,
            "chance": evaluation.chance,
            "standard_error": max(errors, default=0.0),
        }

    tested = {domain: metric(domain, plan.recipe.eval_split) for domain in ("forget", "retain", "neutral")}
    return tested | {f"heldout_{domain}": metric(domain, "heldout") for domain in ("forget", "retain")}


def _model_row(plan: Plan, store: Store, node: ModelNode) -> dict[str, Any]:
    evals = store.read(node.evaluation, "evals.json")
    test, heldout = evals[plan.recipe.eval_split], evals["heldout"]
    row = {
        "id": node.id,
        "role": node.role,
        "method": node.method,
        "teacher": node.teacher,
        "student_init": node.student_init,
        "noise_alpha": node.noise_alpha,
        "noise_beta": node.noise_beta,
        "seed": node.seed,
        "retain": test["retain"],
        "forget": test["forget"],
        "neutral": test.get("neutral"),
        "valid_retain": evals["valid"]["retain"],
        "valid_forget": evals["valid"]["forget"],
        "heldout_retain": heldout.get("retain"),
        "heldout_forget": heldout.get("forget"),
        "groups": {name: value for name, value in test.items() if "/" in name},
        "retain_kl_from_base": evals["retain_kl_from_base"],
        "forget_kl_from_uniform": evals["forget_kl_from_uniform"],
        "forget_signal": evals["forget_signal"],
        "weights_from_base": evals["weights_from_base"],
        "barrier_to_base": evals["barrier_to_base"],
        "artifact": f"artifacts/{node.stage}",
    }
    if node.settings is not None:
        row["settings"] = node.settings
    row |= _cost(plan, store, node)
    if node.role == "student":
        own = store.read(node.stage, "evals.json")
        row["distil"] = {name: own[name] for name in DISTIL}
    if node.role == "teacher" and (checks := store.read(node.stage, "evals.json").get("checks")):
        row["suppress"] = {name: checks[-1][name] for name in ("step", "signal_left")}
    return row


def _cost(plan: Plan, store: Store, node: ModelNode) -> dict[str, Any]:
    """What a model cost from where the base is at hand: a student with its teacher's suppression and forward passes."""
    own, cost = _ledger(store, node.stage), ("flops", "tokens", "forget_tokens", "wall_s")
    spent = {name: own[name] for name in cost}
    if node.role == "student":
        for stage in (plan.stages[id] for id in plan.stages[node.stage].inputs.values()):
            charged = stage.settings.traits.charged_to_student
            if charged == "whole":
                spent = {name: spent[name] + _ledger(store, stage.id)[name] for name in cost}
            elif charged == "as_read":
                share = store.read(node.stage, "evals.json")["share_read"]  # one alone would ask for no more
                spent |= {name: spent[name] + share * _ledger(store, stage.id)[name] for name in ("flops", "wall_s")}
    return spent


def _curves(store: Store, node: ModelNode, split: str) -> list[dict[str, Any]]:
    """Where an attack has no start of its own, its curve starts at the model; what it did not ask is the model's."""
    start = store.read(node.evaluation, "evals.json")[split]
    curves = []
    for run in node.attacks:
        rows = store.read(run.stage, "evals.json")["points"] if store.done(run.stage) else []
        if not rows:
            continue
        if rows[0]["step"] > 0:
            rows = [{"step": 0, "tokens": 0, "forget_tokens": 0, **start}, *rows]
        points = [{name: value for name, value in row.items() if "/" not in name} for row in rows]
        unasked = {"neutral": None, "retain": start["retain"], "forget": start["forget"]}
        curves.append(
            {
                "model": node.id,
                "attack": run.attack,
                "skill": run.skill,
                "variant": run.variant,
                "seed": node.seed,
                "points": [unasked | point for point in points],
                "artifact": f"artifacts/{run.stage}",
            }
        )
    return curves


def _skipped(store: Store, node: ModelNode) -> list[dict[str, Any]]:
    """The attacks that a model's family cannot take, and why."""
    return [
        {"model": node.id, "attack": run.attack, "skill": run.skill, "variant": run.variant, "reason": reason}
        for run in node.attacks
        if store.done(run.stage) and (reason := store.read(run.stage, "evals.json").get("skipped"))
    ]


def _answers(store: Store, node: ModelNode) -> list[dict[str, Any]]:
    """What a model writes on a few test questions, before and after each attack; older records have none of it."""
    before = {"attack": None, "variant": None}, node.evaluation
    runs = [
        ({"attack": run.attack, "variant": run.variant}, run.stage)
        for run in node.attacks
        if run.skill == "forget" and store.done(run.stage)
    ]
    return [
        {"model": node.id, "seed": node.seed, **of, **row}
        for of, stage in (before, *runs)
        for row in store.read(stage, "evals.json").get("answers", [])
    ]


def _benchmarks(store: Store, node: ModelNode) -> list[dict[str, Any]]:
    """What lm-eval found, where it was asked."""
    if node.benchmark is None or not store.done(node.benchmark):
        return []
    of = {"model": node.id, "seed": node.seed}
    rows = store.read(node.benchmark, "evals.json")["rows"]
    return [of | row | {"artifact": f"artifacts/{node.benchmark}"} for row in rows]


def _ledger(store: Store, stage_id: str) -> dict[str, Any]:
    return store.read(stage_id, "stage.json")["ledger"]


def _stage_row(plan: Plan, store: Store, stage_id: str) -> dict[str, Any]:
    stage = plan.stages[stage_id]
    record = store.read(stage_id, "stage.json")
    return {
        "id": stage_id,
        "kind": stage.kind,
        "label": stage.label,
        "seed": stage.settings.replication(),
        "inputs": stage.inputs,
        "device": record["device"],
        "ledger": record["ledger"],
    }


def _totals(plan: Plan, store: Store) -> dict[str, Any]:
    """CPU seconds of the whole study's stages, and of pretraining its bases where it did that."""
    spent = {id: _ledger(store, id)["stage_cpu_s"] for id in plan.stages if store.done(id)}
    bases = {node.stage for node in plan.models if node.role == "base" and plan.given is None}
    base_s = sum(spent.get(id, 0.0) for id in bases)
    return {
        "study_s": round(sum(spent.values()), 1),
        "base_pretraining_s": round(base_s, 1),
        "study_over_base": round(sum(spent.values()) / base_s, 2) if base_s else None,
    }
