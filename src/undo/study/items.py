"""The test items of a corpus, by their places: items.json of evaluations and attacks names them so."""

import json
import math
from typing import Any

from undo import models
from undo.study.artifacts import Store


def forget_groups(store: Store, corpus: str) -> dict[int, str]:
    """The group of each forget item."""
    return {place: item["group"] for place, item in enumerate(_tested(store, corpus)) if item["domain"] == "forget"}


def swapped_items(store: Store, corpus: str) -> dict[int, int]:
    """The neutral item with the same prompt and the answer to another one, for each forget item that has one."""
    tested = list(enumerate(_tested(store, corpus)))
    neutral: dict[str, list[int]] = {}
    for place, item in tested:
        if item["domain"] == "neutral" and item["prompt"]:
            neutral.setdefault(item["prompt"], []).append(place)
    forget = [(place, item["prompt"]) for place, item in tested if item["domain"] == "forget"]
    return {place: neutral[prompt].pop(0) for place, prompt in forget if neutral.get(prompt)}


def guessing_loss(store: Store, made: str) -> float:
    """Nats per token of a model to which all tokens are alike, by the stage that wrote a model of the vocabulary."""
    return math.log(models.text_config(store.folder(made) / "model").vocab_size)


def _tested(store: Store, corpus: str) -> list[dict[str, Any]]:
    lines = (store.folder(corpus) / "items.jsonl").read_text(encoding="utf-8").splitlines()
    return [item for item in map(json.loads, lines) if item["split"] == "test"]
