"""docs/protocol.md names what is there: every method, recipes, tests, stages."""

import re

import pytest

from tests.pages import ROOT, page
from tests.recipes import FILES, SOURCES
from undo.spec.load import load_recipe
from undo.spec.registry import names
from undo.stages import kinds

PAGE = page("protocol.md")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_method_that_a_study_uses_is_in_the_table():
    table = set(re.findall(r"^\| `(\w+)` \|", section("Methods"), flags=re.MULTILINE))
    used = {teacher.method.name for recipe in SOURCES.values() for teacher in load_recipe(recipe).suppress.values()}
    assert len(used) > 10 and used <= table <= set(names("methods"))


def test_every_test_that_it_names_exists():
    found = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(found) > 30
    for path, name in found:
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_every_pitfall_has_a_test():
    rows = [
        line for line in section("Pitfalls of public code, and the test that would notice").splitlines()[3:] if line
    ]
    assert len(rows) == 18 and all("::test_" in row for row in rows)


def test_its_stages_are_stages():
    rows = [line for line in section("Models").splitlines() if line.startswith("| ")]
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row.rsplit("|", 2)[1])} < set(kinds())


def test_its_controls_are_recipes():
    rows = [line.rsplit("|", 2)[1] for line in section("Controls").splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 13
    for row in rows:
        named = re.findall(r"`(\w+)`", row)
        assert named and set(named) <= FILES.keys()


@pytest.mark.parametrize(
    ("recipe", "students"),
    [
        ("arithmetic", {"fresh-maxent", "base_init-maxent"}),
        ("arithmetic_controls", {"fresh-base", "undo-0.6-steps0-maxent", "teacher-steps300-maxent"}),
        (
            "arithmetic_controls",
            {"fresh-filter0.5-maxent", "fresh-filter0.5-steps1200-maxent", "fresh-steps1200-maxent"},
        ),
        ("arithmetic_controls", {"fresh-retain-stream-maxent", "undo-0-from-base-steps1200-oracle"}),
        ("language_controls", {"base_init-maxent", "fresh-base", "undo-0.6-steps0-maxent", "teacher-steps150-maxent"}),
        (
            "language_plasticity",
            {"undo-0-from-base-steps600-oracle", "fresh-retain-stream-top8-steps500-cosine-maxent"},
        ),
        (
            "arithmetic_half",
            {
                "fresh-retain-stream-top1-steps2000-cosine-lr0.006-maxent",
                "fresh-retain-stream-filter1-steps2000-cosine-lr0.006-maxent",
                "fresh-retain-stream-text0.75-top1-steps2000-cosine-lr0.006-maxent",
                "fresh-retain-stream-text0.5-top1-steps2000-cosine-lr0.006-base",
            },
        ),
        ("knowledge_controls", {"base_init-steps2400-maxent", "fresh-steps2400-base", "fresh-steps2400-oracle"}),
        (
            "knowledge_controls",
            {"undo-0.6-steps0-maxent", "teacher-steps300-maxent", "undo-1-beta1-reinit-steps2400-maxent"},
        ),
        ("knowledge_controls", {"fresh-retain-stream-text0.5-steps2400-maxent"}),
        (
            "arithmetic_labels",
            {"fresh-maxent-0.1", "fresh-filter0.5-steps2400-maxent-0.1", "fresh-filter0.5-maxent-wrong"},
        ),
        ("arithmetic_forget_labels", {"fresh-maxent-0.1", "fresh-maxent"}),
        ("arithmetic_plasticity", {"fresh-temperature2-maxent", "fresh-top8-maxent"}),
        ("arithmetic_teachers", {"fresh-with-rmu-maxent"}),
        (
            "language_text",
            {
                "fresh-retain-stream-text0.5-top128-steps500-cosine-maxent",
                "fresh-retain-stream-top128-steps500-cosine-maxent",
            },
        ),
    ],
)
def test_the_controls_are_in_their_recipes(recipe, students):
    from undo.study.plan import make_plan

    assert students <= {model.id for model in make_plan(load_recipe(SOURCES[recipe])).models}


def test_overlap_is_graded():
    arithmetic, concept = (load_recipe(SOURCES[f"{name}_overlap"]).data.dataset for name in ("arithmetic", "concept"))
    assert arithmetic.kept_operation == "mul" and concept.overlap == 0.5
