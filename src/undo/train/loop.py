"""THE training loop. Pretraining, suppression, distillation and attacks differ only in what they hand to `fit`."""

import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from undo import models
from undo.data.batches import Batch
from undo.methods import LossTerms
from undo.models.device import pick_device
from undo.spec.errors import TrainingDiverged
from undo.spec.recipe import Optim
from undo.train.checkpoint import Checkpoints, FitState
from undo.train.optim import learning_rate, make_optimizer
from undo.train.runtime import autocast, count_flops, peak_memory, reset_peak_memory

LOOKS = 100  # times that a stage reads its losses back: enough for a curve, and seldom enough for a GPU to run ahead


Objective = Callable[[PreTrainedModel, Batch], LossTerms]


@dataclass(frozen=True)
class FitJob:
    """What one stage trains."""

    objective: Objective
    batch_at: Callable[[int], Batch]
    optim: Optim
    steps: int
    trainable: set[str] | None = None  # parameter names; None moves all
    evaluate: Callable[[PreTrainedModel], dict[str, float]] | None = None
    eval_steps: Collection[int] = ()
    should_stop: Callable[[dict[str, float]], bool] = lambda scores: False
    second_phase: tuple[int, Objective] | None = None  # after so many steps the other objective; one schedule for both

    def objective_at(self, step: int) -> Objective:
        """What the step after so many others minimises."""
        return self.second_phase[1] if self.second_phase and step >= self.second_phase[0] else self.objective


Notify = Callable[[int, int, float | None], None]
"""Called after every step with (steps done, steps at most, the loss when it was last looked at)."""


class _Step(NamedTuple):
    """What a step leaves to be looked at; the tensors stay on the device."""

    number: int
    rate: float
    values: Tensor  # loss, norm of the gradient, parts
    parts: tuple[str, ...]


@dataclass
class Fit:
    """A fit under way: its state is where it stands, `loss` that of the last step that was looked at."""

    model: PreTrainedModel
    job: FitJob
    state: FitState
    optimizer: torch.optim.Optimizer
    device: torch.device
    costs: dict[Objective, tuple[int, int]]
    unread: list[_Step] = field(default_factory=list)
    loss: float | None = None
    eval_cost: int | None = None


def fit(model: PreTrainedModel, job: FitJob, checkpoints: Checkpoints, notify: Notify) -> FitState:
    """Trains the model in place, from its checkpoint if there is one, and returns rows, evaluations and cost.

    The batch of a step, the schedule and the evaluations are functions of the step alone, so an interrupted fit goes on
    to the numbers of an undisturbed one. Raises TrainingDiverged on a loss or gradient that is not finite.
    """
    run = start(model, job, checkpoints)
    for _ in steps(run, checkpoints):
        notify(run.state.step, job.steps, run.loss)
    return run.state


def start(model: PreTrainedModel, job: FitJob, checkpoints: Checkpoints | None = None) -> Fit:
    """A fit before its next step: the model on its device, and its checkpoint read if there is one."""
    device = pick_device()
    reset_peak_memory(device)
    model.to(device).train()  # pyright: ignore[reportArgumentType]  # transformers' wrapper of `to` hides self
    models.with_probed_head(model)  # before anything is counted
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(job.trainable is None or name in job.trainable)
    if job.optim.gradient_checkpointing:  # the reentrant kind trains nothing where the inputs need no gradient
        model.gradient_checkpointing_enable({"use_reentrant": False})
    moving = (p for p in model.parameters() if p.requires_grad)
    optimizer = make_optimizer(moving, job.optim, models.state_matrices(model))
    state = checkpoints.load(model, optimizer) if checkpoints else FitState()
    objectives = [job.objective, job.second_phase[1]] if job.second_phase else [job.objective]
    costs = {objective: _step_cost(model, job, objective, device) for objective in objectives}
    return Fit(model, job, state, optimizer, device, costs)


