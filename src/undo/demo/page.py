"""The page: what stands where, and which event calls whom."""

from html import escape
from typing import Any

import gradio as gr

from undo.demo import choices
from undo.demo.handlers import Handlers
from undo.demo.study_view import StudyView

ATTACKS_AT_ONCE = 4  # of all visitors together; they take turns at computing, and further ones wait
WAITING = 32  # requests in the queue
EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8}
INTRODUCTION = (
    "The models of a study, side by side. Ask all of them, then attack one: finetune a copy on what it was made to "
    "forget. Does the skill come back, and how fast beside the others?"
)


def build_page(handlers: Handlers) -> gr.Blocks:
    """The page that a handlers serves, ready to be launched."""
    studies = [pool.view for pool in handlers.pools.values()]
    first, names = next(iter(handlers.pools.values())), " and ".join(escape(each.name) for each in studies)
    with gr.Blocks(title=f"undo demo: {names}", analytics_enabled=False) as page:
        gr.HTML(f"<h1>Is it gone?</h1><p>{INTRODUCTION} Shown: <strong>{names}</strong>.</p>")
        with gr.Row():
            study, suppressed = choices.study(studies), choices.suppressed(first.view)
            student, seed = choices.student(first.view, suppressed.value), choices.seed(first.view)
        guide = choices.guide(first.view)
        with gr.Row(equal_height=True):
            prompt = choices.prompt(first)
            send = gr.Button("Ask", variant="primary", scale=1, min_width=100)
        picks = choices.picks(first, prompt)
        cards = gr.HTML(elem_id="cards")
        arena, (target, attack, steps, start, stop), (progress, *curves) = _arena(first.view)
        outcome, choice = [*curves, progress, cards, start, stop], [study, suppressed, student, seed]
        chosen = [*choice, attack, steps, prompt]
        offered = [suppressed, seed, guide, prompt, picks, arena, attack, steps]
        entered = study.input(handlers.enter, study, offered, **EVENT)
        for renewed in (page.load, entered.then, suppressed.input):
            event = renewed(handlers.students, [study, suppressed], student, **EVENT)
            event.then(handlers.choose, chosen, [target, *outcome], **EVENT)
        gr.on([student.input, seed.input], handlers.choose, chosen, [target, *outcome], **EVENT)
        picked = picks.click(lambda sample: sample[0], picks, prompt, **EVENT)
        for asked in (picked.then, prompt.submit, send.click):
            asked(handlers.ask, [*choice, prompt], cards, **EVENT)
        gr.on([attack.input, steps.release], handlers.draw, [*choice, attack, steps], curves, **EVENT)
        attacking = EVENT | {"concurrency_limit": ATTACKS_AT_ONCE, "show_progress": "minimal"}
        start.click(handlers.attack, [*chosen, target], outcome, show_progress_on=progress, **attacking)
        stop.click(handlers.stop, queue=False, **EVENT)
        page.unload(handlers.leave)
    return page.queue(max_size=WAITING, api_open=False)


def _arena(view: StudyView) -> tuple[gr.Column, tuple[Any, ...], tuple[Any, ...]]:
    """Where a model is attacked: the column, what is set there, what is seen there."""
    with gr.Column(visible=bool(view.attacks)) as column:
        gr.HTML("<h2>Attack</h2>")
        target = gr.Radio([], label="Model to attack")
        with gr.Row():
            attack, steps = choices.attack(view), choices.steps(view)
        with gr.Row():
            start = gr.Button("Attack", variant="primary", elem_id="start")
            stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop")
        progress = gr.HTML(elem_id="progress", js_on_load="element.setAttribute('role', 'status')")
        curve, numbers = gr.Plot(show_label=False, elem_id="curve"), gr.HTML(elem_id="numbers")
    return column, (target, attack, steps, start, stop), (progress, curve, numbers)
