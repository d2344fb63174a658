"""What the rest of a study will cost, estimated before anything runs."""

from dataclasses import dataclass

from undo.study.artifacts import Store
from undo.study.plan import Plan

NOMINAL_RATE = 4.0e10
"""FLOP/s of one core on the shipped arithmetic models, used until the store holds measurements of this machine."""
OTHER_STAGE_S = 3.0
"""Seconds for a stage without training (data, evaluate): reading, tokenising, some forward passes."""
ATTACK_EVAL_S = 0.6
"""Seconds per look at the test questions during an attack."""


@dataclass(frozen=True)
class Estimate:
    """Training FLOPs that are missing (at most: distillation may stop early) and the time they take."""

    flops: float
    seconds: float
    workers: int
    rate: float
    rate_source: str


def estimate(plan: Plan, store: Store, workers: int) -> Estimate:
    """Time is the longer of the work shared out evenly and the longest chain of stages."""
    rate, source = _measured_rate(plan, store)
    seconds = {
        id: 0.0
        if store.done(id)
        else stage.flops / rate + (0.0 if stage.flops else OTHER_STAGE_S) + ATTACK_EVAL_S * stage.settings.evaluations()
        for id, stage in plan.stages.items()
    }
    ends: dict[str, float] = {}
    for id, stage in plan.stages.items():
        ends[id] = seconds[id] + max((ends[needed] for needed in stage.inputs.values()), default=0.0)
    total = max(sum(seconds.values()) / workers, max(ends.values()))
    missing = sum(stage.flops for id, stage in plan.stages.items() if not store.done(id))
    return Estimate(missing, total, workers, rate, source)


def _measured_rate(plan: Plan, store: Store) -> tuple[float, str]:
    ledgers = [store.read(id, "stage.json")["ledger"] for id in plan.stages if store.done(id)]
    timed = [ledger for ledger in ledgers if ledger.get("wall_s")]
    if not timed:
        return NOMINAL_RATE, "assumed; measured once stages are done"
    return sum(ledger["flops"] for ledger in timed) / sum(ledger["wall_s"] for ledger in timed), "measured here"
