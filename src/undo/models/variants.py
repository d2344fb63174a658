"""Copies of a model that an attack puts in its place; the model itself stays as it is."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from undo.models.layers import decoder_layers
from undo.models.sample import few_logits
from undo.spec.errors import NotApplicable

SOFT_PROMPT = "soft_prompt"
"""Name of the parameter (P, D) that `with_soft_prompt` adds."""


def copy_sharing_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Modules of its own, on the very same tensors: it can be changed in shape at no cost in memory."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def early_exit(model: PreTrainedModel, depth: float) -> PreTrainedModel:
    """The same weights without the later decoder layers: what is left goes through the final norm and the head.

    Args: depth, the share of the layers that is kept, rounded up.
    """
    cut = copy_sharing_weights(model)
    blocks = decoder_layers(cut)
    kept = max(1, math.ceil(depth * len(blocks) - 1e-9))
    del cut.get_submodule(blocks[0][0].rpartition(".")[0])[kept:]  # type: ignore[index]  # a ModuleList
    if kept < len(blocks) and few_logits(cut).equal(few_logits(model)):
        raise NotApplicable(
            f"{type(model).__name__} says the same without its last layers, so they are not where it ends"
        )
    return cut


def own_head(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights with a copy of the head that is not tied to the embeddings."""
    changed = copy_sharing_weights(model)
    head: Any = changed.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise NotApplicable(f"{type(model).__name__} has no linear head, so there is no linear probe of it")
    changed.set_output_embeddings(copy.deepcopy(head))
    return changed


def with_soft_prompt(model: PreTrainedModel, tokens: int, seed: int) -> PreTrainedModel:
    """The same weights behind `tokens` vectors that every text begins with, in a parameter named `SOFT_PROMPT`.

    The states at the vectors' own places are dropped, so shapes are those of the text.
    """
    prompted = copy_sharing_weights(model)
    table: Any = prompted.get_input_embeddings()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(table.weight.shape[0], (tokens,), generator=generator)
    with torch.no_grad():
        start_PD = table(drawn.to(table.weight.device)).clone()  # through the module: some scale what they look up
    prompted.register_parameter(SOFT_PROMPT, nn.Parameter(start_PD))
    prompted.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: _prepend(prompted, args, kwargs), with_kwargs=True
    )
    prompted.base_model.register_forward_hook(lambda _, __, output: _drop(output, tokens))
    return prompted


def _prepend(model: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Embeddings in place of ids; the base model is called with ids alone, on whole texts."""
    ids_BT = kwargs.pop("input_ids", None)
    ids_BT, args = (args[0], args[1:]) if ids_BT is None else (ids_BT, args)
    text_BTD = model.get_input_embeddings()(ids_BT)
    prompt_BPD = getattr(model, SOFT_PROMPT).to(text_BTD.dtype).expand(len(ids_BT), -1, -1)
    return args, kwargs | {"inputs_embeds": torch.cat([prompt_BPD, text_BTD], dim=1)}


def _drop(output: Any, tokens: int) -> Any:
    output.last_hidden_state = output.last_hidden_state[:, tokens:]
    return output


@torch.no_grad()
def quantised(model: PreTrainedModel, bits: int, group_size: int) -> PreTrainedModel:
    """A copy whose matrices, except the embeddings and the head, hold rounded values.

    The rounding is our own: of torchao 0.18 the 4-bit kernels need a GPU's, and its tensors are no plain ones that a
    head could be read from. Its 8-bit values have the same largest error as ours.
    """
    rounded = copy.deepcopy(model)
    tables = (rounded.get_input_embeddings(), rounded.get_output_embeddings())
    kept = {id(parameter) for table in tables if table is not None for parameter in table.parameters()}
    for parameter in rounded.parameters():
        if parameter.ndim >= 2 and id(parameter) not in kept:
            parameter.copy_(rounded_to_nearest(parameter, bits, group_size))
    return rounded


def rounded_to_nearest(weight: Tensor, bits: int, group_size: int) -> Tensor:
    """The nearest of 2^bits evenly spaced values between the extremes of each group of neighbours along the last axis.

    The last group of a row may be smaller. Returns the values that the levels stand for, in the weight's own type.
    """
    groups = [_rounded(group, 2**bits - 1) for group in weight.float().split(group_size, dim=-1)]
    return torch.cat(groups, dim=-1).to(weight.dtype)


def _rounded(group: Tensor, levels: int) -> Tensor:
    low, high = group.aminmax(dim=-1, keepdim=True)
    scale = (high - low).clamp(min=torch.finfo(group.dtype).tiny) / levels
    return (group - low).div_(scale).round_().mul_(scale).add_(low)
