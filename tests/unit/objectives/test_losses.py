"""Every loss against its closed form, value and gradient, worked out in numpy in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from undo.objectives import (
    IGNORE,
    Predictions,
    activation_mse,
    cross_entropy,
    forward_kl,
    next_token_targets,
    uniform_kl,
    valid_mean,
)

SHAPES = [(1, 1, 2), (2, 3, 5), (3, 4, 17)]
DTYPES = [torch.float32, torch.bfloat16]


def example(shape: tuple[int, int, int], dtype: torch.dtype, seed: int = 0):
    """Logits of two models and targets, of which about a third are ignored but never the first."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    targets = torch.randint(shape[2], shape[:2], generator=generator)
    ignored = torch.rand(shape[:2], generator=generator) < 0.35
    ignored[0, 0] = False
    return student.requires_grad_(), teacher, targets.masked_fill(ignored, IGNORE)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def cross_entropy_by_hand(student, _teacher, targets):
    p, valid = softmax(student), targets != IGNORE
    hot = np.eye(student.shape[-1])[np.where(valid, targets, 0)]
    return -(hot * np.log(p)).sum(-1), p - hot


def forward_kl_by_hand(student, teacher, _targets):
    p, q = softmax(student), softmax(teacher)
    return (q * (np.log(q) - np.log(p))).sum(-1), p - q


def uniform_kl_by_hand(student, _teacher, _targets):
    p, size = softmax(student), student.shape[-1]
    return (-np.log(p) - np.log(size)).mean(-1), p - 1 / size


