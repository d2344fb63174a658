"""Finding parameters and layers by name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from undo.spec.base import nearest
from undo.spec.errors import NotApplicable, UserError


def decoder_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The decoder blocks in order, with their names: the outermost list of modules, the longest of several."""
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise NotApplicable(f"{type(model).__name__} has no list of decoder layers")
    name, blocks = min(lists, key=lambda found: (found[0].count("."), -len(found[1])))
    return [(f"{name}.{index}", block) for index, block in enumerate(blocks)]


def pick_layers(model: nn.Module, wanted: tuple[int, ...]) -> list[tuple[str, nn.Module]]:
    """The decoder blocks with these numbers (from 0)."""
    blocks = decoder_layers(model)
    unknown = [index for index in wanted if not 0 <= index < len(blocks)]
    if unknown:
        raise UserError(f"no layer {unknown[0]}: this model has layers 0 to {len(blocks) - 1}")
    return [blocks[index] for index in wanted]


def matching_parameters(model: nn.Module, patterns: tuple[str, ...]) -> set[str]:
    """Names of the parameters that some pattern matches from its start; a pattern without a match is an error."""
    known = [name for name, _ in model.named_parameters()]
    picked = set()
    for pattern in patterns:
        try:
            found = {name for name in known if re.match(pattern, name)}
        except re.error as error:
            raise UserError(f"'{pattern}' is no regular expression for parameter names: {error}") from None
        if not found:
            raise UserError(f"no parameter matches '{pattern}'; {nearest(pattern, known)}")
        picked |= found
    return picked


def state_matrices(model: Any) -> list[nn.Parameter]:
    """The weights that map states to states, stacks of experts included: no embedding, head, convolution or vector."""
    head = model.get_output_embeddings()
    others = [module for module in model.modules() if isinstance(module, nn.Embedding | _ConvNd) or module is head]
    left_out = {id(parameter) for module in others for parameter in module.parameters()}
    return [p for p in model.parameters() if p.ndim >= 2 and id(p) not in left_out]


def down_projections(block: nn.Module, width: int) -> set[str]:
    """Names, within a decoder block, of the parameters that write its MLP's inner layer back to the residual stream.

    Found by shape: linear layers from another width to the model's, and stacks of such matrices in experts. Attention
    ends in one too, but keeps a place in the cache, which an MLP does not need; where nothing else writes to the
    stream (Mamba), those are taken.
    """
    found: dict[str, bool] = {}
    for path, module in block.named_modules():
        names = (
            _stacked_down(module, width) if not isinstance(module, nn.Linear | Conv1D) else _linear_down(module, width)
        )
        found |= {f"{path}.{name}".lstrip("."): _mixes_tokens(block, path) for name in names}
    outside = {name for name, mixes in found.items() if not mixes}
    if not found:
        raise NotApplicable(f"no layer of {type(block).__name__} writes from an inner width to the model's {width}")
    return outside or set(found)


def _linear_down(linear: nn.Linear | Conv1D, width: int) -> list[str]:
    inner, outer = linear.weight.shape if isinstance(linear, Conv1D) else reversed(linear.weight.shape)
    return [name for name, _ in linear.named_parameters()] if outer == width != inner else []


def _stacked_down(module: nn.Module, width: int) -> list[str]:
    """Of the stacks (E, out, in) or (E, in, out) of a module: a gate and what goes up with it may be one of twice the
    inner width, so the narrower one goes down; among equals the one that is (E, width, inner).
    """
    stacks = {name: tuple(p.shape[1:]) for name, p in module.named_parameters(recurse=False) if p.ndim == 3}
    inner = {name: max(set(shape) - {width}, default=width) for name, shape in stacks.items() if width in shape}
    least = [name for name in inner if inner[name] == min(inner.values())]
    return [name for name in least if stacks[name][0] == width] or least if len(least) > 1 else least


def _mixes_tokens(block: nn.Module, path: str) -> bool:
    """Whether a module lies in one that has a place in the cache: those know the number of their layer."""
    parts = path.split(".")
    return any(hasattr(block.get_submodule(".".join(parts[:n])), "layer_idx") for n in range(1, len(parts) + 1))


@contextmanager
def layer_outputs(blocks: list[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects the hidden states (B, T, D) that each block puts out during the body; its hooks are always removed."""
    outputs: list[Tensor] = []

    def keep(module: nn.Module, _inputs: object, output: object) -> None:
        hidden = output[0] if isinstance(output, tuple | list) and output else output
        if not isinstance(hidden, Tensor) or hidden.ndim != 3:
            raise NotApplicable(f"layers of this family ({type(module).__name__}) put out no single hidden state")
        outputs.append(hidden)

    handles = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield outputs
        if len(outputs) != len(blocks):
            raise NotApplicable(f"layers of this family run {len(outputs) / len(blocks):g} times in a pass")
    finally:
        for handle in handles:
            handle.remove()
