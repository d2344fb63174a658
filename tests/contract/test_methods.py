"""What every unlearning method owes. A new file in undo/methods is tested without a line here."""

import copy
import json
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

from undo import data, train
from undo.data.batches import Batch, TokenBatch
from undo.methods import LossTerms, Memo, Method
from undo.models import freeze, predict
from undo.objectives import IGNORE, cross_entropy
from undo.objectives.predictions import CHUNK_ENTRIES
from undo.spec.errors import UserError
from undo.spec.recipe import Optim
from undo.spec.registry import load, names
from undo.stages.suppress import check_moved

KNOBS = {  # knobs that have no default, and those that must fit a model of two layers of width 16
    "rmu": {"layers": (1,)},
    "collapse": {"components": 4},
    "sam": {"method": "maxent"},
    "tar": {"method": "graddiff"},
    "repnoise": {"method": "graddiff"},
}


class Quick(NamedTuple):
    """A suppression of a few steps that shows in the losses."""

    knobs: dict[str, Any] | None = None
    rate: float = 3e-3
    steps: int = 5
    untrained: bool = False  # from the initial weights, as methods that localise while they train
    leak: float = 0.5  # how much the retain loss may rise, as a share of the forget loss's rise


QUICK = {  # where the usual ones do not do
    "rmu": Quick({"layers": (0,), "steer_scale": 20.0, "retain_weight": 10.0}, rate=0.1),  # its own take hundreds
    "collapse": Quick(rate=1e-2),  # it moves a part of the model, in some directions
    "tar": Quick({"resistance_weight": 1.0}),  # the published 4 drowns out five steps of the retain loss
    "repnoise": Quick({"noise_weight": 1.0}),  # the published weight takes longer to show
    "gradient_ascent": Quick(leak=1.0),  # nothing holds the retain skill
    "gradient_routing": Quick(rate=1e-2, steps=120, untrained=True),  # as many as `trained_model` had
}

every_method = pytest.mark.parametrize("method", names("methods"), indirect=True)


@pytest.fixture
def method(request) -> Method:
    return load("methods", request.param)(name=request.param, **KNOBS.get(request.param, {}))


@pytest.fixture
def memo_of(trained_model):
    """A reference is handed over only where the method asks for one."""
    return lambda method, seed=11: Memo(freeze(copy.deepcopy(trained_model)) if method.needs_reference else None, seed)


def padded(rows: TokenBatch, pad: int, more: int) -> TokenBatch:
    return TokenBatch(F.pad(rows.ids, (0, more), value=pad), F.pad(rows.targets, (0, more), value=IGNORE))


def suppress(method, model, corpus, memo, tmp_path, steps, rate=3e-3):
    job = train.FitJob(
        objective=lambda model, batch: method.loss(model, batch, memo),
        batch_at=data.domain_batches(corpus, ["retain", "forget"], "train", 32, seed=memo.seed),
        optim=Optim(learning_rate=rate),
        steps=steps,
        trainable=method.trainable(model),
    )
    state = train.fit(model, job, train.Checkpoints(tmp_path / "checkpoint", 1e9), lambda *_: None)
    method.finish(model)
    return state


@every_method
def test_loss_and_gradients_are_finite(method, trained_model, batch, memo_of):
    memo = memo_of(method)
    terms = method.loss(trained_model, batch, memo)
    assert isinstance(terms, LossTerms) and terms.total.shape == () and terms.total.isfinite()
    assert terms.total.dtype == torch.float32
    assert terms.parts and all(part.shape == () and part.isfinite() for part in terms.parts.values())
    terms.total.backward()
    gradients = {name: trained_model.get_parameter(name).grad for name in method.trainable(trained_model)}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert all(gradient.any() for gradient in gradients.values()), "a parameter that may move but never does"
    if memo.reference is not None:
        assert all(parameter.grad is None for parameter in memo.reference.parameters())


@every_method
@pytest.mark.parametrize("sides", ["retain", "forget", "both"])
def test_padding_leaves_the_loss_alone(method, trained_model, batch, memo_of, corpus, sides):
    memo = memo_of(method)
    longer = Batch(*(padded(rows, corpus.pad, 7) if sides in (name, "both") else rows
                     for name, rows in zip(batch._fields, batch, strict=True)))  # fmt: skip
    losses = [method.loss(trained_model, rows, memo) for rows in (batch, longer)]
    torch.testing.assert_close(losses[1].total, losses[0].total, rtol=1e-5, atol=1e-5)


