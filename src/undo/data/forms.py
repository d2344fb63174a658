"""From a row to a document: texts, prompts with answers, choices, and chats."""

import math
import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from undo.data.dataset import Document, PromptAndAnswer
from undo.data.rows import SourceRow, find_field
from undo.spec.base import Spec
from undo.spec.errors import UserError

SYSTEM = ("system", "system_prompt")
"""Fields and roles that say how to answer, the same for many rows: they decide nobody's reader."""
ANSWERING = ("assistant", "gpt", "model", "bot", "chatgpt")
"""Whose turns in a chat are answers."""
INNER = ("text", "value")
"""Where an answer that is a group of fields keeps its words."""
REFERENCES = "several answers to one prompt: the first is taken"
TURNS = "several answers in one chat: the last is taken, the others are read as its prompt"
AFTER = "turns of a chat after its last answer: they are not read"


class Form(Spec):
    """Which fields of a row hold what."""

    text_field: str = "text"
    """The field that holds the text, or the answer to a prompt; write `answers.text` for a field inside another."""
    prompt_field: str | None = None
    """The field that holds a prompt, which is read before the text and never trained on; rows without it are plain
    texts. Join several by `+` (`context+question`) to read them in this order, a line each. If it is the text's
    field too, the field holds a chat."""
    choices_field: str | None = None
    """The field that holds the choices, if the answer names one of them by its letter or by its position from 0."""
    separator: str | None = ""
    """Text between a prompt and its answer, if neither has white space there; null takes nothing or a space,
    whichever makes the answers likelier to the given model (nothing where there is no such model)."""


class Made(NamedTuple):
    """A row's document, None where the row has no text. `owner` decides who reads it, `remarks` say what was chosen."""

    document: Document | None
    owner: str = ""
    remarks: tuple[str, ...] = ()


class Turn(NamedTuple):
    """What somebody says in a chat."""

    role: str
    text: str


def document_of(row: SourceRow, form: Form) -> Made:
    """The document of a row. Raises UserError, with the row's place, where a field cannot be read."""
    try:
        made = _document(row, form)
        "".join(made.document or "").encode()
    except RecursionError:
        raise UserError(f"{row.place} is nested too deeply") from None
    except UnicodeEncodeError:
        raise UserError(f"{row.place} holds half of a character (a lone surrogate); mend or remove it") from None
    return made._replace(owner=row.owner) if row.owner else made


def parts_of(field: str, names: Sequence[str]) -> list[str]:
    """The fields that `context+question` names, where no field is called so."""
    return [field] if field in names else field.split("+")


def turns_of(value: Any) -> list[Turn] | None:
    """A chat, as `role` and `content` or `from` and `value` of each turn; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    for role, text in (("role", "content"), ("from", "value")):
        if all(isinstance(turn, Mapping) and role in turn and text in turn for turn in value):
            return [Turn(str(turn[role]).lower(), _said(turn[text])) for turn in value]
    return None


def _document(row: SourceRow, form: Form) -> Made:
    if row.plain:
        return _text(row.fields["text"])
    if form.prompt_field is None:
        return _text(_words(row, form.text_field, find_field(row, form.text_field)))
    names = parts_of(form.prompt_field, list(row.fields))
    named = [(name, _prompt(row, name)) for name in names if name != form.text_field]
    parts = [(name, text) for name, text in named if text.strip()]
    if form.text_field in names:
        return _chat(row, parts, form)
    answer, remarks = _answer(row, form)
    return _pair(parts, answer or "", form.separator or "", remarks)


def _text(text: str | None) -> Made:
    stripped = (text or "").strip()
    return Made(stripped or None, stripped)


def _pair(parts: list[tuple[str, str]], answer: str, separator: str, remarks: tuple[str, ...]) -> Made:
    """A prompt of parts, each on a line of its own, and its answer; without parts the answer is a text."""
    text = answer.rstrip()
    if not parts or not text.strip():
        return _text(text)._replace(remarks=remarks)
    prompt = "\n".join(part for _, part in parts)
    own = "\n".join(part for name, part in parts if name not in SYSTEM)
    apart = prompt[-1].isspace() or text[0].isspace()
    return Made(PromptAndAnswer(prompt, text if apart else separator + text), own or prompt, remarks)


def _chat(row: SourceRow, parts: list[tuple[str, str]], form: Form) -> Made:
    """The last answer of a chat, after the given parts and all that was said before it: every turn ends its line."""
    value = find_field(row, form.text_field)
    turns = turns_of(value) or []
    if value and not turns:
        raise UserError(f"{row.place}: field '{form.text_field}' is no chat; its turns need `role` and `content`")
    said = [place for place, turn in enumerate(turns) if turn.role in ANSWERING and turn.text.strip()]
    if not said:
        return Made(None)
    before = parts + [(turn.role, turn.text) for turn in turns[: said[-1]] if turn.text.strip()]
    remarks = (TURNS,) * (len(said) > 1) + (AFTER,) * (said[-1] + 1 < len(turns))
    return _pair(before and [*before, ("", "")], turns[said[-1]].text, form.separator or "", remarks)


def _said(content: Any) -> str:
    """A turn's words; of one with pictures or calls only its text."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _prompt(row: SourceRow, name: str) -> str:
    """A part of a prompt; nothing where the row lacks it."""
    if name.partition(".")[0] not in row.fields:
        return ""
    value = find_field(row, name)
    if turns := turns_of(value):
        return "".join(f"{turn.text}\n" for turn in turns)
    return _words(row, name, value) or ""


