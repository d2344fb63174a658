"""data: a corpus folder from a dataset."""

from __future__ import annotations

from typing import Any

from undo import data
from undo.spec.registry import load
from undo.stages import Context, Outcome

VERSION = 1


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Writes tokenizer, packed rows and items."""
    dataset = load("datasets", settings["dataset"]["name"]).model_validate(settings["dataset"])
    counts = data.write_corpus(dataset, settings["vocab_size"], settings["row_tokens"], context.folder)
    return Outcome(evals={"tokens": counts})
