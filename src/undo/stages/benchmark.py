"""benchmark: a model asked tasks of the LM Evaluation Harness, before any attack."""

from __future__ import annotations

import copy
from typing import Any

from undo import data, models
from undo.evals import _harness
from undo.stages import Context, Outcome

VERSION = 1


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """A row per task and metric."""
    tasks = _harness.load_tasks(settings["tasks"], context.inputs.get("tasks"))
    model = models.freeze(models.load_model(context.inputs["model"]))
    tokenizer = copy.deepcopy(data.load_tokenizer(context.inputs["model"]))  # other stages read the one that is kept
    found = _harness.ask(model, tokenizer, tasks, settings["limit"], settings["batch_rows"])
    return Outcome(evals={"rows": _harness.rows(found)})
