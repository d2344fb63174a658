"""Items as token rows in batches of similar length, and a model's predictions where it is asked for an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from undo import data, models, objectives

if TYPE_CHECKING:
    from torch import Tensor

    from undo.data.batches import TokenBatch
    from undo.data.dataset import Item
    from undo.objectives.predictions import Predictions


class EncodedItems(NamedTuple):
    """Items of similar length, padded on the right.

    rows marks as targets what a right answer must predict; places (N) are the flat positions that predict it, owners
    (N) their rows, and items says which item each row is.
    """

    rows: TokenBatch
    places: Tensor
    owners: Tensor
    items: list[int]


class AskedPositions(NamedTuple):
    """A model's predictions at the N asked positions: the right tokens (N), the row that each belongs to (N)."""

    predictions: Predictions
    targets: Tensor
    owners: Tensor
    rows: int

    def sum_by_row(self, values_N: Tensor) -> Tensor:
        """(B) sums over each row's positions."""
        return values_N.new_zeros(self.rows).index_add_(0, self.owners, values_N)

    def mean_by_row(self, values_N: Tensor) -> Tensor:
        """(B) means over each row's positions."""
        return self.sum_by_row(values_N) / self.sum_by_row(values_N.new_ones(len(values_N)))


def encode(tokenizer: Any, items: list[Item], batch_tokens: int) -> list[EncodedItems]:
    """The items' prompts and answers in batches of at most `batch_tokens` padded tokens.

    What exceeds the model's context is cut off: from the left of the prompt, and where the answer alone is too long,
    from its right.
    """
    prompts = data.encode_texts(tokenizer, [item.prompt for item in items])
    wholes = data.encode_texts(tokenizer, [item.prompt + item.answer for item in items])
    opening, end, limit = data.opening_id(tokenizer), tokenizer.eos_token_id, tokenizer.model_max_length
    encoded = []
    for item, prompt, whole in zip(items, prompts, wholes, strict=True):
        start = min(data.same_opening(prompt, whole), len(whole) - bool(item.answer))
        encoded.append(_fit(opening, whole[:start], whole[start:] + [end] * item.ends, limit))
    groups = _by_length([len(ids) for ids, _ in encoded], batch_tokens)
    return [_questions([encoded[index] for index in group], group) for group in groups]


def score(model: Any, encoded: list[EncodedItems], of_rows: Callable[[AskedPositions], Tensor]) -> list[float]:
    """`of_rows` gives each row (B) its score; returns them in the items' order.

    One forward pass per batch; the logits are computed where an answer is asked for, and nowhere else.
    """
    import torch

    scores = [0.0] * sum(len(questions.items) for questions in encoded)
    with torch.no_grad():  # not inference mode: there the FLOP counter sees other operations than are run
        found = [of_rows(_ask(model, questions)) for questions in encoded]
    for questions, values_B in zip(encoded, found, strict=True):
        for item, value in zip(questions.items, values_B.tolist(), strict=True):
            scores[item] = float(value)
    return scores


def token_losses(asked: AskedPositions) -> Tensor:
    """(N) nats of each right token, with no more than a chunk of logits in memory."""
    import torch

    from undo.objectives.predictions import logit_chunks

    losses_N = torch.empty(len(asked.targets), device=asked.targets.device)
    for rows, (logits_RV,) in logit_chunks(asked.predictions.flat()):
        right_R = logits_RV.gather(1, asked.targets[rows, None])[:, 0]
        losses_N[rows] = logits_RV.logsumexp(-1) - right_R
    return losses_N


def _fit(opening: int, prompt: list[int], answer: list[int], limit: int) -> tuple[list[int], int]:
    """A row of at most `limit` tokens with its opening one, and where its answer starts."""
    answer = answer[: limit - 1]
    prompt = prompt[max(0, len(prompt) + len(answer) + 1 - limit) :]
    return [opening, *prompt, *answer], len(prompt) + 1


def _by_length(lengths: list[int], batch_tokens: int) -> list[list[int]]:
    """Indices in groups of at most `batch_tokens` padded tokens, shortest first."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if not groups or (len(groups[-1]) + 1) * lengths[index] > batch_tokens:
            groups.append([])
        groups[-1].append(index)
    return groups


def _questions(encoded: list[tuple[list[int], int]], items: list[int]) -> EncodedItems:
    import torch

    from undo.data.batches import TokenBatch

    longest = max(len(ids) for ids, _ in encoded)
    # Padding comes after all that is asked, where a causal model cannot see it: any token will do.
    ids_BT = torch.tensor([ids + ids[:1] * (longest - len(ids)) for ids, _ in encoded])
    targets_BT = torch.full_like(ids_BT, objectives.IGNORE)
    for row, (ids, start) in enumerate(encoded):
        targets_BT[row, start - 1 : len(ids) - 1] = ids_BT[row, start : len(ids)]
    places_N = (targets_BT.flatten() != objectives.IGNORE).nonzero()[:, 0]
    return EncodedItems(TokenBatch(ids_BT, targets_BT), places_N, places_N // longest, items)


def _ask(model: Any, questions: EncodedItems) -> AskedPositions:
    rows = questions.rows.to(model.device)
    places_N, owners_N = questions.places.to(model.device), questions.owners.to(model.device)
    predictions = models.predict(model, rows)
    at_places = predictions._replace(hidden=predictions.hidden.flatten(0, 1)[places_N])
    return AskedPositions(at_places, rows.targets.flatten()[places_N], owners_N, len(rows.ids))
