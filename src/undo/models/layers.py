"""Finding parameters and layers by name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from undo.spec.base import nearest
from undo.spec.errors import UserError


def decoder_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The decoder blocks in order, with their names: the outermost list of modules, the longest of several."""
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise UserError(f"{type(model).__name__} has no list of decoder layers; this method does not fit it")
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


@contextmanager
def layer_outputs(blocks: list[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects the hidden states (B, T, D) that each block puts out during the body; its hooks are always removed."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        assert isinstance(hidden, Tensor)
        outputs.append(hidden)

    handles = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
