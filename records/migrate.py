"""Brings the records up to today's results.json. Running it again changes nothing.

python records/migrate.py

It takes out settings that are gone and that no record used, renames settings, and gives teachers and students the
settings that they were made with, which later records hold from the start.
"""

import json
from pathlib import Path
from typing import Any

from undo.spec.recipe import Distil, Suppress
from undo.spec.students import students

GONE = {"jsd_teacher_share": None}
"""Setting: the value that says it was not used."""
RENAMED = {"asks": "eval_split", "draw": "data_seed"}
"""Setting: its name today."""


def migrated(results: dict[str, Any]) -> dict[str, Any]:
    """Results as they would be written today."""
    results["recipe"] = _settings(results["recipe"])
    made = _made(results["recipe"])
    for row in results["models"]:
        if row["id"] in made:
            row["settings"] = made[row["id"]]
    return results


def _settings(value: Any) -> Any:
    if isinstance(value, list):
        return [_settings(each) for each in value]
    if not isinstance(value, dict):
        return value
    used = {name: of for name, of in value.items() if name not in GONE or of != GONE[name]}
    return {RENAMED.get(name, name): _settings(of) for name, of in used.items()}


def _made(recipe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of teachers and students, by model."""
    found = {}
    for name, settings in recipe.get("suppress", {}).items():
        found[name] = Suppress.model_validate(settings).model_dump(mode="json", exclude_defaults=True)
    if recipe.get("distil"):
        found |= {made.name: made.settings() for made in students(Distil.model_validate(recipe["distil"]))}
    return found


if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*/results.json")):
        before = path.read_text(encoding="utf-8")
        after = json.dumps(migrated(json.loads(before)), separators=(",", ":"), ensure_ascii=False) + "\n"
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(path)
