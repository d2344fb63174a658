"""What happens when a visitor does something: values of the page in, updates of the page out."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from undo.demo.cards import render_cards
from undo.demo.curve import curve_figure, render_points, tell
from undo.demo.exhibit import Exhibit, Row
from undo.demo.shelf import Shelf
from undo.demo.visitors import Visitor, Visitors
from undo.report import rows as r
from undo.spec.errors import UserError

MOST_STEPS = 500  # of a live attack: the published adversary's budget
PAUSE_S = 0.4  # between looks at a running attack: smooth to watch, and time for others to ask
Outputs = tuple[Any, ...]


class Desk:
    """Serves every visitor of one exhibit. `suppressed`, `student` and `seed` are what the page has chosen."""

    def __init__(self, exhibit: Exhibit) -> None:
        self.exhibit, self.shelf, self.visitors = exhibit, Shelf(exhibit), Visitors()

    def students(self, suppressed: str | None) -> Any:
        """The students of a suppressed model to choose from, the most noised one first chosen, and the controls."""
        rows = self.exhibit.students(suppressed)
        choices = [(self._name(row), row["id"]) for row in rows]
        first = max(rows, key=lambda row: (row["teacher"] == suppressed, row["noise_alpha"] or 0.0), default=None)
        return gr.Dropdown(choices=choices, value=first["id"] if first else None)

    def _name(self, row: Row) -> str:
        return r.label(row) if row["teacher"] in self.exhibit.suppressed else f"{r.label(row)} of the {row['teacher']}"

    def choose(
        self, suppressed: str, student: str, seed: int, attack: str, steps: int, typed: str, request: gr.Request
    ) -> Outputs:
        """Another line-up: (target, figure, numbers, progress, cards, buttons). What ran against the old one ends."""
        visitor, lineup = self._visitor(request), self.exhibit.lineup(suppressed, student, seed)
        visitor.forget()
        ids = [row["id"] for row in lineup]
        target = gr.Radio(choices=[(r.label(row), row["id"]) for row in lineup], value=student or ids[-1])
        cards = self._cards(typed, lineup, visitor)
        return target, *self._curves(lineup, attack, steps, visitor), "", cards, *_buttons(running=False)

    def draw(self, suppressed: str, student: str, seed: int, attack: str, steps: int, request: gr.Request) -> Outputs:
        """(figure, numbers) of another attack, or along more steps; a running attack draws its own."""
        visitor = self._visitor(request)
        if visitor.running:
            return gr.skip(), gr.skip()
        return self._curves(self.exhibit.lineup(suppressed, student, seed), attack, steps, visitor)

    def ask(self, suppressed: str, student: str, seed: int, typed: str, request: gr.Request) -> str:
        """The cards of the line-up, and of the visitor's attacked copy."""
        return self._cards(typed, self.exhibit.lineup(suppressed, student, seed), self._visitor(request))

    def attack(
        self,
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
        visitor, lineup = self._visitor(request), self.exhibit.lineup(suppressed, student, seed)
        row = next((row for row in lineup if row["id"] == target), lineup[-1])
        try:
            live = self.shelf.attack(row, attack, min(max(1, int(steps)), MOST_STEPS))
            with visitor.attacking(live):
                drawn = 0
                for _ in live.run(PAUSE_S):
                    grown, drawn = len(live.points) > drawn, len(live.points)
                    curves = self._curves(lineup, attack, live.steps, visitor) if grown else (gr.skip(), gr.skip())
                    yield *curves, tell(self.exhibit, live), gr.skip(), *_buttons(running=True)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None
        if visitor.attacked is live:  # and not another line-up's turn already
            curves = self._curves(lineup, attack, live.steps, visitor)
            cards = self._cards(typed, lineup, visitor)
            yield *curves, tell(self.exhibit, live), cards, *_buttons(running=False)

    def stop(self, request: gr.Request) -> None:
        """Ends the visitor's attack."""
        self._visitor(request).stop()

    def leave(self, request: gr.Request) -> None:
        """The page is gone."""
        self.visitors.leave(str(request.session_hash))

    def _visitor(self, request: gr.Request) -> Visitor:
        return self.visitors.of(str(request.session_hash))

    def _cards(self, typed: str, lineup: list[Row], visitor: Visitor) -> str:
        attacked, prompt = visitor.attacked, self.shelf.read(typed)
        answers = self.shelf.answers(prompt, lineup, attacked)
        return render_cards(prompt, self.shelf.item(prompt), lineup, attacked, answers, self.exhibit.evaluation)

    def _curves(self, lineup: list[Row], attack: str | None, steps: int, visitor: Visitor) -> Outputs:
        if attack is None:  # a study without attacks
            return None, ""
        live = visitor.attacked if visitor.attacked and visitor.attacked.attack == attack else None
        return curve_figure(self.exhibit, lineup, attack, steps, live), render_points(self.exhibit, live)


def _buttons(running: bool) -> Outputs:
    """Start and stop."""
    return gr.Button(interactive=not running), gr.Button(interactive=running)
