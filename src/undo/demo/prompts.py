"""What a visitor types, made safe to read and to show; and prompts to pick from."""

import unicodedata
from itertools import zip_longest
from typing import Any, NamedTuple

from undo.data.dataset import Item

MOST_CHARACTERS = 20_000  # far beyond any context here; the rest would only cost the tokenizer time
NEW_TOKENS = 24  # that a model may write: more than any answer has
OPENING = 40  # characters of a text that is picked as a prompt


class Prompt(NamedTuple):
    """A prompt as the models read it: text, token ids without the opening one, and what was done to it."""

    text: str
    ids: list[int]
    notes: list[str]


def read_prompt(tokenizer: Any, typed: str) -> Prompt:
    """What is left of a typed text: its end, without control characters, as far as it fits the models' context.

    The context holds an opening token too, and half of it or `NEW_TOKENS` stay free for the answer. Names of special
    tokens are read as the letters they are.
    """
    notes = []
    text = "".join(char for char in typed[-MOST_CHARACTERS:] if char == "\n" or _is_text(char))
    if removed := len(typed[-MOST_CHARACTERS:]) - len(text):
        notes.append(f"{removed:,} control character{'s' * (removed > 1)} removed.")
    ids = tokenizer([text], add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"][0]
    room = tokenizer.model_max_length - 1 - new_tokens(tokenizer)
    if len(ids) > room or len(typed) > MOST_CHARACTERS:
        ids = _whole(tokenizer, ids[-room:])
        notes.append(f"Your text has {len(typed):,} characters; the models read its last {len(ids):,} tokens.")
        text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return Prompt(text, ids, notes)


def _whole(tokenizer: Any, ids: list[int]) -> list[int]:
    """Without the rest of a character that was cut in two."""
    while tokenizer.decode(ids, clean_up_tokenization_spaces=False).startswith("\ufffd"):
        ids = ids[1:]
    return ids


def new_tokens(tokenizer: Any) -> int:
    """How many tokens a model may write in the context of the study's models."""
    return min(NEW_TOKENS, tokenizer.model_max_length // 2)


def _is_text(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cs")


def suggestions(items: list[Item], per_domain: int = 4) -> list[tuple[str, str]]:
    """Prompts to pick, to forget and to keep: those of test items, every group in turn; of whole texts the opening."""
    picked = []
    for domain in ("forget", "retain"):
        groups: dict[str, list[str]] = {}
        for item in items:
            if (item.domain, item.split) == (domain, "test"):
                groups.setdefault(item.group, []).append(item.prompt or _opening(item.answer))
        in_turn = [text for texts in zip_longest(*groups.values()) for text in texts if text]
        picked += [(domain, text) for text in list(dict.fromkeys(in_turn))[:per_domain]]
    return picked


def _opening(text: str) -> str:
    """The first words; of a language without spaces the first characters."""
    return text if len(text) <= OPENING else text[:OPENING].rsplit(" ", 1)[0]
