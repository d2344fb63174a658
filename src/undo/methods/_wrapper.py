"""Methods around another method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, cast

from pydantic import SerializeAsAny

from undo.methods import Method
from undo.spec.base import Plugin
from undo.spec.registry import PluginOf

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Wrapper(Method):
    """A method whose loss is built from another one's. What may move, and how it ends, is the inner method's."""

    sums_over_parts: ClassVar[bool] = False

    method: Annotated[SerializeAsAny[Plugin], PluginOf("methods")]
    """The method that is wrapped: its name, or a mapping with `name` and its settings."""

    @property
    def inner(self) -> Method:
        """The method inside."""
        return cast(Method, self.method)

    @property
    def needs_reference(self) -> bool:  # type: ignore[override]  # known only with the method inside
        """Whether the method inside needs one."""
        return self.inner.needs_reference

    @property
    def passes(self) -> int:
        """The inner method's, and forward and backward once more over the forget rows."""
        return self.inner.passes + self.inner.passes // 2

    def named_layers(self) -> tuple[int, ...]:
        """The inner method's."""
        return self.inner.named_layers()

    def trainable(self, model: PreTrainedModel) -> set[str]:
        """The inner method's parameters."""
        return self.inner.trainable(model)

    def finish(self, model: PreTrainedModel) -> None:
        """The inner method's end."""
        self.inner.finish(model)