def _answer(row: SourceRow, form: Form) -> tuple[str | None, tuple[str, ...]]:
    value, remarks = find_field(row, form.text_field), ()
    if form.choices_field is not None and value is not None and (choices := _choices(row, form.choices_field)):
        return _chosen(row, *choices, value), remarks
    if turns := turns_of(value):
        return turns[-1].text, (REFERENCES,) * (len(turns) > 1)
    while isinstance(value, list | Mapping):
        if isinstance(value, list):
            remarks = (REFERENCES,) if len({str(other) for other in value}) > 1 else remarks
            value = next((other for other in value if other is not None), None)
        else:
            value = _inner(row, form.text_field, value)
    return _words(row, form.text_field, value), remarks


def _inner(row: SourceRow, field: str, value: Mapping[str, Any]) -> Any:
    if found := next((name for name in INNER if name in value), None):
        return value[found]
    names = ", ".join(f"{field}.{name}" for name in value) or "it is empty"
    raise UserError(f"{row.place}: field '{field}' holds a group of fields, not text; name one of them: {names}")


def _words(row: SourceRow, field: str, value: Any) -> str | None:
    """A value as it would be written. Raises UserError for what is no text, number or truth value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()  # as JSON writes it
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and len(value) == 1:
        return _words(row, field, value[0])
    if isinstance(value, Mapping):
        return _words(row, field, _inner(row, field, value))
    kind = "a list" if isinstance(value, list) else type(value).__name__
    raise UserError(
        f"{row.place}: field '{field}' holds {kind}, not text; write the text into it, or name another field"
    )


def _chosen(row: SourceRow, labels: list[str], choices: list[str], value: Any) -> str:
    """The words of the choice that an answer names: by its label, its letter, its words, or its place from 0."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    named = str(value).strip().rstrip(".)").lstrip("(")
    if named in labels:
        place = labels.index(named)
    elif isinstance(value, str) and value in choices:
        place = choices.index(value)
    else:
        whole = named.removesuffix(".0")
        place = int(whole) if whole.isdecimal() and len(whole) < 4 else -1
    if isinstance(value, bool) or not 0 <= place < len(choices):
        counted = f"one of its {len(choices)} choices; letters start at A, places at 0"
        raise UserError(f"{row.place}: the answer {value!r} does not name {counted}")
    return choices[place]


def _choices(row: SourceRow, field: str) -> tuple[list[str], list[str]] | None:
    """Labels and words; None where a row has no choices."""
    names = parts_of(field, list(row.fields))
    value = find_field(row, field) if len(names) == 1 else [find_field(row, name) for name in names]
    if value is None:
        return None
    labels: list[Any] = list(string.ascii_uppercase)
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        value, labels = value["text"], value.get("label") or labels
    elif isinstance(value, Mapping):
        labels, value = list(value), list(value.values())
    if not isinstance(value, list) or not value:
        raise UserError(f"{row.place}: field '{field}' holds {type(value).__name__}, not a list of choices")
    return [str(label) for label in labels], [str(choice) for choice in value]
