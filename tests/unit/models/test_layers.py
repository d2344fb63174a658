import pytest
import torch
from torch import nn

from undo.models import decoder_layers, layer_outputs, matching_parameters, pick_layers
from undo.spec.errors import UserError

DOWN = "model.layers.1.mlp.down_proj.weight"


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_decoder_layers_come_in_order_with_their_names(tiny_model):
    found = decoder_layers(tiny_model)
    assert [name for name, _ in found] == ["model.layers.0", "model.layers.1"]
    assert [block for _, block in found] == list(tiny_model.model.layers)


def test_a_long_list_inside_a_layer_is_not_the_list_of_layers():
    """A mixture of experts has more experts than this model has layers."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))

    model = nn.Module()
    model.layers = nn.ModuleList(Block() for _ in range(2))
    assert [name for name, _ in decoder_layers(model)] == ["layers.0", "layers.1"]


def test_a_model_without_layers_is_refused():
    with pytest.raises(UserError, match="Linear"):
        decoder_layers(nn.Linear(2, 2))


def test_layer_i_puts_out_hidden_state_i_plus_1(tiny_model, batch):
    """RMU steered the wrong layer in public code; hidden state 0 is the embedding."""
    blocks = [block for _, block in pick_layers(tiny_model, (0, 1))]
    with layer_outputs(blocks) as outputs:
        states = tiny_model(input_ids=batch.retain.ids, output_hidden_states=True).hidden_states
    assert len(states) == 3 and len(outputs) == 2
    assert torch.equal(outputs[0], states[1])
    assert not torch.equal(outputs[0], states[0])
    assert torch.equal(tiny_model.model.norm(outputs[1]), states[2])  # transformers norms the last one


def test_layers_are_picked_by_number(tiny_model):
    assert [name for name, _ in pick_layers(tiny_model, (1,))] == ["model.layers.1"]


@pytest.mark.parametrize("unknown", [2, -1])
def test_an_unknown_layer_is_refused_with_the_known_ones(tiny_model, unknown):
    with pytest.raises(UserError, match=rf"no layer {unknown}: .* layers 0 to 1"):
        pick_layers(tiny_model, (0, unknown))


def test_hooks_are_gone_after_the_body(tiny_model, batch):
    with layer_outputs([tiny_model.model.layers[0]]) as outputs:
        assert hooks(tiny_model) == 1
        tiny_model(input_ids=batch.retain.ids)
    tiny_model(input_ids=batch.retain.ids)
    assert hooks(tiny_model) == 0 and len(outputs) == 1


def test_hooks_are_gone_when_the_body_raises(tiny_model):
    with pytest.raises(RuntimeError, match="boom"), layer_outputs(list(tiny_model.model.layers)):
        raise RuntimeError("boom")
    assert hooks(tiny_model) == 0


def test_gradients_flow_through_the_outputs(tiny_model, batch):
    with layer_outputs([tiny_model.model.layers[1]]) as outputs:
        tiny_model(input_ids=batch.retain.ids)
    outputs[0].sum().backward()
    assert tiny_model.get_parameter(DOWN).grad.any()


def test_patterns_match_from_the_start_of_a_name(tiny_model):
    assert matching_parameters(tiny_model, (r"model\.layers\.1\.mlp\.down",)) == {DOWN}
    both = matching_parameters(tiny_model, (r"model\.layers\.\d+\.mlp\.down", r"model\.norm\."))
    assert both == {DOWN, DOWN.replace("1", "0"), "model.norm.weight"}
    with pytest.raises(UserError, match="no parameter matches 'down_proj'"):
        matching_parameters(tiny_model, ("down_proj",))


def test_one_pattern_without_a_match_is_refused_beside_one_with(tiny_model):
    with pytest.raises(UserError, match=r"model\.norms"):
        matching_parameters(tiny_model, (r"model\.norm\.", "model.norms"))


def test_a_pattern_that_is_no_regular_expression_is_refused(tiny_model):
    with pytest.raises(UserError, match="mlp"):
        matching_parameters(tiny_model, ("model.(mlp",))
