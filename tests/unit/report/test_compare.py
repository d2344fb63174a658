"""Studies side by side, and a study as Markdown."""

import json

import pytest

from tests.report_synthetic import make_results, read, with_oracle_students
from undo.report.compare import compare, panels, write_comparison
from undo.report.markdown import as_markdown, comparison_as_markdown
from undo.report.numbers import percent
from undo.spec.errors import UserError


@pytest.fixture
def studies():
    one, other = make_results(), make_results(methods=("maxent",))
    other["study"] = "other-1b2c"
    other["recipe"]["suppress"]["maxent"]["steps"] = 90
    return [one, other]


def test_every_model_of_every_study_at_the_largest_budget_that_all_have(studies):
    studies[1]["scores"] = [row for row in studies[1]["scores"] if row["budget"] < 150]
    comparison = compare([*map(read, studies)])
    assert comparison.budget == 40
    lines = {line.name: [cell.value for cell in line.cells] for line in comparison.scores.lines}
    assert list(lines) == list(read(studies[0]).by_id)
    scores = read(studies[1]).scores_at("relearn", 40)["fresh-maxent"]
    assert lines["fresh-maxent"][3:] == [
        getattr(scores, f) for f in ("recovery", "relative_robustness", "relative_compute")
    ]
    assert lines["fresh-rmu"][3:] == [None] * 3 and lines["fresh-rmu"][0] is not None


def test_only_the_settings_that_differ_are_named(studies):
    lines = {line.name: [cell.text for cell in line.cells] for line in compare([*map(read, studies)]).differences.lines}
    assert lines == {
        "suppress.maxent.steps": ["30", "90"],
        "suppress.rmu.method.name": ["rmu", "–"],
        "suppress.rmu.steps": ["30", "–"],
        **{f"distil.students.{kind}.teachers": ["['maxent', 'rmu']", "['maxent']"] for kind in range(3)},
    }
    assert compare([read(studies[0]), read(studies[0])]).differences.lines == []
    studies[1]["recipe"]["seeds"] = [1, 2, 3]
    lines = {line.name: [cell.text for cell in line.cells] for line in compare([*map(read, studies)]).differences.lines}
    assert lines["seeds"] == ["[1, 2]", "[1, 2, 3]"]


def test_relearning_and_oracle_matching_stand_side_by_side(studies):
    found = panels(compare([read(with_oracle_students(studies[0])), read(studies[1])]))
    assert list(found["relearning"]) == ["synthetic-0a1b: maxent", "synthetic-0a1b: rmu", "other-1b2c: maxent"]
    assert list(found["matching"]) == ["synthetic-0a1b: Distance to the oracle", "synthetic-0a1b: Relearning"]


def test_nothing_in_common_is_told(studies):
    renamed = json.loads(json.dumps(studies[1]).replace('"relearn"', '"lora"'))
    with pytest.raises(UserError, match="no attack in common"):
        compare([read(studies[0]), read(renamed)])
    studies[1]["scores"] = []
    with pytest.raises(UserError, match="no budget of relearn in common"):
        compare([*map(read, studies)])


def test_the_page_of_several_is_one_file_that_loads_nothing(studies, tmp_path):
    write_comparison(compare([*map(read, studies)]), tmp_path / "c.html")
    html = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "suppress.maxent.steps" in html and "default-src 'none'" in html and len(html) < 6e6


def test_markdown_has_the_scores_and_no_cell_breaks_its_row(studies):
    studies[0]["recipe"]["summary"] = "a|b"
    text = as_markdown(read(studies[0]))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1 and len(rows) == 2 + len(read(studies[0]).by_id)
    score = read(studies[0]).scores_at("relearn", 150)["fresh-maxent"]
    assert percent(score.recovery) in next(line for line in rows if line.startswith("| fresh-maxent |"))
    assert "Read with care" in text
    both = comparison_as_markdown(compare([*map(read, studies)]))
    assert "| suppress.maxent.steps | 30 | 90 |" in both
