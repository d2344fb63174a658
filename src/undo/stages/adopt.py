"""adopt: a model that exists already becomes the base of a study."""

from __future__ import annotations

from typing import Any

from undo import models, train
from undo.spec.errors import UserError
from undo.stages import Context, Outcome

VERSION = 1


def run(settings: dict[str, Any], context: Context) -> Outcome:
    """Writes the model with fp32 weights, and its tokenizer. What it cost before is not known: its ledger is empty."""
    folder = context.inputs["pretrained"]
    if models.fingerprint(folder) != settings["fingerprint"]:
        raise UserError(f"{folder} has changed since the study was planned; run the same command again")
    models.save_model(*models.adopt(folder), context.folder / "model")
    return Outcome(ledger=train.Ledger())
