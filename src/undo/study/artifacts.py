"""Artifacts: one folder per stage, complete exactly when its manifest is there.

<out>/artifacts/<kind>-<key>/  stage.json  metrics.jsonl  evals.json  model/  manifest.json (last, atomically)
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from undo.spec.digest import file_digest
from undo.spec.errors import UserError

MANIFEST = "manifest.json"
CARD = "README.md"
"""A model's card: what is said of a model is no part of it."""


class Store:
    """The artifacts of an output folder."""

    def __init__(self, out: Path) -> None:
        self.root = out / "artifacts"

    def folder(self, stage_id: str) -> Path:
        """Where a stage's artifact lies or will lie."""
        return self.root / stage_id

    def done(self, stage_id: str) -> bool:
        """Whether the artifact is complete."""
        return (self.folder(stage_id) / MANIFEST).exists()

    def read(self, stage_id: str, name: str) -> Any:
        """A JSON file of an artifact."""
        return json.loads((self.folder(stage_id) / name).read_text(encoding="utf-8"))

    def corrupted(self, stage_id: str, again: bool = False) -> str | None:
        """The first file that is missing or does not match its checksum, None where all do.

        A large file that has not been touched since its last check is not read, unless `again` is asked for.
        """
        folder = self.folder(stage_id)
        try:
            files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, KeyError):
            return MANIFEST
        for name, digest in files.items():
            if not (folder / name).is_file() or file_digest(folder / name, again) != digest:
                return name
        return None

    def discard(self, stage_id: str) -> None:
        """Removes an artifact; its manifest first, so that no half of it counts as complete."""
        (self.folder(stage_id) / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.folder(stage_id), ignore_errors=True)


def content_hash(path: Path, besides: str = "") -> str:
    """SHA-256 of a file's bytes; of a folder's files with their names.

    Hidden files and what Python compiled do not count, nor files of the name `besides`.
    """
    if path.is_file():
        return file_digest(path)
    inside = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    inside = [file for file in inside if file.name != besides and file.parent.name != "__pycache__"]
    lines = [f"{file_digest(file)}  {file.relative_to(path).as_posix()}\n" for file in inside]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def complete(folder: Path, stage: dict[str, Any], evals: dict[str, Any], metrics: Iterable[dict[str, Any]]) -> None:
    """Writes what every artifact has, and the manifest last."""
    (folder / "stage.json").write_text(json.dumps(stage, indent=1), encoding="utf-8")
    (folder / "evals.json").write_text(json.dumps(evals, indent=1), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics), encoding="utf-8")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    write_atomically(
        folder / MANIFEST, json.dumps({"files": {name: file_digest(folder / name) for name in names}}, indent=1)
    )


def write_atomically(path: Path, text: str) -> None:
    """The file holds the old text or the new one, never a part. Raises UserError where it cannot be written."""
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; name a file")
    writing = path.with_name(path.name + ".writing")
    try:
        writing.write_text(text, encoding="utf-8")
        os.replace(writing, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
