"""How near a model is to the base, in weights and on the way between them."""

import copy

import pytest
import torch

from undo import data, models
from undo.objectives import cross_entropy
from undo.stages._drift import ON_THE_WAY, ROWS, neighbourhood


def retain_loss(model, corpus) -> float:
    rows = data.first_rows(corpus, "retain", "attack", ROWS)
    with torch.no_grad():
        return cross_entropy(models.predict(model, rows), rows.targets).item()


def mixed(model, base, share):
    between = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, one, other in zip(*(m.parameters() for m in (between, model, base)), strict=True):
            parameter.copy_((1 - share) * one + share * other)
    return between


def test_the_base_itself_is_where_it_is(trained_model, corpus):
    found = neighbourhood(copy.deepcopy(trained_model), trained_model, corpus)
    assert found == {"weights_from_base": 0.0, "barrier_to_base": pytest.approx(0.0, abs=1e-5)}


def test_a_distance_is_relative_to_the_bases_norm(trained_model, corpus):
    """Every weight a tenth larger; tied embeddings count once."""
    further = copy.deepcopy(trained_model)
    with torch.no_grad():
        for parameter in further.parameters():
            parameter.mul_(1.1)
    assert neighbourhood(further, trained_model, corpus)["weights_from_base"] == pytest.approx(0.1, rel=1e-4)


def test_a_barrier_is_the_highest_point_above_the_line(trained_model, corpus):
    """Units in another order compute the same and lie in another valley."""
    other = copy.deepcopy(trained_model)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for layer in other.model.layers:
            layer.mlp.gate_proj.weight.copy_(layer.mlp.gate_proj.weight[order])
            layer.mlp.up_proj.weight.copy_(layer.mlp.up_proj.weight[order])
            layer.mlp.down_proj.weight.copy_(layer.mlp.down_proj.weight[:, order])
    ends = retain_loss(other, corpus), retain_loss(trained_model, corpus)
    assert ends[0] == pytest.approx(ends[1], abs=1e-5)
    hills = [retain_loss(mixed(other, trained_model, share), corpus) - ends[1] for share in ON_THE_WAY]
    found = neighbourhood(other, trained_model, corpus)
    assert found["barrier_to_base"] == pytest.approx(max(hills), abs=1e-4) and max(hills) > 0.01


def test_models_of_different_shapes_are_not_compared(trained_model, corpus):
    wider = models.build_llama(32, 2, 2, 32, 32, corpus.tokenizer, seed=1)
    assert set(neighbourhood(wider, trained_model, corpus).values()) == {None}
