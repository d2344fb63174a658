"""Cross-entropy row by row, and losses of the rows' log-likelihoods, against dense ones by torch's autograd."""

import pytest
import torch
import torch.nn.functional as F

from undo.objectives import (
    IGNORE,
    Predictions,
    chunked,
    cross_entropy,
    mean_of_rows,
    predictions,
    row_log_likelihoods,
    row_weighted_cross_entropy,
    surrogate_loss,
    token_losses,
)
from undo.objectives.predictions import Head

ROWS, TOKENS, VOCABULARY, WIDTH = 4, 6, 19, 8
WEIGHTS_B = torch.tensor([0.5, -2.0, 0.0, 3.0])


@pytest.fixture(params=[1, 5, 1000], ids="{}_positions_at_a_time".format)
def chunks(request, monkeypatch):
    monkeypatch.setattr(predictions, "CHUNK_ROWS", 1)
    monkeypatch.setitem(predictions.CHUNK_ENTRIES, "cpu", request.param * VOCABULARY)
    monkeypatch.setitem(chunked.BLOCK_ENTRIES, "cpu", 3 * VOCABULARY)


@pytest.fixture
def student() -> Predictions:
    torch.manual_seed(0)
    weight = (torch.randn(VOCABULARY, WIDTH) / WIDTH**0.5).requires_grad_()
    return Predictions((2 * torch.randn(ROWS, TOKENS, WIDTH)).requires_grad_(), Head(weight, softcap=5.0))


@pytest.fixture
def targets() -> torch.Tensor:
    """Rows of 6, 4 and 1 targets, and one of none."""
    targets = torch.randint(VOCABULARY, (ROWS, TOKENS), generator=torch.Generator().manual_seed(1))
    targets[1, :2], targets[2, 1:], targets[3] = IGNORE, IGNORE, IGNORE
    return targets


def dense_losses(student: Predictions, targets: torch.Tensor) -> torch.Tensor:
    """(B, T) in double precision."""
    head = student.head
    logits = 5.0 * torch.tanh(F.linear(student.hidden.double(), head.weight.double()) / 5.0)
    return F.cross_entropy(logits.mT, targets, reduction="none", ignore_index=IGNORE)


def assert_same(found: torch.Tensor, expected: torch.Tensor, student: Predictions) -> None:
    torch.testing.assert_close(found, expected.float(), rtol=2e-6, atol=1e-6)
    leaves = (student.hidden, student.head.weight)
    for one, other in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6 * float(other.abs().max()))


def test_token_losses_are_the_dense_ones(student, targets, chunks):
    found = token_losses(student, targets)
    torch.testing.assert_close(found, dense_losses(student, targets).float(), rtol=2e-6, atol=1e-6)
    assert not found.requires_grad and not found[targets == IGNORE].any()
    torch.testing.assert_close(row_log_likelihoods(student, targets), -found.sum(1))


def test_their_mean_is_the_cross_entropy(student, targets):
    mean = token_losses(student, targets).sum() / (targets != IGNORE).sum()
    torch.testing.assert_close(mean, cross_entropy(student, targets).detach())


def test_rows_weigh_what_they_are_given(student, targets, chunks):
    found = row_weighted_cross_entropy(student, targets, WEIGHTS_B)
    assert_same(found, (WEIGHTS_B * dense_losses(student, targets).sum(1)).sum(), student)


def test_the_weights_get_no_gradient(student, targets):
    weights_B = WEIGHTS_B.clone().requires_grad_()
    row_weighted_cross_entropy(student, targets, weights_B).backward()
    assert weights_B.grad is None


ROW_LOSSES = {
    "identity": lambda likelihoods_B: likelihoods_B,
    "sigmoid": lambda likelihoods_B: -20 * F.logsigmoid(-0.1 * (likelihoods_B + 12)),
    "square": lambda likelihoods_B: (likelihoods_B / 10) ** 2,
}


@pytest.mark.parametrize("name", ROW_LOSSES)
def test_a_loss_of_rows_is_the_dense_one(name, student, targets, chunks):
    found = mean_of_rows(ROW_LOSSES[name], student, targets)
    shares_B = (targets != IGNORE).sum(1) / (targets != IGNORE).sum()
    assert_same(found, (shares_B * ROW_LOSSES[name](-dense_losses(student, targets).sum(1))).sum(), student)


def test_parts_of_a_loss_of_rows_add_up(student, targets):
    whole, count = mean_of_rows(ROW_LOSSES["sigmoid"], student, targets), (targets != IGNORE).sum()
    parts = [
        mean_of_rows(ROW_LOSSES["sigmoid"], Predictions(student.hidden[rows], student.head, count), targets[rows])
        for rows in (slice(1), slice(1, 4))
    ]
    torch.testing.assert_close(sum(parts), whole)
    found, expected = (torch.autograd.grad(loss, student.head.weight)[0] for loss in (sum(parts), whole))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_no_targets_at_all_are_a_loss_of_zero(student, targets):
    loss = mean_of_rows(ROW_LOSSES["square"], student, torch.full_like(targets, IGNORE))
    loss.backward()
    assert loss.item() == 0 and not student.hidden.grad.any()


def test_a_loss_of_rows_has_a_value_without_gradients(student, targets):
    expected = mean_of_rows(ROW_LOSSES["sigmoid"], student, targets)
    with torch.no_grad():
        found = mean_of_rows(ROW_LOSSES["sigmoid"], student, targets)
    assert torch.equal(found, expected) and not found.requires_grad


def test_a_surrogate_has_the_given_value_and_gradient():
    first, second = torch.ones(2, requires_grad=True), torch.full((2, 2), 3.0, requires_grad=True)
    gradients = torch.tensor([1.0, -2.0]), torch.arange(4.0).view(2, 2)
    loss = 2 * surrogate_loss(torch.tensor(7.0), (first, second), gradients)
    loss.backward()
    assert loss.item() == 14
    assert torch.equal(first.grad, 2 * gradients[0]) and torch.equal(second.grad, 2 * gradients[1])
