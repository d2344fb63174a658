"""The page: what stands where, and which event calls whom."""

from html import escape
from typing import Any

import gradio as gr

from undo.demo.desk import MOST_STEPS, Desk
from undo.demo.exhibit import Exhibit
from undo.demo.prompts import suggestions

ATTACKS_AT_ONCE = 4  # of all visitors together; they take turns at computing, and further ones wait
WAITING = 32  # requests in the queue
WIDE = 260  # px that a chooser needs: on a phone each has a line of its own
EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8}
INTRODUCTION = (
    "The models of one study, side by side. Ask all of them, then attack one: finetune a copy on what it was made to "
    "forget. Does the skill come back, and how fast beside the others?"
)


def build_page(desk: Desk) -> gr.Blocks:
    """The page that a desk serves, ready to be launched."""
    exhibit, study = desk.exhibit, escape(desk.exhibit.results["study"])
    with gr.Blocks(title=f"undo demo: {study}", analytics_enabled=False) as page:
        gr.HTML(f"<h1>Is it gone?</h1><p>{INTRODUCTION} Study: <strong>{study}</strong>.</p>")
        with gr.Row():
            choice = _choosers(exhibit)
        gr.HTML(f"<h2>Ask</h2><p>{escape(exhibit.dataset.guide())}</p>")
        prompt, send, picks = _questions(desk)
        cards = gr.HTML(elem_id="cards")
        with gr.Column(visible=bool(exhibit.attacks)):
            gr.HTML("<h2>Attack</h2>")
            target, attack, steps, start, stop = _weapons(exhibit)
            progress = gr.HTML(elem_id="progress", js_on_load="element.setAttribute('role', 'status')")
            curves = [gr.Plot(show_label=False, elem_id="curve"), gr.HTML(elem_id="numbers")]
        outcome, (suppressed, student, seed) = [*curves, progress, cards, start, stop], choice
        chosen = [*choice, attack, steps, prompt]
        for renewed in (page.load, suppressed.input):
            event = renewed(desk.students, suppressed, student, **EVENT)
            event.then(desk.choose, chosen, [target, *outcome], **EVENT)
        gr.on([student.input, seed.input], desk.choose, chosen, [target, *outcome], **EVENT)
        picked = picks.click(lambda sample: sample[0], picks, prompt, **EVENT)
        for asked in (picked.then, prompt.submit, send.click):
            asked(desk.ask, [*choice, prompt], cards, **EVENT)
        gr.on([attack.input, steps.release], desk.draw, [*choice, attack, steps], curves, **EVENT)
        attacking = EVENT | {"concurrency_limit": ATTACKS_AT_ONCE, "show_progress": "minimal"}
        start.click(desk.attack, [*chosen, target], outcome, show_progress_on=progress, **attacking)
        stop.click(desk.stop, queue=False, **EVENT)
        page.unload(desk.leave)
    return page.queue(max_size=WAITING, api_open=False)


def _choosers(exhibit: Exhibit) -> list[Any]:
    """Which models to look at: suppressed, student, seed."""
    suppressed, seeds = exhibit.suppressed, exhibit.seeds
    first = max(suppressed, key=lambda each: len(exhibit.students(each)), default=None)  # not one without a student
    return [
        gr.Dropdown(suppressed, value=first, label="Suppressed model", min_width=WIDE, visible=bool(suppressed)),
        gr.Dropdown([], label="Student", min_width=WIDE, visible=bool(exhibit.students(first))),
        gr.Dropdown(seeds, value=seeds[0], label="Seed", min_width=WIDE, visible=len(seeds) > 1),
    ]


def _questions(desk: Desk) -> tuple[Any, ...]:
    """Where prompts are typed, sent and picked."""
    texts = suggestions(desk.shelf.corpus.items())
    with gr.Row(equal_height=True):
        prompt = gr.Textbox(texts[0][1], label="Prompt", lines=1, max_lines=6, scale=6, elem_id="prompt")
        send = gr.Button("Ask", variant="primary", scale=1, min_width=100)
    picks = gr.Dataset(
        label="Or pick one",
        components=[prompt],
        samples=[[text] for _, text in texts],
        sample_labels=[f"{'forget' if domain == 'forget' else 'keep'}: {text}" for domain, text in texts],
        samples_per_page=len(texts),
    )
    return prompt, send, picks


def _weapons(exhibit: Exhibit) -> tuple[Any, ...]:
    """Whom to attack, how, how long, and the buttons."""
    attacks = exhibit.attacks
    target = gr.Radio([], label="Model to attack")
    with gr.Row():
        attack = gr.Dropdown(
            attacks, value=attacks[0] if attacks else None, label="Attack of the study", min_width=WIDE
        )
        usual = min(exhibit.steps(attacks[0]), MOST_STEPS) if attacks else MOST_STEPS
        steps = gr.Slider(10, MOST_STEPS, value=max(10, usual), step=10, label="Steps", min_width=WIDE)
    with gr.Row():
        start = gr.Button("Attack", variant="primary", elem_id="start")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop")
    return target, attack, steps, start, stop
