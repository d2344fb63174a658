"""The options that say how texts are read, and what is said of them before anything runs."""

from typing import Annotated, Any

import typer

ForgetField = Annotated[str | None, typer.Option(help="The field of --forget that holds its texts, if not `text`.")]
RetainField = Annotated[str | None, typer.Option(help="The field of --retain that holds its texts, if not `text`.")]
PromptField = Annotated[
    str | None, typer.Option(help="The field of prompts, in either; several as context+question, in reading order.")
]
AnswerField = Annotated[str | None, typer.Option(help="The field of answers, in either.")]
Separator = Annotated[
    str | None,
    typer.Option(help="Between prompt and answer; default: nothing or a space, as the model before knows it better."),
]
CHOICES = ("forget_field", "retain_field", "prompt_field", "answer_field", "separator")
"""The options by the names of their parameters; a saved recipe has chosen them already."""


def reading(given: dict[str, Any]) -> dict[str, Any]:
    """What a function of the API takes, of a command's parameters."""
    fields = {name.removesuffix("_field"): given[name] for name in CHOICES[:-1] if given[name] is not None}
    return {"fields": fields, "separator": given["separator"]}


def tell_texts(recipe: Any) -> None:
    """A line on stderr for each thing that was found out about the texts of a recipe."""
    from undo.cli.errors import tell
    from undo.data.own import text_notes

    for note in text_notes(recipe.data.dataset):
        tell(f"note: {note}")
