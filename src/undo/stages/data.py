"""data: a corpus folder from a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from undo import data, models
from undo.data.dataset import placed
from undo.spec.errors import UserError
from undo.spec.registry import load
from undo.stages import Context, Outcome

VERSION = 2


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Writes tokenizer, packed rows and items."""
    dataset = load("datasets", settings["dataset"]["name"]).model_validate(_here(settings["dataset"], context.inputs))
    rows, adopted = settings["row_tokens"], context.inputs.get("model")
    if adopted is None:
        counts = data.write_corpus(dataset, settings["vocab_size"], rows, context.folder)
    else:
        counts = _for_model(adopted, dataset, rows, context.folder)
    return Outcome(evals=counts)


def _here(dataset: dict[str, Any], inputs: dict[str, Path]) -> dict[str, Any]:
    """The dataset's settings with the places of texts that a plan knows by their content."""
    return placed(dataset, {name: str(path) for name, path in inputs.items() if name != "model"})


def _for_model(adopted: Path, dataset: Any, row_tokens: int, folder: Path) -> dict[str, dict[str, int]]:
    vocabulary, context = models.limits(adopted)
    if context is not None and row_tokens > context:
        raise UserError(f"data.row_tokens is {row_tokens}, but the model reads {context} tokens at most; lower it")
    return data.write_corpus_for(data.load_tokenizer(adopted), vocabulary, dataset, row_tokens, folder)
