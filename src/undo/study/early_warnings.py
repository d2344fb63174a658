"""Early warnings: a model that does not know the texts, a teacher that leaks what its students must not learn."""

import math
from statistics import fmean, stdev
from typing import Any

from undo.spec.registry import load
from undo.stages._drift import signal_share
from undo.study.artifacts import Store
from undo.study.items import guessing_loss, swapped_items
from undo.study.plan import ModelNode, Plan

LEAKING = 0.1  # of the way from an oracle's signal to the base's (docs/log.md, settings of both studies)
NEAR_GUESSING = 0.9
"""A loss of more than this share of that of guessing is that of a model that does not know the text."""


def leaking_share(signal: float | None, base: float | None, oracle: float | None) -> float | None:
    """The share of the base's signal that a teacher has left (`signal_share`), None where its students hear little."""
    share = signal_share(signal, base, oracle)
    return share if share is not None and share > LEAKING else None


def warnings(plan: Plan, store: Store) -> dict[tuple[str, str], str]:
    """Warnings by what they are about and the evaluation that showed it."""
    told = {("ignorant", id): text for id, text in ignorant_bases(plan, store).items()}
    told |= {("limit", text): f"warning: {text}" for text in known_limits(plan, store)}
    return told | {("leaking", id): text for id, text in leaking_teachers(plan, store).items()}


def nothing_to_find(plan: Plan, store: Store) -> str | None:
    """Why attacks could bring nothing back: the given model that should know does no better than guessing.

    None where it does, or is not evaluated yet, or nobody is known who should.
    """
    knower = plan.knower()
    if knower is None or not store.done(knower.evaluation):
        return None
    evals, uniform = store.read(knower.evaluation, "evals.json"), _guessing_loss(plan, store, knower)
    loss, apart = evals["test"]["forget"], _apart(plan, store, knower)
    advice = "look at how prompt and answer are joined (--separator), or give texts that it knows"
    if uniform is None:
        return _no_better_than_guessing(plan, evals)
    if apart is not None and apart[0] <= apart[1]:  # within a standard error: an hour saved, or an audit undecided
        shown = f"{loss:.2f} nats per token, and {loss + apart[0]:.2f} for the answers to other prompts"
        return f"the model before unlearning does not know the forget answers: {shown}; {advice}"
    if apart is None and loss > NEAR_GUESSING * uniform:
        shown = f"{loss:.2f} nats per token, guessing has {uniform:.2f}"
        return f"the model before unlearning does not know the forget texts: {shown}; give texts that it knows"
    return None


def _no_better_than_guessing(plan: Plan, evals: dict[str, Any]) -> str | None:
    """Of forget items that are scored by a share."""
    evaluation: Any = load("evals", plan.recipe.data.dataset.evaluation)  # type: ignore[attr-defined]
    score, items = evals["test"]["forget"], evals["test_items"]["forget"]
    if score > evaluation.chance + items**-0.5:
        return None
    shown = f"{score:.0%}, guessing has {evaluation.chance:.0%}"
    return f"the model before unlearning does not know the forget answers: {shown}; ask about what it knows"


def known_limits(plan: Plan, store: Store) -> list[str]:
    """What limits a study of a given model: retain texts that it never knew, rows that are read over and over."""
    found, knower = [], plan.knower()
    if knower is not None and store.done(knower.evaluation):
        loss = store.read(knower.evaluation, "evals.json")["retain_loss"]
        uniform = _guessing_loss(plan, store, knower)
        if uniform is not None and loss > NEAR_GUESSING * uniform:
            shown = f"{loss:.2f} nats per token, guessing has {uniform:.2f}"
            found.append(f"the original does not know the retain texts ({shown}), so what it keeps cannot be measured")
    return found + _joined_by_a_space(plan, store) + _repeated_rows(plan, store)


def _joined_by_a_space(plan: Plan, store: Store) -> list[str]:
    """Where something was put between prompts and answers that nobody asked for."""
    corpus = plan.corpus
    chosen = store.read(corpus, "evals.json").get("separators", {}) if store.done(corpus) else {}
    names = [f"--{name}" for name, separator in chosen.items() if separator]
    known = "the original finds the answers likelier so"
    return [f"a space is put between prompts and answers of {' and '.join(names)}: {known}"] if names else []


