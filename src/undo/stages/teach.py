"""teach: a teacher's predictions for the whole distillation stream, computed once for all of its students."""

from __future__ import annotations

import time
from typing import Any

from undo import data, models, objectives, train
from undo.stages import Context, Outcome

VERSION = 2


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Writes hidden states, or the `top_k` most likely tokens with one bucket for the rest."""
    import torch

    wall, cpu, corpus = time.perf_counter(), time.process_time(), data.open_corpus(context.inputs["data"])
    teacher = models.freeze(models.load_model(context.inputs["model"]))
    row_cost = _row_flops(teacher, data.first_rows(corpus, "retain", "train", 1), settings["top_k"])
    ledger, rows_done = train.Ledger(), 0
    with torch.inference_mode():
        outputs = data.write_outputs(corpus, settings["domains"], teacher_outputs(teacher, settings), context.folder)
        for rows_done, rows_in_all in outputs:
            context.notify(rows_done, rows_in_all, None)
    ledger.forward_flops = rows_done * row_cost
    ledger.wall_s, ledger.cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    return Outcome(ledger=ledger)


def teacher_outputs(teacher: Any, settings: dict[str, Any]) -> Any:
    """A function from rows to arrays by name."""

    def compute(rows: Any) -> dict[str, Any]:
        predictions = models.predict(teacher, rows.to(teacher.device))
        if settings["top_k"] is None:
            return {"hidden": predictions.hidden.float()}
        return objectives.top_tokens(predictions, settings["top_k"])._asdict()

    return compute


def _row_flops(teacher: Any, row: Any, top_k: int | None) -> int:
    """Counted FLOPs of what is written about a row; the logits of cached hidden states are the student's step's."""
    import torch

    row = row.to(teacher.device)
    if top_k is not None:
        return forward_flops(teacher, row)
    models.output_head(teacher)
    with torch.inference_mode():
        return train.count_flops(lambda: models.predict(teacher, row))[0]


def forward_flops(model: Any, rows: Any) -> int:
    """Counted FLOPs of a forward pass with its logits, apart from the real ones (see `train.loop`)."""
    models.output_head(model)  # found out here, so that its few tokens are not counted
    return train.count_flops(lambda: objectives.greedy(models.predict(model, rows)))[0]
