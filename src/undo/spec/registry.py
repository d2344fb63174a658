"""Plug-ins by file name: a file in the kind's folder is registered, and so is a class named by an entry point."""

import importlib
import inspect
import pkgutil
from contextvars import ContextVar
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from undo.spec.base import Plugin, nearest

PACKAGES = {
    "methods": "undo.methods",
    "attacks": "undo.attacks",
    "datasets": "undo.data.datasets",
    "evals": "undo.evals",
}


@cache
def names(kind: str) -> list[str]:
    """The registered names of a kind: the files of its folder and the entry points of `undo.<kind>`."""
    package = importlib.import_module(PACKAGES[kind])
    files = {module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")}
    return sorted(files | {point.name for point in entry_points(group=f"undo.{kind}")})


@cache
def load(kind: str, name: str) -> type[Plugin]:
    """The plug-in class of that name; only its own file is imported. Raises KeyError for a name that is not known."""
    for point in entry_points(group=f"undo.{kind}"):
        if point.name == name:
            return point.load()
    if name not in names(kind):
        raise KeyError(name)
    module = importlib.import_module(f"{PACKAGES[kind]}.{name}")
    own = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    found = [c for c in own if issubclass(c, Plugin)]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one plug-in class, found {len(found)}")
    return found[0]


def _resolve(kind: str, data: Any) -> Any:
    if isinstance(data, Plugin):
        return data
    data = {"name": data} if isinstance(data, str) else data
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise PydanticCustomError("plugin", "needs a 'name': one of {names}", {"names": ", ".join(names(kind))})
    try:
        cls = load(kind, data["name"])
    except KeyError:
        context = {"kind": kind, "name": data["name"], "hint": nearest(data["name"], names(kind))}
        raise PydanticCustomError("plugin", "no '{name}' among the {kind}; {hint}", context) from None
    return cls.model_validate(data)


class PluginOf:
    """Marks a recipe field that holds a plug-in of a kind: `Annotated[SerializeAsAny[Plugin], PluginOf("methods")]`.

    The field takes a name, or `{name: ..., knob: ...}`; editors are told one alternative per registered name. Inside a
    plug-in of the same kind (a method around a method) they are told the names alone: the alternatives have no end.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(lambda data: _resolve(self.kind, data), handler(source))

    def __get_pydantic_json_schema__(self, _: core_schema.CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        options: list[JsonSchemaValue] = [{"enum": names(self.kind)}]
        if _INSIDE.get():  # a plug-in that wraps others of its kind: their knobs are checked when the recipe is read
            return {"anyOf": [*options, {"type": "object", "required": ["name"]}]}
        for name in names(self.kind):
            schema = _schema_of(self.kind, name)
            schema["properties"]["name"] = {"const": name}
            options.append(schema)
        return {"anyOf": options}


_INSIDE = ContextVar("inside the schema of a plug-in", default=False)


def _schema_of(kind: str, name: str) -> JsonSchemaValue:
    """A plug-in's JSON schema with the groups it refers to in place of the references."""
    outside = _INSIDE.set(True)
    try:
        schema = load(kind, name).model_json_schema()
    finally:
        _INSIDE.reset(outside)
    return _inlined(schema, schema.pop("$defs", {}))


def _inlined(part: Any, groups: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [_inlined(each, groups) for each in part]
    if not isinstance(part, dict):
        return part
    own = {key: _inlined(value, groups) for key, value in part.items() if key != "$ref"}
    return {**_inlined(groups[part["$ref"].rsplit("/", 1)[1]], groups), **own} if "$ref" in part else own
