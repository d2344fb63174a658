"""What a teacher still says about the forgotten, told before its students are paid for."""

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
            found[node.evaluation] = f"warning: {what}; its students will hear it, suppress longer or harder first"
    return found
