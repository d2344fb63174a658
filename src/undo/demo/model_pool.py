"""The models of a study: loaded once, shared by all visitors and never changed; what is attacked is a copy."""

import copy
import threading
from functools import lru_cache
from typing import Any

import torch

from undo import data, models
from undo.attacks import Training
from undo.data.dataset import Item
from undo.demo.answers import Answer, answer
from undo.demo.prompts import Prompt, read_prompt
from undo.demo.relearning import Relearning
from undo.demo.study_view import StudyView
from undo.spec.errors import UserError
from undo.stages.attack import prepare
from undo.study.rows import ModelRow

KEPT = 8  # models in memory: two line-ups
POINTS = 20  # of a live curve, besides those that the study recorded: enough to see it grow


class ModelPool:
    """Answers and attacks for everybody, one computation at a time, which `turn` sees to for all pools together.

    Threads share the GIL, so that several at once would not be faster; and torch's FLOP counter, which the training
    loop uses, watches every module of the process.
    """

    def __init__(self, view: StudyView, turn: threading.Lock) -> None:
        torch.set_num_threads(1)  # as the study's workers, to the same numbers; the other cores serve the page
        self.view = view
        self.corpus = data.open_corpus(view.corpus)
        self.items = {item.prompt: item for item in self.corpus.items() if item.prompt}
        self.turn = turn
        self._load = lru_cache(KEPT)(lambda folder: models.freeze(models.load_model(folder)))

    def model(self, row: ModelRow) -> Any:
        """The shared model of a row of results."""
        return self._load(self.view.artifact(row.artifact) / "model")

    def read(self, typed: str) -> Prompt:
        """A typed prompt as the models will read it."""
        with self.turn:
            return read_prompt(self.corpus.tokenizer, typed)

    def item(self, prompt: Prompt) -> Item | None:
        """What can be scored: the study's own question; for a loss any text, as a text to predict."""
        if prompt.text in self.items:
            return self.items[prompt.text]
        if self.view.evaluation.higher_is_better or not prompt.ids:
            return None
        return Item("test", "forget", "", prompt="", answer=prompt.text, ends=False)

    def answers(self, prompt: Prompt, lineup: list[ModelRow], attacked: Relearning | None) -> list[Answer]:
        """One per model of the line-up, and last that of the attacked copy."""
        item, copies = self.item(prompt), [attacked.model] if attacked else []

        def ask(model: Any) -> Answer:
            with self.turn:
                return answer(model, self.corpus.tokenizer, prompt.ids, self.view.evaluation, item)

        return [ask(self.model(row)) for row in lineup] + [ask(model) for model in copies]

    def attack(self, row: ModelRow, attack: str, steps: int) -> Relearning:
        """The study's attack on a private copy of a model, for so many steps, before the first one."""
        curve = self.view.curve(row, attack)
        if curve is None:
            raise UserError(f"the study has no attack '{attack}' on {row.id}")
        settings = self.view.settings(curve)
        recorded = settings.attack
        if not isinstance(recorded, Training):
            raise UserError(f"'{attack}' trains nothing, so there is nothing to watch")
        asked = {step for step in recorded.eval_steps if step < steps}
        asked |= {*range(0, steps, -(-steps // POINTS)), steps} - {0}
        longer = recorded.model_copy(update={"steps": steps, "eval_steps": tuple(sorted(asked))})
        settings = settings.model_copy(update={"attack": longer})
        with self.turn:
            ready = prepare(settings, self.corpus, copy.deepcopy(self.model(row)))
            assert ready.job is not None
            return Relearning(row, attack, ready.model, ready.job, curve.points[0], self.turn)
