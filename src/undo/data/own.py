"""Somebody's own texts as the data of a study: which fields of theirs are read, and what was read."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from undo.data.dataset import Dataset, Document, PromptAndAnswer, whole
from undo.data.files import files_of, kinds_of
from undo.data.forms import SYSTEM, parts_of
from undo.data.sources import HUB_NAME, Location, Reading, Source, fields_of, read_source
from undo.data.tables import is_saved, splits_of
from undo.spec.base import nearest
from undo.spec.errors import UserError

PROMPTS = ("prompt", "question", "instruction", "query", "problem", "input")
ANSWERS = ("answer", "answers", "completion", "response", "output", "solution", "correct_answer")
"""Names of the fields that hold a prompt and its answer, as data sets usually call them."""
CONTEXTS = ("context", "passage", "support")
"""Names of fields that are read before a question."""
CHATS = ("messages", "conversations", "conversation")
CHOICES = ("choices", "options", "endings")
CHOSEN = ("answerKey", "answer_key", "answer_index", "answer_idx", "label", "target")
"""Names of fields that name the right choice, where no field of `ANSWERS` does."""
LETTERS = "ABCDEFGHIJ"
FIELDS = ("forget", "retain", "prompt", "answer")
"""Fields that can be named: those that hold the texts of either kind, and those of prompts and their answers."""
LEAST_DOCUMENTS = 30
"""Fewer cannot be divided among training, adversary and questions."""
OPENING = 400
"""Characters of a document or prompt by which readers are told apart, as `item_chars` is by default."""
PLACE = re.compile(r"(?P<path>[^:@]+)(:(?P<config>[^/@]*)(/(?P<split>[^@]*))?)?(@(?P<revision>.+))?")
UNITS = {"line": "lines", "paragraph": "paragraphs, parted by empty lines,", "row": "rows"}


def own_texts(
    forget: str, retain: str, fields: Mapping[str, str] | None = None, separator: str | None = None
) -> dict[str, Any]:
    """The dataset settings of what is to be forgotten and kept: files, folders or data sets of the hub.

    Args: fields, names of fields where they are none of the usual ones (`FIELDS`: `forget` and `retain` for the texts
    of either, `prompt` and `answer` for both); separator, what stands between a prompt
    and its answer, None for what the model before unlearning knows better (`Form`).
    Rows hold a document (`text`), a prompt and its answer (`PROMPTS`, `ANSWERS`), or a chat; prompts are read and never
    trained on. Files and folders are read to their end, a data set of the hub up to the usual limit of `Location`.
    Raises UserError where one cannot be read, may be read in two ways, holds too little, or is mostly the other.
    """
    named = _named(fields or {})
    paths = {"retain": retain, "forget": forget}
    for option, path in reversed(paths.items()):
        if not path:
            raise UserError(f"--{option} is empty; name a file, a folder or a data set of the hub")
    places = {option: _place(path) for option, path in paths.items()}
    known = {option: fields_of(Location(**place)) for option, place in places.items()}
    _refuse_unknown(named, known)
    sources = {
        option: place | _form(option, paths[option], known[option], named, separator)
        for option, place in places.items()
    }
    read = {option: read_source(Source(**source)) for option, source in sources.items()}
    for option in reversed(paths):
        _refuse_few(paths[option], read[option])
    _refuse_same(forget, retain, read["forget"], read["retain"])
    return {"name": "hub", **sources}


def text_notes(dataset: Dataset) -> list[str]:
    """What was read of somebody's texts, and what was left out, in plain words; nothing of other datasets."""
    given = {option: getattr(dataset, option, None) for option in ("forget", "retain")}
    sources = {option: source for option, source in given.items() if isinstance(source, Source)}
    if len(sources) < len(given):
        return []
    read = {option: read_source(source) for option, source in sources.items()}
    notes = [note for option, source in sources.items() for note in _notes(option, source, read[option])]
    return notes + list(_overlap_notes(read["forget"], read["retain"]))


def _named(fields: Mapping[str, str]) -> dict[str, str]:
    for name in fields:
        if name not in FIELDS:
            raise UserError(f"fields: '{name}' is none that can be named; {nearest(name, list(FIELDS))}")
    return {name: field for name, field in fields.items() if field}


