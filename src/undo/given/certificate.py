"""What an audit found, as rows with intervals over items. Pure arithmetic on the artifacts; no torch."""

import hashlib
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from undo.given.attack_result import AttackResult
from undo.given.audit import suite_for, suites
from undo.given.bootstrap import Interval, ItemMeans, interval
from undo.given.verdict import Case, headline, verdict
from undo.models import find_adapter, find_folder
from undo.spec.recipe import Pretrained, Recipe
from undo.study.artifacts import CARD, Store, content_hash
from undo.study.early_warnings import known_limits
from undo.study.items import forget_groups, guessing_loss, swapped_items
from undo.study.plan import Plan
from undo.study.runner import Study
from undo.study.scores import RETAIN_MARGIN, within_utility

Scores = dict[int, float]
"""Scores of forget items by their place among the test items."""


@dataclass(frozen=True)
class Certificate:
    """An audit: who was asked about what, every attack's rows, and the worst one within the utility constraint.

    `headline` is the verdict's first line: gone or not, what it cost, what to do next. `worst_unconstrained` is the
    worst row of an adversary who need not keep the model useful; `warnings` say what else a reader must know.
    """

    study: str
    suite: str
    model: dict[str, str | None]
    forget: dict[str, str | None]
    retain: dict[str, str | None]
    oracle: dict[str, str | None] | None
    before: dict[str, str | None] | None
    metric: dict[str, Any]
    scale: dict[str, str]
    utility: dict[str, Any]
    attacks: list[AttackResult]
    worst_case: AttackResult
    worst_unconstrained: AttackResult
    benchmarks: list[dict[str, Any]]
    outcome: str
    headline: str
    verdict: str
    warnings: list[str]
    failures: list[dict[str, str]]
    environment: dict[str, Any]
    skipped: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The content of `certificate.json`."""
        return asdict(self)


def certify(
    study: Study,
    store: Store,
    subject: str = "model",
    folder: Path | None = None,
    suppressed: Certificate | None = None,
) -> Certificate:
    """The certificate of an audit that ran, however many of its attacks failed.

    subject is the model that it is about, where the study made it; folder is where that one lies; suppressed is the
    certificate of the teacher that it was distilled from.
    """
    assert study.plan.recipe.audit is not None
    findings = _Findings(study.plan, store, study.results["metrics"]["forget"], subject)
    rows, higher = findings.rows(), findings.metric["higher_is_better"]
    common: dict[str, Any] = {
        "suite": _suite(study.plan),
        "metric": findings.metric,
        "scale": findings.scale(),
        "utility": findings.utility(),
        "attacks": rows,
        "worst_case": _worst([row for row in rows if row.within_utility], higher),
        "worst_unconstrained": _worst(rows, higher),
        "failures": study.results["failures"],
        "skipped": _skipped(study.results, findings.nodes["model"].id),
    }
    case = Case(**common, suppressed=suppressed)
    return Certificate(
        study=study.plan.study,
        benchmarks=study.results["benchmarks"],
        environment=study.results["environment"],
        outcome=case.outcome,
        headline=headline(case),
        verdict=verdict(case),
        warnings=known_limits(study.plan, store),
        **_identities(study.plan, folder),
        **common,
    )


def _skipped(results: dict[str, Any], model: str) -> list[dict[str, Any]]:
    """The attacks that the model's family cannot take, one row for all variants with the same reason."""
    rows = [row for row in results.get("skipped", []) if row["model"] == model and row.get("skill") == "forget"]
    reasons = dict.fromkeys((row["attack"], row["reason"]) for row in rows)
    variants = {key: [row["variant"] for row in rows if (row["attack"], row["reason"]) == key] for key in reasons}
    return [{"attack": key[0], "reason": key[1], "variants": found} for key, found in variants.items()]


def _suite(plan: Plan) -> str:
    """The suite, and that it was changed where the recipe asks otherwise than it does, whoever wrote the recipe."""
    recipe = plan.recipe
    assert recipe.audit is not None and plan.given is not None
    name, _, changes = recipe.audit.suite.partition(" ")
    if changes or name not in suites():
        return recipe.audit.suite
    content: Any = recipe.model_dump(mode="json")
    usual = suite_for(plan.given, content["data"]["dataset"], name)
    asked = Recipe.model_validate(content | {"attacks": usual["attacks"], "data": content["data"] | usual["data"]})
    return name if (asked.attacks, asked.data) == (recipe.attacks, recipe.data) else f"{name} changed"


def _identities(plan: Plan, made: Path | None) -> dict[str, Any]:
    """Who the models and texts are; `made` is where a model lies that the study made of the given one."""
    recipe, texts = plan.recipe, plan.recipe.data.dataset
    assert recipe.audit is not None
    given = {"oracle": recipe.audit.oracle, "before": recipe.audit.before}
    given["before" if made else "model"] = recipe.pretrained
    models = {role: model and _model_identity(model) for role, model in given.items()}
    sources = {role: _text_identity(getattr(texts, role).path) for role in ("forget", "retain")}
    return ({"model": folder_identity(made)} if made else {}) | models | sources


