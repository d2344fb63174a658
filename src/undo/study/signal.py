"""What makes the rest of a study worthless, told at once: a base that knows nothing, a teacher that still tells."""

from typing import Any

from undo.spec.registry import load
from undo.study.artifacts import Store
from undo.study.plan import Plan

TELLING = 0.1  # of the way from an oracle's signal to the base's (docs/log.md, settings of both studies)


def telling_share(signal: float | None, base: float | None, oracle: float | None) -> float | None:
    """How far a teacher's signal lies from an oracle's (or none) to the base's; None where students hear little of it.

    Args: log-probability of the right forget token above the vocabulary's mean, nats per token. An oracle with a
    negative one says nothing, and so does who says no more.
    """
    floor = max(0.0, oracle or 0.0)
    if signal is None or base is None or base - floor < 1:
        return None  # within a nat of an oracle, the base itself has hardly anything to tell
    share = (signal - floor) / (base - floor)
    return share if share > TELLING else None


def warnings(plan: Plan, store: Store) -> dict[tuple[str, str], str]:
    """Warnings by what they are about and the evaluation that showed it."""
    told = {("ignorant", id): text for id, text in ignorant_bases(plan, store).items()}
    return told | {("telling", id): text for id, text in telling_teachers(plan, store).items()}


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


def telling_teachers(plan: Plan, store: Store) -> dict[str, str]:
    """A warning for each evaluated teacher that says much and has students still to come, by its evaluation's id."""
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
        if share := telling_share(*(signal(name, seed) for name in (id, "base", "oracle"))):
            what = f"{id} (seed {seed}) still says {share:.0%} of what the base says about the right forget token"
            longer = f"suppress.{id}.steps={2 * plan.recipe.suppress[id].steps}"
            found[node.evaluation] = (
                f"warning: {what}; its students will hear it, suppress longer ({longer}) or harder first"
            )
    return found
