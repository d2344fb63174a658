"""The one loop: deterministic, resumable to the same numbers, and loud when it diverges."""

import copy
import dataclasses
import math

import pytest
import torch

from undo import data
from undo.data.batches import Batch, TokenBatch
from undo.methods import LossTerms
from undo.models import predict
from undo.objectives import IGNORE, cross_entropy
from undo.spec.errors import TrainingDiverged
from undo.spec.recipe import Optim
from undo.train import Checkpoints, FitJob, fit

STEPS = 7


class Killed(Exception):
    """Stands for a kill in the middle of a fit."""


def next_token(model, batch) -> LossTerms:
    rows = batch.all()
    loss = cross_entropy(predict(model, rows), rows.targets)
    return LossTerms(loss, {"twice": 2 * loss})


@pytest.fixture(scope="module")
def job(corpus):
    """Learning-rate schedule, decay, evaluations and a stop rule: all that a resumed fit must carry on."""
    probe = data.first_rows(corpus, "retain", "attack", 4)

    def evaluate(model):
        with torch.no_grad():
            return {"ce": cross_entropy(predict(model, probe), probe.targets).item()}

    return FitJob(
        objective=next_token,
        batch_at=data.domain_batches(corpus, ["retain", "forget"], "train", 4, seed=1),
        optim=Optim(learning_rate=1e-2, schedule="cosine", warmup_steps=2, weight_decay=0.1),
        steps=STEPS,
        evaluate=evaluate,
        eval_steps=(2, 5, 7),
    )


def run(model, job, folder, die_at: int | None = None, every_s: float = 0.0):
    def notify(step, steps, loss):
        assert steps == job.steps and math.isfinite(loss)
        if step == die_at:
            raise Killed

    return fit(model, job, Checkpoints(folder / "checkpoint", every_s), notify)


def results(state) -> dict:
    """Everything but the clocks and the memory."""
    fields, measured = dataclasses.asdict(state), {"wall_s", "cpu_s", "peak_memory_bytes"}
    fields["ledger"] = {k: v for k, v in fields["ledger"].items() if k not in measured}
    return fields


def assert_same_weights(first, second):
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name)), name


def row_weights(model) -> tuple[int, int, int]:
    """(weights of the body, weights of the head, FLOPs of attention for a row)."""
    return 2 * (4 * 16**2 + 3 * 16 * 32), 16 * model.config.vocab_size, 2 * 4 * 32**2 * 16


@pytest.fixture(scope="module")
def undisturbed(untrained, job, tmp_path_factory):
    model = copy.deepcopy(untrained)
    return model, run(model, job, tmp_path_factory.mktemp("undisturbed"), every_s=1e9)


def test_a_fit_is_deterministic(tiny_model, job, tmp_path, undisturbed):
    state = run(tiny_model, job, tmp_path / "again", every_s=1e9)
    assert_same_weights(tiny_model, undisturbed[0])
    assert results(state) == results(undisturbed[1])


def test_a_fit_by_muon_resumes_to_the_same_numbers(tiny_model, job, tmp_path):
    by_muon = dataclasses.replace(job, optim=Optim(optimizer="muon", learning_rate=1e-2, weight_decay=0.1))
    whole, killed = copy.deepcopy(tiny_model), copy.deepcopy(tiny_model)
    state = run(whole, by_muon, tmp_path / "whole", every_s=1e9)
    assert state.metrics[-1]["loss"] < state.metrics[0]["loss"]
    with pytest.raises(Killed):
        run(killed, by_muon, tmp_path / "killed", die_at=4)
    again = run(copy.deepcopy(tiny_model), by_muon, tmp_path / "killed")
    assert results(again) == results(state)


def test_a_fit_learns(undisturbed):
    _, state = undisturbed
    assert state.step == STEPS and state.metrics[-1]["loss"] < state.metrics[0]["loss"] - 0.5


def test_writing_checkpoints_changes_nothing(tiny_model, job, tmp_path, undisturbed):
    state = run(tiny_model, job, tmp_path / "often", every_s=0)
    assert_same_weights(tiny_model, undisturbed[0])
    assert results(state) == results(undisturbed[1])


def test_a_fit_may_change_its_objective_on_the_way(tiny_model, job, tmp_path):
    """From that step on the other one decides, on the same schedule; a kill on either side changes nothing."""

    def twice(model, batch) -> LossTerms:
        return LossTerms(2 * next_token(model, batch).total, {})

    both = dataclasses.replace(job, second_phase=(3, twice))
    start, whole = copy.deepcopy(tiny_model), copy.deepcopy(tiny_model)
    state = run(whole, both, tmp_path / "whole", every_s=1e9)
    rows, alone = state.metrics, run(copy.deepcopy(start), job, tmp_path / "alone", every_s=1e9).metrics
    assert rows[:3] == alone[:3] and rows[3]["loss"] == pytest.approx(2 * alone[3]["loss"], rel=1e-5)
    assert [row["learning_rate"] for row in rows] == [row["learning_rate"] for row in alone]
    for kill in (2, 3, 5):
        with pytest.raises(Killed):
            run(copy.deepcopy(start), both, tmp_path / "killed", die_at=kill)
    resumed = copy.deepcopy(start)
    assert results(run(resumed, both, tmp_path / "killed")) == results(state)
    assert_same_weights(resumed, whole)


