import math

import pytest
import torch
from torch import nn

from undo.spec.recipe import Optim
from undo.train.optim import learning_rate, make_optimizer


def optim(**knobs) -> Optim:
    return Optim(**{"learning_rate": 2.0, **knobs})


def rates(chosen: Optim, steps: int) -> list[float]:
    return [learning_rate(chosen, step, steps) for step in range(steps)]


def test_constant_after_one_warm_up_step():
    assert rates(optim(warmup_steps=1), 4) == [1.0, 2.0, 2.0, 2.0]


def test_warm_up_is_linear_and_never_zero():
    assert rates(optim(warmup_steps=3), 5) == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates(optim(warmup_steps=0), 2) == [2.0, 2.0]


def test_cosine_falls_from_the_peak_to_its_final_share():
    chosen = optim(schedule="cosine", warmup_steps=0, final_share=0.1)
    assert learning_rate(chosen, 0, 100) == pytest.approx(2.0)
    assert learning_rate(chosen, 25, 100) == pytest.approx(2 * (0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2))
    assert learning_rate(chosen, 50, 100) == pytest.approx(2 * 0.55)
    assert learning_rate(chosen, 100, 100) == pytest.approx(0.2)
    assert learning_rate(chosen, 99, 100) == pytest.approx(0.2, rel=0.01)


def test_cosine_starts_after_the_warm_up():
    values = rates(optim(schedule="cosine", warmup_steps=4), 100)
    assert values[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert values[4:] == sorted(values[4:], reverse=True) and len(set(values[4:])) == 96
    assert values[52] == pytest.approx(2 * 0.55)  # half-way between the warm-up and the end


def test_cosine_stays_at_its_final_share_past_the_end():
    assert learning_rate(optim(schedule="cosine"), 500, 100) == pytest.approx(0.2)


def test_a_warm_up_longer_than_the_stage_stays_below_the_peak():
    values = rates(optim(schedule="cosine", warmup_steps=10), 5)
    assert values == sorted(values) and max(values) < 1


def test_only_matrices_decay():
    matrix, vector = nn.Parameter(torch.full((2, 2), 3.0)), nn.Parameter(torch.full((2,), 3.0))
    optimizer = make_optimizer([vector, matrix], optim(learning_rate=0.1, weight_decay=0.5))
    matrix.grad, vector.grad = torch.zeros_like(matrix), torch.zeros_like(vector)
    optimizer.step()
    torch.testing.assert_close(matrix.detach(), torch.full((2, 2), 3.0 * (1 - 0.1 * 0.5)))
    assert torch.equal(vector.detach(), torch.full((2,), 3.0))


def test_the_first_step_moves_by_the_learning_rate():
    """AdamW's first step is lr * sign(gradient), whatever the betas."""
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = make_optimizer([weight], optim(learning_rate=0.1, betas=(0.5, 0.7)))
    weight.grad = torch.tensor([[1.0, -2.0], [3.0, -4.0]])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), -0.1 * weight.grad.sign(), rtol=1e-5, atol=1e-6)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.5, 0.7)}
