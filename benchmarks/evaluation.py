"""(b) Exact match by one teacher-forced pass over batches beside generating for one prompt at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.rows import Row, compare, side_by_side
from undo import data, models
from undo.data.dataset import Item
from undo.evals.exact_match import ExactMatch
from undo.spec.load import load_recipe


def rows(quick: bool) -> Iterator[Row]:
    """Seconds per question on the quickstart's model shape and questions; both ways must give the same answers."""
    recipe = load_recipe("smoke" if quick else "quickstart")
    with tempfile.TemporaryDirectory() as folder:
        data.write_corpus(recipe.data.dataset, recipe.data.vocab_size, recipe.data.row_tokens, Path(folder))  # type: ignore[arg-type]
        corpus = data.open_corpus(Path(folder))
        assert recipe.model is not None
        shape = recipe.model.model_dump()
        model = models.freeze(
            models.build_llama(**shape, row_tokens=recipe.data.row_tokens, tokenizer=corpus.tokenizer, seed=1)
        )
        items = [item for item in corpus.items() if item.split == "test" and item.domain != "neutral"]
        asked = items[:: 12 if quick else 16]
    exact = ExactMatch(name="exact_match")
    encoded = exact.encode(corpus.tokenizer, items)
    found: dict[str, list[float]] = {}

    def ours() -> None:
        found["ours"] = exact.scores(model, encoded)

    def theirs() -> None:
        found["theirs"] = [generated(model, corpus.tokenizer, item) for item in asked]

    seconds = side_by_side({"ours": ours, "one prompt at a time": theirs}, 3 if quick else 7)
    assert found["theirs"] == [found["ours"][items.index(item)] for item in asked], "the two ways disagree"
    for who, number in (("ours", len(items)), ("one prompt at a time", len(asked))):
        seconds[who] = [each / number for each in seconds[who]]
    name = f"exact match of {len(items):,} arithmetic questions"
    yield from compare(name, seconds, 1, "questions", {"one prompt at a time": 100.0})


@torch.no_grad()
def generated(model: Any, tokenizer: Any, item: Item) -> float:
    """Whether greedy generation writes the answer and ends, asked the way public code does it."""
    end = tokenizer.eos_token_id
    prompt, whole = ([end, *tokenizer(text)["input_ids"]] for text in (item.prompt, item.prompt + item.answer))
    wanted = [*whole[len(prompt) :], end]
    ids = torch.tensor([prompt], device=model.device)
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=len(wanted), do_sample=False)
    return float(made[0, len(prompt) :].tolist() == wanted)
