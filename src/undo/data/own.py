"""Somebody's own texts as the data of a study."""

from pathlib import Path
from typing import Any

from undo.data.sources import Source, fields_of, read_documents
from undo.spec.errors import UserError

PAIRS = (
    *(("prompt", answer) for answer in ("answer", "completion", "response")),
    *(("question", answer) for answer in ("answer", "response")),
    *((prompt, "output") for prompt in ("instruction", "input")),
)
"""Names of the fields that hold a prompt and its answer, as data sets usually call them."""
LEAST_DOCUMENTS = 30
"""Fewer cannot be divided among training, adversary and questions."""


def own_texts(forget: str, retain: str) -> dict[str, Any]:
    """The dataset settings of what is to be forgotten and kept: files, folders or data sets of the hub.

    Rows hold a document (`text`), or a prompt and its answer (`PAIRS`); prompts are read and never trained on. Files
    and folders are read to their end, a data set of the hub up to the usual limit of `Rows`.
    Raises UserError where one cannot be read, holds too little, or the forgotten is all kept.
    """
    for option, path in (("--forget", forget), ("--retain", retain)):
        if not path:
            raise UserError(f"{option} is empty; name a file, a folder or a data set of the hub")
    sources = {"retain": _source(retain), "forget": _source(forget)}
    given: list[Any] = [
        Source(**source) for source in sources.values()
    ]  # frozen models are hashable, their type is not
    kept, forgotten = (set(read_documents(source)) for source in given)
    for path, found in ((forget, forgotten), (retain, kept)):
        if len(found) < LEAST_DOCUMENTS:
            few = f"'{path}' has no document to spare: it holds {len(found)}, and {LEAST_DOCUMENTS} are the least"
            raise UserError(f"{few} (one per line of text, or per row)")
    if forgotten <= kept:
        raise UserError(f"--forget and --retain hold the same texts ('{forget}', '{retain}'); tell what is to be kept")
    return {"name": "hub", **sources}


def _source(path: str) -> dict[str, Any]:
    fields, place = fields_of(Source(path=path)), {"path": path}
    if Path(path).expanduser().exists():
        place |= {"limit": None}
    pair = next((pair for pair in PAIRS if {*pair} <= {*fields}), None)
    if "text" in fields or not fields:
        return place
    if pair is None:
        known = ", ".join(f"{prompt} and {answer}" for prompt, answer in PAIRS)
        raise UserError(f"'{path}' has the fields {', '.join(fields)}; name them `text`, or {known}")
    return place | {"prompt_field": pair[0], "text_field": pair[1]}