def _model_identity(model: Pretrained) -> dict[str, str | None]:
    """Of a model of the hub its name there; with an adapter both names, and a hash of both."""
    folder = find_folder(model.path, model.revision)
    local = Path(model.path).expanduser().exists()
    found = folder_identity(folder) | ({} if local else {"name": model.path})
    if model.adapter is None:
        return found
    adapter = folder_identity(find_adapter(model.adapter))
    both = hashlib.sha256(f"{found['sha256']}{adapter['sha256']}".encode()).hexdigest()
    return {"name": f"{found['name']} + {adapter['name']}", "sha256": both}


def folder_identity(folder: Path) -> dict[str, str | None]:
    """A model's folder without its place, and a hash of its content but for the card, which is written last."""
    return {"name": folder.resolve().name, "sha256": content_hash(folder, besides=CARD)}


def _text_identity(source: str) -> dict[str, str | None]:
    """A name without its place, and a hash of its content; of a data set of the hub there is none."""
    path = Path(source).expanduser()
    if not path.exists():
        return {"name": source, "sha256": None}
    return {"name": path.resolve().name, "sha256": content_hash(path)}


def _worst(rows: list[AttackResult], higher_is_better: bool) -> AttackResult:
    """By recovered fraction; among rows without one by specific recovery, and without that by recovery."""
    sign = 1 if higher_is_better else -1

    def severity(row: AttackResult) -> tuple[float, float, float]:
        fraction = -math.inf if row.recovered_fraction is None else row.recovered_fraction
        specific = -math.inf if row.specific_recovery is None else sign * row.specific_recovery
        return fraction, specific, sign * row.recovery

    return max((row for row in rows if row.decides), key=severity)


class Answers(NamedTuple):
    """Scores of forget items, and of the same prompts with each other's answers, by the forget items' places."""

    own: Scores
    swapped: Scores