@pytest.mark.parametrize("kills", [(1,), (4,), (7,), (2, 3, 6)], ids=str)
def test_a_killed_fit_goes_on_to_the_same_numbers(tiny_model, job, tmp_path, undisturbed, kills):
    for kill in kills:
        with pytest.raises(Killed):
            run(copy.deepcopy(tiny_model), job, tmp_path / "killed", die_at=kill)
    model = copy.deepcopy(tiny_model)
    state = run(model, job, tmp_path / "killed")
    assert_same_weights(model, undisturbed[0])
    assert results(state) == results(undisturbed[1])


def test_a_resumed_fit_does_not_start_over(tiny_model, job, tmp_path):
    with pytest.raises(Killed):
        run(copy.deepcopy(tiny_model), job, tmp_path, die_at=5)
    steps = []
    fit(tiny_model, job, Checkpoints(tmp_path / "checkpoint", 0), lambda step, *_: steps.append(step))
    assert steps == [5, 6, 7]


def test_a_kill_loses_at_most_the_work_since_the_last_checkpoint(tiny_model, job, tmp_path):
    with pytest.raises(Killed):
        run(copy.deepcopy(tiny_model), job, tmp_path, die_at=5, every_s=1e9)
    assert not (tmp_path / "checkpoint").exists(), "a checkpoint before it was due"


def test_the_moments_of_frozen_parameters_survive_too(tiny_model, job, tmp_path):
    job = dataclasses.replace(job, trainable={"model.layers.1.mlp.down_proj.weight", "model.norm.weight"})
    whole = copy.deepcopy(tiny_model)
    run(whole, job, tmp_path / "whole")
    with pytest.raises(Killed):
        run(copy.deepcopy(tiny_model), job, tmp_path / "killed", die_at=4)
    run(tiny_model, job, tmp_path / "killed")
    assert_same_weights(tiny_model, whole)


def test_only_trainable_parameters_move(tiny_model, job, tmp_path):
    trainable = {"model.layers.1.mlp.down_proj.weight", "model.norm.weight"}
    before = copy.deepcopy(tiny_model)
    run(tiny_model, dataclasses.replace(job, trainable=trainable), tmp_path)
    moved = {name for name, p in tiny_model.named_parameters() if not torch.equal(p, before.get_parameter(name))}
    assert moved == trainable


def test_metrics_hold_step_rate_loss_and_its_parts(undisturbed):
    _, state = undisturbed
    assert [row["step"] for row in state.metrics] == list(range(1, STEPS + 1))
    assert state.metrics[0]["learning_rate"] == pytest.approx(1e-2 / 3)
    assert all(row["twice"] == pytest.approx(2 * row["loss"], abs=2e-6) for row in state.metrics)


def test_evaluations_stand_at_their_steps_with_the_tokens_seen(undisturbed, job):
    _, state = undisturbed
    assert [row["step"] for row in state.evals] == [2, 5, 7]
    seen = [job.batch_at(step) for step in range(2)]
    assert state.evals[0]["tokens"] == sum(batch.all().tokens() for batch in seen)
    assert state.evals[0]["forget_tokens"] == sum(batch.forget.tokens() for batch in seen)


def test_the_stop_rule_ends_the_fit_and_survives_a_resume(tiny_model, job, tmp_path):
    stopping = dataclasses.replace(job, should_stop=lambda scores: True)
    state = run(tiny_model, stopping, tmp_path)
    assert state.stopped and state.step == 2 and len(state.evals) == 1
    resumed = copy.deepcopy(tiny_model)
    state = run(resumed, stopping, tmp_path)
    assert state.stopped and state.step == 2
    assert_same_weights(resumed, tiny_model)


