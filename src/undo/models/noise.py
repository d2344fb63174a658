"""The noise step of UNDO: theta' = (1 - alpha) * theta + alpha * target (arXiv 2506.06278, section 5).

Matrices move towards `beta * N` with N Xavier-uniform; what vectors move towards is a rule of its own.
"""

import copy
import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from transformers import PreTrainedModel

from undo.models.layers import matching_parameters
from undo.spec.base import nearest
from undo.spec.errors import UserError
from undo.spec.keys import derive_seed

NoiseRule = Literal["initial", "paper", "reinit"]


def perturb(
    model: PreTrainedModel,
    alpha: float,
    beta: float,
    seed: int,
    rule: NoiseRule = "initial",
    parameters: tuple[str, ...] = (".*",),
) -> PreTrainedModel:
    """A noised copy of the model; the model itself is left alone. Parameters that no pattern matches are only copied.

    Rules: `initial` (ours) moves vectors towards their initial value, so that norm gains stored around 1 survive;
    `paper` moves vectors towards 0; `reinit` moves everything towards a draw of the model's own initialiser (beta
    scales the matrices). Every tensor has its own generator, so order and sharding do not matter.
    Raises UserError for an alpha outside [0, 1], a beta below 0, and a rule that is none.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"noise_alpha must lie in [0, 1], got {alpha}")
    if not 0 <= beta < math.inf:
        raise UserError(f"noise_beta must be 0 or more, got {beta}")
    if rule not in get_args(NoiseRule):
        raise UserError(f"no noise rule '{rule}'; {nearest(rule, list(get_args(NoiseRule)))}")
    noised = copy.deepcopy(model)
    initial = dict(_reinitialised(model, seed).named_parameters())
    chosen = matching_parameters(model, parameters)
    kernels = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, _ConvNd)}
    with torch.no_grad():
        for name, parameter in noised.named_parameters():
            if name not in chosen:
                continue
            if parameter.ndim < 2:
                target = torch.zeros_like(parameter) if rule == "paper" else initial[name]
            elif rule == "reinit":
                target = beta * initial[name]
            else:
                draw = xavier_uniform_kernel if name in kernels else xavier_uniform
                target = beta * draw(parameter, derive_seed(seed, name))
            parameter.mul_(1 - alpha).add_(target, alpha=alpha)
    return noised


def xavier_uniform(like: Tensor, seed: int) -> Tensor:
    """Uniform within sqrt(6 / (fan_in + fan_out)), of the shape of `like` (..., out, in).

    Leading dimensions stack matrices: expert weights (E, out, in) are E matrices with the fans of one.
    """
    *_, fan_out, fan_in = like.shape
    return _uniform(like, math.sqrt(6.0 / (fan_in + fan_out)), seed)


def xavier_uniform_kernel(like: Tensor, seed: int) -> Tensor:
    """The same for a convolution's weight (out, in, kernel...), whose fans count the kernel's positions."""
    positions = math.prod(like.shape[2:])
    return _uniform(like, math.sqrt(6.0 / (positions * (like.shape[0] + like.shape[1]))), seed)


def _uniform(like: Tensor, bound: float, seed: int) -> Tensor:
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.empty(like.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator).to(like)


def _reinitialised(model: PreTrainedModel, seed: int) -> nn.Module:
    """A model of the same shape, every module drawn by the model's own initialiser under a seed of its name."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # for what only a constructor fills
        fresh = type(model)(copy.deepcopy(model.config))
        for name, module in reversed(list(fresh.named_modules())):  # as transformers does: GPT-2 redraws at its root
            torch.manual_seed(derive_seed(seed, name))
            _initialiser_of(fresh, name)._init_weights(module)
    return nn.Module.to(fresh, model.device)


def _initialiser_of(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """The innermost model that holds a module: it may know sizes that the whole does not (Gemma 3n)."""
    parts = name.split(".")
    around = (model.get_submodule(".".join(parts[:count])) for count in range(len(parts), 0, -1))
    return next((module for module in around if isinstance(module, PreTrainedModel)), model)
