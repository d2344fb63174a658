"""What happens when a visitor does something: values of the page in, updates of the page out."""

import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr

from undo.demo import choices
from undo.demo.cards import render_cards
from undo.demo.curve import curve_figure, render_points, tell
from undo.demo.model_pool import ModelPool
from undo.demo.relearning import Relearning
from undo.demo.sessions import Session, Sessions
from undo.demo.study_view import StudyView
from undo.report.results import label
from undo.spec.errors import UserError
from undo.study.rows import ModelRow

PAUSE_S = 0.4  # between looks at a running attack: smooth to watch, and time for others to ask
Outputs = tuple[Any, ...]


class Handlers:
    """Serves every visitor of some studies. `study`, `suppressed`, `student`, `seed` are what the page has chosen."""

    def __init__(self, studies: list[StudyView]) -> None:
        turn = threading.Lock()
        self.pools = {view.name: ModelPool(view, turn) for view in studies}
        self.sessions = Sessions()

    def enter(self, study: str, request: gr.Request) -> Outputs:
        """Another study: (suppressed, seed, guide, prompt, picks, arena, attack, steps) to choose from."""
        self._session(request).forget()
        pool = self.pools[study]
        show = pool.view
        asked = choices.guide(show), choices.prompt(pool), choices.picks(pool)
        arena = gr.Column(visible=bool(show.attacks))
        return choices.suppressed(show), choices.seed(show), *asked, arena, choices.attack(show), choices.steps(show)

    def students(self, study: str, suppressed: str | None) -> gr.Dropdown:
        """The students of a suppressed model to choose from."""
        return choices.student(self.pools[study].view, suppressed)

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
        session, pool = self._session(request), self.pools[study]
        lineup = pool.view.lineup(suppressed, student, seed)
        session.forget()
        ids = [row.id for row in lineup]
        target = gr.Radio(choices=[(label(row), row.id) for row in lineup], value=student or ids[-1])
        cards = _cards(pool, typed, lineup, None)
        return target, *_curves(pool.view, lineup, attack, steps, None), "", cards, *_buttons(running=False)

    def draw(
        self, study: str, suppressed: str, student: str, seed: int, attack: str, steps: int, request: gr.Request
    ) -> Outputs:
        """(figure, numbers) of another attack, or along more steps; a running attack draws its own."""
        session = self._session(request)
        if session.running:
            return gr.skip(), gr.skip()
        show = self.pools[study].view
        return _curves(show, show.lineup(suppressed, student, seed), attack, steps, session.attacked)

    def ask(self, study: str, suppressed: str, student: str, seed: int, typed: str, request: gr.Request) -> str:
        """The cards of the line-up, and of the visitor's attacked copy."""
        pool, attacked = self.pools[study], self._session(request).attacked
        lineup = pool.view.lineup(suppressed, student, seed)
        return _cards(pool, typed, lineup, attacked if attacked and attacked.row in lineup else None)

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
        session, pool = self._session(request), self.pools[study]
        lineup = pool.view.lineup(suppressed, student, seed)
        row = next((row for row in lineup if row.id == target), lineup[-1])
        try:
            live = pool.attack(row, attack, min(max(1, int(steps)), choices.MOST_STEPS))
            with session.attacking(live):
                drawn = 0
                for _ in live.run(PAUSE_S):
                    grown, drawn = len(live.points) > drawn, len(live.points)
                    curves = gr.skip(), gr.skip()
                    if grown:
                        curves = _curves(pool.view, lineup, attack, live.steps, live)
                    yield *curves, tell(pool.view, live), gr.skip(), *_buttons(running=True)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None
        if session.attacked is live:  # and not another line-up's turn already
            curves = _curves(pool.view, lineup, attack, live.steps, live)
            cards = _cards(pool, typed, lineup, live)
            yield *curves, tell(pool.view, live), cards, *_buttons(running=False)

    def stop(self, request: gr.Request) -> None:
        """Ends the visitor's attack."""
        self._session(request).stop()

    def leave(self, request: gr.Request) -> None:
        """The page is gone."""
        self.sessions.leave(str(request.session_hash))

    def _session(self, request: gr.Request) -> Session:
        return self.sessions.of(str(request.session_hash))


def _cards(pool: ModelPool, typed: str, lineup: list[ModelRow], attacked: Relearning | None) -> str:
    prompt = pool.read(typed)
    answers = pool.answers(prompt, lineup, attacked)
    return render_cards(prompt, pool.item(prompt), lineup, attacked, answers, pool.view.evaluation)


def _curves(
    view: StudyView, lineup: list[ModelRow], attack: str | None, steps: int, attacked: Relearning | None
) -> Outputs:
    if attack is None:  # a study without attacks
        return None, ""
    live = attacked if attacked and attacked.attack == attack else None
    return curve_figure(view, lineup, attack, steps, live), render_points(view, live)


def _buttons(running: bool) -> Outputs:
    """Start and stop."""
    return gr.Button(interactive=not running), gr.Button(interactive=running)
