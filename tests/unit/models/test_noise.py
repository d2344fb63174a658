"""The noise step, per kind of tensor and per rule."""

import math
import re

import pytest
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from undo.models import build_llama, perturb
from undo.models.noise import NoiseRule
from undo.spec.errors import UserError

RULES = NoiseRule.__args__
BETA = 0.3
OWN_STD = 0.05


class Config(PretrainedConfig):
    model_type = "every-kind"

    def __init__(self, backwards: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.backwards = backwards


class EveryKind(PreTrainedModel):
    """A matrix with a bias, a norm gain, stacked expert weights and a convolution's kernel, in either order."""

    config_class = Config

    def __init__(self, config: Config):
        super().__init__(config)
        parts = {
            "matrix": lambda: nn.Linear(96, 64),
            "norm": lambda: nn.LayerNorm(64),
            "experts": lambda: nn.ParameterDict({"down": nn.Parameter(torch.randn(4, 32, 48))}),
            "conv": lambda: nn.Conv1d(32, 64, 3),
        }
        for name in reversed(parts) if config.backwards else parts:
            self.add_module(name, parts[name]())
        self.post_init()

    def _init_weights(self, module: nn.Module):
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=OWN_STD)
            else:
                nn.init.constant_(parameter, float(isinstance(module, nn.LayerNorm) and name == "weight"))


# fan in + fan out, by hand
FANS = {"matrix.weight": 96 + 64, "experts.down": 48 + 32, "conv.weight": 3 * 32 + 3 * 64}
VECTORS = {"matrix.bias": 0.0, "norm.weight": 1.0, "norm.bias": 0.0, "conv.bias": 0.0}


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.fixture
def model():
    """One whose vectors have moved from where they started."""
    torch.manual_seed(0)
    model = EveryKind(Config())
    with torch.no_grad():
        for name in VECTORS:
            model.get_parameter(name).add_(torch.rand(64))
    return model


def test_the_example_holds_every_kind(model):
    assert set(tensors(model)) == set(FANS) | set(VECTORS)


@pytest.mark.parametrize("rule", RULES)
def test_alpha_0_changes_nothing(model, rule):
    noised = tensors(perturb(model, 0.0, BETA, seed=1, rule=rule))
    assert all(torch.equal(noised[name], before) for name, before in tensors(model).items())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("alpha", [0.25, 0.9])
