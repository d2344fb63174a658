"""Exact match: is greedy decoding's answer, to its end token, the right one?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from undo.evals import Evaluation

if TYPE_CHECKING:
    import torch


class ExactMatch(Evaluation):
    """1 where every answer token and the end token are the most likely ones, given the right tokens before them.

    That is the case exactly when greedy decoding writes the answer and ends, so one forward pass replaces generation.
    """

    metric: ClassVar[str] = "exact match"
    unit: ClassVar[str] = "fraction"
    higher_is_better: ClassVar[bool] = True

    batch_tokens: int = Field(4096, ge=1)
    """Tokens per forward pass; items are batched by length."""

    def scores(self, model, tokenizer: Any, items) -> list[float]:
        """One forward pass per batch of items of similar length, padded on the right."""
        import torch

        if not items:
            return []  # transformers 5 cannot tokenize an empty list
        end = tokenizer.eos_token_id
        prompts = tokenizer([item.prompt for item in items])["input_ids"]
        texts = tokenizer([item.prompt + item.answer for item in items])["input_ids"]
        encoded = [([end, *text, end], len(prompt) + 1) for prompt, text in zip(prompts, texts, strict=True)]
        scores = [0.0] * len(items)
        with torch.inference_mode():
            for picked in self._by_length([len(ids) for ids, _ in encoded]):
                right = _all_right(model, [encoded[index] for index in picked], tokenizer.pad_token_id)
                for index, value in zip(picked, right.tolist(), strict=True):
                    scores[index] = float(value)
        return scores

    def _by_length(self, lengths: list[int]) -> list[list[int]]:
        """Indices in groups of at most `batch_tokens` padded tokens, shortest first."""
        groups: list[list[int]] = []
        for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
            if not groups or (len(groups[-1]) + 1) * lengths[index] > self.batch_tokens:
                groups.append([])
            groups[-1].append(index)
        return groups


def _all_right(model, encoded: list[tuple[list[int], int]], pad: int) -> torch.Tensor:
    """(B) whether each row's tokens from its answer on are the argmax of the logits before them."""
    import torch

    longest = max(len(ids) for ids, _ in encoded)
    ids_BT = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in encoded], device=model.device)
    starts_B1 = torch.tensor([[start] for _, start in encoded], device=model.device)
    ends_B1 = torch.tensor([[len(ids)] for ids, _ in encoded], device=model.device)
    guessed_BT = model(input_ids=ids_BT).logits[:, :-1].argmax(-1)
    place_1T = torch.arange(1, longest, device=model.device)[None]
    asked_BT = (place_1T >= starts_B1) & (place_1T < ends_B1)
    return ((guessed_BT == ids_BT[:, 1:]) | ~asked_BT).all(1)
