"""What a model says to a few tokens: enough to tell whether two of them are the same function."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

ROWS, TOKENS = 2, 8


def few_ids(model: PreTrainedModel) -> Tensor:
    """Two short rows (B, T) of different tokens, on the model's device."""
    vocabulary = model.config.get_text_config().vocab_size
    return torch.arange(ROWS * TOKENS, device=model.device).view(ROWS, TOKENS) * 7 % vocabulary


@torch.no_grad()
def few_logits(model: PreTrainedModel) -> Tensor:
    """The logits (B, T, V) of these rows in evaluation mode, in which the model is left."""
    return model.eval()(input_ids=few_ids(model), use_cache=False).logits.float()


def same_function(logits: Tensor, others: Tensor, share: float = 1e-4) -> bool:
    """Whether logits agree within a share of the largest."""
    return logits.shape == others.shape and torch.allclose(
        logits, others, rtol=0, atol=share * float(logits.abs().max())
    )
