"""What a benchmark yields, and how time and memory are taken."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison. ratio says how many times better ours is; at `target` or above it is as good as it should be."""

    name: str
    peer: str
    ratio: float
    target: float
    ours: str
    theirs: str
    detail: dict[str, Any] = field(default_factory=dict)

    def as_json(self, machine: str) -> dict[str, Any]:
        """The row as a flat JSON object."""
        return {**asdict(self), "ratio": round(self.ratio, 3), "met": self.ratio >= self.target, "machine": machine}


Job = Callable[[], Any]


def side_by_side(jobs: dict[str, Job], rounds: int) -> dict[str, list[float]]:
    """Seconds of each job in each round. Jobs take turns within a round, so that a busy machine slows all of them.

    Every job runs once before, to compile and to touch its memory.
    """
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def compare(
    name: str, seconds: dict[str, list[float]], amount: float, unit: str, targets: dict[str, float]
) -> list[Row]:
    """A row per peer of "ours": the median over rounds of the ratio of seconds within a round."""
    rows = []
    for peer in (peer for peer in seconds if peer != "ours"):
        ratios = sorted(theirs / ours for theirs, ours in zip(seconds[peer], seconds["ours"], strict=True))
        rates = {who: amount / statistics.median(seconds[who]) for who in ("ours", peer)}
        detail = {"rounds": len(ratios), "lowest": round(ratios[0], 3), "highest": round(ratios[-1], 3)}
        ours, theirs = (f"{rates[who]:,.0f} {unit}/s" for who in ("ours", peer))
        rows.append(Row(name, peer, statistics.median(ratios), targets.get(peer, 1.0), ours, theirs, detail))
    return rows


def memory_rows(name: str, jobs: dict[str, tuple[Callable[..., Any], tuple]], targets: dict[str, float]) -> list[Row]:
    """A row per peer of "ours": the most memory that (function, arguments) takes beyond what it starts from."""
    peaks = {who: peak_of_a_process(*job) for who, job in jobs.items()}
    return [
        Row(
            name,
            peer,
            peaks[peer] / peaks["ours"],
            targets.get(peer, 1.0),
            f"{peaks['ours'] / 2**20:,.0f} MiB",
            f"{peaks[peer] / 2**20:,.0f} MiB",
        )
        for peer in peaks
        if peer != "ours"
    ]


def peak_of_a_process(function: Callable[..., Job], arguments: tuple) -> int:
    """Bytes at the peak of `function(*arguments)()` above those before the call, in a process of its own."""
    queue: Any = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=_measure, args=(queue, function, arguments))
    process.start()
    peak = queue.get(timeout=300)
    process.join()
    return peak


def _measure(queue: Any, function: Callable[..., Job], arguments: tuple) -> None:
    from undo.models.device import pick_device
    from undo.train.runtime import peak_memory, reset_peak_memory

    job, device = function(*arguments), pick_device()
    reset_peak_memory(device)
    before = peak_memory(device)
    job()
    queue.put(peak_memory(device) - before)