def _place(path: str) -> dict[str, Any]:
    """Where the rows are: of the hub as owner/name:configuration/split@revision, of a folder as folder:.../..."""
    found = PLACE.fullmatch(path)
    place = {name: value for name, value in found.groupdict().items() if value} if found else {}
    if Location(path=path).local() or not place:
        place = {"path": path}
    if here := Location(path=place["path"]).local():
        return ({"split": None} if here.is_dir() else {}) | place | {"limit": None}
    return place if HUB_NAME.fullmatch(place["path"]) else {"path": path}


def _refuse_unknown(named: Mapping[str, str], known: Mapping[str, list[str]]) -> None:
    """A field that is named has to be somewhere."""
    for name, field in named.items():
        searched = known[name] if name in known else list(dict.fromkeys([*known["forget"], *known["retain"]]))
        if not _has(searched, field):
            where = f"--{name} has no" if name in known else "neither --forget nor --retain has a"
            hint = nearest(field, searched) if searched else "what is plain text has no fields"
            raise UserError(f"--{name}-field: {where} field '{field}'; {hint}")


def _has(known: list[str], field: str) -> bool:
    return all(part.partition(".")[0] in known or part in known for part in parts_of(field, known))


def _form(option: str, path: str, known: list[str], named: Mapping[str, str], separator: str | None) -> dict[str, Any]:
    """The settings that say what its fields hold. Raises UserError where that can be read in no way, or in several."""
    if not known:
        return {}
    if option in named:
        return _texts(named[option])
    mine = {name: named[name] for name in ("prompt", "answer") if name in named and _has(known, named[name])}
    ways = list(_pairs(known, mine))
    if not mine:
        ways += [
            {"text_field": name, "prompt_field": "+".join([*_of(SYSTEM, known), name])} for name in _of(CHATS, known)
        ]
        ways += [_texts("text")] if "text" in known else []
    if len(ways) == 1:
        return ways[0] | ({"separator": separator} if "prompt_field" in ways[0] else {})
    options = f"--{option}-field, or --prompt-field and --answer-field"
    if ways:
        found = " or ".join(_in_words(way) for way in ways)
        raise UserError(f"'{path}' may be read by {found}; say which with {options}")
    usual = f"`text`, or prompt and answer (also {', '.join(PROMPTS[1:])}; {', '.join(ANSWERS[1:])})"
    raise UserError(f"'{path}' has the fields {', '.join(known)}; name them {usual}, or say which with {options}")


def _texts(field: str) -> dict[str, Any]:
    return {} if field == "text" else {"text_field": field}


def _of(names: tuple[str, ...], known: list[str]) -> list[str]:
    return [name for name in names if name in known]


