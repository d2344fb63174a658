"""Whether a study of somebody's own model fits into memory and onto the disk, asked before anything runs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from undo.spec.errors import UserError
from undo.study.plan import Plan, Stage

LAYER_VECTORS = 16
"""Vectors of a token that a layer keeps for its backward pass, in widths of the model (MLP and attention included)."""
MARGIN = 1.2
"""For logits and what an allocator keeps from stage to stage: without it, SmolLM2-135M took 0.96 to 1.11 of the sum."""
PROCESS_BYTES = 6e8
"""A worker with torch and transformers, before it has a model."""
SMALL = 1e7
"""Weights up to which one thread per process is fastest and memory is no question."""


@dataclass(frozen=True)
class Workers:
    """Worker processes that fit, and the threads of each."""

    number: int
    threads: int = 1


def is_large(plan: Plan) -> bool:
    """Whether the study is about somebody's model of more than a few million weights."""
    return plan.given is not None and plan.given.weights > SMALL


def workers_that_fit(plan: Plan, wanted: int, cores: int, out: Path) -> Workers:
    """As many of the wanted workers as memory holds. Raises UserError where it does not hold one, or the disk is small.

    Small models take one thread per process; large ones share the cores out.
    """
    if not is_large(plan):
        return Workers(wanted)
    need, free = max(stage_bytes(plan, stage) for stage in plan.stages.values()), free_memory()
    if need > free:
        raise UserError(_too_large(plan, need, free))
    _check_disk(plan, out)
    workers = min(wanted, int(free // need))
    return Workers(workers, max(1, cores // workers))


def stage_bytes(plan: Plan, stage: Stage) -> float:
    """Estimated peak memory of a stage in bytes."""
    assert plan.given is not None
    layers, tokens = plan.given.layers, stage.settings.rows_at_once() * plan.recipe.data.row_tokens
    kept = layers + LAYER_VECTORS if stage.settings.recomputes_activations() else layers * LAYER_VECTORS
    return MARGIN * (_fixed_bytes(plan, stage) + 4 * tokens * plan.given.width * kept)


def _fixed_bytes(plan: Plan, stage: Stage) -> float:
    """What no smaller step makes less."""
    assert plan.given is not None
    return PROCESS_BYTES + stage.settings.traits.bytes_per_weight * plan.given.weights


def free_memory() -> float:
    """Bytes that processes can still take: the GPU's where there is one, else the machine's or the container's."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    return min(_available(), _container_room())


def _available() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return float("inf")  # elsewhere than on Linux nothing is known beforehand


def _container_room(group: Path = Path("/sys/fs/cgroup")) -> float:
    try:
        limit = (group / "memory.max").read_text().strip()
        return float("inf") if limit == "max" else float(limit) - float((group / "memory.current").read_text())
    except (OSError, ValueError):
        return float("inf")


def _too_large(plan: Plan, need: float, free: float) -> str:
    assert plan.given is not None
    largest = max(plan.stages.values(), key=lambda stage: stage_bytes(plan, stage))
    what = f"'{largest.label}' needs about {_gb(need)} of memory for {plan.given.weights / 1e6:,.0f}M weights in fp32"
    setting = largest.settings.traits.memory_setting
    if setting is None or MARGIN * _fixed_bytes(plan, largest) > free:
        return f"{what}, {_gb(free)} are free; use a machine or GPU with more, or a smaller model"
    place, less = setting
    return f"{what}, {_gb(free)} are free; set {place}.gradient_checkpointing=true, or {less} for fewer rows at once"


def _check_disk(plan: Plan, out: Path) -> None:
    """Models that the study will write, against what the disk has left."""
    assert plan.given is not None
    made = [stage for stage in plan.stages.values() if stage.settings.traits.output == "model"]
    missing = [stage for stage in made if not (out / "artifacts" / stage.id / "manifest.json").exists()]
    place = next(folder for folder in (out, *out.resolve().parents) if folder.exists())
    need, free = 4.0 * plan.given.weights * len(missing), shutil.disk_usage(place).free
    if need > free:
        raise UserError(
            f"{len(missing)} models take about {_gb(need)}, the disk of {out} has {_gb(free)}; choose --out"
        )


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