@every_method
def test_masked_targets_do_not_count(method, trained_model, batch, memo_of):
    """Rows that are masked as a whole leave the means alone."""
    memo = memo_of(method)
    empty = TokenBatch(batch.forget.ids, torch.full_like(batch.forget.targets, IGNORE))
    more = Batch(*(TokenBatch(*map(torch.cat, zip(rows[:2], empty[:2], strict=True))) for rows in batch))
    losses = [method.loss(trained_model, rows, memo) for rows in (batch, more)]
    torch.testing.assert_close(losses[1].total, losses[0].total, rtol=1e-5, atol=1e-5)


@every_method
@pytest.mark.parametrize("number", [2, 3])
def test_the_parts_of_a_step_add_up_to_the_whole(method, trained_model, corpus, memo_of, number):
    """Five retain and forget rows, of which some targets are masked, so that no part has as many as another."""
    if not method.sums_over_parts:
        pytest.skip("a step of this method cannot be cut; recipes that ask for it are refused")
    memo, batch = memo_of(method), data.domain_batches(corpus, ["retain", "forget"], "train", 10, seed=4)(0)
    batch.retain.targets[0, 5:], batch.forget.targets[4, 2:] = IGNORE, IGNORE
    parts = batch.parts(number)
    assert len({part.all().tokens() for part in parts}) == number
    found = []
    for rows in ([batch], parts):
        terms = [method.loss(trained_model, part, memo) for part in rows]
        total = sum(term.total for term in terms)
        total.backward()
        sums = {name: sum(term.parts[name] for term in terms) for name in terms[0].parts}
        found.append(
            (total.detach(), sums, {n: p.grad for n, p in trained_model.named_parameters() if p.grad is not None})
        )
        trained_model.zero_grad(set_to_none=True)
    (whole, whole_parts, expected), (summed, summed_parts, gradients) = found
    torch.testing.assert_close(summed, whole, rtol=2e-6, atol=1e-6)
    for name, value in whole_parts.items():
        torch.testing.assert_close(summed_parts[name], value, rtol=2e-6, atol=1e-6)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        largest = gradient.abs().max().item()
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=5e-6 * largest)


@every_method
def test_the_loss_depends_on_its_arguments_alone(method, trained_model, batch, memo_of):
    memo, before = memo_of(method), [rows.ids.clone() for rows in batch]
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.append(method.loss(trained_model, batch, memo).total)
    assert torch.equal(*losses)
    assert all(torch.equal(rows.ids, ids) for rows, ids in zip(batch, before, strict=True))


@every_method
def test_a_step_costs_no_more_than_the_plan_says(method, trained_model, batch, memo_of):
    """Of four rows, where SAM's one row without targets per part weighs more than in any recipe."""
    memo = memo_of(method)
    with FlopCounterMode(display=False) as pass_over_both, torch.no_grad():
        for rows in batch:
            cross_entropy(predict(trained_model, rows), rows.targets)
    with FlopCounterMode(display=False) as step:
        method.loss(trained_model, batch, memo).total.backward()
    passes = step.get_total_flops() / (pass_over_both.get_total_flops() / 2)
    assert 0.4 * method.passes < passes < 1.05 * method.passes


@every_method
def test_the_loss_leaves_the_model_alone(method, trained_model, batch, memo_of):
    """Weights bit by bit, and gradients that the loop has summed so far; these are no part of the loss either.

    A wrapper that looked around along gradients of an earlier step or part would give another value here.
    """
    memo, before = memo_of(method), copy.deepcopy(trained_model.state_dict())
    expected = method.loss(trained_model, batch, memo).total
    summed = [torch.randn(p.shape, generator=torch.Generator().manual_seed(9)) for p in trained_model.parameters()]
    for parameter, gradient in zip(trained_model.parameters(), summed, strict=True):
        parameter.grad = gradient.clone()
    found = method.loss(trained_model, batch, memo).total
    assert torch.equal(found, expected)
    assert all(torch.equal(value, before[name]) for name, value in trained_model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(trained_model.parameters(), summed, strict=True))


@every_method
def test_every_step_looks_at_its_own_rows(method, trained_model, corpus, memo_of):
    """What a method finds out on one step's rows says nothing on the next one's: no gradient or direction is kept."""
    memo, batch_at = memo_of(method), data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=3)
    expected = method.loss(trained_model, batch_at(1), memo).total
    other = method.loss(trained_model, batch_at(0), memo).total
    again = method.loss(trained_model, batch_at(1), memo).total
    assert torch.equal(again, expected) and not torch.equal(other, expected)


