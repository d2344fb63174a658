"""Losses through a head in chunks against dense ones by torch's autograd: every value, every gradient, every corner."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from undo.objectives import (
    IGNORE,
    Head,
    Predictions,
    TopTokens,
    chunked,
    cross_entropy,
    demoted_kl,
    ensemble_kl,
    forward_kl,
    greedy,
    jensen_shannon,
    predictions,
    top_forward_kl,
    top_tokens,
    uniform_kl,
)

SHAPE, VOCABULARY, WIDTH, TEACHER_WIDTH = (3, 5), 23, 8, 12
SHARES = (0.1, 0.5, 0.9)


# -- the dense truth ---------------------------------------------------------------------------------------------------


def dense_logits(model: Predictions) -> torch.Tensor:
    """In double precision but for the product of bf16, which is rounded as on a GPU; gradients in the leaves' own."""
    head = model.head
    if head is None:
        return model.hidden.double()
    dtype = torch.double if model.hidden.dtype == torch.float32 else model.hidden.dtype
    product = F.linear(model.hidden.to(dtype), head.weight.to(dtype)).double()
    scores = head.scale * (product if head.bias is None else product + head.bias.double())
    return scores if head.softcap is None else head.softcap * torch.tanh(scores / head.softcap)


def mean(losses: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    valid = targets != IGNORE
    return torch.where(valid, losses, 0.0).sum() / valid.sum().clamp(min=1)


def kl(first_log: torch.Tensor, second_log: torch.Tensor) -> torch.Tensor:
    """KL(first || second) per position."""
    return F.kl_div(second_log, first_log, reduction="none", log_target=True).sum(-1)


def dense_cross_entropy(p_log, _teacher, targets):
    return F.cross_entropy(p_log.flatten(0, -2), targets.flatten(), reduction="none", ignore_index=IGNORE)


def dense_forward_kl(p_log, q_log, _targets):
    return kl(q_log, p_log)


def dense_top_kl(k: int):
    def loss(p_log, q_log, _targets):
        q, tokens = q_log.exp().topk(k)
        p = p_log.exp().gather(-1, tokens)
        inside = (q * (q.log() - p.log())).sum(-1)
        rest = torch.ones_like(p_log).scatter(-1, tokens, 0.0)
        p_rest, q_rest = ((log.exp() * rest).sum(-1) for log in (p_log, q_log))
        return inside if k == q_log.shape[-1] else inside + q_rest * (q_rest.log() - p_rest.log())

    return loss


def dense_tempered_kl(temperature: float):
    def loss(p_log, q_log, _targets):
        soft_p, soft_q = (F.log_softmax(log / temperature, -1) for log in (p_log, q_log))
        return temperature**2 * kl(soft_q, soft_p)

    return loss


def dense_demoted_kl(strength: float):
    def loss(p_log, q_log, targets):
        demoted = q_log - strength * F.one_hot(targets.clamp(min=0), q_log.shape[-1])
        return kl(F.log_softmax(demoted, -1), p_log)

    return loss


def dense_jsd(share: float):
    def loss(p_log, q_log, _targets):
        mixed = (share * q_log.exp() + (1 - share) * p_log.exp()).log()
        return share * kl(q_log, mixed) + (1 - share) * kl(p_log, mixed)

    return loss


def top_kl(k: int):
    return lambda student, teacher, targets: top_forward_kl(student, top_tokens(teacher, k), targets)


def jsd(share: float):
    return lambda student, teacher, targets: jensen_shannon(student, teacher, targets, share)


# name: (loss, its dense losses per position from log p, log q and targets)
LOSSES = {
    "cross_entropy": (lambda student, teacher, targets: cross_entropy(student, targets), dense_cross_entropy),
    "uniform_kl": (
        lambda student, teacher, targets: uniform_kl(student, targets),
        lambda p_log, q_log, targets: kl(torch.full_like(p_log, -math.log(p_log.shape[-1])), p_log),
    ),
    "forward_kl": (forward_kl, dense_forward_kl),
    "tempered_kl": (lambda *models: forward_kl(*models, 2.5), dense_tempered_kl(2.5)),
    "ensemble_kl": (lambda student, teacher, targets: ensemble_kl(student, [teacher], targets), dense_forward_kl),
    "demoted_kl": (lambda *models: demoted_kl(*models, 3.0), dense_demoted_kl(3.0)),
    **{f"top_{k}": (top_kl(k), dense_top_kl(k)) for k in (1, 4, VOCABULARY)},
    **{f"jsd_{share}": (jsd(share), dense_jsd(share)) for share in SHARES},
}

every_loss = pytest.mark.parametrize("name", LOSSES)


def dense(name: str, student: Predictions, teacher: Predictions, targets: torch.Tensor) -> torch.Tensor:
    p_log, q_log = (F.log_softmax(dense_logits(model), -1).flatten(0, -2) for model in (student, teacher))
    return mean(LOSSES[name][1](p_log, q_log.detach(), targets.flatten()), targets.flatten()).float()


# -- examples ----------------------------------------------------------------------------------------------------------


def model(width=WIDTH, bias=True, scale=1.0, softcap=None, dtype=torch.float32, seed=0, size=3.0, shape=SHAPE):
    """Leaves that want gradients: hidden states whose logits are about `size` large, weight and bias."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape: int, spread: float) -> torch.Tensor:
        return (spread * torch.randn(shape, generator=generator)).to(dtype).requires_grad_()

    weight = leaf(VOCABULARY, width, spread=width**-0.5)
    head = Head(weight, leaf(VOCABULARY, spread=1.0) if bias else None, scale, softcap)
    return Predictions(leaf(*shape, width, spread=size), head)


def masked(kind: str, shape=SHAPE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    targets = torch.randint(VOCABULARY, shape, generator=generator)
    if kind == "random":
        return targets.masked_fill(torch.rand(shape, generator=generator) < 0.4, IGNORE)
    if kind == "rows":
        targets[1:] = IGNORE
    return targets.fill_(IGNORE) if kind == "all" else targets


def leaves(student: Predictions) -> list[torch.Tensor]:
    head = student.head
    return [student.hidden] if head is None else [x for x in (student.hidden, head.weight, head.bias) if x is not None]


def gradients(loss: torch.Tensor, student: Predictions) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, leaves(student)))


def assert_same_gradients(found, expected, rounding: float) -> None:
    """Within rounding of the largest entry of each gradient: entries near 0 are differences of large numbers."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        largest = other.abs().max().item()
        assert largest > 0
        torch.testing.assert_close(one, other, rtol=0, atol=rounding * largest)


@pytest.fixture
def chunks(monkeypatch):
    """Sets the rows per chunk of logits and per block of a rule."""

    def set_rows(chunk: int, block: int) -> None:
        monkeypatch.setattr(predictions, "CHUNK_ROWS", 1)
        monkeypatch.setitem(predictions.CHUNK_ENTRIES, "cpu", chunk * VOCABULARY)
        monkeypatch.setitem(chunked.BLOCK_ENTRIES, "cpu", block * VOCABULARY)

    return set_rows


every_chunk = pytest.mark.parametrize(("chunk", "block"), [(1, 1), (4, 3), (7, 100), (100, 2), (100, 100)])


# -- value and gradients -----------------------------------------------------------------------------------------------


@every_loss
@every_chunk
@pytest.mark.parametrize("softcap", [None, 2.0], ids=["no cap", "cap"])
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_value_and_gradients_equal_the_dense_ones(name, chunk, block, softcap, bias, scale, chunks):
    chunks(chunk, block)
    student = model(bias=bias, scale=scale, softcap=softcap)
    teacher = model(TEACHER_WIDTH, not bias, 0.5, 3.0, seed=1)
    targets = masked("random")
    value, expected = LOSSES[name][0](student, teacher, targets), dense(name, student, teacher, targets)
    assert value.dtype == torch.float32 and value.shape == ()
    torch.testing.assert_close(value, expected, rtol=2e-6, atol=2e-7)
    assert_same_gradients(gradients(value, student), gradients(expected, student), 2e-6)


@every_loss
@every_chunk
def test_logits_without_a_head_equal_the_dense_ones(name, chunk, block, chunks):
    chunks(chunk, block)
    student, teacher = (
        Predictions(dense_logits(model(width, seed=seed)).detach().float().requires_grad_())
        for width, seed in ((WIDTH, 0), (TEACHER_WIDTH, 1))
    )
    targets = masked("random")
    value, expected = LOSSES[name][0](student, teacher, targets), dense(name, student, teacher, targets)
    torch.testing.assert_close(value, expected, rtol=2e-6, atol=2e-7)
    assert_same_gradients(gradients(value, student), gradients(expected, student), 2e-6)


@every_loss
@pytest.mark.parametrize("mask", ["none", "rows"])
def test_rows_masked_as_a_whole_do_not_count(name, mask, chunks):
    chunks(2, 2)
    student, teacher, targets = model(), model(TEACHER_WIDTH, seed=1), masked(mask)
    value, expected = LOSSES[name][0](student, teacher, targets), dense(name, student, teacher, targets)
    torch.testing.assert_close(value, expected, rtol=2e-6, atol=2e-7)
    found = gradients(value, student)
    assert_same_gradients(found, gradients(expected, student), 2e-6)
    assert found[0][targets == IGNORE].count_nonzero() == 0


@every_loss
@pytest.mark.parametrize("shape", [SHAPE, (0, 5), (3, 0)], ids=str)
def test_without_a_target_the_loss_is_zero_and_so_are_the_gradients(name, shape, chunks):
    chunks(4, 3)
    student, teacher = model(shape=shape, softcap=2.0), model(TEACHER_WIDTH, seed=1, shape=shape)
    value = LOSSES[name][0](student, teacher, masked("all", shape))
    assert value.item() == 0
    for leaf, gradient in zip(leaves(student), gradients(value, student), strict=True):
        assert torch.equal(gradient, torch.zeros_like(leaf))


@every_loss
@given(rows=st.integers(1, 4), tokens=st.integers(1, 4), chunk=st.integers(1, 9), block=st.integers(1, 9))
def test_the_size_of_the_chunks_does_not_matter(name, rows, tokens, chunk, block):
    student, teacher = model(shape=(rows, tokens)), model(TEACHER_WIDTH, seed=1, shape=(rows, tokens))
    targets, found = masked("none", (rows, tokens)), []
    for chunk_rows, block_rows in ((chunk, block), (100, 100)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(predictions, "CHUNK_ROWS", 1)
            patch.setitem(predictions.CHUNK_ENTRIES, "cpu", chunk_rows * VOCABULARY)
            patch.setitem(chunked.BLOCK_ENTRIES, "cpu", block_rows * VOCABULARY)
            value = LOSSES[name][0](student, teacher, targets)
            found.append((value, gradients(value, student)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=2e-6, atol=2e-7)
    assert_same_gradients(found[0][1], found[1][1], 2e-6)


@every_loss
@pytest.mark.parametrize("softcap", [None, 5.0], ids=["no cap", "cap"])
def test_bf16_costs_no_more_than_the_rounding_of_its_products(name, softcap, chunks):
    """The value is as exact as in fp32; a gradient is rounded to 2**-9 on its way into a product and out of it."""
    chunks(4, 3)
    student = model(softcap=softcap, dtype=torch.bfloat16)
    teacher = model(TEACHER_WIDTH, seed=1, dtype=torch.bfloat16)
    targets = masked("random")
    value, expected = LOSSES[name][0](student, teacher, targets), dense(name, student, teacher, targets)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=2e-6, atol=2e-7)
    found = gradients(value, student)
    assert all(gradient.dtype == torch.bfloat16 for gradient in found)
    assert_same_gradients(found, gradients(expected, student), 2**-7)


@every_loss
def test_many_chunks_of_bf16_are_summed_in_fp32(name, chunks):
    """The weight's gradient is a sum over positions: in bf16, a thousand of them would lose most of their digits."""
    chunks(1, 1)
    shape = (8, 128)
    student = model(dtype=torch.bfloat16, shape=shape)
    teacher = model(TEACHER_WIDTH, seed=1, dtype=torch.bfloat16, shape=shape)
    targets = masked("none", shape)
    alone = gradients(LOSSES[name][0](student, teacher, targets), student)
    chunks(10_000, 10_000)
    together = gradients(LOSSES[name][0](student, teacher, targets), student)
    assert_same_gradients(alone, together, 2**-7)  # one rounding of the result, where the two sums straddle it


@every_loss
@pytest.mark.parametrize("softcap", [None, 100.0], ids=["no cap", "cap"])
def test_large_logits_stay_finite(name, softcap):
    hot = torch.full((2, 3, VOCABULARY), -80.0)
    student, teacher = hot.clone(), hot.clone()
    student[..., 0], teacher[..., 1] = 80.0, 80.0
    student.requires_grad_()
    eye = torch.eye(VOCABULARY)
    learnt, taught = Predictions(student, Head(eye, softcap=softcap)), Predictions(teacher, Head(eye))
    value = LOSSES[name][0](learnt, taught, masked("none", (2, 3)))
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all()
    torch.testing.assert_close(value, dense(name, learnt, taught, masked("none", (2, 3))), rtol=1e-5, atol=1e-5)


# -- the graph around it -----------------------------------------------------------------------------------------------


@every_loss
def test_a_tied_weight_gets_both_gradients(name, chunks):
    """The head's matrix embeds the tokens too, as in a tied model; its gradient is the sum of both."""
    chunks(4, 3)
    ids, targets = masked("none"), masked("random")
    teacher = model(TEACHER_WIDTH, seed=1)
    found = []
    for loss in (LOSSES[name][0], lambda *arguments: dense(name, *arguments)):
        weight = model().head.weight.detach().clone().requires_grad_()
        student = Predictions(torch.tanh(3 * F.embedding(ids, weight)), Head(weight))
        value = loss(student, teacher, targets)
        value.backward()
        found.append((value.detach(), weight.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=2e-6, atol=2e-7)
    assert_same_gradients([found[0][1]], [found[1][1]], 2e-6)


@every_loss
@pytest.mark.parametrize("cut", [1, 2])
def test_parts_that_know_the_count_add_up_to_the_whole(name, cut, chunks):
    chunks(4, 3)
    student, teacher, targets = model(), model(TEACHER_WIDTH, seed=1), masked("random")
    whole = LOSSES[name][0](student, teacher, targets)
    count, parts = (targets != IGNORE).sum(), []
    for rows in (slice(cut), slice(cut, None)):
        part = Predictions(student.hidden[rows], student.head, count)
        parts.append(LOSSES[name][0](part, Predictions(teacher.hidden[rows], teacher.head), targets[rows]))
    torch.testing.assert_close(sum(parts), whole, rtol=1e-6, atol=1e-7)
    assert_same_gradients(gradients(sum(parts), student), gradients(whole, student), 2e-6)
    assert not torch.isclose(parts[0], whole, rtol=1e-2)


class Work(TorchDispatchMode):
    """What runs beneath it: matrix products by name and shape of the result, and the largest result of all."""

    def __init__(self) -> None:
        super().__init__()
        self.products, self.largest = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.products += func.overloadpacket.__name__ in {"mm", "addmm", "addmm_", "bmm"}
        for tensor in result if isinstance(result, list | tuple) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


PRODUCTS = {  # wanted: matrix products per chunk, beside the logits of the teacher
    "both": 3,
    "hidden": 2,
    "weight": 2,
    "bias": 1,
    "nothing": 1,
    "no_grad": 1,
}


@every_loss
@pytest.mark.parametrize("wanted", PRODUCTS)
def test_gradients_that_nobody_wants_are_not_computed(name, wanted):
    student, teacher, targets = model(), model(TEACHER_WIDTH, seed=1), masked("random")
    student.hidden.requires_grad_(wanted in {"both", "hidden", "no_grad"})
    student.head.weight.requires_grad_(wanted in {"both", "weight", "no_grad"})
    student.head.bias.requires_grad_(wanted in {"both", "bias", "no_grad"})
    with Work() as work, torch.set_grad_enabled(wanted != "no_grad"):
        value = LOSSES[name][0](student, teacher, targets)
    assert work.products == PRODUCTS[wanted] + (name not in {"cross_entropy", "uniform_kl"})
    assert value.requires_grad == (wanted not in {"nothing", "no_grad"})
    if value.requires_grad:
        value.backward()
    for leaf in leaves(student):
        assert (leaf.grad is not None) == (leaf.requires_grad and wanted != "no_grad")


@every_loss
def test_frozen_parts_leave_the_other_gradients_alone(name):
    student, teacher, targets = model(), model(TEACHER_WIDTH, seed=1), masked("random")
    expected = gradients(LOSSES[name][0](student, teacher, targets), student)
    for kept, gradient in enumerate(expected):
        for index, leaf in enumerate(leaves(student)):
            leaf.requires_grad_(index == kept)
        (found,) = torch.autograd.grad(LOSSES[name][0](student, teacher, targets), leaves(student)[kept])
        assert torch.equal(found, gradient)


@every_loss
def test_a_factor_and_a_sum_of_losses_pass_through(name):
    student, teacher, targets = model(), model(TEACHER_WIDTH, seed=1), masked("random")
    other = Predictions(model(seed=2).hidden, student.head)

    def both(loss, second):
        return 3 * loss(student, teacher, targets) - 0.5 * second(other, targets)

    found = both(LOSSES[name][0], uniform_kl)
    expected = both(lambda *a: dense(name, *a), lambda m, t: dense("uniform_kl", m, teacher, t))
    inputs = [*leaves(student), other.hidden]
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=2e-6)
    assert_same_gradients(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), 2e-6)


@every_loss
def test_the_teacher_gets_no_gradient(name):
    student, teacher = model(), model(TEACHER_WIDTH, seed=1)
    LOSSES[name][0](student, teacher, masked("random")).backward()
    assert all(leaf.grad is None for leaf in leaves(teacher))
    assert all(leaf.grad.any() for leaf in leaves(student))


@every_loss
def test_nothing_is_changed_in_place(name):
    """The rules work in place, on buffers of their own."""
    for head in (True, False):
        student, teacher, targets = model(softcap=2.0), model(TEACHER_WIDTH, seed=1), masked("random")
        if not head:
            student, teacher = (
                Predictions(dense_logits(m).detach().float().requires_grad_()) for m in (student, teacher)
            )
        tensors = [*leaves(student), *leaves(teacher), targets]
        before = [tensor.detach().clone() for tensor in tensors]
        LOSSES[name][0](student, teacher, targets).backward()
        assert all(torch.equal(tensor, old) for tensor, old in zip(tensors, before, strict=True))


@every_loss
def test_autocast_rounds_the_products_and_nothing_else(name):
    """The value is that of hidden states and a matrix in bf16, reduced in fp32; the gradients are close to fp32."""
    student, teacher, targets = model(), model(TEACHER_WIDTH, seed=1), masked("random")
    exact = LOSSES[name][0](student, teacher, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = LOSSES[name][0](student, teacher, targets)
    assert value.dtype == torch.float32 and not torch.equal(value, exact)
    rounded = (
        Predictions(m.hidden.bfloat16(), m.head._replace(weight=m.head.weight.bfloat16())) for m in (student, teacher)
    )
    torch.testing.assert_close(value, LOSSES[name][0](*rounded, targets), rtol=1e-6, atol=1e-7)
    found, expected = gradients(value, student), gradients(exact, student)
    assert all(gradient.dtype == torch.float32 for gradient in found)
    assert_same_gradients(found, expected, 5e-2)  # logits of 10 are rounded to 2**-5, their exponentials move by 3 %


@pytest.mark.parametrize("name", ["cross_entropy", "forward_kl", "jsd_0.5"])
def test_autocast_leaves_losses_of_logits_alone(name):
    logits = [dense_logits(model(width, seed=seed)).detach().float() for seed, width in enumerate((WIDTH, 12))]
    student, teacher = (Predictions(values.requires_grad_()) for values in logits)
    exact = LOSSES[name][0](student, teacher, masked("random"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = LOSSES[name][0](student, teacher, masked("random"))
    assert torch.equal(value, exact) and torch.equal(*gradients(value, student), *gradients(exact, student))


@pytest.mark.parametrize(
    "name", sorted(LOSSES.keys() - {f"top_{VOCABULARY}"})
)  # which keeps everything by its definition
def test_no_tensor_is_as_large_as_positions_times_vocabulary(name, chunks):
    chunks(4, 2)
    shape = (6, 20)
    student, teacher = model(shape=shape), model(TEACHER_WIDTH, seed=1, shape=shape)
    with Work() as work:
        LOSSES[name][0](student, teacher, masked("none", shape)).backward()
    states, chunk = 6 * 20 * TEACHER_WIDTH, 4 * VOCABULARY
    assert chunk < work.largest <= states < 6 * 20 * VOCABULARY


# -- what is special to one --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", SHARES)
def test_the_divergence_of_equal_models_is_zero_and_so_is_its_slope(share):
    student = model()
    value = jensen_shannon(student, student, masked("random"), share)
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert all(gradient.abs().max() < 1e-6 for gradient in gradients(value, student))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_several_teachers_teach_the_mean_of_their_distributions(number):
    """Of distributions, not of logits: what one of them says stays to be heard."""
    student, targets = model(), masked("random")
    teachers = [model(TEACHER_WIDTH, seed=seed, size=6.0) for seed in range(1, number + 1)]
    p_log, *q_logs = (F.log_softmax(dense_logits(m), -1).flatten(0, -2) for m in (student, *teachers))
    mixed = torch.stack([q_log.detach().exp() for q_log in q_logs]).mean(0)
    expected = mean(kl(mixed.log(), p_log), targets.flatten()).float()
    found = ensemble_kl(student, teachers, targets)
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-6)
    assert_same_gradients(gradients(found, student), gradients(expected, student), 5e-6)
    if number == 1:
        torch.testing.assert_close(found, forward_kl(student, teachers[0], targets), rtol=2e-6, atol=1e-6)


def test_half_and_half_the_divergence_is_symmetric():
    first, second, targets = model(), model(TEACHER_WIDTH, seed=1), masked("random")
    there, back = (jensen_shannon(*pair, targets, 0.5) for pair in ((first, second), (second, first)))
    torch.testing.assert_close(there, back, rtol=1e-6, atol=0)
    uneven = [jensen_shannon(*pair, targets, 0.1) for pair in ((first, second), (second, first))]
    assert not torch.isclose(*uneven, rtol=1e-3)


@given(size=st.sampled_from([0.1, 3.0, 300.0]), seed=st.integers(0, 99))
def test_half_and_half_the_divergence_is_at_most_log_2(size, seed):
    first, second = model(size=size, seed=seed), model(TEACHER_WIDTH, seed=seed + 1, size=size)
    value = jensen_shannon(first, second, masked("none"), 0.5).item()
    assert -1e-6 < value < math.log(2) + 1e-6


def test_models_that_share_no_token_are_log_2_apart():
    first, second = torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)
    first[..., :2], second[..., 2:] = 80.0, 80.0
    value = jensen_shannon(Predictions(first), Predictions(second), torch.zeros(1, 1, dtype=torch.long), 0.5)
    assert value.item() == pytest.approx(math.log(2), rel=1e-6)


def test_the_divergence_over_top_tokens_rises_to_the_whole_one():
    student, teacher, targets = model(), model(TEACHER_WIDTH, seed=1), masked("random")
    values = [top_kl(k)(student, teacher, targets).item() for k in (1, 2, 5, 12, VOCABULARY)]
    assert values == sorted(values) and values[0] < 0.9 * values[-1]
    assert values[-1] == pytest.approx(forward_kl(student, teacher, targets).item(), rel=1e-5)


@every_chunk
def test_greedy_is_the_argmax(chunk, block, chunks):
    chunks(chunk, block)
    for found in (model(softcap=2.0, scale=0.5), model(bias=False)):
        assert torch.equal(greedy(found), dense_logits(found).argmax(-1))
    dense_only = Predictions(dense_logits(model()).float())
    assert torch.equal(greedy(dense_only), dense_only.hidden.argmax(-1))
    assert greedy(model(shape=(0, 5))).shape == (0, 5)


@every_chunk
@pytest.mark.parametrize("k", [1, 4, VOCABULARY, VOCABULARY + 9])
def test_top_tokens_are_the_softmaxs_own(chunk, block, k, chunks):
    chunks(chunk, block)
    teacher = model(softcap=2.0, scale=0.5)
    found, q = top_tokens(teacher, k), F.softmax(dense_logits(teacher), -1).float()
    expected, tokens = q.topk(min(k, VOCABULARY))
    assert torch.equal(found.tokens, tokens.int())
    torch.testing.assert_close(found.probabilities, expected, rtol=2e-6, atol=0)
    torch.testing.assert_close(found.rest, 1 - expected.sum(-1), rtol=0, atol=3e-7)
    assert isinstance(found, TopTokens) and found.rest.shape == SHAPE
    if k >= VOCABULARY:
        assert not found.rest.any()


def test_the_rest_keeps_its_gradient_where_its_probability_is_too_small_for_a_number():
    """A student 200 nats off its teacher's rest: exp(-200) is 0 in fp32, the divergence and its gradient are not."""
    logits = torch.tensor([[200.0, 0.0, 1.0]], requires_grad=True)
    teacher = Predictions(torch.tensor([[1.0, 0.0, 0.5]]))
    top = top_tokens(teacher, 1)
    loss = top_forward_kl(Predictions(logits), top, torch.zeros(1, dtype=torch.long))
    loss.backward()
    rest = float(top.rest[0])
    rest_log = math.log(1 + math.exp(1)) - 200
    expected = (1 - rest) * math.log(1 - rest) + rest * (math.log(rest) - rest_log)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    share = math.exp(1) / (1 + math.exp(1))
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([rest, -rest * (1 - share), -rest * share], rel=1e-5)
