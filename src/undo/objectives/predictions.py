"""Next-token distributions that are not computed yet: hidden states and the head that turns them into logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Head(NamedTuple):
    """What follows the last hidden state: logits = cap(scale * (hidden @ weight.T + bias)).

    weight is (V, D), bias (V) or None; cap(x) = softcap * tanh(x / softcap) where a model has one (Gemma 2).
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None


class Predictions(NamedTuple):
    """The distributions at every position of some rows.

    hidden is (..., D), or (..., V) logits where head is None. count is the number of targets that a mean divides by:
    that of the whole step where the rows are a part of its batch, None for the rows' own.
    """

    hidden: Tensor
    head: Head | None = None
    count: Tensor | None = None

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.hidden.shape[-1] if self.head is None else self.head.weight.shape[0]

    def flat(self) -> Predictions:
        """The same with one axis of positions, (N, D), cut off from the graph and in the products' precision."""
        hidden_ND, head = self.hidden.detach().flatten(0, -2), self.head
        if head is not None:
            dtype = _product_dtype(hidden_ND)
            head = head._replace(weight=head.weight.detach().to(dtype))
            hidden_ND = hidden_ND.to(dtype)
        return self._replace(hidden=hidden_ND, head=head)

    def write_logits(self, rows: slice, out_RV: Tensor) -> Tensor:
        """The fp32 logits of some flat positions, written into `out_RV`, which is returned. No gradient."""
        head = self.head
        if head is None:
            return out_RV.copy_(self.hidden[rows])
        if head.weight.dtype == out_RV.dtype:
            torch.mm(self.hidden[rows], head.weight.t(), out=out_RV)
        else:
            out_RV.copy_(torch.mm(self.hidden[rows], head.weight.t()))
        if head.bias is not None:
            out_RV.add_(head.bias.detach())
        if head.scale != 1.0:
            out_RV.mul_(head.scale)
        return out_RV if head.softcap is None else out_RV.div_(head.softcap).tanh_().mul_(head.softcap)


# Logits in memory at a time. On a CPU 8 MiB of both models stay in its cache, but matrix products of fewer than 64 rows
# wait for the head's weights (docs/log.md); a GPU needs more to be busy.
CHUNK_ENTRIES = {"cpu": 2**21, "cuda": 2**27}
CHUNK_ROWS = 64


def logit_chunks(*models: Predictions) -> Iterator[tuple[slice, list[Tensor]]]:
    """Slices of the flat positions, each with the fp32 logits (R, V) of every model: buffers to work in, used again."""
    first = models[0]
    positions, kind = first.hidden.shape[0], first.hidden.device.type
    step = min(positions, max(CHUNK_ROWS, CHUNK_ENTRIES[kind] // first.vocabulary))
    buffers = [torch.empty(step, first.vocabulary, device=first.hidden.device) for _ in models]
    for start in range(0, positions, max(1, step)):
        rows = slice(start, min(start + step, positions))
        size = rows.stop - rows.start
        yield rows, [model.write_logits(rows, out[:size]) for model, out in zip(models, buffers, strict=True)]


@torch.no_grad()
def greedy(predictions: Predictions) -> Tensor:
    """(...) the most likely token at every position."""
    flat = predictions.flat()
    found = torch.empty(flat.hidden.shape[0], dtype=torch.int64, device=flat.hidden.device)
    for rows, (logits_RV,) in logit_chunks(flat):
        torch.argmax(logits_RV, -1, out=found[rows])
    return found.view(predictions.hidden.shape[:-1])


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """The precision of matrix products: autocast's where it is on, otherwise the tensor's own."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