LOSSES = {  # on logits; through a head: test_chunked.py
    "cross_entropy": (lambda student, _, targets: cross_entropy(Predictions(student), targets), cross_entropy_by_hand),
    "forward_kl": (
        lambda student, teacher, targets: forward_kl(Predictions(student), Predictions(teacher), targets),
        forward_kl_by_hand,
    ),
    "uniform_kl": (lambda student, _, targets: uniform_kl(Predictions(student), targets), uniform_kl_by_hand),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_equal_the_closed_form(name, shape, dtype):
    loss, by_hand = LOSSES[name]
    student, teacher, targets = example(shape, dtype)
    value = loss(student, teacher, targets)
    value.backward()

    valid = (targets != IGNORE).numpy()
    values, gradients = by_hand(student.detach().double().numpy(), teacher.double().numpy(), targets.numpy())
    assert value.dtype == torch.float32  # bf16 logits are reduced in fp32: the tolerance below would catch bf16 sums
    assert value.item() == pytest.approx(values[valid].mean(), rel=2e-6, abs=1e-6)
    expected = torch.from_numpy(gradients * valid[..., None] / valid.sum())
    rounding = 1e-6 if dtype == torch.float32 else 2**-8  # the gradient comes back in the logits' own precision
    torch.testing.assert_close(student.grad.double(), expected, rtol=rounding, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_many_bf16_targets_are_summed_in_fp32(name):
    loss, by_hand = LOSSES[name]
    student, teacher, targets = example((16, 64, 7), torch.bfloat16)
    values, _ = by_hand(student.detach().double().numpy(), teacher.double().numpy(), targets.numpy())
    expected = values[(targets != IGNORE).numpy()].mean()
    assert loss(student, teacher, targets).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@given(rows=st.integers(1, 3), tokens=st.integers(1, 5), padded=st.integers(1, 4), seed=st.integers(0, 999))
def test_padding_changes_neither_value_nor_gradient(name, rows, tokens, padded, seed):
    loss, _ = LOSSES[name]
    student, teacher, targets = example((rows, tokens, 6), torch.float32, seed)
    long_student, long_teacher = (F.pad(x.detach(), (0, 0, 0, padded), value=9.0) for x in (student, teacher))
    long_student.requires_grad_()
    short, long = (
        loss(student, teacher, targets),
        loss(long_student, long_teacher, F.pad(targets, (0, padded), value=IGNORE)),
    )
    short.backward()
    long.backward()
    torch.testing.assert_close(long, short, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(long_student.grad[:, :tokens], student.grad, rtol=1e-6, atol=1e-8)
    assert not long_student.grad[:, tokens:].any()


@pytest.mark.parametrize("name", LOSSES)
def test_without_a_valid_target_the_loss_is_zero_and_its_gradient_too(name):
    student, teacher, targets = example((2, 3, 5), torch.float32)
    value = LOSSES[name][0](student, teacher, torch.full_like(targets, IGNORE))
    value.backward()
    assert value.item() == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


@pytest.mark.parametrize("name", LOSSES)
@given(cut=st.integers(1, 3), seed=st.integers(0, 999))
def test_micro_batches_weighted_by_their_targets_equal_one_batch(name, cut, seed):
    loss, _ = LOSSES[name]
    student, teacher, targets = example((4, 3, 6), torch.float32, seed)
    whole = loss(student, teacher, targets)
    (gradient,) = torch.autograd.grad(whole, student)
    counts = [(part != IGNORE).sum() for part in (targets[:cut], targets[cut:])]
    parts = [loss(student[rows], teacher[rows], targets[rows]) for rows in (slice(cut), slice(cut, None))]
    total = sum(part * count for part, count in zip(parts, counts, strict=True)) / sum(counts)
    torch.testing.assert_close(total, whole, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(torch.autograd.grad(total, student)[0], gradient, rtol=1e-5, atol=1e-7)


def test_cross_entropy_is_torchs():
    student, _, targets = example((3, 4, 17), torch.float32)
    expected = F.cross_entropy(student.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
    torch.testing.assert_close(cross_entropy(Predictions(student), targets), expected)


def test_uniform_kl_is_torchs():
    student, _, targets = example((3, 4, 17), torch.float32)
    log_p = F.log_softmax(student[targets != IGNORE], dim=-1)
    expected = F.kl_div(log_p, torch.full_like(log_p, 1 / 17), reduction="batchmean")
    torch.testing.assert_close(uniform_kl(Predictions(student), targets), expected)


@pytest.mark.parametrize("shift", [0.0, -80.0, 1e4])
def test_equal_logits_are_uniform(shift):
    _, _, targets = example((2, 3, 5), torch.float32)
    rounding = 1e-6 * max(1, abs(shift))  # of the logits themselves, in fp32
    assert abs(uniform_kl(Predictions(torch.full((2, 3, 5), shift)), targets).item()) <= rounding


def test_forward_kl_of_a_model_with_itself_is_zero():
    student, _, targets = example((2, 3, 5), torch.float32)
    assert forward_kl(Predictions(student), Predictions(student), targets).item() == 0


def test_forward_kl_weighs_by_the_teacher_not_the_student():
    teacher, student = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[0.0, 5.0]]])
    one = torch.zeros(1, 1, dtype=torch.long)
    expected = 0.5 * (np.log(0.5) * 2 - np.log(softmax(np.array([0.0, 5.0]))).sum())
    assert forward_kl(Predictions(student), Predictions(teacher), one).item() == pytest.approx(expected, rel=1e-6)


def test_forward_kl_gives_the_teacher_no_gradient():
    student, teacher, targets = example((2, 3, 5), torch.float32)
    teacher.requires_grad_()
    forward_kl(Predictions(student), Predictions(teacher), targets).backward()
    assert teacher.grad is None and student.grad.any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("goal_shape", [(2, 3, 8), (8,)], ids=["same shape", "one vector"])
def test_activation_mse_equals_the_closed_form(goal_shape, dtype):
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(2, 3, 8, generator=generator).to(dtype).requires_grad_()
    goal = torch.randn(goal_shape, generator=generator).to(dtype).requires_grad_()
    valid = torch.tensor([[True, False, True], [False, False, True]])
    value = activation_mse(hidden, goal, valid)
    value.backward()
    difference = (hidden.detach().double() - goal.detach().double()) * valid[..., None]
    assert value.item() == pytest.approx((difference**2).sum().item() / (3 * 8), rel=1e-6)
    rounding = 1e-6 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(hidden.grad.double(), 2 * difference / (3 * 8), rtol=rounding, atol=1e-7)
    assert goal.grad is None


def test_activation_mse_without_a_valid_position_is_zero():
    hidden = torch.randn(2, 3, 8, requires_grad=True)
    value = activation_mse(hidden, torch.ones(8), torch.zeros(2, 3, dtype=torch.bool))
    value.backward()
    assert value.item() == 0 and not hidden.grad.any()


def test_valid_mean_ignores_what_stands_at_masked_positions():
    values = torch.tensor([[1.0, float("nan")], [3.0, float("inf")]])
    assert valid_mean(values, torch.tensor([[True, False], [True, False]])).item() == 2


def test_a_position_predicts_the_next_token():
    labels = torch.tensor([[5, 6, IGNORE, 8], [1, 2, 3, 4]])
    expected = torch.tensor([[6, IGNORE, 8, IGNORE], [2, 3, 4, IGNORE]])
    assert torch.equal(next_token_targets(labels), expected)


def test_the_ignored_label_is_the_one_of_torch_and_transformers():
    assert torch.nn.CrossEntropyLoss().ignore_index == IGNORE
