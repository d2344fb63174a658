"""Texts to train on as those of `hub`, and questions with four choices to ask: WMDP and MMLU, or files like theirs."""

import random
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar

from pydantic import Field

from undo.data.dataset import Domain, Item, ItemSplit
from undo.data.datasets._texts import Texts
from undo.data.rows import SourceRow, read_field
from undo.data.sources import Location, read_rows
from undo.spec.errors import UserError
from undo.spec.keys import derive_seed

LETTERS = "ABCD"
"""Models answer with a letter, as in the LM Evaluation Harness, so that a choice's length does not count."""


class Asked(Location):
    """Where the questions about a domain are, and which fields hold them."""

    split: str | None = "test"
    """The split to read, of a dataset on the hub or of a folder whose files are named by splits; null for all files."""
    question_field: str = "question"
    """The field that holds the question."""
    choices_field: str = "choices"
    """The field that holds the list of four choices."""
    answer_field: str = "answer"
    """The field that holds the position of the right choice, counted from 0."""
    header: str = ""
    """Text before every question, such as an instruction and empty lines."""


class Questions(Texts):
    """Train on texts of the retain and the forget domain, ask multiple-choice questions about both.

    A question's choices are listed after it, and the answer is a letter.
    """

    evaluation: ClassVar[str] = "multiple_choice"

    retain_questions: Asked
    """Questions about what is to be kept."""
    forget_questions: Asked
    """Questions about what is to be forgotten."""
    neutral_questions: Asked | None = None
    """Questions about something that no model is trained on; null if no attack is run on the neutral skill."""
    valid_share: float = Field(default=0.25, gt=0, lt=1)
    """Share of each domain's questions that validation asks, drawn at random, above 0 and below 1; test asks the
    others."""

    def items(self) -> Iterator[Item]:
        """Questions in an order of chance, so that some of them are a sample of them all."""
        for domain, source in self._asked().items():
            asked = list(_read_questions(source))
            random.Random(derive_seed(self.data_seed, "questions", domain)).shuffle(asked)
            cut = round(self.valid_share * len(asked))
            if not 0 < cut < len(asked):
                raise UserError(f"'{source.path}' has too few questions to divide: {len(asked)}")
            parts: dict[ItemSplit, Any] = {
                "valid": islice(asked[:cut], self.valid_items),
                "test": islice(asked[cut:], self.test_items),
            }
            for split, mine in parts.items():
                for prompt, right in mine:
                    yield _item(split, domain, prompt, right)

    def eval_domains(self) -> tuple[Domain, ...]:
        """Neutral questions need not be given."""
        return tuple(self._asked())

    def guide(self) -> str:
        """The form of a question."""
        return "A question, four lines with its choices (A. to D.) and `Answer:`; the model writes a letter."

    def _asked(self) -> dict[Domain, Any]:  # Any: frozen models are hashable, but their type does not say so
        given: dict[Domain, Asked | None] = {
            "retain": self.retain_questions,
            "forget": self.forget_questions,
            "neutral": self.neutral_questions,
        }
        return {domain: source for domain, source in given.items() if source}


def _item(split: ItemSplit, domain: Domain, prompt: str, right: int) -> Item:
    answer, *others = f" {LETTERS[right]}", *(f" {letter}" for letter in LETTERS.replace(LETTERS[right], ""))
    return Item(split, domain, domain, prompt, answer, tuple(others), ends=False)


@lru_cache(maxsize=4)  # items are asked for several times while a corpus is written
def _read_questions(source: Asked) -> tuple[tuple[str, int], ...]:
    """(prompt, place of the right choice) of every row; repeated questions count once."""
    return tuple(dict(_question(row, source) for row in read_rows(source)).items())


def _question(row: SourceRow, source: Asked) -> tuple[str, int]:
    question = read_field(row, source.question_field, str, "text")
    choices = read_field(row, source.choices_field, list, "a list of choices")
    right = read_field(row, source.answer_field, int, "the place of the right choice")
    if len(choices) != len(LETTERS) or not 0 <= right < len(LETTERS):
        raise UserError(f"{row.place}: {question[:40]!r} has {len(choices)} choices and answer {right}; give four")
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True))
    return f"{source.header}{question.strip()}\n{listed}\nAnswer:", right
