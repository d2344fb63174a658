"""What a study gives to choose from: built into the page, or returned by an event to replace what stood there."""

from html import escape
from typing import Any

import gradio as gr

from undo.demo.model_pool import ModelPool
from undo.demo.prompts import suggestions
from undo.demo.study_view import StudyView

MOST_STEPS = 500  # of a live attack: the published adversary's budget
WIDE = 260  # px that a chooser needs: on a phone each has a line of its own


def study(studies: list[StudyView]) -> gr.Dropdown:
    """Which study to look at, by its setting."""
    names = [(f"{each.results.dataset['name']} ({each.name})", each.name) for each in studies]
    return gr.Dropdown(names, value=names[0][1], label="Setting", min_width=WIDE, visible=len(names) > 1)


def suppressed(view: StudyView) -> gr.Dropdown:
    """Which suppressed model; at first not one without a student."""
    ids = view.suppressed
    first = max(ids, key=lambda each: len(view.students(each)), default=None)
    return gr.Dropdown(ids, value=first, label="Suppressed model", min_width=WIDE, visible=bool(ids))


def student(view: StudyView, of: str | None) -> gr.Dropdown:
    """The students of a suppressed model, the most noised one first chosen, and the controls."""
    rows = view.students(of)
    first = max(rows, key=lambda row: (row.teacher == of, row.noise_alpha or 0.0), default=None)
    names = [(view.student_name(row), row.id) for row in rows]
    return gr.Dropdown(names, value=first.id if first else None, label="Student", min_width=WIDE, visible=bool(rows))


def seed(view: StudyView) -> gr.Dropdown:
    """Which replication."""
    seeds = view.seeds
    return gr.Dropdown(seeds, value=seeds[0], label="Seed", min_width=WIDE, visible=len(seeds) > 1)


def guide(view: StudyView) -> gr.HTML:
    """Which prompts fit what the models were trained on."""
    return gr.HTML(f"<h2>Ask</h2><p>{escape(view.dataset.guide())}</p>")


def prompt(pool: ModelPool) -> gr.Textbox:
    """Where prompts are typed; the first one to pick stands there."""
    first = suggestions(pool.corpus.items())[0][1]
    return gr.Textbox(first, label="Prompt", lines=1, max_lines=6, scale=6, min_width=WIDE, elem_id="prompt")


def picks(pool: ModelPool, box: gr.Textbox | None = None) -> gr.Dataset:
    """Prompts to pick, which go into a box."""
    texts = suggestions(pool.corpus.items())
    labels = [f"{'forget' if domain == 'forget' else 'keep'}: {text}" for domain, text in texts]
    into: dict[str, Any] = {"components": [box], "label": "Or pick one"} if box else {}
    return gr.Dataset(samples=[[text] for _, text in texts], sample_labels=labels, samples_per_page=len(texts), **into)


def attack(view: StudyView) -> gr.Dropdown:
    """Which of the study's attacks."""
    attacks = view.attacks
    first = attacks[0] if attacks else None
    return gr.Dropdown(attacks, value=first, label="Attack of the study", min_width=WIDE)


def steps(view: StudyView) -> gr.Slider:
    """How long to attack, at first as long as the study did."""
    usual = view.steps(view.attacks[0]) if view.attacks else MOST_STEPS
    usual = min(max(10, usual), MOST_STEPS)
    return gr.Slider(10, MOST_STEPS, value=usual, step=10, label="Steps", min_width=WIDE)
