"""Somebody's own texts as the data of a study."""

from typing import Any


def own_texts(forget: str, retain: str) -> dict[str, Any]:
    """The dataset settings of what is to be forgotten and kept: files, folders or data sets of the hub."""
    return {"name": "hub", "retain": {"path": retain}, "forget": {"path": forget}}
