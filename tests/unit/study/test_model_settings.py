"""Rows of results.json say how their models were made."""

import importlib.util
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from undo.spec.load import load_recipe
from undo.study.plan import make_plan
from undo.study.results import results_schema

RECORDS = Path(__file__).parents[3] / "records"


def test_students_and_teachers_say_what_differs_from_the_defaults():
    students = "[{init: fresh, teachers: [maxent], stream: retain, steps: 40, text_share: 0.5}]"
    plan = make_plan(load_recipe("smoke", [f"distil.students={students}", "suppress.maxent.label_share=0.5"]))
    found = {node.id: node.settings for node in plan.models}
    assert found["base"] is None and found["oracle"] is None
    assert found["maxent"]["method"]["name"] == "maxent" and found["maxent"]["label_share"] == 0.5
    assert "label_precision" not in found["maxent"]
    student = {"init": "fresh", "teachers": ["maxent"], "stream": "retain", "steps": 40, "text_share": 0.5}
    assert found["fresh-retain-stream-text0.5-steps40-maxent"] == student


@pytest.fixture(scope="module")
def migrate():
    spec = importlib.util.spec_from_file_location("migrate", RECORDS / "migrate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("record", sorted(path.parent.name for path in RECORDS.glob("*/results.json")))
def test_records_are_migrated(record, migrate):
    """Every model that was made of another one says how, and the schema allows it."""
    text = (RECORDS / record / "results.json").read_text(encoding="utf-8")
    results = json.loads(text)
    assert {row["role"] for row in results["models"] if "settings" not in row} <= {"base", "oracle"}
    assert Draft202012Validator(results_schema()).is_valid(results)
    assert migrate.migrated(json.loads(text)) == results, "run: python records/migrate.py"