def _repeated_rows(plan: Plan, store: Store) -> list[str]:
    """Where one side of a distillation stream has fewer rows than a step takes of it."""
    distil, corpus = plan.recipe.distil, plan.corpus
    if plan.given is None or distil is None or distil.stream != "mixed" or not store.done(corpus):
        return []
    rows, found = store.read(corpus, "evals.json")["rows"], []
    for domain in ("forget", "retain"):
        times = distil.batch_rows / 2 / rows[f"{domain}/train"]
        if times >= 2:
            what = f"a step of distillation reads each of the {rows[f'{domain}/train']} {domain} rows {times:.0f} times"
            found.append(f"{what}; lower distil.batch_rows, or give more texts")
    return found


def _apart(plan: Plan, store: Store, node: ModelNode) -> tuple[float, float] | None:
    """Mean distance between swapped and right answers, and its standard error; None where none are swapped."""
    swapped = swapped_items(store, plan.corpus)
    if not swapped:
        return None
    scores = dict(store.read(node.evaluation, "items.json")["0"])
    apart = [scores[other] - scores[place] for place, other in swapped.items()]
    return fmean(apart), stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else math.inf


def _guessing_loss(plan: Plan, store: Store, node: ModelNode) -> float | None:
    """Nats per token of a model to which all tokens are alike; None where forget items are not scored by a loss."""
    evaluation: Any = load("evals", plan.recipe.data.dataset.evaluation)  # type: ignore[attr-defined]
    return None if evaluation.higher_is_better else guessing_loss(store, node.stage)


def ignorant_bases(plan: Plan, store: Store) -> dict[str, str]:
    """A warning for each evaluated base that answers hardly better than guessing, by its evaluation's id.

    That is by no more than two standard errors of a share at most. What a loss of guessing would be is not known here.
    """
    dataset: Any = plan.recipe.data.dataset
    evaluation: Any = load("evals", dataset.evaluation)
    found = {}
    asks_shares = evaluation.unit == "fraction" and evaluation.higher_is_better
    for node in plan.models if asks_shares else []:
        if node.role != "base" or not store.done(node.evaluation):
            continue
        evals = store.read(node.evaluation, "evals.json")
        score, items = evals["test"], evals["test_items"]
        asked = [domain for domain in ("forget", "retain") if items.get(domain)]
        unknown = [domain for domain in asked if score[domain] <= evaluation.chance + items[domain] ** -0.5]
        if unknown:
            scores = ", ".join(f"{domain} {score[domain]:.0%}" for domain in unknown)
            what = f"the base (seed {node.seed}) answers hardly better than guessing: {scores}"
            found[node.evaluation] = f"warning: {what}; train it longer, or give a model and texts that fit each other"
    return found


def leaking_teachers(plan: Plan, store: Store) -> dict[str, str]:
    """A warning for each evaluated teacher that leaks and has students still to come, by its evaluation's id."""
    nodes = {(node.id, node.seed): node for node in plan.models}
    waiting = {(node.teacher, node.seed) for node in plan.models if node.teacher and not store.done(node.stage)}

    def signal(model: str, seed: int) -> float | None:
        node = nodes.get((model, seed))
        return store.read(node.evaluation, "evals.json")["forget_signal"] if node else None

    found = {}
    for (id, seed), node in nodes.items():
        compared = [nodes[name, seed] for name in (id, "base", "oracle") if (name, seed) in nodes]
        if node.role != "teacher" or (id, seed) not in waiting or not all(store.done(n.evaluation) for n in compared):
            continue
        if share := leaking_share(*(signal(name, seed) for name in (id, "base", "oracle"))):
            what = f"{id} (seed {seed}) leaks: it holds {share:.0%} of the base's signal about the right forget token"
            longer = f"suppress.{id}.steps={2 * plan.recipe.suppress[id].steps}"
            found[node.evaluation] = (
                f"warning: {what}, which its students will learn; suppress longer ({longer}) or harder first"
            )
    return found
