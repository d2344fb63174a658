"""What a model writes when it is asked a few of the test questions: for people to read, no score comes from it."""

from __future__ import annotations

from typing import Any

from undo import data, models
from undo.data.dataset import Domain, Item

ASKED: tuple[Domain, ...] = ("forget", "retain")
QUESTIONS = 2  # per domain: of different groups where there are any
TOKENS = 24  # of a text that is given or asked for: enough to see whether a model knows how it goes on


def sample_answers(model: Any, corpus: Any) -> list[dict[str, str]]:
    """Rows of `domain, given, expected, said`: greedy, and no longer than what is expected."""
    tested = [item for item in corpus.items() if item.split == "test" and item.domain in ASKED]
    return [_answer(model, corpus.tokenizer, item) for domain in ASKED for item in _pick(tested, domain)]


def _pick(items: list[Item], domain: Domain) -> list[Item]:
    of = [item for item in items if item.domain == domain]
    groups = list({item.group: item for item in reversed(of)}.values())[::-1]  # the first item of each
    return (groups + [item for item in of if item not in groups])[:QUESTIONS]


def _answer(model: Any, tokenizer: Any, item: Item) -> dict[str, str]:
    prompt, answer = data.encode_texts(tokenizer, [item.prompt, item.answer])
    if not prompt:  # a whole text: its first half is given
        prompt, answer = answer[: len(answer) // 2], answer[len(answer) // 2 :]
    most = min(len(answer), TOKENS, tokenizer.model_max_length // 2)
    room = tokenizer.model_max_length - 1 - most
    given = prompt[-min(room, TOKENS if not item.prompt else room) :]
    said, _ = models.generate_greedy(model, tokenizer, [data.opening_id(tokenizer), *given], most)
    said = said[:-1] if said[-1:] == [tokenizer.eos_token_id] else said
    texts = {"given": given, "expected": answer[:most], "said": said}
    return {"domain": item.domain} | {name: _text(tokenizer, ids) for name, ids in texts.items()}


def _text(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)
