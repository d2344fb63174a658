"""Recipes from YAML: shipped names or paths, overrides, and errors that name the key and the line."""

import difflib
import json
import os.path
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from undo.spec.base import nearest
from undo.spec.errors import UserError
from undo.spec.recipe import Recipe
from undo.spec.shipped import GROUPS, SHIPPED, record_recipes, shipped_recipes


class _Loader(yaml.SafeLoader):
    """YAML without a key that stands twice in one mapping, of which a loader would take the last in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: list[Any] = []
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key '{key.value}' stands here a second time"
                raise yaml.MarkedYAMLError(None, None, problem, key.start_mark)
            seen.append(key.value)
        return node


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A validated recipe from a shipped name or a path, with `key.path=value` overrides (values are YAML).

    Raises UserError with one line that says what is wrong, where, and what to do.
    """
    where, node, content = _content(str(source), ())
    return build_recipe(content, overrides, where, node)


def build_recipe(
    content: dict[str, Any], overrides: Sequence[str], where: str, node: yaml.Node | None = None
) -> Recipe:
    """A validated recipe from its settings, which the overrides change in place; `where` says whose settings they are.

    Raises UserError like `load_recipe`.
    """
    if isinstance(overrides, str):
        raise UserError(f"overrides must be a list of texts such as ['seeds=[1,2]'], not the text '{overrides}'")
    misspelt: dict[tuple[str, ...], str] = {}
    before = _methods(content)
    overridden = [_apply(content, override, misspelt) for override in overrides]
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        at = tuple(str(part) for part in error.errors()[0]["loc"])
        for path, hint in misspelt.items():
            if at[: len(path)] == path:
                raise UserError(f"override of {'.'.join(path)}: the recipe has none; {hint}") from None
        raise UserError(_explain(error, where, node, overridden)) from None
    return Recipe.model_validate(content) if _rename_teachers(content, before) else recipe


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors."""
    whole = Recipe.model_json_schema()
    about = "A recipe, by name or by a path from here, whose settings hold where this one has none; null removes one."
    for_list = "What a shipped recipe is for: the heading under which `undo list recipes` prints it."
    whole["properties"]["group"] = {"enum": list(GROUPS), "description": for_list}
    over = dict.fromkeys(whole["properties"], True) | {"extends": {"type": "string", "description": about}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": whole.pop("$defs"),
        "if": {"required": ["extends"]},
        "then": {"required": ["name", "summary"], "properties": over, "additionalProperties": False},
        "else": whole,
    }


def schema_text() -> str:
    """The schema as it is shipped beside the recipes."""
    return json.dumps(recipe_schema(), indent=1) + "\n"


def _content(source: str, extending: tuple[str, ...]) -> tuple[str, yaml.Node | None, dict[str, Any]]:
    """(where it stands, its nodes, its settings on top of those of the recipe that it extends)."""
    text, where = _read(source)
    try:
        node, content = yaml.compose(text, _Loader), yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{where}{_yaml_problem(error, text)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{where} is no recipe: it must be a YAML mapping with a 'name' (undo list recipes)")
    content.pop("group", None)  # a heading of `undo list recipes`, and no setting
    if (parent := content.pop("extends", None)) is not None:
        parent = _beside(str(parent), source)
        if parent in extending:
            raise UserError(f"{where}: the recipes {' and '.join(extending)} extend each other")
        try:
            content = _merged(_content(parent, (*extending, parent))[2], content)
        except UserError as error:
            raise UserError(f"{where} extends another recipe: {error}") from None
    return where, node, content


def _beside(parent: str, source: str) -> str:
    """A shipped recipe's name, or a path as seen from the recipe that names it."""
    if parent in shipped_recipes() or not _is_path(parent):
        return parent
    return os.path.normpath(Path(source).parent / parent)


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key, everything else is replaced, and a null takes a key away."""
    both = dict(under)
    for key, value in over.items():
        if value is None and key in under:
            del both[key]
        else:
            old = both.get(key)
            both[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def _is_path(source: str) -> bool:
    """Whether it looks like one, and not like a recipe's name."""
    return Path(source).suffix in {".yaml", ".yml"} or len(Path(source).parts) > 1


def _read(source: str) -> tuple[str, str]:
    if source in shipped_recipes():
        return (SHIPPED / f"{source}.yaml").read_text(encoding="utf-8"), f"recipe '{source}'"
    path = Path(source)
    if not _is_path(source) or not path.exists():
        raise UserError(f"no recipe '{source}'; {_instead(source)} (undo list recipes)")
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"cannot read the recipe {path}: {reason}") from None


