"""SHA-256 of files. Large ones are read once for as long as they stay as they are: gigabytes take minutes."""

import hashlib
import json
import os
from pathlib import Path

LARGE = 2**24
"""Bytes from which on a digest is remembered; smaller files are read every time."""


def file_digest(path: Path, again: bool = False) -> str:
    """The digest of a file's bytes, in hexadecimal.

    For a large file it is remembered in the user's cache folder, with the file's size, times and inode, and computed
    anew once one of them has changed, or where `again` is asked for.
    """
    state = path.stat()
    if state.st_size < LARGE:
        return _computed(path)
    known, note = _note(path), [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
    try:
        noted, digest = json.loads(known.read_text(encoding="utf-8"))
        if noted == note and not again:
            return digest
    except (OSError, ValueError, TypeError):
        pass  # nothing is remembered, or not by us
    digest = _computed(path)
    _remember(known, json.dumps([note, digest]))
    return digest


def _computed(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(path: Path) -> Path:
    """Where a file's digest is remembered. Without a home folder that is no place that can be read or written."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not home.is_absolute():
        return Path(os.devnull, "no-home")
    return home / "undo" / "digests" / hashlib.sha256(str(path.resolve()).encode()).hexdigest()


def _remember(known: Path, text: str) -> None:
    """A cache that cannot be written is no reason to fail."""
    writing = known.with_name(f"{known.name}.{os.getpid()}")
    try:
        known.parent.mkdir(parents=True, exist_ok=True)
        writing.write_text(text, encoding="utf-8")
        os.replace(writing, known)
    except OSError:
        pass
