"""The card of a model that was made to forget: what it says of how the model was made."""

import pytest

from tests.report_synthetic import make_results, read, with_students
from undo.models.export import Exported
from undo.report.card import _facts


@pytest.mark.parametrize(("student", "rows"), [("fresh-maxent", 32), ("fresh-rows6-maxent", 6)])
def test_the_rows_of_a_step_are_the_students_own_where_it_has_some(student, rows):
    results = with_students(make_results(), {"init": "fresh", "teachers": ["maxent"], "batch_rows": 6})
    results["recipe"]["distil"]["batch_rows"] = 32
    results["recipe"]["suppress"]["maxent"]["batch_rows"] = 8
    results["recipe"]["data"]["row_tokens"] = 64
    for row in results["models"]:
        row["id"] = student if row["id"] == "fresh-maxent" else row["id"]
    found = read(results)
    facts = dict(_facts(found, found.first[student], Exported("float32", ("another one",))))
    assert facts["distillation"].startswith(f"400 steps of {rows} rows,")
