"""Changed copies in every family: they run through the same head, cost no memory, and leave the model alone."""

import copy

import pytest
import torch

from tests.unit.models.test_head import CONFIGS, VOCABULARY, build
from undo import models
from undo.data import TokenBatch
from undo.objectives import cross_entropy
from undo.spec.errors import UserError

every_family = pytest.mark.parametrize("family", CONFIGS)


@pytest.fixture
def rows():
    ids = torch.randint(2, VOCABULARY, (2, 6), generator=torch.Generator().manual_seed(1))
    return TokenBatch(ids, ids.roll(-1, 1))


def loss(model, rows) -> torch.Tensor:
    return cross_entropy(models.predict(model, rows), rows.targets)


@every_family
def test_a_copy_shares_every_tensor_and_says_the_same(family, rows):
    model = build(family)
    copied = models.copy_sharing_weights(model)
    assert copied is not model and {map(id, copied.parameters())} != {map(id, model.parameters())}
    assert all(p is model.get_parameter(name) for name, p in copied.named_parameters())
    assert torch.equal(copied(input_ids=rows.ids).logits, model(input_ids=rows.ids).logits)


@every_family
def test_an_early_exit_has_fewer_layers(family, rows):
    model = build(family)
    before = loss(model, rows)
    cut, whole = (models.early_exit(model, depth) for depth in (0.5, 1.0))
    assert [len(models.decoder_layers(m)) for m in (cut, whole, model)] == [1, 2, 2]
    assert torch.equal(loss(whole, rows), before) and not torch.equal(loss(cut, rows), before)
    assert torch.equal(loss(model, rows), before)


@every_family
def test_a_soft_prompt_alone_gets_a_gradient_and_changes_what_is_said(family, rows):
    model = build(family)
    before = loss(model, rows)
    prompted = models.with_soft_prompt(model, 3, seed=1)
    prompted.requires_grad_(False)
    vectors = prompted.get_parameter(models.SOFT_PROMPT).requires_grad_(True)
    value = loss(prompted, rows)
    value.backward()
    assert not torch.equal(value, before) and torch.equal(loss(model, rows), before)
    assert vectors.shape[0] == 3 and vectors.grad is not None and vectors.grad.abs().sum() > 0
    dense = prompted(input_ids=rows.ids).logits
    assert dense.shape == (2, 6, VOCABULARY)
    said = torch.nn.functional.cross_entropy(dense.flatten(0, 1), rows.targets.flatten())
    assert said.item() == pytest.approx(value.item(), abs=1e-4)


@every_family
def test_a_soft_prompt_of_real_tokens_is_those_tokens(family, rows):
    """The vectors begin as embeddings of drawn tokens, so the model says what it says behind these."""
    model = build(family)
    drawn = torch.randint(VOCABULARY, (3,), generator=torch.Generator().manual_seed(5))
    behind = torch.cat([drawn.expand(2, -1), rows.ids], dim=1)
    expected = model(input_ids=behind).logits[:, 3:]
    assert torch.allclose(models.with_soft_prompt(model, 3, seed=5)(input_ids=rows.ids).logits, expected, atol=1e-4)


@every_family
def test_quantising_moves_matrices_alone_and_more_with_fewer_bits(family, rows):
    model = build(family)
    given = copy.deepcopy(model.state_dict())
    far, near = (models.quantised(model, bits, 8) for bits in (2, 8))
    moved = {name for name, p in far.named_parameters() if not torch.equal(p, given[name])}
    assert moved and all(given[name].ndim >= 2 for name in moved)
    assert not any(key in name for name in moved for key in ("embed", "lm_head", "wte"))
    distance = [sum((p - given[n]).norm() for n, p in m.named_parameters()) for m in (far, near)]
    assert distance[0] > 10 * distance[1] > 0
    assert all(torch.equal(value, given[name]) for name, value in model.state_dict().items())


@every_family
def test_a_head_of_its_own_is_tied_to_nothing(family, rows):
    model = build(family)
    changed = models.own_head(model)
    before = loss(changed, rows)
    assert before.item() == pytest.approx(loss(model, rows).item(), abs=1e-6)
    with torch.no_grad():
        changed.get_output_embeddings().weight.mul_(2)
    assert not torch.equal(loss(changed, rows), before)
    assert loss(model, rows).item() == pytest.approx(before.item(), abs=1e-6)


def test_a_model_without_a_linear_head_is_refused():
    model = build("llama")
    model.set_output_embeddings(torch.nn.Sequential())
    with pytest.raises(UserError, match="no linear head"):
        models.own_head(model)