class _Findings:
    """The scores of the audited model, and of what it is compared with."""

    def __init__(self, plan: Plan, store: Store, metric: dict[str, Any], subject: str) -> None:
        self.store, self.metric = store, metric
        self.sign = 1 if metric["higher_is_better"] else -1
        corpus = plan.corpus
        self.groups, self.swapped = forget_groups(store, corpus), swapped_items(store, corpus)
        by_id = {node.id: node for node in plan.models}
        before = "before" if subject == "model" else "base"
        roles = {"model": subject, "oracle": "oracle", "before": before}
        self.nodes = {role: by_id[id] for role, id in roles.items() if id in by_id}
        self.plain = {id: self._answers(node.evaluation, 0) for id, node in self.nodes.items()}
        self.losses = {id: store.read(node.evaluation, "evals.json")["retain_loss"] for id, node in self.nodes.items()}
        self.guessing = metric["chance"] if self.sign > 0 else guessing_loss(store, self.nodes["model"].stage)
        self.needing_control = {name for name, a in plan.recipe.attacks.items() if a.attack.needs_control}  # type: ignore[attr-defined]

    def utility(self) -> dict[str, Any]:
        """Retain losses of the model and of the model before, nats per token, and the largest that counts as of use."""
        return {
            "retain_loss": self.losses["model"],
            "before_retain_loss": self.losses.get("before"),
            "margin": RETAIN_MARGIN,
            "limit": (1 + RETAIN_MARGIN) * max(self._retain_before("model")),
        }

    def scale(self) -> dict[str, str]:
        """What a recovered fraction of 0 and of 1 stands for; empty where nothing is given to measure it by."""
        perfect = (
            "a perfect score" if self.sign > 0 else "a loss of 0, which no model reaches: fractions are understated"
        )
        one = "what the model before unlearning shows without an attack" if "before" in self.nodes else perfect
        if "oracle" in self.nodes:
            zero = "the most that the same attack brings out of an oracle that stays as useful (at least guessing)"
            return {"zero": zero, "one": one}
        if "before" in self.nodes and self.swapped:
            zero = "a right answer no likelier than the answer to another prompt"
            return {"zero": zero, "one": "as much likelier as for the model before unlearning without an attack"}
        if "before" in self.nodes:
            return {"zero": "what the model shows without an attack (at least guessing)", "one": one}
        return {}

    def rows(self) -> list[AttackResult]:
        """The model without an attack, then every budget of every variant."""
        plain = {"step": 0, "forget_tokens": 0, "retain_loss": self.losses["model"]}
        rows = [self._row("none", {}, plain, self.plain["model"], self.plain.get("oracle"))]
        for run in self.nodes["model"].attacks:
            if run.skill == "forget" and self.store.done(run.stage):
                for point in self.store.read(run.stage, "evals.json")["points"]:
                    of_oracle = self._of_oracle(run.attack, point["step"], self._useful("model", point))
                    answers = self._answers(run.stage, point["step"])
                    rows.append(self._row(run.attack, run.variant, point, answers, of_oracle))
        return rows

    def _row(
        self, attack: str, variant: dict, point: dict[str, Any], answers: Answers, oracle: Answers | None
    ) -> AttackResult:
        own, swapped = answers
        means = ItemMeans([self.groups[place] for place in own])
        recovered, taught = means(list(own.values())), None if oracle is None else means([oracle.own[p] for p in own])
        apart = self._apart(answers, list(swapped))
        if "oracle" in self.nodes or not swapped:
            fraction, spread = self._fraction(recovered, taught, list(own), means)
        else:
            fraction, spread = self._share_apart(apart, list(swapped))
        return AttackResult(
            attack=attack,
            variant=variant,
            budget=point["step"],
            forget_tokens=point["forget_tokens"],
            recovery=float(recovered[0]),
            recovery_interval=interval(recovered),
            oracle=None if taught is None else float(taught[0]),
            neutral=fmean(swapped.values()) if swapped else None,
            specific_recovery=None if apart is None else float(apart[0]),
            specific_recovery_interval=None if apart is None else interval(apart),
            recovered_fraction=fraction,
            recovered_fraction_interval=spread,
            retain_loss=self._left("model", point),
            within_utility=self._useful("model", point),
            decides=attack not in self.needing_control or "oracle" in self.nodes or bool(swapped),
        )

    def _apart(self, answers: Answers, places: list[int]) -> ndarray | None:
        """Means of the right answers less those of the swapped ones, over these items; None where none was swapped."""
        if not places:
            return None
        means = ItemMeans([self.groups[place] for place in places])
        return means([answers.own[place] for place in places]) - means([answers.swapped[place] for place in places])

    def _share_apart(self, apart: ndarray | None, places: list[int]) -> tuple[float | None, Interval]:
        """How much of the distance between right and swapped answers the model before has, None where it has none."""
        known = self._apart(self.plain["before"], places) if "before" in self.nodes else None
        if apart is None or known is None or np.quantile(self.sign * known[1:], 0.025) <= 0:
            return None, None
        share = apart / np.where(self.sign * known > 0, known, np.nan)
        return float(share[0]), interval(share[~np.isnan(share)])

    def _left(self, role: str, point: dict[str, Any]) -> float:
        """Retain loss at a point; not asked where an attack leaves the model alone."""
        return point.get("retain_loss", self.losses[role])

    def _retain_before(self, role: str) -> list[float]:
        """What an attacked model's retain loss is held against: the model's own, and that of the model before."""
        return [self.losses[id] for id in (role, "before") if id in self.losses]

    def _useful(self, role: str, point: dict[str, Any]) -> bool:
        return within_utility(self._left(role, point), self._retain_before(role), higher_is_better=False)

    def _fraction(
        self, recovered: ndarray, taught: ndarray | None, places: list[int], means: ItemMeans
    ) -> tuple[float | None, Interval]:
        """(recovery - zero) / (one - zero), as `scale` says; None where zero and one cannot be told apart."""
        if not self.scale() or ("oracle" in self.nodes and taught is None):
            return None, None
        shown = means([self.plain["model"].own[p] for p in places]) if taught is None else taught
        zero, known = self._at_least_guessing(shown), max(self.sign, 0)
        if "before" in self.nodes:
            known = means([self.plain["before"].own[p] for p in places])
        gap = self.sign * (known - zero)
        if gap[0] <= 0 or np.quantile(gap[1:], 0.025) <= 0:
            return (1.0 if taught is None else None), None  # without an oracle: the model has kept it all
        fraction = self.sign * (recovered - zero) / np.where(gap > 0, gap, np.nan)
        return float(fraction[0]), interval(fraction[~np.isnan(fraction)])

    def _at_least_guessing(self, means: ndarray) -> ndarray:
        """A model that says less than one that guesses knows no less."""
        return np.maximum(means, self.guessing) if self.sign > 0 else np.minimum(means, self.guessing)

    def _of_oracle(self, attack: str, budget: int, useful: bool) -> Answers | None:
        """The oracle's answers where the attack brings most out of it: in any of its variants, within the budget.

        What is found in a model that is still useful is compared with what is found in an oracle that is.
        """
        runs = self.nodes["oracle"].attacks if "oracle" in self.nodes else []
        done = [
            run.stage for run in runs if (run.attack, run.skill) == (attack, "forget") and self.store.done(run.stage)
        ]
        points = [(stage, point) for stage in done for point in self.store.read(stage, "evals.json")["points"]]
        if not points:
            return None
        within = [(stage, point) for stage, point in points if point["step"] <= budget]
        if useful:
            within = [found for found in within if self._useful("oracle", found[1])]
        if not within:
            return self.plain["oracle"]
        stage, point = max(within, key=lambda found: self.sign * found[1]["forget"])
        return self._answers(stage, point["step"])

    def _answers(self, stage: str, step: int) -> Answers:
        scores = dict(self.store.read(stage, "items.json")[str(step)])
        own = {place: score for place, score in scores.items() if place in self.groups}
        return Answers(own, {p: scores[self.swapped[p]] for p in own if self.swapped.get(p) in scores})
