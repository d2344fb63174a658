"""What somebody asks about a model that they bring: which model, which texts, and what to change in the recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from undo import models
from undo.data.own import own_texts
from undo.models.given import GivenModel


@dataclass(frozen=True)
class Request:
    """A model, and texts of what it is to forget and to keep.

    Args: model, a Hugging Face folder or a model in the hub's cache; forget and retain, a file, a folder or a data set
    (docs/data-formats.md); adapter, a PEFT adapter that is merged into the model first; fields, the names of the fields
    to read (`forget`, `retain`, `prompt`, `answer`) where they are none of the usual ones; separator, what stands
    between a prompt and its answer (None: nothing or a space, whichever makes the answers likelier to the model before
    unlearning); overrides, `key.path=value` on the recipe; benchmarks, what lm-eval asks besides, such as
    `{"tasks": ["wmdp_bio"]}` (the settings of `spec.recipe.Benchmarks`).
    """

    model: str | Path
    forget: str | Path
    retain: str | Path
    _: KW_ONLY
    adapter: str | Path | None = None
    fields: Mapping[str, str] | None = None
    separator: str | None = None
    overrides: Sequence[str] = ()
    benchmarks: Mapping[str, Any] | None = None

    @cached_property
    def given(self) -> GivenModel:
        """The model. Raises UserError where there is none that can be used."""
        return models.find_model(str(self.model), adapter=None if self.adapter is None else str(self.adapter))

    @cached_property
    def texts(self) -> dict[str, Any]:
        """The dataset's settings. Raises UserError for texts that cannot be read (`own_texts`)."""
        return own_texts(str(self.forget), str(self.retain), self.fields, self.separator)

    def common(self) -> dict[str, Any]:
        """The part of the recipe that names the model, and the benchmarks if there are any."""
        adapter = {} if self.adapter is None else {"adapter": str(self.adapter)}
        benchmarks = {"benchmarks": dict(self.benchmarks)} if self.benchmarks else {}
        return {"pretrained": {"path": str(self.model), **adapter}, **benchmarks}
