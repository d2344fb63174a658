"""A model that somebody brings: where it lies, what tells it from others, and its size."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from undo import models


@dataclass(frozen=True)
class GivenModel:
    """A model's folder and perhaps an adapter. Whatever else is asked is read from the files once."""

    folder: Path
    adapter: Path | None = None

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of configuration, tokenizer and weights. Raises UserError for a file cut off."""
        return models.fingerprint(self.folder, self.adapter)

    @cached_property
    def weights(self) -> int:
        """Number of weights."""
        return models.count_weights(self.folder)

    @cached_property
    def _shape(self) -> tuple[int, int]:
        return models.width_and_layers(self.folder)

    @property
    def width(self) -> int:
        """Width of the hidden states. Raises UserError where the configuration names none."""
        return self._shape[0]

    @property
    def layers(self) -> int:
        """Number of decoder layers. Raises UserError where the configuration names none."""
        return self._shape[1]

    @cached_property
    def context(self) -> int | None:
        """Tokens that it reads at most; None where its family has no limit."""
        return models.limits(self.folder).context

    def places(self) -> dict[str, str]:
        """Where a stage finds it, by input role."""
        adapter = {"adapter": str(self.adapter)} if self.adapter else {}
        return {"pretrained": str(self.folder), **adapter}


def find_model(path: str, revision: str | None = None, adapter: str | None = None) -> GivenModel:
    """The model of a local folder or of the hub's cache. Raises UserError where there is none that can be used."""
    return GivenModel(models.find_folder(path, revision), None if adapter is None else models.find_adapter(adapter))
