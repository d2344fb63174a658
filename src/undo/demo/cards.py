"""Answers as HTML: a card per model. What visitors and models write is text in it and never markup."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from undo.data.dataset import Item
from undo.demo.answers import Answer
from undo.demo.prompts import Prompt
from undo.demo.relearning import Relearning
from undo.evals import Evaluation
from undo.report.results import label
from undo.report.style import colour
from undo.study.rows import ModelRow

ABOUT = {
    "base": "has read everything",
    "oracle": "has never read what is to be forgotten",
    "fresh": "distilled into untrained weights",
    "base_init": "distilled into the base's untrained weights",
    "noised": "distilled into a noised copy",
    "teacher": "distilled into a copy",
}


@dataclass(frozen=True)
class Card:
    """A model's name, what it is, its colour in every figure, and its answer."""

    id: str
    title: str
    about: str
    colour: str
    verdict: str
    answer: Answer


def render_cards(
    prompt: Prompt,
    item: Item | None,
    lineup: list[ModelRow],
    attacked: Relearning | None,
    answers: list[Answer],
    evaluation: Evaluation,
) -> str:
    """The cards of a line-up, and of the attacked copy where there is one, in the answers' order."""
    cards = [
        Card(row.id, label(row), _about(row), colour(row), _verdict(given, evaluation), given)
        for row, given in zip(lineup, answers, strict=False)
    ]
    if attacked:
        row, steps = attacked.row, f"{attacked.done:,} attack step{'s' * (attacked.done != 1)}"
        verdict = _verdict(answers[-1], evaluation)
        cards.append(Card("attacked", f"{label(row)}, attacked", f"after {steps}", colour(row), verdict, answers[-1]))
    shares = evaluation.unit == "fraction"
    return _template().render(prompt=prompt, item=item, cards=cards, shares=shares)


def _about(row: ModelRow) -> str:
    if row.role == "teacher":
        return f"the base, trained to forget by {row.method}"
    return ABOUT[row.student_init or row.role] + (f", from {row.teacher}" if row.role == "student" else "")


def _verdict(answer: Answer, evaluation: Evaluation) -> str:
    """The score in words: an item's share is all or nothing."""
    if answer.score is None:
        return ""
    if evaluation.unit == "fraction":
        return "✓ right" if answer.score == 1.0 else "✗ wrong"
    return f"{answer.score:.2f} {evaluation.unit}"


@cache
def _template() -> Any:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((files("undo.demo") / "cards.html").read_text(encoding="utf-8"))
