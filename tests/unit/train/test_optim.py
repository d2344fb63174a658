import math

import pytest
import torch
from torch import nn

from undo import models
from undo.spec.recipe import Optim
from undo.train.optim import learning_rate, make_optimizer, orthogonalised


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


def muon(*, lr: float = 0.1, decay: float = 0.0) -> Optim:
    return optim(optimizer="muon", learning_rate=lr, weight_decay=decay)


@pytest.mark.parametrize("shape", [(8, 8), (4, 24), (24, 4), (3, 6, 16)])
def test_orthogonalised_brings_singular_values_near_one(shape):
    values = torch.linalg.svdvals(orthogonalised(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.3 and values.max() < 1.3


def test_muon_moves_matrices_as_torchs_own_does():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(6, 20)) for _ in range(2))
    mine = make_optimizer([ours], muon(decay=0.1), [ours])
    other = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = torch.randn(6, 20)
        theirs.grad = ours.grad.clone()
        mine.step()
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.02)  # theirs rounds to bf16 in every iteration


def test_muon_leaves_what_is_no_matrix_to_adamw():
    torch.manual_seed(0)
    starts = [torch.randn(4, 4), torch.randn(4), torch.randn(4, 4)]
    pushes = [torch.randn_like(start) for start in starts]

    def moved(chosen: Optim, matrices) -> list[torch.Tensor]:
        parameters = [nn.Parameter(start.clone()) for start in starts]
        optimizer = make_optimizer(parameters, chosen, [parameters[index] for index in matrices])
        for parameter, push in zip(parameters, pushes, strict=True):
            parameter.grad = push.clone()
        optimizer.step()
        return [parameter.detach() for parameter in parameters]

    with_muon, with_adamw = moved(muon(), [0]), moved(optim(learning_rate=0.1), [])
    assert torch.equal(with_muon[1], with_adamw[1]) and torch.equal(with_muon[2], with_adamw[2])
    assert not torch.allclose(with_muon[0], with_adamw[0])


def test_a_step_of_muon_is_as_long_as_adamws_usual_one():
    """Root mean square 0.2 of the rate, within what the iteration leaves of the singular values."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(32, 96))
    optimizer = make_optimizer([weight], muon(lr=1.0), [weight])
    weight.grad = torch.randn(32, 96)
    optimizer.step()
    assert 0.14 < weight.square().mean().sqrt().item() < 0.26


def test_state_matrices_are_no_tables(tiny_model):
    model = tiny_model
    names = {id(p): name for name, p in model.named_parameters()}
    found = {names[id(p)] for p in models.state_matrices(model)}
    assert found and all("proj" in name for name in found)