def steps(run: Fit, checkpoints: Checkpoints | None = None) -> Generator[int]:
    """Takes the steps that are left and yields the number of those done after each; closing it stops the fit there."""
    job, state = run.job, run.state
    try:
        while state.step < job.steps and not state.stopped:
            wall, cpu = time.perf_counter(), time.process_time()
            _step(run)
            evaluating, saving = state.step in job.eval_steps, checkpoints is not None and checkpoints.due()
            if evaluating or saving or state.step == job.steps or _is_look(state.step, job.steps):
                _flush_losses(run)
            if evaluating:
                _evaluate(run)
            state.ledger.wall_s += time.perf_counter() - wall
            state.ledger.cpu_s += time.process_time() - cpu
            yield state.step
            if checkpoints and saving:
                checkpoints.save(run.model, run.optimizer, state)
    finally:
        state.ledger.peak_memory_bytes = max(state.ledger.peak_memory_bytes, peak_memory(run.device))
        run.model.eval()


def _step_cost(model: PreTrainedModel, job: FitJob, objective: Objective, device: torch.device) -> tuple[int, int]:
    """(forward, backward) FLOPs of a step, counted on a dry one: batches are packed, so every step costs the same.

    It is apart from the real steps because the counter may decompose operations, which would change their rounding.
    """
    forward, backward = 0, 0
    for part in job.batch_at(0).parts(job.optim.micro_batches):
        cost, terms = count_flops(lambda part=part: _loss(model, objective, part.to(device), device))
        forward += cost
        backward += count_flops(terms.total.backward)[0]
    model.zero_grad(set_to_none=True)
    return forward, backward


def _loss(model: PreTrainedModel, objective: Objective, batch: Batch, device: torch.device) -> LossTerms:
    with autocast(device):
        return objective(model, batch)


def _step(run: Fit) -> None:
    """One update. Nothing here waits for the device."""
    job, state = run.job, run.state
    rate = learning_rate(job.optim, state.step, job.steps)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad(set_to_none=True)
    batch, objective, sums, parts = job.batch_at(state.step), job.objective_at(state.step), [], ()
    for part in batch.parts(job.optim.micro_batches):
        terms = _loss(run.model, objective, part.to(run.device), run.device)
        terms.total.backward()
        parts = tuple(terms.parts)
        sums.append(torch.stack([terms.total.detach(), *(value.detach() for value in terms.parts.values())]))
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), job.optim.clip)
    run.optimizer.step()
    _account(state, batch, run.costs[objective])
    run.unread.append(_Step(state.step, rate, torch.cat([norm[None], torch.stack(sums).sum(0)]), parts))


def _is_look(step: int, steps: int) -> bool:
    return step == 1 or step % max(1, steps // LOOKS) == 0


def _flush_losses(run: Fit) -> None:
    """Reads the losses since the last look, all in one go, and logs the rows that are due."""
    for step, (norm, loss, *parts) in zip(
        run.unread, torch.stack([s.values for s in run.unread]).tolist(), strict=True
    ):
        for value, what in ((loss, "loss"), (norm, "gradient")):
            if value - value != 0:  # NaN and infinities
                raise TrainingDiverged(step.number, step.rate, what)
        run.loss = loss
        if _is_look(step.number, run.job.steps):
            named = {name: round(value, 6) for name, value in zip(step.parts, parts, strict=True)}
            run.state.metrics.append({"step": step.number, "learning_rate": step.rate, "loss": round(loss, 6), **named})
    run.unread.clear()


def _account(state: FitState, batch: Batch, cost: tuple[int, int]) -> None:
    state.step += 1
    state.ledger.forward_flops += cost[0]
    state.ledger.backward_flops += cost[1]
    state.ledger.tokens += batch.retain.tokens() + batch.forget.tokens()
    state.ledger.forget_tokens += batch.forget.tokens()


def _evaluate(run: Fit) -> None:
    """Asks the questions. They are the same every time, so their cost is counted once."""
    model, job, state = run.model, run.job, run.state
    assert job.evaluate is not None
    model.eval()
    if run.eval_cost is None:
        run.eval_cost, scores = count_flops(lambda: job.evaluate(model))  # type: ignore[misc]
    else:
        scores = job.evaluate(model)
    state.ledger.eval_flops += run.eval_cost
    state.evals.append(
        {"step": state.step, "tokens": state.ledger.tokens, "forget_tokens": state.ledger.forget_tokens, **scores}
    )
    state.stopped = job.should_stop(scores)
    model.train()
