"""Hidden states and head say the same as the model's own logits, in every family, or the model is asked for them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MixtralConfig,
    PhiConfig,
    Qwen2Config,
)
from transformers.models.auto import AutoModelForCausalLM

from undo.data import TokenBatch
from undo.models import output_head, predict
from undo.objectives import IGNORE, cross_entropy, forward_kl, predictions

VOCABULARY = 40
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.5,  # logits large enough that a cap of 2 bends them
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
CONFIGS = {
    "llama, tied": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "llama": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=False),
    "gemma2": lambda: Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=2.0),
    "gemma2, no cap": lambda: Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=None),
    "cohere": lambda: CohereConfig(**SHAPE, logit_scale=0.25),
    "granite": lambda: GraniteConfig(**SHAPE, logits_scaling=3.0),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1, initializer_range=0.5
    ),
    "qwen2": lambda: Qwen2Config(**SHAPE),
    "phi": lambda: PhiConfig(**SHAPE),
    "mixtral": lambda: MixtralConfig(**SHAPE, num_local_experts=3, num_experts_per_tok=2),
}

every_family = pytest.mark.parametrize("family", CONFIGS)


def build(family: str):
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(CONFIGS[family]()).eval()
    head = model.get_output_embeddings()
    if head.bias is not None:
        torch.nn.init.normal_(head.bias)  # it would be zero, and never be missed
    return model


@pytest.fixture
def rows() -> TokenBatch:
    generator = torch.Generator().manual_seed(4)
    ids, targets = (torch.randint(2, VOCABULARY, (3, 7), generator=generator) for _ in range(2))
    targets[1, 2:] = IGNORE
    return TokenBatch(ids, targets)


def found_logits(found) -> torch.Tensor:
    flat = found.flat()
    return torch.cat([chunk.clone() for _, (chunk,) in predictions.logit_chunks(flat)]).view(
        *found.hidden.shape[:2], -1
    )


def own_logits(model, rows) -> torch.Tensor:
    return model(input_ids=rows.ids, use_cache=False).logits


def dense_loss(model, rows) -> torch.Tensor:
    return F.cross_entropy(own_logits(model, rows).float().flatten(0, 1), rows.targets.flatten(), ignore_index=IGNORE)


def assert_same_loss_and_gradients(model, rows) -> None:
    value, expected = cross_entropy(predict(model, rows), rows.targets), dense_loss(model, rows)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    value.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    expected.backward()
    for name, parameter in model.named_parameters():
        largest = parameter.grad.abs().max().item()
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-5 * largest + 1e-9)


@every_family
def test_hidden_states_and_head_are_the_models_own_logits(family, rows):
    model = build(family)
    with torch.no_grad():
        found, own = predict(model, rows), own_logits(model, rows)
    assert found.head is not None and found.hidden.shape == (3, 7, 16)
    torch.testing.assert_close(found_logits(found), own, rtol=1e-5, atol=1e-5)


@every_family
def test_every_parameter_gets_the_gradient_of_the_dense_loss(family, rows):
    assert_same_loss_and_gradients(build(family), rows)


def test_what_the_configuration_says_of_the_logits_is_in_the_head():
    heads = {family: output_head(build(family)) for family in CONFIGS}
    assert {family: head.softcap for family, head in heads.items() if head.softcap} == {"gemma2": 2.0}
    assert {family: head.scale for family, head in heads.items() if head.scale != 1} == {
        "cohere": 0.25,
        "granite": pytest.approx(1 / 3),
    }
    assert [family for family, head in heads.items() if head.bias is not None] == ["phi"]


def test_the_cap_of_this_test_bends_the_logits(rows):
    """Otherwise a head without it would pass."""
    model = build("gemma2")
    capped = own_logits(model, rows)
    model.config.final_logit_softcapping = None
    assert (own_logits(model, rows) - capped).abs().max() > 1


# -- models that do something else to their logits ---------------------------------------------------------------------


def tempered(model):
    """A forward hook on the head."""
    model.lm_head.register_forward_hook(lambda module, inputs, output: output / 3)
    return model


def shifted(model):
    """A subclass whose forward pass has the last word."""

    class Shifted(type(model)):
        def forward(self, *arguments, **options):
            output = super().forward(*arguments, **options)
            output.logits = output.logits + torch.linspace(-2, 2, VOCABULARY)
            return output

    model.__class__ = Shifted
    return model


def misnamed(model):
    """A family whose configuration has a name that means something else to it."""
    model.config.logit_scale = 7.0
    return model


@pytest.mark.parametrize("change", [tempered, shifted, misnamed])
def test_a_model_that_changes_its_logits_is_asked_for_them(change, rows):
    model = change(build("llama"))
    assert output_head(model) is None
    found = predict(model, rows)
    assert found.head is None and found.vocabulary == VOCABULARY
    assert torch.equal(found.hidden, own_logits(model, rows))
    assert_same_loss_and_gradients(model, rows)


def test_a_dense_teacher_can_teach_a_student_with_a_head(rows):
    student, teacher = build("gpt2"), tempered(build("llama"))
    with torch.no_grad():
        value = forward_kl(predict(student, rows), predict(teacher, rows), rows.targets)
        p, q = (F.log_softmax(own_logits(m, rows)[rows.targets != IGNORE], -1) for m in (student, teacher))
    torch.testing.assert_close(value, F.kl_div(p, q, reduction="batchmean", log_target=True), rtol=1e-5, atol=1e-6)


def test_what_was_found_out_of_one_model_says_nothing_of_another():
    model = build("llama")
    assert output_head(model) is not None
    assert output_head(tempered(copy.deepcopy(model))) is None
    assert output_head(model) is not None


def test_the_head_is_found_out_once(rows):
    model, calls = build("llama"), []
    model.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        predict(model, rows)
    assert len(calls) == 1


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_left_as_it_was(training):
    model = build("gpt2").train(training)
    before = torch.random.get_rng_state()
    output_head(model)
    assert all(module.training == training for module in model.modules())
    assert torch.equal(torch.random.get_rng_state(), before), "dropout drew while the head was found out"


def test_a_part_that_was_put_into_another_mode_stays_in_it():
    model = build("gpt2").train()
    model.transformer.drop.eval()
    output_head(model)
    assert model.training and not model.transformer.drop.training


def test_predictions_carry_the_count_of_the_step(rows):
    part = rows.parts(2)[0]
    assert predict(build("llama"), part).count == rows.tokens()
    assert predict(tempered(build("llama")), part).count == rows.tokens()


def test_the_heads_weight_is_the_models_own_parameter():
    model = build("llama, tied")
    assert output_head(model).weight is model.model.embed_tokens.weight
