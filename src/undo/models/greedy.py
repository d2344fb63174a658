"""A model's likeliest continuation of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def generate_greedy(model: Any, tokenizer: Any, ids: list[int], most: int) -> tuple[list[int], Tensor]:
    """At most `most` new tokens after `ids` (the opening one included), the end token last where the model wrote it.

    Greedy; every model alike, whatever its own generation settings. Returns them and the first one's logits (V).
    """
    import torch
    from transformers import GenerationConfig

    end = tokenizer.eos_token_id
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=most,
        eos_token_id=end,
        pad_token_id=end,
        return_dict_in_generate=True,
        output_logits=True,
    )
    ids_BT = torch.tensor([ids], device=model.device)
    with torch.no_grad():
        written = model.generate(ids_BT, attention_mask=torch.ones_like(ids_BT), generation_config=settings)
    return written.sequences[0, len(ids) :].tolist(), written.logits[0][0]
