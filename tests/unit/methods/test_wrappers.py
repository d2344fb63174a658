"""Methods around another method: what they compute, on copies of the model, and what they refuse."""

import copy

import jsonschema
import pytest
import torch
import torch.nn.functional as F

from undo.methods import Memo
from undo.models import freeze
from undo.objectives import IGNORE, gaussian_mmd
from undo.spec.errors import UserError
from undo.spec.load import load_recipe, recipe_schema
from undo.spec.recipe import Recipe
from undo.spec.registry import load

MEMO = Memo(None, 1)


def wrapped(name, **knobs):
    return load("methods", name)(name=name, **knobs)


def mean_loss(model, rows):
    return F.cross_entropy(model(input_ids=rows.ids).logits.flatten(0, 1), rows.targets.flatten(), ignore_index=IGNORE)


def uniform_kl(model, rows):
    log_p = F.log_softmax(model(input_ids=rows.ids).logits[rows.targets != IGNORE], -1)
    return -log_p.mean() - torch.tensor(float(log_p.shape[-1])).log()


def moved(model, loss, length):
    """A copy whose weights lie so far along the loss's gradient."""
    gradients = torch.autograd.grad(loss(model), list(model.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, gradient in zip(other.parameters(), gradients, strict=True):
            parameter += length / norm * gradient
    return other


def assert_gradients(model, expected):
    for (name, parameter), gradient in zip(model.named_parameters(), expected, strict=True):
        largest = float(gradient.abs().max())
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-4 * largest, msg=name)


# -- what they compute -------------------------------------------------------------------------------------------------


def test_sam_takes_the_forget_gradient_at_the_perturbed_weights(trained_model, batch):
    sam = wrapped("sam", method={"name": "maxent", "retain_weight": 3.0}, rho=0.5)
    before = copy.deepcopy(trained_model.state_dict())
    terms = sam.loss(trained_model, batch, MEMO)
    assert all(torch.equal(value, before[name]) for name, value in trained_model.state_dict().items())
    terms.total.backward()
    worst = moved(trained_model, lambda model: uniform_kl(model, batch.forget), 0.5)
    forget, retain = uniform_kl(worst, batch.forget), mean_loss(trained_model, batch.retain)
    torch.testing.assert_close(terms.total, forget + 3 * retain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms.parts["forget_uniform_kl"], forget, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms.parts["retain_ce"], retain)
    assert forget > uniform_kl(trained_model, batch.forget) + 0.01, "the perturbed weights are worse"
    gradients = (torch.autograd.grad(x, list(m.parameters())) for x, m in ((forget, worst), (retain, trained_model)))
    assert_gradients(trained_model, [one + 3 * other for one, other in zip(*gradients, strict=True)])


def test_sam_of_a_small_rho_is_its_inner_method(trained_model, batch):
    inner = {"name": "graddiff", "retain_weight": 2.0}
    losses = [wrapped("sam", method=inner, rho=1e-6), load("methods", "graddiff").model_validate(inner)]
    found, expected = (method.loss(trained_model, batch, MEMO) for method in losses)
    torch.testing.assert_close(found.total, expected.total, rtol=1e-4, atol=1e-4)
    assert found.parts.keys() == expected.parts.keys()


def test_tar_takes_the_gradient_at_the_attacked_weights(trained_model, batch):
    tar = wrapped("tar", method="graddiff", inner_steps=3, step_length=0.2, resistance_weight=2.0)
    before = copy.deepcopy(trained_model.state_dict())
    terms = tar.loss(trained_model, batch, MEMO)
    assert all(torch.equal(value, before[name]) for name, value in trained_model.state_dict().items())
    terms.total.backward()
    attacked = trained_model
    for _ in range(3):
        attacked = moved(attacked, lambda model: mean_loss(model, batch.forget), -0.2)
    assert mean_loss(attacked, batch.forget) < mean_loss(trained_model, batch.forget) - 0.01, "the adversary learns"
    resistance = uniform_kl(attacked, batch.forget)
    inner = mean_loss(trained_model, batch.retain) - mean_loss(trained_model, batch.forget)
    torch.testing.assert_close(terms.total, inner + 2 * resistance, rtol=1e-4, atol=1e-5)
    assert terms.parts.keys() == {"retain_ce", "forget_ce", "attacked_uniform_kl"}
    gradients = (
        torch.autograd.grad(x, list(m.parameters())) for x, m in ((inner, trained_model), (resistance, attacked))
    )
    assert_gradients(trained_model, [one + 2 * other for one, other in zip(*gradients, strict=True)])


def test_repnoise_is_its_formula(trained_model, batch):
    repnoise = wrapped("repnoise", method="maxent", noise_weight=0.5, ascent_weight=3.0)
    terms = repnoise.loss(trained_model, batch, MEMO)
    inner = load("methods", "maxent")(name="maxent").loss(trained_model, batch, MEMO).total
    hidden = []
    handles = [
        layer.register_forward_hook(lambda _module, _inputs, output: hidden.append(output))
        for layer in trained_model.model.layers
    ]
    trained_model(input_ids=batch.forget.ids)
    [handle.remove() for handle in handles]
    assert len(hidden) == 2
    valid = batch.forget.targets != IGNORE
    noise = sum(gaussian_mmd(hidden_BTD, valid) for hidden_BTD in hidden) / 2
    forget = mean_loss(trained_model, batch.forget)
    torch.testing.assert_close(terms.total, inner + 0.5 * noise - 3.0 * torch.log(1 + forget))
    torch.testing.assert_close(terms.parts["forget_mmd"], noise)


@pytest.mark.parametrize("name", ["sam", "tar", "repnoise"])
def test_a_wrapper_moves_and_needs_what_the_method_inside_does(name, trained_model, batch):
    rmu = {"name": "rmu", "layers": [1]}
    method = wrapped(name, method=rmu)
    assert method.needs_reference and not wrapped(name, method="maxent").needs_reference
    assert method.trainable(trained_model) == {"model.layers.1.mlp.down_proj.weight"}
    for parameter_name, parameter in trained_model.named_parameters():
        parameter.requires_grad_(parameter_name in method.trainable(trained_model))
    method.loss(trained_model, batch, Memo(freeze(copy.deepcopy(trained_model)), 1)).total.backward()
    assert {n for n, p in trained_model.named_parameters() if p.grad is not None} == method.trainable(trained_model)


@pytest.mark.parametrize("name", ["sam", "tar", "repnoise"])
def test_a_wrapper_ends_as_the_method_inside(name, tiny_model):
    wrapped(name, method="gradient_routing").finish(tiny_model)
    assert not tiny_model.model.layers[0].mlp.down_proj.weight[:, 24:].any()


# -- in a recipe -------------------------------------------------------------------------------------------------------


def suppress_with(method, micro_batches=1):
    return load_recipe(
        "smoke", [f"suppress.maxent.method={method}", f"suppress.maxent.optim.micro_batches={micro_batches}"]
    )


def refusal(*arguments) -> str:
    with pytest.raises(UserError) as raised:
        suppress_with(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_recipe_may_wrap_wrappers():
    recipe = suppress_with(
        "{name: tar, inner_steps: 2, method: {name: sam, rho: 0.1, method: {name: rmu, layers: [0]}}}"
    )
    method = recipe.suppress["tar"].method
    assert method.inner_steps == 2 and method.method.rho == 0.1 and method.method.method.layers == (0,)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    jsonschema.Draft202012Validator(recipe_schema()).validate(recipe.model_dump(mode="json"))


@pytest.mark.parametrize("name", ["sam", "tar", "repnoise"])
def test_a_step_that_cannot_be_cut_refuses_micro_batches(name):
    message = refusal(f"{{name: {name}, method: maxent}}", 2)
    assert f"method '{name}' needs all rows of a step at once; leave optim.micro_batches at 1" in message


def test_collapse_refuses_micro_batches_and_npo_does_not():
    assert "leave optim.micro_batches at 1" in refusal("collapse", 4)
    assert suppress_with("npo", 4).suppress["npo"].optim.micro_batches == 4


def test_sam_refuses_a_method_without_a_forget_part():
    assert "whose loss is a sum over rows, which 'tar' is not" in refusal(
        "{name: sam, method: {name: tar, method: npo}}"
    )


def test_an_unknown_method_inside_is_answered_with_the_nearest():
    assert "no 'maxnt' among the methods; did you mean 'maxent'?" in refusal("{name: sam, method: maxnt}")
    assert "unknown key 'rohs'" in refusal("{name: sam, method: maxent, rohs: 1}")
