"""The head of a causal language model apart from its body, so that losses need not hold all its logits."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from undo.data.batches import TokenBatch
from undo.objectives.predictions import Head, Predictions, logit_chunks

_SEPARABLE: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def predict(model: PreTrainedModel, rows: TokenBatch) -> Predictions:
    """The model's next-token distributions at every position of the rows, (B, T), differentiable.

    They are hidden states and head where that is all that makes the model's logits, and its own logits otherwise.
    """
    head = output_head(model)
    if head is None:
        return Predictions(model(input_ids=rows.ids, use_cache=False).logits, count=rows.count)
    return Predictions(hidden_states(model, rows.ids), head, rows.count)


def hidden_states(model: PreTrainedModel, ids_BT: Tensor) -> Tensor:
    """The states that the head reads, (B, T, D)."""
    return model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state


def output_head(model: PreTrainedModel) -> Head | None:
    """The head, as we read it from the configuration; None where that is not all that makes the model's logits.

    Each model object is probed once, by comparing the logits of a few tokens: a family that does something else to
    its logits is computed densely instead of wrongly.
    """
    with_probed_head(model)
    return _head(model) if _SEPARABLE[model] else None


def with_probed_head(model: PreTrainedModel) -> PreTrainedModel:
    """The model itself, probed: nothing that counts or traces its passes later sees those few tokens."""
    if model not in _SEPARABLE:
        _SEPARABLE[model] = _same_logits(model)
    return model


@torch.no_grad()
def _same_logits(model: PreTrainedModel) -> bool:
    if model.base_model is model or not isinstance(model.get_output_embeddings(), nn.Linear):
        return False
    modes = {part: part.training for part in model.modules()}
    ids_BT = torch.arange(4, device=model.device)[None] % model.config.vocab_size
    model.eval()
    own = model(input_ids=ids_BT, use_cache=False).logits.float().flatten(0, 1)
    hidden_BTD, head = hidden_states(model, ids_BT), _head(model)
    for part, training in modes.items():
        part.training = training
    if hidden_BTD.shape[-1] != head.weight.shape[-1] or not own.isfinite().all():  # in Electra something lies between
        return False
    flat = Predictions(hidden_BTD, head).flat()
    ours = torch.cat([logits_RV.clone() for _, (logits_RV,) in logit_chunks(flat)])
    rounding = 1e-4 if model.dtype == torch.float32 else 2e-2
    return own.shape == ours.shape and torch.allclose(own, ours, rtol=0, atol=rounding * float(own.abs().max()))


def _head(model: PreTrainedModel) -> Head:
    """The published ways of turning hidden states into logits: a bias, a factor (Cohere, Granite), a cap (Gemma 2)."""
    linear: Any = model.get_output_embeddings()
    config = model.config
    scale = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
    return Head(linear.weight, linear.bias, scale, getattr(config, "final_logit_softcapping", None))
