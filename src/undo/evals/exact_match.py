"""Exact match: is greedy decoding's answer, to its end token, the right one?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field

from undo import models, objectives
from undo.evals import Evaluation

if TYPE_CHECKING:
    from torch import Tensor

    from undo.data.batches import TokenBatch


class Questions(NamedTuple):
    """Items of similar length, padded on the right.

    rows marks as targets what a right answer must predict; places (N) are the flat positions that predict it, owners
    (N) their rows, and items says which item each row is.
    """

    rows: TokenBatch
    places: Tensor
    owners: Tensor
    items: list[int]


class ExactMatch(Evaluation):
    """1 where every answer token and the end token are the most likely ones, given the right tokens before them.

    That is the case exactly when greedy decoding writes the answer and ends, so one forward pass replaces generation.
    """

    metric: ClassVar[str] = "exact match"
    unit: ClassVar[str] = "fraction"
    higher_is_better: ClassVar[bool] = True

    batch_tokens: int = Field(4096, ge=1)
    """Tokens per forward pass; items are batched by length."""

    def encode(self, tokenizer: Any, items) -> list[Questions]:
        """The items in batches of similar length."""
        if not items:
            return []  # transformers 5 cannot tokenize an empty list
        end = tokenizer.eos_token_id
        prompts = tokenizer([item.prompt for item in items])["input_ids"]
        texts = tokenizer([item.prompt + item.answer for item in items])["input_ids"]
        encoded = [([end, *text, end], len(prompt) + 1) for prompt, text in zip(prompts, texts, strict=True)]
        groups = self._by_length([len(ids) for ids, _ in encoded])
        return [_questions([encoded[index] for index in group], group, tokenizer.pad_token_id) for group in groups]

    def scores(self, model, encoded: list[Questions]) -> list[float]:
        """One forward pass per batch; the logits are computed where an answer is asked for, and nowhere else."""
        import torch

        scores = [0.0] * sum(len(questions.items) for questions in encoded)
        with torch.no_grad():  # not inference mode: there the FLOP counter sees other operations than are run
            right = [_all_right(model, questions) for questions in encoded]
        for questions, values_B in zip(encoded, right, strict=True):
            for item, value in zip(questions.items, values_B.tolist(), strict=True):
                scores[item] = float(value)
        return scores

    def _by_length(self, lengths: list[int]) -> list[list[int]]:
        """Indices in groups of at most `batch_tokens` padded tokens, shortest first."""
        groups: list[list[int]] = []
        for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
            if not groups or (len(groups[-1]) + 1) * lengths[index] > self.batch_tokens:
                groups.append([])
            groups[-1].append(index)
        return groups


def _questions(encoded: list[tuple[list[int], int]], items: list[int], pad: int) -> Questions:
    import torch

    from undo.data.batches import TokenBatch

    longest = max(len(ids) for ids, _ in encoded)
    ids_BT = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in encoded])
    targets_BT = torch.full_like(ids_BT, objectives.IGNORE)
    for row, (ids, start) in enumerate(encoded):
        targets_BT[row, start - 1 : len(ids) - 1] = ids_BT[row, start : len(ids)]
    places_N = (targets_BT.flatten() != objectives.IGNORE).nonzero()[:, 0]
    return Questions(TokenBatch(ids_BT, targets_BT), places_N, places_N // longest, items)


def _all_right(model, questions: Questions) -> Tensor:
    """(B) whether each row's targets are all the most likely tokens."""
    import torch

    rows = questions.rows.to(model.device)
    places_N, owners_N = questions.places.to(model.device), questions.owners.to(model.device)
    predictions = models.predict(model, rows)
    asked = predictions._replace(hidden=predictions.hidden.flatten(0, 1)[places_N])
    wrong_N = objectives.greedy(asked) != rows.targets.flatten()[places_N]
    return torch.zeros(len(rows.ids), device=model.device).index_add_(0, owners_N, wrong_N.float()) == 0