@every_method
def test_parameters_that_may_not_move_need_no_gradient(method, trained_model, batch, memo_of):
    """As in the loop, which switches them off."""
    memo, moving = memo_of(method), method.trainable(trained_model)
    expected = method.loss(trained_model, batch, memo).total
    for name, parameter in trained_model.named_parameters():
        parameter.requires_grad_(name in moving)
    found = method.loss(trained_model, batch, memo).total
    if type(method).__name__ not in {"SAM", "TAR"}:  # which look around among the weights that may move
        torch.testing.assert_close(found, expected)
    found.backward()
    assert {name for name, p in trained_model.named_parameters() if p.grad is not None and p.grad.any()} == moving


@every_method
def test_autocast_changes_precision_alone(method, trained_model, batch, memo_of):
    memo = memo_of(method)
    if type(method).__name__ == "TAR":  # rounding adds up along an adversary's steps: a short one shows the same
        method = method.model_copy(update={"inner_steps": 1, "step_length": 0.01})
    exact = method.loss(trained_model, batch, memo).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = method.loss(trained_model, batch, memo).total
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=3e-2, atol=3e-2)
    rounded.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in trained_model.parameters())


@every_method
def test_no_hook_is_left_behind(method, trained_model, batch, memo_of):
    memo = memo_of(method)
    method.loss(trained_model, batch, memo)
    modules = [*trained_model.modules(), *(memo.reference.modules() if memo.reference is not None else ())]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


@every_method
def test_the_same_seed_gives_the_same_teacher(method, trained_model, corpus, memo_of, tmp_path):
    memo, models = memo_of(method), [copy.deepcopy(trained_model) for _ in range(2)]
    states = [suppress(method, m, corpus, memo, tmp_path / str(i), steps=2) for i, m in enumerate(models)]
    assert states[0].metrics == states[1].metrics
    assert all(torch.equal(p, models[1].get_parameter(name)) for name, p in models[0].named_parameters())


@every_method
def test_a_few_steps_hurt_the_forget_skill_more_than_the_retain_skill(
    method, trained_model, untrained, corpus, memo_of, tmp_path
):
    def losses(model):
        with torch.no_grad():
            for domain in ("retain", "forget"):
                rows = data.first_rows(corpus, domain, "attack", 40)  # draws that suppression does not see
                yield cross_entropy(predict(model, rows), rows.targets).item()

    quick = QUICK.get(method.name, Quick())
    method, memo = method.model_copy(update=quick.knobs or {}), memo_of(method)
    retain_before, forget_before = losses(trained_model)
    model = copy.deepcopy(untrained) if quick.untrained else trained_model
    steps = suppress(method, model, corpus, memo, tmp_path, quick.steps, quick.rate).metrics
    retain, forget = losses(model)
    assert forget - forget_before > 0.1, "the forget loss must rise"
    assert retain - retain_before < quick.leak * (forget - forget_before), "the retain loss must not rise with it"
    distances = [name for name in steps[0] if name.startswith("forget_") and not name.endswith("_ce")]
    assert all(steps[-1][name] < steps[0][name] for name in distances), "forgetting is not the only way to move"


@every_method
def test_only_what_may_move_moves(method, trained_model, corpus, memo_of, tmp_path):
    before = copy.deepcopy(trained_model)
    allowed = method.trainable(trained_model)
    assert allowed and allowed <= {name for name, _ in trained_model.named_parameters()}
    suppress(method, trained_model, corpus, memo_of(method), tmp_path, steps=2)
    check_moved(before, trained_model, allowed)


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor holds that is computed inside."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        outputs = found if isinstance(found, tuple | list) else (found,)
        self.size = max([self.size, *(x.numel() for x in outputs if isinstance(x, torch.Tensor))])
        return found


@every_method
def test_no_logits_are_kept(method, trained_model, corpus, memo_of, monkeypatch):
    """Of 64 rows and a vocabulary of 300, all logits would be the largest tensor by far; so would those of one domain.

    With a vocabulary of 256k and several distributions per loss, they would not fit into memory.
    """
    monkeypatch.setitem(CHUNK_ENTRIES, "cpu", 64 * 300)
    memo, batch = memo_of(method), data.domain_batches(corpus, ["retain", "forget"], "train", 64, seed=3)(0)
    parameters = [trained_model.get_parameter(name) for name in sorted(method.trainable(trained_model))]
    with Largest() as seen:
        torch.autograd.grad(method.loss(trained_model, batch, memo).total, parameters)
    assert 64 * 300 <= seen.size < 32 * 32 * 300 / 3


