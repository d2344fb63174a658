"""Losses and gradients of methods against their formulas, written plainly on dense logits."""

import copy

import pytest
import torch
import torch.nn.functional as F

from undo import objectives
from undo.methods import Memo
from undo.methods.rmu import unit_vector
from undo.models import freeze
from undo.objectives import IGNORE
from undo.spec.registry import load


def log_probabilities(model, rows) -> torch.Tensor:
    """(B, T, V)."""
    return F.log_softmax(model(input_ids=rows.ids).logits, dim=-1)


def token_log_likelihoods(model, rows) -> torch.Tensor:
    """(B, T), 0 where there is no target."""
    valid = rows.targets != IGNORE
    picked = log_probabilities(model, rows).gather(-1, rows.targets.clamp(min=0)[..., None])[..., 0]
    return torch.where(valid, picked, 0.0)


def mean_loss(model, rows) -> torch.Tensor:
    return -token_log_likelihoods(model, rows).sum() / (rows.targets != IGNORE).sum()


def gradient_ascent(model, reference, batch) -> torch.Tensor:
    return -mean_loss(model, batch.forget)


def npo(model, reference, batch, beta=0.3, retain_weight=2.0) -> torch.Tensor:
    total = 0.0
    for row in range(len(batch.forget.ids)):
        rows = type(batch.forget)(batch.forget.ids[[row]], batch.forget.targets[[row]])
        share = (rows.targets != IGNORE).sum() / (batch.forget.targets != IGNORE).sum()
        ratio = token_log_likelihoods(model, rows).sum() - token_log_likelihoods(reference, rows).sum()
        total = total - share * 2 / beta * torch.log(torch.sigmoid(-beta * ratio))
    return total + retain_weight * mean_loss(model, batch.retain)


def simnpo(model, reference, batch, beta=2.0, margin=0.5, retain_weight=2.0) -> torch.Tensor:
    total = 0.0
    for row in range(len(batch.forget.ids)):
        rows = type(batch.forget)(batch.forget.ids[[row]], batch.forget.targets[[row]])
        tokens = (rows.targets != IGNORE).sum()
        reward = beta / tokens * token_log_likelihoods(model, rows).sum()
        share = tokens / (batch.forget.targets != IGNORE).sum()
        total = total - share * 2 / beta * torch.log(torch.sigmoid(-reward - margin))
    return total + retain_weight * mean_loss(model, batch.retain)


def undial(model, reference, batch, strength=4.0, retain_weight=2.0) -> torch.Tensor:
    rows, valid = batch.forget, batch.forget.targets != IGNORE
    logits = reference(input_ids=rows.ids).logits[valid]
    logits = logits - strength * F.one_hot(rows.targets[valid], logits.shape[-1])
    goal = F.softmax(logits, -1)
    divergence = (goal * (goal.log() - log_probabilities(model, rows)[valid])).sum(-1).mean()
    return divergence + retain_weight * mean_loss(model, batch.retain)


def wga(model, reference, batch, power=0.7, retain_weight=2.0) -> torch.Tensor:
    likelihoods = token_log_likelihoods(model, batch.forget)
    weights = (power * likelihoods).exp().detach()
    ascent = (weights * likelihoods).sum() / (batch.forget.targets != IGNORE).sum()
    return ascent + retain_weight * mean_loss(model, batch.retain)


def maxent_beside_the_reference(model, reference, batch, retain_weight=2.0) -> torch.Tensor:
    logs, valid = log_probabilities(model, batch.forget), batch.forget.targets != IGNORE
    uniform = torch.full_like(logs, 1 / logs.shape[-1])
    forget = (uniform * (uniform.log() - logs))[valid].sum(-1).mean()
    kept, own = log_probabilities(reference, batch.retain), log_probabilities(model, batch.retain)
    retain = (kept.exp() * (kept - own))[batch.retain.targets != IGNORE].sum(-1).mean()
    return forget + retain_weight * retain


FORMULAS = {
    "maxent": (maxent_beside_the_reference, {"retain": "reference_kl", "retain_weight": 2.0}),
    "gradient_ascent": (gradient_ascent, {}),
    "npo": (npo, {"beta": 0.3, "retain_weight": 2.0}),
    "simnpo": (simnpo, {"beta": 2.0, "margin": 0.5, "retain_weight": 2.0}),
    "undial": (undial, {"strength": 4.0, "retain_weight": 2.0}),
    "wga": (wga, {"power": 0.7, "retain_weight": 2.0}),
}


@pytest.fixture
def apart(trained_model, batch):
    """A reference some way off the model, and rows of different lengths."""
    reference = copy.deepcopy(trained_model)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=generator))
    batch.forget.targets[0, 7:], batch.forget.targets[2, :20], batch.retain.targets[1, 5:] = IGNORE, IGNORE, IGNORE
    return freeze(reference)


