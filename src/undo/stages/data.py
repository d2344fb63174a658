"""data: a corpus folder from a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from undo import data, models
from undo.data.dataset import Dataset, Item, PromptAndAnswer, with_paths
from undo.data.sources import Source, read_documents
from undo.evals import _questions
from undo.spec.errors import UserError
from undo.spec.registry import load
from undo.stages import Context, Outcome, StageSettings, Traits

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SAMPLE = 100
"""Prompts that are asked, at most, to find out how their answers are joined to them."""
TOKENS = 4096
"""Tokens of a batch of these."""


class Settings(StageSettings):
    """The texts and how they are packed."""

    traits: ClassVar[Traits] = Traits(version=2, output="files", done="prepared", bytes_per_weight=0)

    dataset: dict[str, Any]
    """A dataset's settings, in which files and folders stand by their content; where they lie are inputs."""
    vocab_size: int | None
    row_tokens: int


def run(settings: Settings, context: Context) -> Outcome:
    """Writes tokenizer, packed rows and items."""
    inputs = dict(context.inputs)
    given, knower = inputs.pop("model", None), inputs.pop("knower", None)
    described = with_paths(settings.dataset, {name: str(path) for name, path in inputs.items()})
    separators = _separators(described, knower)
    described |= {name: described[name] | {"separator": separator} for name, separator in separators.items()}
    dataset: Dataset = load("datasets", settings.dataset["name"]).model_validate(described)  # type: ignore[assignment]
    if given is None:
        assert settings.vocab_size is not None
        counts = data.write_corpus(dataset, settings.vocab_size, settings.row_tokens, context.folder)
    else:
        counts = _for_model(given, dataset, settings.row_tokens, context.folder)
    return Outcome(evals=counts | {"separators": separators})


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


def likelier_separator(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: Source) -> str:
    """Of "" and " " the one with which the model finds a sample of the source's answers likelier, as whole texts."""
    pairs = [document for document in read_documents(source) if isinstance(document, PromptAndAnswer)]
    open_ones = [pair for pair in pairs if not (pair.prompt[-1].isspace() or pair.answer[0].isspace())]
    sample = open_ones[:: -(-len(open_ones) // SAMPLE) or 1]

    def loss(separator: str) -> float:
        items = [Item("valid", "forget", "", p.prompt, separator + p.answer, ends=False) for p in sample]
        asked = _questions.encode(tokenizer, items, TOKENS)
        return sum(_questions.score(model, asked, lambda a: a.sum_by_row(_questions.token_losses(a))))

    return " " if sample and loss(" ") < loss("") else ""


def _for_model(given: Path, dataset: Dataset, row_tokens: int, folder: Path) -> dict[str, dict[str, int]]:
    vocabulary, context = models.limits(given)
    if context is not None and row_tokens > context:
        raise UserError(f"data.row_tokens is {row_tokens}, but the model reads {context} tokens at most; lower it")
    return data.write_corpus_for(data.load_tokenizer(given), vocabulary, dataset, row_tokens, folder)
