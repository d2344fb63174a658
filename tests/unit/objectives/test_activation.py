"""The discrepancy from noise against its definition: kernels over pairs, and draws in place of the closed form."""

import pytest
import torch

from undo.objectives import gaussian_mmd
from undo.objectives.activation import KERNEL_WIDTHS


def by_definition(samples_ND: torch.Tensor, draws: int) -> float:
    """Over all pairs, and over as many pairs of draws of noise, in double precision."""
    size = samples_ND.shape[1]
    noise, other = torch.randn(2, draws, size, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    apart = [torch.cdist(samples_ND, samples) ** 2 for samples in (samples_ND, noise)]
    apart.append(((noise - other) ** 2).sum(1))
    mean = (apart[0].mean() + 2 * ((samples_ND**2).sum(1).mean() + size) + 2 * size) / 4
    own, crossed, between = (
        sum(torch.exp(-each / (share * mean)).mean().item() for share in KERNEL_WIDTHS) for each in apart
    )
    return own - 2 * crossed + between


@pytest.mark.parametrize(("scale", "shift"), [(0.2, 0.0), (1.0, 0.0), (3.0, 0.0), (1.0, 2.0)])
def test_it_is_its_definition_with_the_noise_averaged_out(scale, shift):
    torch.manual_seed(3)
    hidden = scale * torch.randn(1, 10, 4) + shift
    found = gaussian_mmd(hidden, torch.ones(1, 10, dtype=torch.bool)).item()
    assert found == pytest.approx(by_definition(hidden[0].double(), draws=300_000), abs=5e-3)


def test_noise_is_nearer_to_noise_than_anything_else():
    torch.manual_seed(3)
    noise, valid = torch.randn(1, 200, 8), torch.ones(1, 200, dtype=torch.bool)
    near = gaussian_mmd(noise, valid)
    assert 0 < near < 0.05
    for other in (noise + 1, 3 * noise, 0.3 * noise, noise[:, :1].expand_as(noise)):
        assert gaussian_mmd(other, valid) > 3 * near


def test_descent_leads_to_noise():
    torch.manual_seed(3)
    hidden, valid = (2 + 0.1 * torch.randn(1, 120, 4)).requires_grad_(), torch.ones(1, 120, dtype=torch.bool)
    optimizer = torch.optim.Adam([hidden], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        gaussian_mmd(hidden, valid).backward()
        optimizer.step()
    assert hidden.mean(1).abs().max() < 0.5 and (hidden.std(1) - 1).abs().max() < 0.5


def test_rows_are_samples_of_their_own_and_weigh_by_their_positions():
    torch.manual_seed(3)
    hidden, valid = torch.randn(2, 9, 4), torch.ones(2, 9, dtype=torch.bool)
    valid[1, 3:] = False
    first, second = gaussian_mmd(hidden[:1], valid[:1]), gaussian_mmd(hidden[1:, :3], valid[1:, :3])
    torch.testing.assert_close(gaussian_mmd(hidden, valid), (9 * first + 3 * second) / 12)
    count = torch.tensor(12)
    parts = [gaussian_mmd(hidden[[row]], valid[[row]], count) for row in range(2)]
    torch.testing.assert_close(sum(parts), gaussian_mmd(hidden, valid))


def test_positions_without_a_target_do_not_count():
    torch.manual_seed(3)
    hidden, valid = torch.randn(2, 6, 4).requires_grad_(), torch.ones(2, 6, dtype=torch.bool)
    valid[1] = False
    loss = gaussian_mmd(hidden, valid)
    torch.testing.assert_close(loss, gaussian_mmd(hidden[:1], valid[:1]))
    loss.backward()
    assert hidden.grad[0].any() and not hidden.grad[1].any()
    assert gaussian_mmd(hidden, torch.zeros_like(valid)).item() == 0
