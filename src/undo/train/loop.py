"""THE training loop. Pretraining, suppression, distillation and attacks differ only in what they hand to `fit`."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from undo.data.batches import Batch
from undo.methods import LossTerms
from undo.models.device import pick_device
from undo.spec.errors import TrainingDiverged
from undo.spec.recipe import Optim
from undo.train.checkpoint import Checkpoints, FitState
from undo.train.optim import learning_rate, make_optimizer
from undo.train.runtime import autocast, count_flops, peak_memory, reset_peak_memory

LOG_ROWS = 100  # rows of metrics.jsonl per stage: enough for a curve, small enough to keep


@dataclass(frozen=True)
class FitJob:
    """What one stage trains."""

    objective: Callable[[PreTrainedModel, Batch], LossTerms]
    batch_at: Callable[[int], Batch]
    optim: Optim
    steps: int
    trainable: set[str] | None = None  # parameter names; None moves all
    evaluate: Callable[[PreTrainedModel], dict[str, float]] | None = None
    eval_steps: Collection[int] = ()
    should_stop: Callable[[dict[str, float]], bool] = lambda scores: False


Notify = Callable[[int, int, float], None]
"""Called after every step with (steps done, steps at most, loss)."""


def fit(model: PreTrainedModel, job: FitJob, checkpoints: Checkpoints, notify: Notify) -> FitState:
    """Trains the model in place, from its checkpoint if there is one, and returns rows, evaluations and cost.

    The batch of a step, the schedule and the evaluations are functions of the step alone, so an interrupted fit goes on
    to the numbers of an undisturbed one. Raises TrainingDiverged on a loss or gradient that is not finite.
    """
    device = pick_device()
    reset_peak_memory(device)
    model.to(device).train()  # pyright: ignore[reportArgumentType]  # transformers' wrapper of `to` hides self
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(job.trainable is None or name in job.trainable)
    optimizer = make_optimizer((p for p in model.parameters() if p.requires_grad), job.optim)
    state = checkpoints.load(model, optimizer)
    cost = _step_cost(model, job, device)
    while state.step < job.steps and not state.stopped:
        started = time.perf_counter()
        loss = _step(model, optimizer, job, state, cost, device)
        if state.step in job.eval_steps:
            _evaluate(model, job, state)
        state.ledger.wall_s += time.perf_counter() - started
        notify(state.step, job.steps, loss)
        if checkpoints.due():
            checkpoints.save(model, optimizer, state)
    state.ledger.peak_memory_bytes = max(state.ledger.peak_memory_bytes, peak_memory(device))
    model.eval()
    return state


def _step_cost(model: PreTrainedModel, job: FitJob, device: torch.device) -> tuple[int, int]:
    """(forward, backward) FLOPs of a step, counted on a dry one: batches are packed, so every step costs the same.

    It is apart from the real steps because the counter may decompose operations, which would change their rounding.
    """
    batch = job.batch_at(0).to(device)
    forward, terms = count_flops(lambda: _loss(model, job, batch, device))
    backward, _ = count_flops(terms.total.backward)
    model.zero_grad(set_to_none=True)
    return forward, backward


def _loss(model: PreTrainedModel, job: FitJob, batch: Batch, device: torch.device) -> LossTerms:
    with autocast(device):
        return job.objective(model, batch)


def _step(model, optimizer, job: FitJob, state: FitState, cost: tuple[int, int], device: torch.device) -> float:
    rate = learning_rate(job.optim, state.step, job.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    batch = job.batch_at(state.step)
    terms = _loss(model, job, batch.to(device), device)
    optimizer.zero_grad(set_to_none=True)
    terms.total.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), job.optim.clip)
    loss = _finite(terms.total, "loss", state.step + 1, rate)
    _finite(norm, "gradient", state.step + 1, rate)
    optimizer.step()
    _account(state, batch, cost)
    if state.step == 1 or state.step % max(1, job.steps // LOG_ROWS) == 0:
        parts = {name: round(value.item(), 6) for name, value in terms.parts.items()}
        state.metrics.append({"step": state.step, "learning_rate": rate, "loss": round(loss, 6), **parts})
    return loss


def _finite(value: Tensor, what: str, step: int, rate: float) -> float:
    number = value.item()
    if number - number != 0:  # NaN and infinities
        raise TrainingDiverged(step, rate, what)
    return number


def _account(state: FitState, batch: Batch, cost: tuple[int, int]) -> None:
    state.step += 1
    state.ledger.forward_flops += cost[0]
    state.ledger.backward_flops += cost[1]
    state.ledger.tokens += batch.retain.tokens() + batch.forget.tokens()
    state.ledger.forget_tokens += batch.forget.tokens()


def _evaluate(model: PreTrainedModel, job: FitJob, state: FitState) -> None:
    assert job.evaluate is not None
    model.eval()
    flops, scores = count_flops(lambda: job.evaluate(model))  # type: ignore[misc]
    state.ledger.eval_flops += flops
    state.evals.append(
        {"step": state.step, "tokens": state.ledger.tokens, "forget_tokens": state.ledger.forget_tokens, **scores}
    )
    state.stopped = job.should_stop(scores)
    model.train()
