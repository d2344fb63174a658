"""The common base of everything a recipe may say: frozen, typed, and unknown keys refused with the nearest name."""

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?` for a near miss, otherwise the known words."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"


class Spec(BaseModel):
    """A frozen group of settings. Field descriptions are the documentation: meaning, unit, range, source."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    hint = nearest(str(key), list(cls.model_fields))
                    raise PydanticCustomError("unknown_key", "unknown key '{key}'; {hint}", {"key": key, "hint": hint})
        return data


class Plugin(Spec):
    """A setting that names one file of a plug-in kind (a method, an attack, a dataset, an evaluation)."""

    name: str
    """The registered name, which is the name of the plug-in's file."""

    version: int = 1
    """Version of the plug-in, part of every key that depends on it; its author raises it when its results change.
    Leave it out."""
