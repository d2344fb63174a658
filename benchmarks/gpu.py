"""(e) The distillation step at 0.1B and 0.3B shapes in bf16 on a GPU, with the share of its peak arithmetic rate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch

from benchmarks.distil import step_job
from benchmarks.peers import dense, installed
from benchmarks.rows import Row, compare, side_by_side
from undo.train.runtime import count_flops

PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "RTX 4090": 165e12}  # dense bf16 FLOP/s, vendor
SHAPES = {"0.1B": (14, 320, 262_144), "0.3B": (14, 768, 262_144)}  # layers, width, vocabulary (arXiv 2506.06278)


def rows(quick: bool) -> Iterator[Row]:
    """Nothing without a GPU."""
    if not torch.cuda.is_available():
        return
    for name, (layers, width, vocabulary) in SHAPES.items():
        yield from step_rows(name, layers, width, vocabulary, tokens=4_096 if quick else 16_384, device="cuda")


def step_rows(name: str, layers: int, width: int, vocabulary: int, tokens: int, device: str) -> list[Row]:
    """Our step beside the peers' in the same precision, and beside the dense loop in fp32."""
    losses = installed(quick=False)["forward KL"]
    jobs = {peer: step_job(loss, vocabulary, device, layers, width, tokens) for peer, loss in losses.items()}
    jobs["dense fp32"] = step_job(dense, vocabulary, device, layers, width, tokens, precision=nullcontext)
    found = compare(f"step at {name}", side_by_side(jobs, 5), tokens, "tokens", {"dense fp32": 6.0})
    kind = torch.cuda.get_device_name() if device == "cuda" else device
    peak = next((rate for part, rate in PEAK.items() if part in kind), None)
    if peak:
        flops, _ = count_flops(jobs["ours"])
        for row in found:
            row.detail["share_of_peak"] = round(flops * float(row.ours.split()[0].replace(",", "")) / tokens / peak, 3)
    return found
