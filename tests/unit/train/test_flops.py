"""Counted FLOPs against formulas: 2 per weight and token, 4 * T * T * width per layer of attention."""

import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM

from undo.train import runtime
from undo.train.runtime import count_flops

ROWS, TOKENS = 3, 24
WIDTH, LAYERS, MLP_WIDTH = 16, 2, 32  # of the tiny model


def llama_forward(vocabulary: int) -> tuple[int, int]:
    """(FLOPs of the weights, FLOPs of attention) of a forward pass."""
    weights = LAYERS * (4 * WIDTH**2 + 3 * WIDTH * MLP_WIDTH) + WIDTH * vocabulary
    return 2 * ROWS * TOKENS * weights, LAYERS * ROWS * 4 * TOKENS**2 * WIDTH


def test_a_linear_layer():
    layer, inputs = torch.nn.Linear(5, 7), torch.randn(3, 5, requires_grad=True)
    forward, output = count_flops(lambda: layer(inputs).sum())
    backward, _ = count_flops(output.backward)
    assert forward == 2 * 3 * 5 * 7
    assert backward == 2 * forward  # the gradients of the weights and of the inputs


def test_inputs_without_gradient_cost_nothing():
    layer, inputs = torch.nn.Linear(5, 7), torch.randn(3, 5)
    forward, output = count_flops(lambda: layer(inputs).sum())
    assert count_flops(output.backward)[0] == forward


def test_a_llama_forward_and_backward_including_attention(tiny_model):
    ids = torch.randint(0, 300, (ROWS, TOKENS))
    weights, attention = llama_forward(tiny_model.config.vocab_size)
    forward, logits = count_flops(lambda: tiny_model(input_ids=ids).logits)
    assert forward == weights + attention
    # twice the forward for the weights; the flash kernel computes the scores once more beside its four products
    assert count_flops(logits.sum().backward)[0] == 2 * weights + 5 * attention // 2


def test_a_forward_without_gradients_counts_the_same(tiny_model):
    ids = torch.randint(0, 300, (ROWS, TOKENS))
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            assert count_flops(lambda: tiny_model(input_ids=ids))[0] == sum(llama_forward(tiny_model.config.vocab_size))


@pytest.mark.parametrize("kernel", ["flash", "efficient", "cudnn"])
def test_a_gpus_attention_counts_in_all_heads_where_they_share_keys(kernel, monkeypatch):
    """Torch is told of equal heads, since 2.11 takes no others: SmolLM2 failed on a GPU there."""
    query, shared = (ROWS, 6, TOKENS, WIDTH), (ROWS, 2, TOKENS, WIDTH)
    product = 2 * ROWS * 6 * TOKENS**2 * WIDTH
    for name in ("sdpa_flop_count", "sdpa_backward_flop_count"):
        monkeypatch.setattr(runtime, name, of_equal_heads(getattr(runtime, name)))
    forward, backward = (
        runtime._COUNTED[getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}_attention{way}")]
        for way in ("", "_backward")
    )
    assert forward(query, shared, shared, False, dropout_p=0.0) == 2 * product
    assert backward(query, query, shared, shared, query, is_causal=True) == 5 * product


def of_equal_heads(count):
    def strict(*shapes):
        assert len({shape[:2] for shape in shapes}) == 1, "shapes are incompatible"
        return count(*shapes)

    return strict


def test_a_gpus_attention_is_found_by_its_kernel():
    query, shared = (torch.empty(ROWS, heads, TOKENS, WIDTH, device="meta") for heads in (6, 2))
    attend = torch.ops.aten._scaled_dot_product_flash_attention
    assert count_flops(lambda: attend(query, shared, shared))[0] == 4 * ROWS * 6 * TOKENS**2 * WIDTH


def test_every_expert_that_a_token_is_sent_to_counts():
    """Two of three experts per token, stacked into one tensor each; backward costs twice the forward."""
    tokens, width, hidden, chosen = ROWS * TOKENS, 16, 32, 2
    sizes = {"hidden_size": width, "intermediate_size": hidden, "num_local_experts": 3, "num_experts_per_tok": chosen}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    model = MixtralForCausalLM(MixtralConfig(vocab_size=50, **sizes, **heads))
    experts = model.model.layers[0].mlp.experts
    hidden_TD = torch.randn(tokens, width, requires_grad=True)
    sent_TC = torch.stack([torch.randperm(3)[:chosen] for _ in range(tokens)])
    forward, output = count_flops(lambda: experts(hidden_TD, sent_TC, torch.rand(tokens, chosen)))
    assert forward == 2 * tokens * chosen * 3 * width * hidden
    assert count_flops(output.sum().backward)[0] == 2 * forward


def test_the_result_comes_back_and_nothing_is_printed(capsys):
    assert count_flops(lambda: "result") == (0, "result")
    assert capsys.readouterr().out == ""
