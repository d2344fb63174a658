"""Where the gradients of each domain may go, and what is left at the end."""

import copy

import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from undo.methods import Memo
from undo.objectives import IGNORE
from undo.spec.errors import UserError
from undo.spec.registry import load

HIDDEN, FORGET = 32, 8  # hidden units of the tiny model's MLPs, and a quarter of them


@pytest.fixture
def routing():
    return load("methods", "gradient_routing")(name="gradient_routing", share=0.25)


def loss_without(routing, model, batch, domain) -> None:
    """Backward through the loss of a batch in which one domain has no targets."""
    rows = getattr(batch, domain)
    empty = rows._replace(targets=torch.full_like(rows.targets, IGNORE))
    routing.loss(model, batch._replace(**{domain: empty}), Memo(None, 1)).total.backward()


def forget_mask(name: str, parameter: torch.Tensor, layers=("0", "1")) -> torch.Tensor:
    mask = torch.zeros_like(parameter, dtype=torch.bool)
    if ".mlp." in name and name.split(".")[2] in layers:
        mask[(..., slice(HIDDEN - FORGET, None)) if "down_proj" in name else slice(HIDDEN - FORGET, None)] = True
    return mask


def test_forget_rows_reach_the_forget_part_alone(routing, trained_model, batch):
    loss_without(routing, trained_model, batch, "retain")
    pairs = zip(trained_model.named_parameters(), plain_gradients(trained_model, batch.forget), strict=True)
    for (name, parameter), expected in pairs:
        mask = forget_mask(name, parameter)
        assert not parameter.grad[~mask].any(), name
        torch.testing.assert_close(parameter.grad[mask], expected[mask])
        assert not mask.any() or parameter.grad[mask].any(), name


def plain_gradients(model, rows):
    logits = model(input_ids=rows.ids).logits.flatten(0, 1)
    loss = F.cross_entropy(logits, rows.targets.flatten(), ignore_index=IGNORE)
    return torch.autograd.grad(loss, list(model.parameters()))


def test_retain_rows_train_the_model_that_is_left(routing, trained_model, batch):
    loss_without(routing, trained_model, batch, "forget")
    left = copy.deepcopy(trained_model)
    routing.finish(left)
    pairs = zip(trained_model.named_parameters(), plain_gradients(left, batch.retain), strict=True)
    for (name, parameter), expected in pairs:
        mask = forget_mask(name, parameter)
        assert not parameter.grad[mask].any(), name
        torch.testing.assert_close(parameter.grad[~mask], expected[~mask])


def test_the_value_is_the_sum_of_both_losses(routing, trained_model, batch):
    left = copy.deepcopy(trained_model)
    routing.finish(left)
    terms = routing.loss(trained_model, batch, Memo(None, 1))
    for model, rows, part in ((left, batch.retain, "retain_ce"), (trained_model, batch.forget, "forget_ce")):
        logits = model(input_ids=rows.ids).logits.flatten(0, 1)
        expected = F.cross_entropy(logits, rows.targets.flatten(), ignore_index=IGNORE)
        torch.testing.assert_close(terms.parts[part], expected)
    torch.testing.assert_close(terms.total, terms.parts["retain_ce"] + terms.parts["forget_ce"])


def test_layers_that_compute_twice_give_the_same_gradients(routing, trained_model, batch):
    """Checkpointed layers run again in the backward pass, and have to run without the forget part again."""
    found = []
    for checkpointing in (False, True):
        model = copy.deepcopy(trained_model).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        routing.loss(model, batch, Memo(None, 1)).total.backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for plain, twice in zip(*found, strict=True):
        torch.testing.assert_close(plain, twice)


@pytest.mark.parametrize("layers", [None, (1,)])
def test_at_the_end_the_forget_part_is_zero_and_nothing_else(layers, tiny_model):
    before = copy.deepcopy(tiny_model)
    load("methods", "gradient_routing")(name="gradient_routing", layers=layers).finish(tiny_model)
    for name, parameter in tiny_model.named_parameters():
        mask = forget_mask(name, parameter, ("0", "1") if layers is None else ("1",))
        assert not parameter[mask].any() and torch.equal(parameter[~mask], before.get_parameter(name)[~mask])


def test_a_removed_part_stays_removed_under_attack(routing, trained_model, batch):
    routing.finish(trained_model)
    gradients = plain_gradients(trained_model, batch.forget)
    for (name, parameter), gradient in zip(trained_model.named_parameters(), gradients, strict=True):
        assert not gradient[forget_mask(name, parameter)].any()


@pytest.mark.parametrize(("share", "units"), [(0.001, 1), (0.5, 16), (0.999, 31)])
def test_something_is_removed_and_something_is_left(share, units, tiny_model):
    load("methods", "gradient_routing")(name="gradient_routing", share=share).finish(tiny_model)
    empty = ~tiny_model.model.layers[0].mlp.down_proj.weight.any(0)
    assert empty.sum() == units and empty[-units:].all()


def test_a_model_without_gated_mlps_is_the_users_error(routing):
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(UserError, match="has no gated MLP"):
        routing.trainable(model)
