"""The update avoids the directions that are removed, and is the ordinary one where none is."""

import pytest
import torch
import torch.nn.functional as F

from undo.methods import Memo
from undo.methods.collapse import common_directions
from undo.objectives import IGNORE
from undo.spec.errors import UserError
from undo.spec.registry import load

MEMO = Memo(None, 1)
DOWN = "model.layers.1.mlp.down_proj"


def collapse(**knobs):
    return load("methods", "collapse")(name="collapse", **knobs)


def flow(model, rows):
    """Inputs of the last down projection at the valid positions, and the loss's gradients of its outputs: by hooks."""
    seen = {}

    def keep(_module, inputs, output):
        output.retain_grad()
        seen.update(inputs=inputs[0], output=output)

    handle = model.get_submodule(DOWN).register_forward_hook(keep)
    logits = model(input_ids=rows.ids).logits.flatten(0, 1)
    handle.remove()
    F.cross_entropy(logits, rows.targets.flatten(), ignore_index=IGNORE).backward()
    model.zero_grad()
    valid = rows.targets != IGNORE
    return seen["inputs"][valid].detach(), seen["output"].grad[valid]


def update(model, batch, **knobs):
    """The gradient of the last down projection."""
    model.zero_grad()
    collapse(**knobs).loss(model, batch, MEMO).total.backward()
    return model.get_submodule(DOWN).weight.grad.clone()


@pytest.mark.parametrize("common", ["retain", "forget"])
def test_the_update_is_orthogonal_to_what_is_common(common, trained_model, batch):
    found = update(trained_model, batch, components=3, common=common, retain_weight=0.0)
    assert found.abs().max() > 0
    for samples, side in zip(flow(trained_model, getattr(batch, common)), (found, found.T), strict=True):
        mean = samples.mean(0)
        _, _, components = torch.linalg.svd(samples - mean, full_matrices=False)
        for direction in (mean / mean.norm(), *components[:3]):
            assert (side @ direction).norm() < 1e-4 * found.norm()
        assert (side @ components[3]).norm() > 1e-3 * found.norm(), "and to nothing else"


def test_autocast_does_not_blur_what_is_removed(trained_model, batch):
    """The mean of the inputs, as computed in bf16, is removed in fp32."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = update(trained_model, batch, components=3, retain_weight=0.0)
        inputs, _ = flow(trained_model, batch.retain)
    mean = inputs.float().mean(0)
    assert found.dtype == torch.float32 and (found @ (mean / mean.norm())).norm() < 1e-4 * found.norm()


def test_the_update_is_the_product_of_what_is_left(trained_model, batch):
    found = update(trained_model, batch, components=2, retain_weight=0.0)
    sides = []
    for own, common in zip(flow(trained_model, batch.forget), flow(trained_model, batch.retain), strict=True):
        mean = common.mean(0)
        _, _, components = torch.linalg.svd(common - mean, full_matrices=False)
        span = torch.linalg.qr(torch.cat([mean[None], components[:2]]).T).Q
        sides.append(own @ (torch.eye(own.shape[1]) - span @ span.T))
    inputs, slopes = sides
    torch.testing.assert_close(found, -(slopes.T @ inputs), rtol=1e-3, atol=1e-4 * float(found.abs().max()))


def test_the_retain_gradient_stays_whole(trained_model, batch):
    with_retain, without = (update(trained_model, batch, components=3, retain_weight=w) for w in (2.0, 0.0))
    inputs, slopes = flow(trained_model, batch.retain)
    expected = 2 * slopes.T @ inputs
    torch.testing.assert_close(with_retain - without, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_the_value_is_that_of_graddiff(trained_model, batch):
    found = collapse(components=3, retain_weight=2.0).loss(trained_model, batch, MEMO)
    expected = load("methods", "graddiff")(name="graddiff", retain_weight=2.0).loss(trained_model, batch, MEMO)
    torch.testing.assert_close(found.total, expected.total)


def test_directions_span_the_mean_and_the_top_components():
    torch.manual_seed(0)
    samples = torch.randn(50, 6) * torch.tensor([5.0, 4.0, 0.1, 0.1, 0.1, 0.1]) + torch.tensor([0, 0, 3.0, 0, 0, 0])
    valid = torch.ones(50, dtype=torch.bool)
    valid[40:] = False
    samples[40:] = 1e3
    span = common_directions(samples, valid, 2)
    assert span.shape == (6, 3)
    torch.testing.assert_close(span.T @ span, torch.eye(3), atol=1e-6, rtol=0)
    assert (span @ span.T).diagonal()[:3].min() > 0.99


def test_the_mlps_move_and_nothing_else(tiny_model):
    moving = collapse(components=4).trainable(tiny_model)
    assert moving == {name for name, _ in tiny_model.named_parameters() if ".mlp." in name}
    assert collapse(components=4, parameters=(r".*0\.mlp\.up",)).trainable(tiny_model) == {
        "model.layers.0.mlp.up_proj.weight"
    }


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"parameters": (r"model\.nothing",)}, "no parameter matches"),
        ({"parameters": (r"model\.norm",)}, "not the weight of a linear layer"),
        ({"components": 15}, "leave nothing of"),
    ],
)
def test_what_does_not_fit_is_the_users_error(knobs, message, tiny_model, batch):
    with pytest.raises(UserError, match=message):
        collapse(**{"components": 4, **knobs}).trainable(tiny_model)
    with pytest.raises(UserError, match=message):
        collapse(**{"components": 4, **knobs}).loss(tiny_model, batch, MEMO)
