"""benchmark: a model asked tasks of the LM Evaluation Harness, before any attack."""

from __future__ import annotations

import copy
from typing import ClassVar

from undo import data, models
from undo.evals import _harness
from undo.stages import Context, Outcome, StageSettings, Traits


class Settings(StageSettings):
    """The tasks, and the version of lm-eval that asks them."""

    traits: ClassVar[Traits] = Traits(version=1, output="scores", done="benchmarked")

    tasks: tuple[str, ...]
    folder: str | None = None
    """The content of the user's folder of tasks; where it lies is the input `tasks`."""
    limit: int | None = None
    batch_rows: int
    lm_eval: str


def run(settings: Settings, context: Context) -> Outcome:
    """A row per task and metric."""
    tasks = _harness.load_tasks(list(settings.tasks), context.inputs.get("tasks"))
    model = models.freeze(models.load_model(context.inputs["model"]))
    tokenizer = copy.deepcopy(data.load_tokenizer(context.inputs["model"]))  # other stages read the one that is kept
    found = _harness.ask(model, tokenizer, tasks, settings.limit, settings.batch_rows)
    return Outcome(evals={"rows": _harness.rows(found)})
