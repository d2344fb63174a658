"""What happens when a visitor does something: values of the page in, updates of the page out."""

import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr

from undo.demo import choices
from undo.demo.cards import render_cards
from undo.demo.curve import curve_figure, render_points, tell
from undo.demo.exhibit import Exhibit
from undo.demo.relearning import Relearning
from undo.demo.shelf import Shelf
from undo.demo.visitors import Visitor, Visitors
from undo.report.results import label
from undo.spec.errors import UserError
from undo.study.rows import ModelRow

PAUSE_S = 0.4  # between looks at a running attack: smooth to watch, and time for others to ask
Outputs = tuple[Any, ...]


class Desk:
    """Serves every visitor of some studies. `study`, `suppressed`, `student`, `seed` are what the page has chosen."""

    def __init__(self, exhibits: list[Exhibit]) -> None:
        turn = threading.Lock()
        self.shelves = {exhibit.name: Shelf(exhibit, turn) for exhibit in exhibits}
        self.visitors = Visitors()

    def enter(self, study: str, request: gr.Request) -> Outputs:
        """Another study: (suppressed, seed, guide, prompt, picks, arena, attack, steps) to choose from."""
        self._visitor(request).forget()
        shelf = self.shelves[study]
        show = shelf.exhibit
        asked = choices.guide(show), choices.prompt(shelf), choices.picks(shelf)
        arena = gr.Column(visible=bool(show.attacks))
        return choices.suppressed(show), choices.seed(show), *asked, arena, choices.attack(show), choices.steps(show)

    def students(self, study: str, suppressed: str | None) -> gr.Dropdown:
        """The students of a suppressed model to choose from."""
        return choices.student(self.shelves[study].exhibit, suppressed)

    def choose(
        self,
        study: str,
        suppressed: str,
        student: str,
        seed: int,
        attack: str,
        steps: int,
        typed: str,
        request: gr.Request,
    ) -> Outputs:
        """Another line-up: (target, figure, numbers, progress, cards, buttons). What ran against the old one ends."""
        visitor, shelf = self._visitor(request), self.shelves[study]
        lineup = shelf.exhibit.lineup(suppressed, student, seed)
        visitor.forget()
        ids = [row.id for row in lineup]
        target = gr.Radio(choices=[(label(row), row.id) for row in lineup], value=student or ids[-1])
        cards = _cards(shelf, typed, lineup, None)
        return target, *_curves(shelf.exhibit, lineup, attack, steps, None), "", cards, *_buttons(running=False)

    def draw(
        self, study: str, suppressed: str, student: str, seed: int, attack: str, steps: int, request: gr.Request
    ) -> Outputs:
        """(figure, numbers) of another attack, or along more steps; a running attack draws its own."""
        visitor = self._visitor(request)
        if visitor.running:
            return gr.skip(), gr.skip()
        show = self.shelves[study].exhibit
        return _curves(show, show.lineup(suppressed, student, seed), attack, steps, visitor.attacked)

    def ask(self, study: str, suppressed: str, student: str, seed: int, typed: str, request: gr.Request) -> str:
        """The cards of the line-up, and of the visitor's attacked copy."""
        shelf, attacked = self.shelves[study], self._visitor(request).attacked
        lineup = shelf.exhibit.lineup(suppressed, student, seed)
        return _cards(shelf, typed, lineup, attacked if attacked and attacked.row in lineup else None)

    def attack(
        self,
        study: str,
        suppressed: str,
        student: str,
        seed: int,
        attack: str,
        steps: int,
        typed: str,
        target: str,
        request: gr.Request,
    ) -> Iterator[Outputs]:
        """Attacks a copy while the page watches: (figure, numbers, progress, cards, buttons); asks it at the end."""
        visitor, shelf = self._visitor(request), self.shelves[study]
        lineup = shelf.exhibit.lineup(suppressed, student, seed)
        row = next((row for row in lineup if row.id == target), lineup[-1])
        try:
            live = shelf.attack(row, attack, min(max(1, int(steps)), choices.MOST_STEPS))
            with visitor.attacking(live):
                drawn = 0
                for _ in live.run(PAUSE_S):
                    grown, drawn = len(live.points) > drawn, len(live.points)
                    curves = gr.skip(), gr.skip()
                    if grown:
                        curves = _curves(shelf.exhibit, lineup, attack, live.steps, live)
                    yield *curves, tell(shelf.exhibit, live), gr.skip(), *_buttons(running=True)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None
        if visitor.attacked is live:  # and not another line-up's turn already
            curves = _curves(shelf.exhibit, lineup, attack, live.steps, live)
            cards = _cards(shelf, typed, lineup, live)
            yield *curves, tell(shelf.exhibit, live), cards, *_buttons(running=False)

    def stop(self, request: gr.Request) -> None:
        """Ends the visitor's attack."""
        self._visitor(request).stop()

    def leave(self, request: gr.Request) -> None:
        """The page is gone."""
        self.visitors.leave(str(request.session_hash))

    def _visitor(self, request: gr.Request) -> Visitor:
        return self.visitors.of(str(request.session_hash))


def _cards(shelf: Shelf, typed: str, lineup: list[ModelRow], attacked: Relearning | None) -> str:
    prompt = shelf.read(typed)
    answers = shelf.answers(prompt, lineup, attacked)
    return render_cards(prompt, shelf.item(prompt), lineup, attacked, answers, shelf.exhibit.evaluation)


def _curves(
    exhibit: Exhibit, lineup: list[ModelRow], attack: str | None, steps: int, attacked: Relearning | None
) -> Outputs:
    if attack is None:  # a study without attacks
        return None, ""
    live = attacked if attacked and attacked.attack == attack else None
    return curve_figure(exhibit, lineup, attack, steps, live), render_points(exhibit, live)


def _buttons(running: bool) -> Outputs:
    """Start and stop."""
    return gr.Button(interactive=not running), gr.Button(interactive=running)
