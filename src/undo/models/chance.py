"""Chance inside a model, such as dropout: found by what it does, switched off, or refused with its place.

A resumed stage would draw another one, so no number could be had again.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from undo.models.sample import few_ids
from undo.spec.errors import UserError

SEEDS = range(4)
"""Draws that have to agree; one would miss a layer that is left out now and then."""
Setting = tuple[tuple[str, ...], str]
"""Where a setting lies: the names of the configurations around it, and its own."""


def without_chance(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights under a configuration in which nothing is drawn.

    What is called dropout is switched off at once. Of the other settings it is one whose absence changes what the
    model says in training, and not what it says in evaluation. Raises UserError where chance is left.
    """
    config = copy.deepcopy(model.config)
    dropouts = [setting for setting in _shares(config) if "drop" in setting[1]]
    for setting in dropouts:
        _switch_off(config, setting)
    still = _rebuilt(model, config) if dropouts else model
    if _draws(still):
        still = _without_other_chance(still)
    return still.eval()


def _without_other_chance(model: PreTrainedModel) -> PreTrainedModel:
    for setting in _shares(model.config):
        config = copy.deepcopy(model.config)
        _switch_off(config, setting)
        try:
            without = _rebuilt(model, config)
            if not _said(without, False).equal(_said(model, False)) or _said(without, True).equal(_said(model, True)):
                continue
        except (ValueError, ArithmeticError, RuntimeError):  # a setting that cannot be zero
            continue
        model = without
        if not _draws(model):
            return model
    raise UserError(
        f"{type(model).__name__} draws lots in {_first_drawing(model)}, so no run of it could be repeated; "
        "switch that off in its config.json"
    )


def _shares(config: PretrainedConfig, place: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Settings that may be a probability or a width of noise, of the configurations inside too."""
    for name, value in list(vars(config).items()):
        if isinstance(value, PretrainedConfig):
            yield from _shares(value, (*place, name))
        elif isinstance(value, float) and 0 < value <= 1:
            yield place, name


def _switch_off(config: Any, setting: Setting) -> None:
    place, name = setting
    for part in place:
        config = getattr(config, part)
    setattr(config, name, 0.0)


def _rebuilt(model: PreTrainedModel, config: PretrainedConfig) -> PreTrainedModel:
    """The very same tensors under another configuration: modules read theirs when they are made."""
    with torch.random.fork_rng():
        fresh = type(model)(config)
    fresh.load_state_dict(model.state_dict(), assign=True)
    fresh.tie_weights()
    fresh.generation_config = model.generation_config
    return fresh.requires_grad_(True)


def _draws(model: PreTrainedModel) -> bool:
    return any(
        not _said(model, training, seed).equal(_said(model, training)) for training in (False, True) for seed in SEEDS
    )


@torch.no_grad()
def _said(model: PreTrainedModel, training: bool, seed: int = 0) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model.train(training)(input_ids=few_ids(model), use_cache=False).logits


def _first_drawing(model: PreTrainedModel) -> str:
    """The first module to end with something else under another seed: the innermost one that draws."""
    runs = []
    for seed in SEEDS:
        ended: list[tuple[str, list[Tensor]]] = []
        handles = [module.register_forward_hook(_keeper(name, ended)) for name, module in model.named_modules()]
        _said(model, True, seed)
        runs.append(ended)
        for handle in handles:
            handle.remove()
    for first, *others in zip(*runs, strict=False):
        if any(name != first[0] or not _same(output, first[1]) for name, output in others):
            return f"'{first[0]}' ({type(model.get_submodule(first[0])).__name__})"
    return "its forward pass"


def _keeper(name: str, ended: list[tuple[str, list[Tensor]]]) -> Any:
    def keep(_module: nn.Module, _inputs: object, output: Any) -> None:
        parts = output if isinstance(output, tuple) else [output]
        ended.append((name, [part.detach().clone() for part in parts if isinstance(part, Tensor)]))

    return keep


def _same(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(one.equal(other) for one, other in zip(some, others, strict=True))
