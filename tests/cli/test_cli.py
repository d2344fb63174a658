"""The command line as a user meets it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes import SOURCES
from tests.report_synthetic import make_results
from undo.cli.list_ import list_kind
from undo.cli.reference import reference
from undo.spec.load import load_recipe
from undo.spec.shipped import GROUPS, shipped_entries
from undo.study.plan import make_plan

ROOT = Path(__file__).resolve().parents[2]


def undo(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "undo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "quickstrat"], "no recipe 'quickstrat'; did you mean 'quickstart'?"),
        (["runn"], "Did you mean 'run'?"),
        (["run", "smoke", "--bogus"], "--bogus"),
        (["run", "smoke", "sed=3"], "override of sed: unknown key 'sed'; did you mean 'seeds'?"),
        (["run", "smoke", "seeds=[1,x]"], "override of seeds.1: Input should be a valid integer"),
        (["run", "smoke", "seeds=[]"], "override of seeds"),
        (["run", "smoke", "seeds=1"], "override of seeds: a list is needed; write [1]"),
        (["run", "smoke", "attacks.relearn.attack.steps=2000"], "is last asked after 10; add 2000 to eval_steps"),
        (["audit", "model", "--forget", "f.txt"], "Missing option '--retain'. (see: undo audit --help)"),
        (["robustify", "mine.yamll"], "no recipe 'mine.yamll'"),
        (
            ["run", "smoke", "distil.stop.max_gap=7"],
            "override of distil.stop.max_gap: Input should be less than or equal to 1",
        ),
        (["run", "smoke", "suppress.maxent.method=maxnt"], "no 'maxnt' among the methods; did you mean 'maxent'?"),
        (["run", "smoke", "suppress.maxent.method.weight=1"], "unknown key 'weight'; did you mean 'retain_weight'?"),
        (["run", "smoke", "model.width=30"], "must be a multiple of 2 x heads"),
        (
            ["run", "smoke", "suppress.maxnet.steps=5"],
            "override of suppress.maxnet: the recipe has none; did you mean 'maxent'?",
        ),
        (["run", "smoke", "attacks.relern.attack.steps=5"], "the recipe has none; did you mean 'relearn'?"),
        (["run", "smoke", "seeds"], "must look like key.path=value"),
        (["run", "quickstart.yml"], "no recipe 'quickstart.yml'; did you mean 'quickstart'?"),
        (["run", "smoke", "--workers", "0"], "--workers"),
        (["list", "method"], "did you mean 'methods'?"),
        (["report", "."], "holds no report/results.json"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, says, tmp_path):
    done = undo(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "robustify"])
def test_a_misspelt_recipe_is_told_the_one_beside_it(tmp_path, command):
    (tmp_path / "mine.yaml").write_text("name: mine")
    done = undo(command, "mine.yml", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: no recipe 'mine.yml'; did you mean 'mine.yaml'? ")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc, where nobody can make a folder")
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    done = undo("run", "smoke", "--out", "/proc/nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: cannot write to /proc/nowhere: No such file")
    assert "Traceback" not in done.stderr


def test_a_wrong_key_in_a_file_names_its_line(tmp_path):
    text = (ROOT / "src/undo/recipes/smoke.yaml").read_text().replace("  base_steps: 60", "  base_stepz: 60")
    (tmp_path / "mine.yaml").write_text(text)
    line = text[: text.index("base_stepz")].count("\n") + 1
    done = undo("plan", "mine.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert (
        f"mine.yaml, line {line}, key 'pretrain.base_stepz': unknown key 'base_stepz'; did you mean 'base_steps'?"
        in done.stderr
    )


def test_a_layer_that_the_model_lacks_is_told_by_name_before_anything_runs(tmp_path):
    done = undo("run", "smoke", "suppress.rmu.method.layers=[5]", "--out", str(tmp_path))
    assert done.returncode == 2 and list(tmp_path.iterdir()) == []
    assert "suppress.rmu.method: no layer 5: this model has layers 0 to 1" in done.stderr


def test_what_only_a_stage_finds_out_is_one_line_with_its_name(tmp_path):
    changes = ["suppress.rmu.method.parameters=[mlp.down_prj]", "pretrain.base_steps=1", "pretrain.oracle_steps=1"]
    done = undo("run", "smoke", *changes, "--out", str(tmp_path))
    assert done.returncode == 2
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: rmu (seed 1): no parameter matches ")


@pytest.mark.parametrize(
    ("text", "says"), [("{bad", "is not valid JSON"), ("{}", "damaged at $: 'study' is a required property")]
)
def test_results_that_are_none_are_refused_in_one_line(text, says, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "results.json").write_text(text)
    done = undo("report", str(tmp_path))
    assert done.returncode == 2 and says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_results_damaged_within_are_refused_where_the_damage_is(tmp_path):
    results = make_results()
    results["models"][1]["retain"] = "much"
    (tmp_path / "results.json").write_text(json.dumps(results))
    done = undo("report", str(tmp_path))
    assert done.returncode == 2
    assert (
        f"{tmp_path / 'results.json'} is damaged at $.models[1].retain: 'much' is not of type 'number'" in done.stderr
    )


def test_help_loads_nothing_that_takes_time():
    run = "import sys; from undo.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code = run + "assert not {'torch', 'transformers', 'numpy', 'pydantic', 'scipy', 'plotly'} & {*sys.modules}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_plan_and_list_and_report_need_no_torch():
    code = (
        "import sys; from undo import api; from undo.cli.list_ import list_kind; import undo.report.page\n"
        "api.plan('smoke'); [list_kind(k) for k in ('recipes', 'methods', 'attacks', 'datasets', 'evals')]\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_list_names_every_recipe_and_method():
    listed = undo("list").stdout.splitlines()
    assert [line.split()[0] for line in listed if line.startswith("  ")] == [entry.name for entry in shipped_entries()]
    assert [line for line in listed if line.endswith(":")] == [f"{group}:" for group in GROUPS]
    assert {line.split()[0] for line in undo("list", "methods").stdout.splitlines()} >= {"graddiff", "maxent", "rmu"}


def test_plan_prints_the_graph_and_computes_nothing(tmp_path):
    done = undo("plan", "quickstart", "--out", str(tmp_path))
    assert done.returncode == 0
    assert re.search(r"1 seed, \d+ stages \(0 done\), at most \d\.\d", done.stdout)
    assert "needs base (seed 1)" in done.stdout and "up to" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_doctor_and_version():
    assert undo("--version").stdout.startswith("undo ")
    assert undo("doctor").returncode == 0


def test_the_list_of_recipes_says_where_those_of_the_records_lie(tmp_path, monkeypatch, capsys):
    last = undo("list", cwd=ROOT).stdout.splitlines()[-1]
    assert re.fullmatch(r"\d+ more .*: undo run records/\w+/recipe.yaml \(see records/README.md\)", last)
    monkeypatch.setattr("undo.spec.shipped.record_recipes", dict)
    list_kind("recipes")
    assert "records/README.md" in capsys.readouterr().out.splitlines()[-1]


def test_doctor_names_what_an_extra_lacks_and_what_it_is_for(monkeypatch, capsys):
    from undo.cli import doctor

    monkeypatch.setattr(doctor, "find_spec", lambda module: None if module == "gradio" else module)
    assert doctor.doctor() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("optional: ")]
    assert lines == [
        "optional: the live page: gradio is missing; install with: pip install -c constraints.txt 'undo-llm[demo]'"
    ]


def test_the_command_reference_is_current():
    assert (ROOT / "docs/cli.md").read_text() == reference(), "run: make docs"


def test_the_readmes_commands_are_real():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^    (?:\$ )?(undo|make) (\S+)(.*)$", readme, re.MULTILINE)
    assert ("make", "quickstart", "") in [(tool, verb, "") for tool, verb, _ in commands]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for tool, verb, rest in commands:
        if tool == "make":
            assert verb in targets
            continue
        assert undo(verb, "--help").returncode == 0
        if verb in {"run", "plan"}:
            recipe, *overrides = [word for word in rest.split("#")[0].split() if not word.startswith("-")]
            load_recipe(ROOT / recipe if "/" in recipe else recipe, [word for word in overrides if "=" in word])


def test_every_record_is_made_by_a_recipe_that_is_there(monkeypatch):
    monkeypatch.chdir(ROOT)
    commands = re.findall(r"^    undo run (\S+)([^#\n]*)", (ROOT / "records/README.md").read_text(), re.MULTILINE)
    for recipe, rest in commands:
        load_recipe(recipe, [word for word in rest.split() if "=" in word])
    kept = {name for pattern in ("results.json", "recipe.yaml") for name in _folders(f"records/*/{pattern}")}
    assert {recipe for recipe, _ in commands} == {SOURCES[name].removeprefix(f"{ROOT}/") for name in kept}


def _folders(pattern: str) -> list[str]:
    return [path.parent.name for path in ROOT.glob(pattern)]


@pytest.mark.parametrize("page", ["README.md", "docs/demo.md", "docs/report.md"])
def test_a_page_names_the_folder_that_the_quickstart_writes(page):
    """A study is named by its stages, so a recipe that changes leaves pages behind."""
    named = set(re.findall(r"quickstart-[0-9a-f]{4}", (ROOT / page).read_text()))
    assert named == {make_plan(load_recipe("quickstart")).study}


def test_make_quickstart_runs_what_the_readme_says():
    makefile = (ROOT / "Makefile").read_text()
    assert "run quickstart" in makefile and "-c constraints.txt" in makefile
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_show_and_markdown_and_side_by_side_without_a_new_run(tmp_path):
    for name, methods in (("one", ("maxent",)), ("other", ("maxent", "rmu"))):
        (tmp_path / name / "report").mkdir(parents=True)
        results = make_results(methods=methods) | {"study": name}
        (tmp_path / name / "report" / "results.json").write_text(json.dumps(results))
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    shown = undo("show", one)
    assert shown.returncode == 0 and "undo-0.6-maxent" in shown.stdout and "▁" in shown.stdout and "█" in shown.stdout
    assert "After 150 steps of “relearn”, forget is at" in shown.stdout and "note: " in shown.stdout
    many = "undo-1-beta1-reinit-of-layers-retain-stream-top1-steps2000-cosine-lr0.006-maxent"
    path = tmp_path / "one" / "report" / "results.json"
    (tmp_path / "results.json").write_text(path.read_text().replace("undo-0.6-maxent", many))
    lines = undo("show", str(tmp_path)).stdout.splitlines()
    assert any("robustness" in line and "relearning" in line for line in lines), "long names push no column out"
    assert any(line.startswith("│ undo-1-beta1") and line.endswith("│") and "▁" in line for line in lines)
    told = undo("report", one, "--format", "md")
    assert told.stdout.startswith("## one\n") and "| fresh-maxent | 2 |" in told.stdout
    both = undo("report", one, other, "--out", str(tmp_path / "both.html"))
    assert both.stdout == f"report: {tmp_path / 'both.html'}\n" and (tmp_path / "both.html").is_file()
    assert "one: recovery" in undo("report", one, other, "--format", "md").stdout
    alone = undo("report", one, "--out", str(tmp_path / "one.html"))
    assert alone.returncode == 2 and "--out is for the page of several studies" in alone.stderr
    nowhere = undo("report", one, "--picture", str(tmp_path / "nowhere" / "x.svg"))
    assert nowhere.returncode == 2 and nowhere.stderr.startswith("error: cannot write ")
    wrong = undo("report", one, other, "--scores", str(tmp_path / "x.csv"))
    assert wrong.returncode == 2 and wrong.stderr == "error: --picture and --scores are those of one study; name one\n"
