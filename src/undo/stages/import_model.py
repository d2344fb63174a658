"""import_model: a model that exists already becomes the base of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from undo import data, models, train
from undo.spec.errors import UserError
from undo.stages import Context, Outcome, StageSettings, Traits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Settings(StageSettings):
    """Which model it is, by its content."""

    traits: ClassVar[Traits] = Traits(version=1, output="model", done="imported")

    fingerprint: str
    row_tokens: int | None = None
    """The length of the rows that it must be able to read, where it is compared with another model."""


def run(settings: Settings, context: Context) -> Outcome:
    """Writes the model with fp32 weights, and its tokenizer. What it cost before is not known: its ledger is empty."""
    folder, adapter = context.inputs["pretrained"], context.inputs.get("adapter")
    if models.fingerprint(folder, adapter) != settings.fingerprint:
        raise UserError(f"{folder} has changed since the study was planned; run the same command again")
    model, tokenizer = models.adopt(folder, adapter)
    if settings.row_tokens is not None:
        _check_reads_alike(folder, tokenizer, context.inputs["like"], settings.row_tokens)
    models.save_model(model, tokenizer, context.folder / "model")
    models.check_survives(model, models.load_model(context.folder / "model"), folder)
    return Outcome(ledger=train.Ledger())


def _check_reads_alike(folder: Path, tokenizer: PreTrainedTokenizerBase, other: Path, row_tokens: int) -> None:
    """Models are asked with one tokenizer, in rows of one length; what else a model was trained on would be noise."""
    mine, theirs = (reader.get_vocab() for reader in (tokenizer, data.load_tokenizer(other)))
    if mine != theirs:
        token = min(mine.items() ^ theirs.items(), key=lambda pair: pair[1])[0]
        raise UserError(f"the tokenizer of {folder} is another one (token {token!r}); compare models that share one")
    vocabulary, context = models.limits(folder)
    if vocabulary < models.limits(other).vocabulary:
        raise UserError(f"{folder} knows {vocabulary} tokens, fewer than the model it is compared with")
    if context is not None and row_tokens > context:
        raise UserError(f"data.row_tokens is {row_tokens}, but {folder} reads {context} tokens at most; lower it")
