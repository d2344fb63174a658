"""Somebody's own texts as the data of a study."""

import filecmp
from pathlib import Path
from typing import Any

from undo.spec.errors import UserError


def own_texts(forget: str, retain: str) -> dict[str, Any]:
    """The dataset settings of what is to be forgotten and kept: files, folders or data sets of the hub.

    Raises UserError where both are the same.
    """
    files = [Path(source).expanduser() for source in (forget, retain)]
    if forget == retain or (all(path.is_file() for path in files) and filecmp.cmp(*files, shallow=False)):
        raise UserError(f"--forget and --retain hold the same texts ('{forget}', '{retain}'); tell what is to be kept")
    return {"name": "hub", "retain": {"path": retain}, "forget": {"path": forget}}
