"""Benchmarks of an audit and of a study: rows, tables, keys, and refusals before anything is computed."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

import undo
from tests.benchmark_tasks import HEADER, OPTIONS_FORM, WMDP_FORM, questions, write_task
from undo import api
from undo.cli.main import main
from undo.spec.recipe import Recipe
from undo.study.plan import make_plan
from undo.study.results import results_schema

pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def place(tmp_path_factory, trained_folder, corpus) -> Path:
    """A folder with a model, its texts, and two tasks."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(trained_folder, folder / "model")
    for domain in ("forget", "retain"):
        texts = dict.fromkeys([*corpus.texts(domain, "attack"), *corpus.texts(domain, "train")])
        (folder / f"{domain}.txt").write_text("\n".join(texts))
    rows = [{"prompt": f"{n}+1=", "choices": [str(n + 1), str(n), "1"], "answer": 0} for n in range(8)]
    write_task(folder / "tasks", "plus_one", OPTIONS_FORM, rows)
    write_task(folder / "tasks", "words", WMDP_FORM, questions())
    return folder


def audit(place, *arguments: str) -> int:
    """`undo audit` without any attack, in the place."""
    texts = ("--forget", "forget.txt", "--retain", "retain.txt", "--workers", "1")
    with pytest.raises(SystemExit) as ended, pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        main(["audit", "model", *texts, "attacks={}", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def recipe_of(place, **given) -> Recipe:
    return api.AuditRequest(place / "model", place / "forget.txt", place / "retain.txt", **given).recipe()


@pytest.fixture(scope="module")
def audited(place) -> dict:
    asked = ("--benchmark", "plus_one", "--benchmark", "words", "--benchmark-tasks", "tasks", "--benchmark-limit", "6")
    assert audit(place, *asked, "--before", "model") == 0
    return json.loads((place / "audit" / "certificate.json").read_text())


def test_every_given_model_is_asked_every_task(audited, place):
    rows = audited["benchmarks"]
    asked = {(row["model"], row["task"], row["metric"], row["n_items"]) for row in rows}
    assert asked == {(model, task, "acc", 6) for model in ("model", "before") for task in ("plus_one", "words")}
    assert {row["value"] for row in rows if row["task"] == "plus_one"} != {0.0}
    assert str(place) not in json.dumps(audited), "no place of this machine"
    jsonschema.validate(rows, results_schema()["properties"]["benchmarks"])


def test_the_page_and_the_terminal_show_them(audited, place, capsys):
    value = next(row["value"] for row in audited["benchmarks"] if row["task"] == "plus_one")
    page = (place / "audit" / "certificate.html").read_text()
    assert "<h2>Benchmarks</h2>" in page and f'<data value="{value}">' in page
    asked = ("--benchmark", "plus_one", "--benchmark", "words", "--benchmark-tasks", "tasks", "--benchmark-limit", "6")
    stages = {path: path.stat().st_mtime for path in (place / "audit" / "artifacts").iterdir()}
    assert audit(place, *asked, "--before", "model") == 0
    assert {path: path.stat().st_mtime for path in (place / "audit" / "artifacts").iterdir()} == stages
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "plus_one acc" in line)
    assert line.count(f"{100 * value:.1f}\u00a0% ±") == 2, "both models"


def test_without_benchmarks_nothing_changes(audited, place):
    recipe = recipe_of(place)
    assert recipe.benchmarks is None
    certificate = api.run_audit(recipe.model_copy(update={"attacks": {}}), place / "audit", workers=1)
    assert certificate.benchmarks == []
    assert "<h2>Benchmarks</h2>" not in (place / "audit" / "certificate.html").read_text()


def keys(place, folder, **changes) -> tuple[str, set[str]]:
    plan = make_plan(recipe_of(place, benchmarks={"tasks": ["words"], "folder": str(folder), **changes}))
    return plan.study, {id for id in plan.stages if id.startswith("benchmark-")}


def test_a_folder_is_known_by_its_content(place, tmp_path):
    moved = shutil.copytree(place / "tasks", tmp_path / "elsewhere")
    usual = keys(place, place / "tasks")
    assert keys(place, moved) == usual
    (moved / "__pycache__").mkdir()
    (moved / "__pycache__" / "utils.pyc").write_bytes(b"compiled")
    assert keys(place, moved) == usual
    write_task(moved, "words", WMDP_FORM, questions(5))
    changes: tuple[dict, ...] = ({"limit": 3}, {"tasks": ["plus_one"]}, {"batch_rows": 2})
    others = [keys(place, moved), *(keys(place, place / "tasks", **change) for change in changes)]
    assert all(other[0] != usual[0] and not other[1] & usual[1] for other in others)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--benchmark-limit", "5"], "need --benchmark: the name of a task"),
        (["--benchmark", "words", "--benchmark-tasks", "nowhere"], "'nowhere' is no folder"),
        (["--benchmark", "absent", "--benchmark-tasks", "tasks"], "HF_HUB_OFFLINE=0"),
        (
            ["--benchmark", "wmdp_boi", "--benchmark-tasks", "tasks"],
            "no benchmark 'wmdp_boi'; did you mean 'wmdp_bio'?",
        ),
    ],
    ids=["no task", "no folder", "no items", "unknown"],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_computed(place, tmp_path, capsys, arguments, says):
    write_task(place / "tasks", "absent", OPTIONS_FORM | {"dataset_path": "some/absent", "dataset_kwargs": None}, [])
    assert audit(place, *arguments, "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert says in error[-1] and error[-1].startswith("error: ") and "Traceback" not in "".join(error)
    assert not list(tmp_path.rglob("stage.json"))


def test_a_missing_package_is_one_line(place, tmp_path, capsys, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "lm_eval" else find(name, *a))
    assert audit(place, "--benchmark", "wmdp_bio", "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert error == "error: benchmarks need the package 'lm_eval'; install it: pip install 'undo-llm[audit]'\n"
    assert not (tmp_path / "out").exists()


SMALL = {"learning_rate": 1e-3}


def test_a_study_of_questions_has_accuracies_as_curves_and_asks_benchmarks(place, tmp_path):
    """Claim C5 in small: WMDP's form for forget and retain, an attack, and the same questions through lm-eval."""
    asked = {"path": str(place / "tasks" / "words.jsonl"), "header": HEADER}
    texts = {name: {"path": str(place / f"{name}.txt")} for name in ("retain", "forget")}
    given = {f"{name}_questions": asked for name in ("retain", "forget")}
    finetune = {"name": "finetune", "learning_rates": [1e-2], "steps": 2, "batch_rows": 2, "eval_steps": [1, 2]}
    recipe = Recipe.model_validate(
        {
            "name": "c5",
            "summary": "Questions.",
            "seeds": [1],
            "data": {"dataset": {"name": "questions", **texts, **given}, "row_tokens": 32},
            "pretrained": {"path": str(place / "model")},
            "suppress": {"maxent": {"method": "maxent", "steps": 1, "batch_rows": 2, "optim": SMALL}},
            "distil": {
                "batch_rows": 2,
                "optim": SMALL,
                "stop": {"check_every": 1, "max_steps": 1},
                "students": [{"init": "noised", "noise_alpha": [0.25], "teachers": ["maxent"]}],
            },
            "attacks": {"relearn": {"attack": finetune}},
            "benchmarks": {"tasks": ["plus_one"], "folder": str(place / "tasks")},
        }
    )
    study = undo.run(recipe, out=tmp_path, workers=1)
    assert study.failures == {}
    jsonschema.validate(study.results, results_schema())
    assert study.results["metrics"]["forget"]["name"] == "multiple choice, forget test"
    assert [len(curve["points"]) for curve in study.results["curves"]] == [3, 3, 3]
    values = [point[name] for c in study.results["curves"] for point in c["points"] for name in ("forget", "retain")]
    assert [round(18 * value) / 18 for value in values] == pytest.approx(values), "shares of 18 questions"
    assert {row["model"] for row in study.results["benchmarks"]} == {"base", "maxent", "undo-0.25-maxent"}
    assert "plus_one acc" in (study.folder / "report" / "index.html").read_text()
