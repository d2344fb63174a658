"""data: a corpus folder from a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from undo import data, models
from undo.data.dataset import Item, Pair, placed
from undo.data.sources import Source, read_documents
from undo.evals import _questions
from undo.spec.errors import UserError
from undo.spec.registry import load
from undo.stages import Context, Outcome

VERSION = 2
SAMPLE = 100
"""Prompts that are asked, at most, to find out how their answers are joined to them."""
TOKENS = 4096
"""Tokens of a batch of these."""


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Writes tokenizer, packed rows and items."""
    here = _here(settings["dataset"], context.inputs)
    separators = _separators(here, context.inputs.get("knower"))
    here |= {name: here[name] | {"separator": separator} for name, separator in separators.items()}
    dataset = load("datasets", settings["dataset"]["name"]).model_validate(here)
    rows, adopted = settings["row_tokens"], context.inputs.get("model")
    if adopted is None:
        counts = data.write_corpus(dataset, settings["vocab_size"], rows, context.folder)
    else:
        counts = _for_model(adopted, dataset, rows, context.folder)
    return Outcome(evals=counts | {"separators": separators})


def _here(dataset: dict[str, Any], inputs: dict[str, Path]) -> dict[str, Any]:
    """The dataset's settings with the places of texts that a plan knows by their content."""
    return placed(dataset, {name: str(path) for name, path in inputs.items() if name not in ("model", "knower")})


def _separators(dataset: dict[str, Any], knower: Path | None) -> dict[str, str]:
    """What stands between prompts and answers of each source that leaves it open: a space where the model that should
    know the answers finds them likelier so, and nothing otherwise.
    """
    sources = {name: value for name, value in dataset.items() if isinstance(value, dict) and "separator" in value}
    undecided = {name: Source(**value) for name, value in sources.items() if value["separator"] is None}
    if not undecided or knower is None:
        return dict.fromkeys(undecided, "")
    model, tokenizer = models.freeze(models.load_model(knower)), data.load_tokenizer(knower)
    return {name: likelier_separator(model, tokenizer, source) for name, source in undecided.items()}


def likelier_separator(model: Any, tokenizer: Any, source: Source) -> str:
    """Of "" and " " the one with which the model finds a sample of the source's answers likelier, as whole texts."""
    pairs = [document for document in read_documents(source) if isinstance(document, Pair)]
    open_ones = [pair for pair in pairs if not (pair.prompt[-1].isspace() or pair.answer[0].isspace())]
    sample = open_ones[:: -(-len(open_ones) // SAMPLE) or 1]

    def loss(separator: str) -> float:
        items = [Item("valid", "forget", "", p.prompt, separator + p.answer, ends=False) for p in sample]
        asked = _questions.encode(tokenizer, items, TOKENS)
        return sum(_questions.score(model, asked, lambda a: a.sum_by_row(_questions.token_losses(a))))

    return " " if sample and loss(" ") < loss("") else ""


def _for_model(adopted: Path, dataset: Any, row_tokens: int, folder: Path) -> dict[str, dict[str, int]]:
    vocabulary, context = models.limits(adopted)
    if context is not None and row_tokens > context:
        raise UserError(f"data.row_tokens is {row_tokens}, but the model reads {context} tokens at most; lower it")
    return data.write_corpus_for(data.load_tokenizer(adopted), vocabulary, dataset, row_tokens, folder)