def _pairs(known: list[str], named: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Every pair of fields that may be a prompt and its answer, with what is read before it and the choices."""
    choices = _choices(known)
    prompts = [named["prompt"]] if "prompt" in named else _of(PROMPTS, known)
    if {"instruction", "input"} <= {*prompts}:
        prompts.remove("input")  # the instruction's
    answers = [named["answer"]] if "answer" in named else _of(ANSWERS, known)
    answers = answers or (_of(CHOSEN, known)[:1] if choices else [])
    for prompt in prompts:
        for answer in answers:
            read = prompt if "prompt" in named else "+".join(_with_context(prompt, known))
            yield {"prompt_field": read, "text_field": answer} | ({"choices_field": choices} if choices else {})


def _with_context(prompt: str, known: list[str]) -> list[str]:
    after = ["input"] if prompt == "instruction" and "input" in known else []
    return [*_of((*SYSTEM, *CONTEXTS), known), prompt, *after]


def _choices(known: list[str]) -> str | None:
    """The field of the choices, or a field for each."""
    letters = [letter for number, letter in enumerate(LETTERS) if {*LETTERS[: number + 1]} <= {*known}]
    return next(iter(_of(CHOICES, known)), "+".join(letters) if len(letters) > 1 else None)


def _in_words(way: Mapping[str, Any]) -> str:
    text, prompt = way.get("text_field", "text"), way.get("prompt_field")
    return f"`{text}`" if prompt is None or text in prompt.split("+") else f"`{prompt}` with `{text}`"


def _refuse_few(path: str, read: Reading) -> None:
    """Documents are divided among readers by their openings, answers by their prompts."""
    few = f"and {LEAST_DOCUMENTS} are the least"
    if len(read.owners) < LEAST_DOCUMENTS:
        held = (
            f"'{path}' has no document to spare: it holds {len(read.owners)}, {few} (one per line of text, or per row)"
        )
        parted = (
            "; empty lines part its documents: put one between any two, or remove all where each line is a document"
        )
        raise UserError(held + (parted if read.units["paragraph"] else ""))
    if (apart := len({owner[:OPENING] for owner in read.owners.values()})) < LEAST_DOCUMENTS:
        held = f"'{path}' holds {len(read.owners)} documents of {apart} prompts or openings"
        raise UserError(f"{held}, {few} that differ: what begins alike has one reader")


def _refuse_same(forget: str, retain: str, forgotten: Reading, kept: Reading) -> None:
    shared = _shared(forgotten, kept)
    if len(shared) == len(forgotten.owners):
        raise UserError(f"--forget and --retain hold the same texts ('{forget}', '{retain}'); tell what is to be kept")
    if 2 * len(shared) > len(forgotten.owners):
        raise UserError(f"{_in_both(shared, forgotten)}; take them out of one of the two: nothing can be told apart")


def _shared(forgotten: Reading, kept: Reading) -> list[Document]:
    """Forget texts that stand in the other too, but for case and white space."""
    others = {_plain(whole(document)) for document in kept.owners}
    return [document for document in forgotten.owners if _plain(whole(document)) in others]


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()


def _in_both(shared: list[Document], forgotten: Reading) -> str:
    first = f"(first: {_shown(whole(shared[0]))})"
    return f"{len(shared)} of {len(forgotten.owners)} forget texts stand in --retain too {first}"


def _overlap_notes(forgotten: Reading, kept: Reading) -> Iterator[str]:
    shared = _shared(forgotten, kept)
    if shared:
        yield _in_both(shared, forgotten)
    prompts = {_plain(document.prompt) for document in kept.owners if isinstance(document, PromptAndAnswer)}
    asked = [
        document for document in forgotten.owners if isinstance(document, PromptAndAnswer) and document not in shared
    ]
    if both := [document.prompt for document in asked if _plain(document.prompt) in prompts]:
        yield f"{len(both)} prompts of --forget stand in --retain with other answers (first: {_shown(both[0])})"


def _notes(option: str, source: Source, read: Reading) -> Iterator[str]:
    """What was read of one source."""
    place = source.local()
    name = f"--{option} {place.resolve().name if place else source.path}"
    units = " and ".join(f"{count} {UNITS[unit]}" for unit, count in sorted(read.units.items()) if count)
    first = next(iter(read.owners), "")
    yield f"{name}: {units} are its documents; {_joined(source, first)}"
    if place and place.is_dir() and (inside := _inside(place, source)):
        yield f"{name}: {inside} are read"
    if read.empty:
        what = "answer" if source.prompt_field else "text"
        yield f"{name}: {len(read.empty)} of {read.rows} rows hold no {what} and are left out (first: {read.empty[0]})"
    if read.repeated:
        yield f"{name}: {read.repeated} of {read.rows} rows repeat others and count once"
    for remark, (count, first_place) in read.remarks.items():
        yield f"{name}: {count} rows hold {remark} (first: {first_place})"
    if unread := [field for field in read.fields if field and field not in _read_fields(source, read.fields)]:
        yield f"{name}: fields that are not read: {', '.join(unread)}"
    if place is None and source.limit == read.rows:
        yield f"{name}: the first {read.rows:,} rows are read"


def _inside(folder: Path, source: Source) -> str:
    """What of a folder is read."""
    if is_saved(folder):
        return f"the splits {', '.join(splits_of(folder))}" if not source.split and splits_of(folder) else ""
    files = files_of(folder, source.split, source.config)
    return f"{len(files)} files ({kinds_of(files)})"


def _joined(source: Source, first: Document) -> str:
    """How a prompt and its answer stand together, by the first of them."""
    if isinstance(first, str):
        return f"the first is {_shown(first)}"
    shown = f"{_shown(first.prompt[-60:])} is read and {_shown(first.answer)} is its answer"
    return f"`{source.prompt_field}` with `{source.text_field}`: {shown}"


def _read_fields(source: Source, known: list[str]) -> set[str]:
    named = [name for name in (source.text_field, source.prompt_field, source.choices_field) if name]
    parts = [part for name in named for part in parts_of(name, known)]
    return {*parts, *(part.partition(".")[0] for part in parts)}


def _shown(text: str) -> str:
    """A text on one line, as much of it as fits."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