def _instead(source: str) -> str:
    """The recipe of that name beside its record, or else the nearest name or path."""
    if _is_path(source):
        return nearest(source, [str(found) for found in Path(source).parent.glob("*.y*ml")] + shipped_recipes())
    recorded = record_recipes()
    if source in recorded:
        return f"it lies beside its record: undo run {recorded[source]}"
    near = difflib.get_close_matches(source, [*shipped_recipes(), *recorded], n=1, cutoff=0.5)
    if near and near[0] in recorded:
        return f"did you mean '{recorded[near[0]]}'?"
    return nearest(source, shipped_recipes())


def _yaml_problem(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text[: error.position].count("\n") + 1
        return f":{line} is not valid YAML: {error.reason}"
    mark = getattr(error, "problem_mark", None)
    return f"{f':{mark.line + 1}' if mark else ''} is not valid YAML: {getattr(error, 'problem', None) or error}"


def _apply(content: dict[str, Any], override: str, misspelt: dict[tuple[str, ...], str]) -> tuple[str, ...]:
    """Sets one dotted key in place and returns its path; notes groups that it makes beside one of nearly that name."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"override '{override}' must look like key.path=value")
    path = tuple(key.split("."))
    place: Any = content
    for depth, part in enumerate(path[:-1]):
        if isinstance(place.get(part), str):  # a plug-in given by name alone can still have its knobs overridden
            place[part] = {"name": place[part]}
        if depth and part not in place and difflib.get_close_matches(part, list(place), cutoff=0.6):
            misspelt[path[: depth + 1]] = nearest(part, list(place))
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise UserError(f"override '{override}': '{'.'.join(path[: depth + 1])}' holds no keys")
    try:
        place[path[-1]] = yaml.load(_number(value), _Loader)
    except yaml.YAMLError:
        raise UserError(f"override '{override}': the value is not valid YAML") from None
    return path


def _methods(content: dict[str, Any]) -> dict[str, Any]:
    """The name of each teacher's method, as far as the settings, not yet validated, have one."""
    suppress = content.get("suppress")
    teachers = suppress.items() if isinstance(suppress, dict) else ()
    methods = {name: of.get("method") for name, of in teachers if isinstance(of, dict)}
    return {name: method.get("name") if isinstance(method, dict) else method for name, method in methods.items()}


def _rename_teachers(content: dict[str, Any], before: dict[str, Any]) -> bool:
    """Calls teachers that are called after their method after the new one where it was overridden; whether it did.

    The settings are valid. A name that another teacher has is left.
    """
    after = _methods(content)
    new = {name: after[name] for name in after if before.get(name) == name != after[name] not in after}
    if new:
        content["suppress"] = {new.get(name, name): of for name, of in content["suppress"].items()}
        for student in (content.get("distil") or {}).get("students", ()):
            for field in {"teachers", "with_teachers"}.intersection(student):
                student[field] = [new.get(name, name) for name in student[field]]
    return bool(new)


def _number(text: str) -> str:
    """YAML 1.1 reads 1e-3 as text; people mean the number."""
    try:
        return repr(float(text)) if "e" in text.lower() else text
    except ValueError:
        return text


def _explain(error: ValidationError, where: str, node: yaml.Node | None, overridden: list[tuple[str, ...]]) -> str:
    first = error.errors()[0]
    location = tuple(str(part) for part in first["loc"])
    inside = first.get("ctx", {}).get("key")  # what lies below the group that refused
    path = (*location, *str(inside).split(".")) if inside is not None else location
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "tuple_type" and isinstance(first["input"], int | float | str):
        message = f"a list is needed; write [{first['input']}]"
    given = (
        ""
        if first["type"] in {"missing", "unknown_key", "reference", "plugin", "value_error"}
        else f", got {first['input']!r}"
    )
    if any(path[: len(changed)] == changed or changed[: len(path)] == path for changed in overridden):
        place = f"override of {'.'.join(path)}"
    else:
        line = _line(node, path)
        place = f"{where}{f', line {line}' if line else ''}, key '{'.'.join(path) or '(top)'}'"
    return f"{place}: {message}{given}{more}"


def _line(node: yaml.Node | None, path: tuple[str, ...]) -> int | None:
    """The line (from 1) of the deepest part of the path that stands in the file."""
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if part not in pairs:
                break
            key, node = pairs[part]
            line = _from_one(key)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = _from_one(node)
        else:
            break
    return line


def _from_one(node: yaml.Node | None) -> int | None:
    return node.start_mark.line + 1 if node is not None and node.start_mark is not None else None


if __name__ == "__main__":
    print(schema_text(), end="")
