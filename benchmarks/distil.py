"""(a) Our distillation loss and whole step beside the dense form, TRL and Liger: tokens per second and peak memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.peers import Loss, installed
from benchmarks.rows import Job, Row, compare, memory_rows, side_by_side
from undo import models
from undo.spec.recipe import Optim
from undo.train.optim import make_optimizer
from undo.train.runtime import autocast

WIDTH = 64  # that of the shipped arithmetic models; the products' share grows with it and is the same for everybody
WIDE = 320  # the paper's language model, in the full run
TOKENS = {4_096: 2_048, 65_536: 1_024, 262_144: 512}  # per step and vocabulary: the dense form must fit as well
TARGETS = {4_096: 1.0, 65_536: 3.0, 262_144: 3.0}  # over the dense form; at 4k all that is asked is not to be slower
MEMORY_TARGET = 5.0


def rows(quick: bool) -> Iterator[Row]:
    """Loss and step at each vocabulary."""
    for vocabulary in (4_096, 65_536) if quick else TOKENS:
        yield from _loss_rows("forward KL", WIDTH, vocabulary, quick)
    yield from _memory_rows("forward KL", 65_536, quick)
    if quick:
        return
    yield from _memory_rows("forward KL", 262_144, quick)
    for vocabulary in (4_096, 65_536):
        yield from _loss_rows("forward KL", WIDE, vocabulary, quick)
        yield from _loss_rows("JSD", WIDTH, vocabulary, quick)
    for vocabulary in TOKENS:
        yield from _step_rows(vocabulary)


def _loss_rows(divergence: str, width: int, vocabulary: int, quick: bool) -> list[Row]:
    tokens = TOKENS[vocabulary] // (8 if quick else 1)
    jobs = {name: loss_job(loss, width, vocabulary, tokens) for name, loss in installed(quick)[divergence].items()}
    name = f"{divergence} with gradients, vocabulary {vocabulary // 1024}k, width {width}"
    seconds = side_by_side(jobs, rounds=3 if quick else 7)
    return compare(name, seconds, tokens, "tokens", {"dense": TARGETS[vocabulary]})


def loss_job(loss: Loss, width: int, vocabulary: int, tokens: int) -> Job:
    """Loss and gradients on the same tensors for everybody."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator)
    hidden, head = draw(tokens, width), draw(vocabulary, width) * width**-0.5
    taught = draw(tokens, width), draw(vocabulary, width) * width**-0.5
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    hidden.requires_grad_()
    head.requires_grad_()

    def job() -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(hidden, head, *taught, targets), [hidden, head])

    return job


def _memory_rows(divergence: str, vocabulary: int, quick: bool) -> list[Row]:
    peers = ("ours", "dense") if quick else installed(quick)[divergence]
    jobs = {peer: (_peer_job, (peer, divergence, vocabulary, quick)) for peer in peers}
    name = f"peak memory of {divergence}, vocabulary {vocabulary // 1024}k, width {WIDTH}"
    return memory_rows(name, jobs, {"dense": MEMORY_TARGET})


def _peer_job(peer: str, divergence: str, vocabulary: int, quick: bool) -> Job:
    """By names, which another process can be told."""
    return loss_job(installed(quick)[divergence][peer], WIDTH, vocabulary, TOKENS[vocabulary])


def _step_rows(vocabulary: int) -> list[Row]:
    losses = installed(quick=False)["forward KL"]
    jobs = {name: step_job(loss, vocabulary, "cpu", 3, WIDTH, TOKENS[vocabulary]) for name, loss in losses.items()}
    name = f"whole distillation step, vocabulary {vocabulary // 1024}k, width {WIDTH}"
    return compare(name, side_by_side(jobs, 5), TOKENS[vocabulary], "tokens", {"dense": TARGETS[vocabulary]})


def step_job(
    loss: Loss, vocabulary: int, device: str, layers: int, width: int, tokens: int, precision: Any = autocast
) -> Job:
    """Teacher forward, student forward, loss, backward, clipping and update of a small Llama."""
    student, teacher = (build(vocabulary, layers, width, seed).to(device) for seed in (0, 1))
    models.freeze(teacher)
    optimizer = make_optimizer(student.parameters(), Optim(learning_rate=1e-4))
    ids = torch.randint(vocabulary, (max(1, tokens // 64), 64), generator=torch.Generator().manual_seed(0)).to(device)

    def job() -> None:
        with precision(torch.device(device)):
            with torch.no_grad():
                taught = models.hidden_states(teacher, ids).flatten(0, 1)
            learnt = models.hidden_states(student, ids).flatten(0, 1)
            value = loss(learnt, student.lm_head.weight, taught, teacher.lm_head.weight, ids.flatten())
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    return job


def build(vocabulary: int, layers: int, width: int, seed: int) -> Any:
    """A Llama of the studies' kind with a vocabulary of its own size."""
    heads = width // 16 if width < 256 else width // 64
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            tie_word_embeddings=True,
        )
    )
