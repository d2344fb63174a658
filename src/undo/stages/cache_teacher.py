"""cache_teacher: a teacher's predictions for the whole distillation stream, computed once for all of its students."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from undo import data, models, objectives, train
from undo.data.dataset import Domain
from undo.stages import Context, Outcome, StageSettings, Traits

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from undo.data.batches import TokenBatch


class Settings(StageSettings):
    """The rows to predict, and what of the predictions is kept."""

    traits: ClassVar[Traits] = Traits(
        version=2, output="files", done="cached", bytes_per_weight=4, costly=True, charged_to_student="as_read"
    )

    domains: tuple[Domain, ...]
    top_k: int | None = None
    """Most likely tokens kept per position, with one bucket for the rest; None keeps hidden states."""


def run(settings: Settings, context: Context) -> Outcome:
    """Writes hidden states, or the `top_k` most likely tokens with one bucket for the rest."""
    import torch

    wall, cpu, corpus = time.perf_counter(), time.process_time(), data.open_corpus(context.inputs["data"])
    teacher = models.freeze(models.load_model(context.inputs["model"]))
    row_cost = _row_flops(teacher, data.first_rows(corpus, "retain", "train", 1), settings.top_k)
    ledger, rows_done, compute = train.Ledger(), 0, teacher_outputs(teacher, settings.top_k)
    with torch.inference_mode():
        for rows_done, rows_in_all in data.write_outputs(corpus, settings.domains, compute, context.folder):
            context.notify(rows_done, rows_in_all, None)
    ledger.forward_flops = rows_done * row_cost
    ledger.wall_s, ledger.cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    return Outcome(ledger=ledger)


def teacher_outputs(teacher: PreTrainedModel, top_k: int | None) -> Callable[[TokenBatch], dict[str, Tensor]]:
    """A function from rows to arrays by name."""

    def compute(rows: TokenBatch) -> dict[str, Tensor]:
        predictions = models.predict(teacher, rows.to(teacher.device))
        if top_k is None:
            return {"hidden": predictions.hidden.float()}
        return objectives.top_tokens(predictions, top_k)._asdict()

    return compute


def _row_flops(teacher: PreTrainedModel, row: TokenBatch, top_k: int | None) -> int:
    """Counted FLOPs of what is written about a row; the logits of cached hidden states are the student's step's."""
    import torch

    row = row.to(teacher.device)
    if top_k is not None:
        return forward_flops(teacher, row)
    with torch.inference_mode():
        return train.count_flops(lambda: models.predict(teacher, row))[0]


def forward_flops(model: PreTrainedModel, rows: TokenBatch) -> int:
    """Counted FLOPs of a forward pass with its logits, apart from the real ones (see `train.loop`)."""
    return train.count_flops(lambda: objectives.greedy(models.predict(model, rows)))[0]