@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_gradients_are_those_of_the_formula(name, trained_model, apart, batch):
    formula, knobs = FORMULAS[name]
    method = load("methods", name)(name=name, **knobs)
    found = method.loss(trained_model, batch, Memo(apart if method.needs_reference else None, 1)).total
    expected = formula(trained_model, apart, batch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    parameters = list(trained_model.parameters())
    gradients = (torch.autograd.grad(loss, parameters) for loss in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5 * float(other.abs().max()))


def outputs(model, layers, rows) -> list[torch.Tensor]:
    """What the layers hand on at the rows' targets: (targets, D) each."""
    found = []
    hooks = [model.model.layers[i].register_forward_hook(lambda *call: found.append(call[-1])) for i in layers]
    model(input_ids=rows.ids)
    for hook in hooks:
        hook.remove()
    return [(layer[0] if isinstance(layer, tuple) else layer)[rows.targets != IGNORE] for layer in found]


def test_rmu_is_its_formula_over_two_layers(trained_model, apart, batch):
    rmu = load("methods", "rmu")(name="rmu", layers=(0, 1), steer_scale=2.0, retain_weight=7.0)
    terms = rmu.loss(trained_model, batch, Memo(apart, 11))
    steer = 2.0 * unit_vector(16, seed=11)
    forget = sum(((layer - steer) ** 2).mean() for layer in outputs(trained_model, (0, 1), batch.forget)) / 2
    pairs = zip(outputs(trained_model, (0, 1), batch.retain), outputs(apart, (0, 1), batch.retain), strict=True)
    retain = sum(((own - kept.detach()) ** 2).mean() for own, kept in pairs) / 2
    assert retain.item() > 1e-3
    torch.testing.assert_close(terms.total, forget + 7.0 * retain)
    moving = [layer.mlp.down_proj.weight for layer in trained_model.model.layers]
    gradients = (torch.autograd.grad(loss, moving) for loss in (terms.total, forget + 7.0 * retain))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5 * float(other.abs().max()))


def test_npo_starts_as_gradient_ascent_on_whole_rows(trained_model, batch):
    """Where model and reference are one, every row pulls with half its likelihood's slope, twice."""
    knobs = {"retain_weight": 0.0}
    method = load("methods", "npo")(name="npo", **knobs)
    loss = method.loss(trained_model, batch, Memo(freeze(copy.deepcopy(trained_model)), 1)).total
    assert loss.item() == pytest.approx(2 / 0.1 * torch.log(torch.tensor(2.0)).item(), rel=1e-5)
    valid = (batch.forget.targets != IGNORE).sum(1)
    ascent = (valid / valid.sum() * token_log_likelihoods(trained_model, batch.forget).sum(1)).sum()
    found, expected = (torch.autograd.grad(x, trained_model.model.embed_tokens.weight)[0] for x in (loss, ascent))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def test_an_unlikely_row_stops_pulling(trained_model, batch):
    """The likelier reference leaves the row behind: NPO's slope vanishes, gradient ascent's does not."""
    sizes = []
    for beta in (0.01, 1.0):
        method = load("methods", "npo")(name="npo", beta=beta, retain_weight=0.0)
        reference = copy.deepcopy(trained_model)
        with torch.no_grad():
            trained_model.lm_head.weight.mul_(0.5)  # flatter predictions: every row tens of nats less likely
        loss = method.loss(trained_model, batch, Memo(freeze(reference), 1)).total
        sizes.append(torch.autograd.grad(loss, trained_model.lm_head.weight)[0].norm().item())
        with torch.no_grad():
            trained_model.lm_head.weight.mul_(2)
    assert sizes[1] < 1e-3 * sizes[0]


def test_wga_leaves_alone_what_is_forgotten_already(trained_model, batch):
    """Its forget gradient at a token shrinks with the token's probability; GradDiff's grows."""
    logits = torch.zeros(1, 2, 10)
    logits[0, 0, 3], logits[0, 1, 3] = -8.0, 2.0
    logits.requires_grad_()
    targets = torch.tensor([[3, 3]])
    own = objectives.Predictions(logits)
    weights = (-objectives.token_losses(own, targets)).exp()
    objectives.token_weighted_cross_entropy(own, targets, weights).backward()
    forgotten, known = logits.grad[0].norm(dim=-1).tolist()
    assert forgotten < 1e-3 < 0.1 < known


def test_undial_is_zero_at_its_goal(trained_model, batch):
    method = load("methods", "undial")(name="undial", strength=0.0, retain_weight=0.0)
    loss = method.loss(trained_model, batch, Memo(freeze(copy.deepcopy(trained_model)), 1)).total
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["npo", "simnpo"])
def test_the_installed_library_agrees(name, trained_model, apart, batch):
    """NPO is Liger's DPO with nothing but lost answers, SimNPO its SimPO: an answer that won counts as 0 in both."""
    pytest.importorskip("liger_kernel", reason="needs the bench extra")
    batch.forget.targets[:] = torch.where(batch.forget.targets == IGNORE, 5, batch.forget.targets)
    rows, pairs = batch.forget, torch.zeros(2 * len(batch.forget.ids), 1)
    own, other = (token_log_likelihoods(model, rows).detach() for model in (trained_model, apart))
    won = torch.zeros(len(rows.ids))
    if name == "npo":
        from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction as DPO

        theirs, *_ = DPO.preference_loss_fn(won, own.sum(1), pairs, won, other.sum(1), beta=0.3)
        knobs = {"beta": 0.3}
    else:
        from liger_kernel.chunked_loss.simpo_loss import LigerFusedLinearSimPOFunction as SimPO

        theirs, *_ = SimPO.preference_loss_fn(won, own.mean(1), pairs, beta=2.0, gamma=0.5)
        knobs = {"beta": 2.0, "margin": 0.5}
    method = load("methods", name)(name=name, retain_weight=0.0, **knobs)
    found = method.loss(trained_model, batch, Memo(apart, 1)).total
    torch.testing.assert_close(found, 2 / knobs["beta"] * theirs, rtol=1e-5, atol=1e-6)