def test_alpha_mixes_the_weights_with_what_alpha_1_gives(model, rule, alpha):
    before, target = tensors(model), tensors(perturb(model, 1.0, BETA, seed=1, rule=rule))
    for name, mixed in tensors(perturb(model, alpha, BETA, seed=1, rule=rule)).items():
        torch.testing.assert_close(mixed, (1 - alpha) * before[name] + alpha * target[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rule", ["initial", "paper"])
@pytest.mark.parametrize("name", FANS)
def test_matrices_move_towards_xavier_uniform_noise(model, rule, name):
    noise = perturb(model, 1.0, BETA, seed=1, rule=rule).get_parameter(name).detach()
    bound = BETA * math.sqrt(6 / FANS[name])
    assert 0.98 * bound < noise.abs().max() <= bound
    assert noise.std().item() == pytest.approx(BETA * math.sqrt(2 / FANS[name]), rel=0.03)
    assert noise.mean().abs() < 0.05 * bound


@pytest.mark.parametrize(
    ("rule", "start"), [("initial", VECTORS), ("reinit", VECTORS), ("paper", dict.fromkeys(VECTORS, 0.0))]
)
def test_vectors_move_towards_their_start_or_zero(model, rule, start):
    noised = perturb(model, 1.0, BETA, seed=1, rule=rule)
    for name, value in start.items():
        assert torch.equal(noised.get_parameter(name), torch.full((64,), value)), name


@pytest.mark.parametrize("name", FANS)
def test_reinit_draws_matrices_from_the_models_own_initialiser(model, name):
    noise = perturb(model, 1.0, BETA, seed=1, rule="reinit").get_parameter(name).detach()
    assert noise.std().item() == pytest.approx(BETA * OWN_STD, rel=0.05)
    assert noise.abs().max() > 2.5 * BETA * OWN_STD, "normal, not uniform"


def test_reinit_gives_a_llama_its_own_initial_spread(corpus):
    noised = perturb(build_llama(16, 2, 2, 32, 32, corpus.tokenizer, seed=1), 1.0, 1.0, seed=1, rule="reinit")
    weights = torch.cat([layer.mlp.up_proj.weight.flatten() for layer in noised.model.layers])
    assert weights.std().item() == pytest.approx(noised.config.initializer_range, rel=0.1)
    assert torch.equal(noised.model.norm.weight, torch.ones(16))


def test_the_kernels_of_every_expert_differ(model):
    first, *others = perturb(model, 1.0, BETA, seed=1).get_parameter("experts.down").detach()
    assert all(not torch.equal(first, other) for other in others)


def test_beta_0_shrinks_matrices_and_leaves_vectors_near_their_start(model):
    before, noised = tensors(model), perturb(model, 0.25, 0.0, seed=1)
    torch.testing.assert_close(noised.get_parameter("matrix.weight").detach(), 0.75 * before["matrix.weight"])
    gain = noised.get_parameter("norm.weight").detach()
    torch.testing.assert_close(gain, 0.75 * before["norm.weight"] + 0.25)


@pytest.mark.parametrize("rule", RULES)
def test_the_seed_decides_every_matrix(model, rule):
    first, again, other = (tensors(perturb(model, 0.5, BETA, seed=seed, rule=rule)) for seed in (1, 1, 2))
    for name in FANS:
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_the_parameters_does_not_matter(model, rule):
    backwards = EveryKind(Config(backwards=True))
    assert list(tensors(backwards)) != list(tensors(model))
    backwards.load_state_dict(model.state_dict())
    first, second = (tensors(perturb(m, 0.5, BETA, seed=1, rule=rule)) for m in (model, backwards))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("rule", RULES)
def test_neither_the_model_nor_the_global_generator_is_touched(model, rule):
    before, state = tensors(model), torch.get_rng_state()
    noised = perturb(model, 0.7, BETA, seed=1, rule=rule)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in noised.parameters()}


def test_tied_embeddings_are_noised_once_and_stay_tied(corpus):
    model = build_llama(16, 2, 2, 32, 32, corpus.tokenizer, seed=1)
    noised = perturb(model, 0.6, 0.1, seed=1)
    head, embedding = noised.get_output_embeddings().weight, noised.get_input_embeddings().weight
    assert head is embedding
    before, target = model.get_input_embeddings().weight, perturb(model, 1.0, 0.1, seed=1).get_input_embeddings().weight
    torch.testing.assert_close(embedding, 0.4 * before + 0.6 * target)


def test_parameters_of_one_shape_get_noise_of_their_own(corpus):
    noised = perturb(build_llama(16, 2, 2, 32, 32, corpus.tokenizer, seed=1), 1.0, 0.1, seed=1)
    query, key = (noised.get_parameter(f"model.layers.0.self_attn.{name}_proj.weight") for name in ("q", "k"))
    other = noised.get_parameter("model.layers.1.self_attn.q_proj.weight")
    assert not torch.equal(query, key) and not torch.equal(query, other)


def test_low_precision_models_keep_their_precision(model):
    noised = perturb(model.to(torch.bfloat16), 0.5, BETA, seed=1)
    assert {parameter.dtype for parameter in noised.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_its_range_is_refused(model, alpha):
    with pytest.raises(UserError, match="noise_alpha"):
        perturb(model, alpha, BETA, seed=1)


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf")])
def test_beta_outside_its_range_is_refused(model, beta):
    with pytest.raises(UserError, match="noise_beta"):
        perturb(model, 0.5, beta, seed=1)


def test_a_rule_that_is_none_is_refused(model):
    with pytest.raises(UserError, match="did you mean 'reinit'"):
        perturb(model, 0.5, 0.1, seed=1, rule="reinitt")  # type: ignore[arg-type]  # that it is none is the point


def test_only_the_parameters_that_match_are_noised(model):
    noised = perturb(model, 0.5, 0.1, seed=1, parameters=(r".*experts.*", r".*norm"))
    for name, parameter in noised.named_parameters():
        chosen = re.match(r".*experts.*|.*norm", name) is not None
        assert chosen or torch.equal(parameter, model.get_parameter(name))
        assert not (chosen and parameter.ndim > 1 and torch.equal(parameter, model.get_parameter(name)))


def test_a_pattern_that_matches_nothing_is_refused(model):
    with pytest.raises(UserError, match="no parameter matches 'nothing'"):
        perturb(model, 0.5, 0.1, seed=1, parameters=("nothing",))
