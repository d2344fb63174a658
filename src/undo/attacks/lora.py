"""Finetuning through low-rank adapters (Hu et al., arXiv 2106.09685), over ranks and learning rates."""

from __future__ import annotations

import importlib.util
from typing import Annotated, ClassVar, Self

from pydantic import Field

from undo import models
from undo.attacks import AdversaryContext, Training
from undo.spec.errors import UserError


class Lora(Training):
    """Finetunes low-rank adapters on every linear layer but the head; the model's own weights stay."""

    axes: ClassVar[dict[str, str]] = {"ranks": "rank", "learning_rates": "learning_rate"}
    starts_at_model: ClassVar[bool] = True  # an adapter's second matrix begins at 0

    ranks: tuple[Annotated[int, Field(ge=1)], ...] = Field((8,), min_length=1)
    """Ranks of the adapters, one variant each; their output is scaled by 2 (alpha is twice the rank)."""

    def variants(self) -> list[Self]:
        """One per rank and learning rate."""
        if importlib.util.find_spec("peft") is None:
            raise UserError("the attack 'lora' needs the package 'peft'; install it: pip install 'undo-llm[audit]'")
        return super().variants()

    def wrap(self, model, adversary: AdversaryContext):
        """The same weights with adapters beside them, drawn from the seed."""
        import torch
        from peft import LoraConfig, inject_adapter_in_model

        wrapped, rank = models.copy_sharing_weights(model), self.ranks[0]
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", lora_dropout=0.0)
        with torch.random.fork_rng():
            torch.manual_seed(adversary.seed)
            inject_adapter_in_model(config, wrapped)
        return wrapped

    def trainable(self, model) -> set[str]:
        """The adapters."""
        return {name for name, _ in model.named_parameters() if ".lora_" in name}
