import copy

import pytest
import torch
from torch import nn

from undo.models import gradients, movable, restored, shift


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def test_what_may_move_has_gradients_switched_on(model):
    model[0].requires_grad_(False)
    assert movable(model) == [model[1].weight, model[1].bias]


def test_gradients_leave_what_was_accumulated_alone(model):
    model[0].weight.grad = torch.ones(4, 3)
    found = gradients(model[0](torch.ones(3)).sum(), list(model.parameters()))
    assert torch.equal(found[0], torch.ones(4, 3)) and torch.equal(found[1], torch.ones(4))
    assert not found[2].any() and not found[3].any(), "zero where the loss does not depend on it"
    assert model[0].weight.grad.eq(1).all() and model[0].bias.grad is None


@pytest.mark.parametrize("length", [0.5, -2.0])
def test_a_shift_has_its_length_over_all_weights(model, length):
    before, moving = copy.deepcopy(model), movable(model)
    directions = [torch.randn_like(parameter) for parameter in moving]
    shift(moving, directions, length)
    moved = torch.cat([(new - old).flatten() for new, old in zip(moving, before.parameters(), strict=True)]).detach()
    along = torch.cat([direction.flatten() for direction in directions])
    assert moved.norm().item() == pytest.approx(abs(length), rel=1e-5)
    assert torch.cosine_similarity(moved, along, dim=0).item() == pytest.approx(1 if length > 0 else -1)


def test_a_direction_of_zero_is_no_shift(model):
    moving, before = movable(model), copy.deepcopy(model.state_dict())
    shift(moving, [torch.zeros_like(parameter) for parameter in moving], 1.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_are_restored_bit_by_bit_even_after_an_error(model):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(KeyError), restored(movable(model)):
        shift(movable(model), [torch.randn_like(p) for p in movable(model)], 1e3)
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