@pytest.mark.parametrize("name", [name for name in names("methods") if "layers" in load("methods", name).model_fields])
@pytest.mark.parametrize("layers", [(2,), (0, 99), (-1,)], ids=str)
def test_an_unknown_layer_is_the_users_error(name, layers, tiny_model, batch):
    method = load("methods", name)(name=name, **{**KNOBS.get(name, {}), "layers": layers})
    with pytest.raises(UserError, match="this model has layers 0 to 1"):
        method.trainable(tiny_model)
    with pytest.raises(UserError, match="this model has layers 0 to 1"):
        method.loss(tiny_model, batch, Memo(tiny_model, 1))


UNSUITABLE = {  # what a GPT-2, without gated MLPs and with other names, is told
    "collapse": r"no parameter matches .*mlp",
    "gradient_routing": "has no gated MLP",
}


@pytest.mark.parametrize("wrapper", [None, "sam", "tar", "repnoise"])
@every_method
def test_an_unsuitable_model_is_the_users_error_before_anything_is_trained(method, wrapper, batch):
    """It suits the other methods: they know nothing of names."""
    sums = method.sums_over_parts or wrapper != "sam"
    if wrapper and (not sums or method.name in ("sam", "tar", "repnoise")):
        pytest.skip("refused by the recipe, or tested by itself")
    if wrapper:
        method = load("methods", wrapper)(name=wrapper, method=method)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=32, n_embd=16, n_layer=2, n_head=2)).eval()
    inner = method.method if wrapper else method
    if inner.name not in UNSUITABLE:
        assert method.loss(model, batch, Memo(model if method.needs_reference else None, 1)).total.isfinite()
        return
    with pytest.raises(UserError, match=UNSUITABLE[inner.name]) as raised:
        method.trainable(model)
    assert "\n" not in str(raised.value)


@every_method
def test_knobs_survive_json(method):
    again = type(method).model_validate(json.loads(method.model_dump_json()))
    assert again == method and type(again) is type(method)
    assert type(method).model_validate(method.model_dump(mode="json")) == method


@every_method
def test_a_method_documents_itself(method):
    assert type(method).__doc__
    assert all(field.description for field in type(method).model_fields.values())


def test_rmu_steers_by_a_unit_vector_of_its_seed(trained_model, batch, memo_of):
    from undo.methods.rmu import unit_vector

    vector = unit_vector(16, seed=3)
    assert vector.norm().item() == pytest.approx(1) and torch.equal(vector, unit_vector(16, seed=3))
    assert not torch.equal(vector, unit_vector(16, seed=4))
    rmu = load("methods", "rmu")(name="rmu", layers=(1,))
    first, other = (rmu.loss(trained_model, batch, memo_of(rmu, seed=seed)).total for seed in (3, 4))
    assert not torch.equal(first, other)


def test_rmu_moves_the_down_projections_of_its_layers_only(tiny_model):
    rmu = load("methods", "rmu")(name="rmu", layers=(1,))
    assert rmu.trainable(tiny_model) == {"model.layers.1.mlp.down_proj.weight"}


def test_graddiff_and_maxent_are_their_formulas(trained_model, batch):
    with torch.no_grad():
        logits = {name: trained_model(input_ids=rows.ids).logits for name, rows in batch._asdict().items()}
        retain, forget = (
            F.cross_entropy(logits[name].flatten(0, 1), rows.targets.flatten(), ignore_index=IGNORE)
            for name, rows in batch._asdict().items()
        )
        log_p = F.log_softmax(logits["forget"][batch.forget.targets != IGNORE], dim=-1)
        uniform = -log_p.mean() - torch.tensor(float(log_p.shape[-1])).log()
        memo = Memo(None, 1)
        graddiff = load("methods", "graddiff")(name="graddiff", retain_weight=3.0)
        maxent = load("methods", "maxent")(name="maxent", retain_weight=3.0)
        torch.testing.assert_close(graddiff.loss(trained_model, batch, memo).total, 3 * retain - forget)
        torch.testing.assert_close(maxent.loss(trained_model, batch, memo).total, uniform + 3 * retain)
