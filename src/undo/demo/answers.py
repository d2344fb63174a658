"""A model's answer to a prompt: what it writes, the tokens it finds likeliest to come next, and its score."""

from typing import Any, NamedTuple

from undo import data, models
from undo.data.dataset import Item
from undo.demo.prompts import new_tokens
from undo.evals import Evaluation

LIKELIEST = 6  # tokens with a bar: more say nothing on a phone


class Answer(NamedTuple):
    """Greedy text, whether the model ended it, (token, probability) of the likeliest next tokens, the score if any."""

    text: str
    ended: bool
    likeliest: list[tuple[str, float]]
    score: float | None


def answer(model: Any, tokenizer: Any, ids: list[int], evaluation: Evaluation, item: Item | None) -> Answer:
    """Asks the model to go on after token ids that fit its context, and to answer the item where there is one."""
    new, logits_V = models.generate_greedy(model, tokenizer, [data.opening_id(tokenizer), *ids], new_tokens(tokenizer))
    ended = new[-1] == tokenizer.eos_token_id
    found = logits_V.float().softmax(-1).topk(LIKELIEST)
    likeliest = [
        (show_token(tokenizer, id), p) for id, p in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]
    score = evaluation.scores(model, evaluation.encode(tokenizer, [item]))[0] if item else None
    text = tokenizer.decode(new[: len(new) - ended], clean_up_tokenization_spaces=False)
    return Answer(text, ended, likeliest, score)


def show_token(tokenizer: Any, token: int) -> str:
    """A token for people: spaces and line ends visible, the end in words, part of a character as its bytes' letters."""
    if token == tokenizer.eos_token_id:
        return "(end)"
    text = tokenizer.decode([token], clean_up_tokenization_spaces=False)
    if "\ufffd" in text or not text:
        return f"({tokenizer.convert_ids_to_tokens(token)})"
    return text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