def test_the_ledger_counts_tokens_and_flops_of_every_step(undisturbed, job, tiny_model):
    _, state = undisturbed
    batches = [job.batch_at(step) for step in range(STEPS)]
    assert state.ledger.tokens == sum(int((batch.all().targets != IGNORE).sum()) for batch in batches)
    assert state.ledger.forget_tokens == sum(int((batch.forget.targets != IGNORE).sum()) for batch in batches)
    body, head, attention = row_weights(tiny_model)
    # The head's own backward pass, two products, is made with its forward one.
    assert state.ledger.forward_flops == STEPS * 4 * (2 * 32 * (body + 3 * head) + attention)
    assert state.ledger.backward_flops == STEPS * 4 * (4 * 32 * body + 5 * attention // 2)
    assert state.ledger.eval_flops == 3 * 4 * (2 * 32 * (body + head) + attention)  # three looks at four rows
    assert state.ledger.flops == state.ledger.forward_flops + state.ledger.backward_flops
    assert state.ledger.wall_s > 0 and state.ledger.peak_memory_bytes > 0


def test_a_teachers_forward_is_part_of_the_cost(tiny_model, job, tmp_path, undisturbed):
    teacher = copy.deepcopy(tiny_model)

    def with_teacher(model, batch):
        with torch.no_grad():
            teacher(input_ids=batch.all().ids)
        return next_token(model, batch)

    state = run(tiny_model, dataclasses.replace(job, objective=with_teacher), tmp_path)
    body, head, attention = row_weights(teacher)
    more = state.ledger.forward_flops - undisturbed[1].ledger.forward_flops
    assert more == STEPS * 4 * (2 * 32 * (body + head) + attention)
    assert state.ledger.backward_flops == undisturbed[1].ledger.backward_flops


def test_a_ledger_row_holds_the_total():
    from undo.train import Ledger

    row = Ledger(forward_flops=2, backward_flops=4, eval_flops=8, wall_s=1.23456).as_row()
    assert row["flops"] == 6 and row["wall_s"] == 1.235


def test_gradients_are_clipped(tiny_model, job, tmp_path):
    """With plain Adam a clip changes nothing but the moments, so it is read from the gradients themselves."""

    def steep(model, batch):
        terms = next_token(model, batch)
        return LossTerms(1000 * terms.total, {})

    run(tiny_model, dataclasses.replace(job, objective=steep, optim=Optim(learning_rate=1e-3, clip=0.5)), tmp_path)
    norm = torch.cat([p.grad.flatten() for p in tiny_model.parameters()]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-3)


def test_a_loss_that_is_not_finite_names_its_step_and_rate(tiny_model, job, tmp_path):
    def batch_at(step):
        batch = job.batch_at(step)
        return Batch(TokenBatch(batch.retain.ids[:0], batch.retain.targets[:0]), batch.forget) if step == 3 else batch

    def objective(model, batch):
        terms = next_token(model, batch)
        return terms if len(batch.retain.ids) else LossTerms(terms.total * float("nan"), {})

    diverging = dataclasses.replace(job, objective=objective, batch_at=batch_at, optim=Optim(learning_rate=0.25))
    with pytest.raises(TrainingDiverged, match=r"loss is not finite at step 4 \(learning rate 0\.25\)") as raised:
        run(tiny_model, diverging, tmp_path)
    assert (raised.value.step, raised.value.learning_rate) == (4, 0.25)


@pytest.mark.parametrize("value", ["inf", "-inf"])
def test_an_infinite_loss_is_a_divergence(tiny_model, job, tmp_path, value):
    infinite = dataclasses.replace(job, objective=lambda m, b: LossTerms(next_token(m, b).total + float(value), {}))
    with pytest.raises(TrainingDiverged, match=r"loss .* step 1 "):
        run(tiny_model, infinite, tmp_path)


def test_a_gradient_that_is_not_finite_names_its_step(tiny_model, job, tmp_path):
    def objective(model, batch):
        loss = next_token(model, batch).total
        return LossTerms(loss + (0 * model.model.norm.weight).sum().abs().sqrt(), {})  # 0, with a slope of infinity

    with pytest.raises(TrainingDiverged, match="gradient is not finite at step 1 "):
        run(tiny_model, dataclasses.replace(job, objective=objective), tmp_path)


def test_questions_are_asked_in_evaluation_mode(tiny_model, job, tmp_path):
    """A model with dropout would otherwise be asked with its dropout on."""
    modes = []
    asking = dataclasses.replace(job, evaluate=lambda model: modes.append(model.training) or {})
    training = []
    objective = dataclasses.replace(asking, objective=lambda m, b: training.append(m.training) or next_token(m, b))
    run(tiny_model, objective, tmp_path)
    assert modes == [False] * 3 and all(training)


def test_a_fitted_model_is_left_in_evaluation_mode(undisturbed):
    assert not undisturbed[0].training


@pytest.mark.parametrize("number", [2, 3, 4])
def test_micro_batches_change_nothing_but_the_rounding(untrained, corpus, job, tmp_path, number):
    """Four rows of each domain, in equal parts and in unequal ones."""
    batch_at = data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=1)
    fitted, states = [], []
    for parts in (1, number):
        model, optim = copy.deepcopy(untrained), job.optim.model_copy(update={"micro_batches": parts})
        states.append(run(model, dataclasses.replace(job, batch_at=batch_at, optim=optim), tmp_path / str(parts)))
        fitted.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    start = torch.cat([parameter.detach().flatten() for parameter in untrained.parameters()])
    assert (fitted[0] - fitted[1]).norm() < 1e-3 * (fitted[0] - start).norm()
    assert states[0].ledger.tokens == states[1].ledger.tokens
    for whole, summed in zip(states[0].metrics, states[1].metrics, strict=True):
        assert summed == pytest.approx(whole, rel=1e-4), "parts of a loss are summed, not averaged"


