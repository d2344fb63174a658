"""Precision, FLOP counting and memory: what the loop must know of the hardware."""

import resource
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, addmm_flop, sdpa_backward_flop_count, sdpa_flop_count


def autocast(device: torch.device) -> AbstractContextManager:
    """bf16 autocast where the GPU computes in it; the master weights stay fp32 everywhere."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def _attention_forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, *_in_all_heads(query, key, value))


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, *_in_all_heads(query, key, value))


def _in_all_heads(query: Any, *shared: Any) -> list[tuple[int, ...]]:
    """Shapes (B, heads, T, width) as they are computed where several heads of queries share one of keys and values."""
    return [(shape[0], query[1], *shape[2:]) for shape in shared]


def _added_product(total: Any, first: Any, second: Any, *_: Any, **__: Any) -> int:
    return addmm_flop(total, first, second)


def _grouped_product(first: Any, second: Any, *_: Any, **__: Any) -> int:
    """Every row times the matrix of its group, or, with groups of rows summed over, a matrix per group."""
    groups = first[0] if len(first) == len(second) == 3 else 1
    return 2 * groups * first[-2] * first[-1] * second[-1]


# torch 2.13 counts neither the CPU's attention kernel, nor products that add in place, nor those of stacked experts;
# torch 2.11 refuses the GPU's kernels where heads share keys.
_COUNTED = {
    torch.ops.aten.addmm_: _added_product,
    torch.ops.aten._grouped_mm: _grouped_product,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_forward,
    torch.ops.aten._scaled_dot_product_flash_attention: _attention_forward,
    torch.ops.aten._scaled_dot_product_efficient_attention: _attention_forward,
    torch.ops.aten._scaled_dot_product_cudnn_attention: _attention_forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_backward: _attention_backward,
    torch.ops.aten._scaled_dot_product_efficient_attention_backward: _attention_backward,
    torch.ops.aten._scaled_dot_product_cudnn_attention_backward: _attention_backward,
}


def count_flops(run: Callable[[], Any]) -> tuple[int, Any]:
    """Runs it once under torch's FLOP counter (matrix products and attention). Returns (FLOPs, its result)."""
    with FlopCounterMode(display=False, custom_mapping=_COUNTED) as counter:
        result = run()
    return counter.get_total_flops(), result


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new peak measurement; on Linux the process's high-water mark, so that stages do not inherit it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # elsewhere the peak is that of the process so far, an upper bound


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated on the GPU, resident in the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
