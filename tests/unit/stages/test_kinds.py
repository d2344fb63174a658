"""What every kind of stage owes, and defaults that keys rely on."""

import inspect
import json
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined, to_jsonable_python

from undo import stages
from undo.spec import recipe
from undo.spec.base import Spec
from undo.spec.registry import PACKAGES, load, names

PINNED = Path(__file__).with_name("defaults.json")


def defaults(settings: type[Spec]) -> dict:
    """The default of every field that has one, as JSON."""
    fields = {name: field.get_default(call_default_factory=True) for name, field in settings.model_fields.items()}
    return {name: to_jsonable_python(value) for name, value in fields.items() if value is not PydanticUndefined}


def every_default() -> dict[str, dict]:
    """Those of all kinds of stages, of the groups of a recipe and of all plug-ins."""
    groups = {name: group for name, group in inspect.getmembers(recipe, inspect.isclass) if issubclass(group, Spec)}
    plugins = {f"{kind}/{name}": load(kind, name) for kind in PACKAGES for name in names(kind)}
    of_stages = {f"stages/{kind}": stages.settings_class(kind) for kind in stages.kinds()}
    return {name: defaults(group) for name, group in (groups | plugins | of_stages).items()}


def test_defaults_are_those_that_keys_rely_on():
    """A key hashes what differs from the defaults: where one changes, old artifacts would be taken for new ones.

    Raise the version of the plug-in or the stage with it, then write the file anew:
    python -m tests.unit.stages.test_kinds
    """
    pinned = json.loads(PINNED.read_text())
    assert every_default() == pinned


@pytest.mark.parametrize("kind", stages.kinds())
def test_a_kind_declares_settings_traits_and_run(kind):
    settings = stages.settings_class(kind)
    assert settings.kind() == kind and settings.traits.version >= 1
    assert settings.traits.output in ("model", "files", "scores")


if __name__ == "__main__":
    PINNED.write_text(json.dumps(every_default(), indent=1, sort_keys=True) + "\n")