def test_micro_batches_cost_as_many_flops_as_the_whole(untrained, corpus, job, tmp_path):
    batch_at = data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=1)
    costs = []
    for parts in (1, 2):
        optim = job.optim.model_copy(update={"micro_batches": parts})
        short = dataclasses.replace(job, batch_at=batch_at, optim=optim, steps=2, eval_steps=())
        ledger = run(copy.deepcopy(untrained), short, tmp_path / str(parts)).ledger
        costs.append((ledger.forward_flops, ledger.backward_flops))
    assert costs[0] == costs[1]


LONG = 250  # steps, of which every second is a look


@pytest.fixture
def cheap(job):
    """A fit of many steps that costs next to nothing: one norm is pulled towards 0 by its own square."""

    def objective(model, batch):
        return LossTerms((model.model.norm.weight**2).mean(), {})

    optim = Optim(learning_rate=1e-4)
    return dataclasses.replace(job, objective=objective, steps=LONG, optim=optim, evaluate=None, eval_steps=())


@pytest.mark.parametrize("bad", [1, 5, 6, 101, LONG - 1, LONG])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_divergence_between_two_looks_is_named_with_its_own_step(tiny_model, cheap, tmp_path, bad, what):
    """Nothing of it stays in the weights, so that no later step tells of it."""
    calls = iter(range(0, 10**6))  # one of them is the dry step

    def objective(model, batch):
        terms, step = cheap.objective(model, batch), next(calls)
        if step != bad:
            return terms
        if what == "loss":
            return LossTerms(terms.total + float("nan"), {})  # its gradient is finite
        slope = (0 * model.model.norm.weight).sum().abs().sqrt()  # 0, with a slope that is none
        return LossTerms(terms.total + slope, {})

    with pytest.raises(TrainingDiverged, match=rf"{what} is not finite at step {bad} ") as raised:
        run(tiny_model, dataclasses.replace(cheap, objective=objective), tmp_path, every_s=1e9)
    assert raised.value.step == bad


def test_a_long_fit_reads_its_losses_at_looks_and_logs_them_there(tiny_model, cheap, tmp_path):
    told = []
    state = fit(tiny_model, cheap, Checkpoints(tmp_path / "checkpoint", 1e9), lambda *now: told.append(now))
    looks = [1, *range(2, LONG + 1, 2)]
    assert [row["step"] for row in state.metrics] == looks
    losses = {row["step"]: row["loss"] for row in state.metrics}
    for step, steps, loss in told:
        last_look = max(look for look in looks if look <= step)
        assert steps == LONG and loss == pytest.approx(losses[last_look], abs=1e-6)


def test_a_kill_between_two_looks_leaves_the_numbers_as_they_are(tiny_model, cheap, tmp_path):
    """Checkpoints are written at every step, and so in the middle between looks."""
    whole = copy.deepcopy(tiny_model)
    undisturbed = run(whole, cheap, tmp_path / "whole", every_s=1e9)
    for kill in (4, 7, 201):
        with pytest.raises(Killed):
            run(copy.deepcopy(tiny_model), cheap, tmp_path / "killed", die_at=kill)
    told = []
    state = fit(tiny_model, cheap, Checkpoints(tmp_path / "killed" / "checkpoint", 1e9), lambda *now: told.append(now))
    assert results(state) == results(undisturbed)
    assert_same_weights(tiny_model, whole)
    assert told[0] == (201, LONG, None), "no loss has been looked at since the resume"
    assert all(math.isfinite(loss) for _, _, loss in told[1:])


def test_gradient_checkpointing_computes_layers_twice_and_changes_nothing(tiny_model, job, tmp_path):
    def trained(checkpointing: bool):
        model, calls = copy.deepcopy(tiny_model), []
        model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(model.training))
        optim = job.optim.model_copy(update={"gradient_checkpointing": checkpointing})
        chosen = dataclasses.replace(job, optim=optim, eval_steps=())
        run(model, chosen, tmp_path / str(checkpointing), every_s=1e9)
        return model, sum(calls)

    (plain, once), (again, twice) = trained(False), trained(True)
    assert twice == 2 * once
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(again.get_parameter(name), weight)
