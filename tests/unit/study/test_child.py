"""Modules that lie in the current folder are not run: it may be somebody's model."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import undo
from undo.study import child

ROOT = Path(__file__).parents[3]


@pytest.fixture
def poisoned(tmp_path):
    """A folder whose modules leave a trace and end the process that imports them."""
    for name in ("torch", "transformers", "safetensors", "json", "difflib", "yaml", "numpy", "peft", "lm_eval"):
        (tmp_path / f"{name}.py").write_text(f"open('ran', 'a').write('{name} ')\nraise SystemExit('poison')\n")
    return tmp_path


def ran(command: list[str], folder: Path, **knobs) -> str:
    """What a command that ends well printed; it has imported nothing of the folder."""
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, **knobs)
    assert done.returncode == 0 and not (folder / "ran").exists(), done.stderr
    return done.stdout


def test_a_worker_imports_nothing_from_the_current_folder(poisoned):
    look = "import sys, undo.models.pretrained, undo.study.worker; print(sys.modules['transformers'].__file__)"
    command = child.command("undo.study.worker")
    ran(command, poisoned, env=child.environment({}))
    where = ran([*command[:2], "-c", look], poisoned, env=child.environment({}))
    assert str(poisoned) not in where


@pytest.mark.parametrize("module", ["undo", "undo.cli.reference"])
def test_the_command_itself_imports_nothing_from_there(poisoned, module):
    environment = os.environ | {"PYTHONPATH": str(Path(undo.__file__).parents[1])}
    ran([sys.executable, "-m", module, *(["list", "methods"] if module == "undo" else [])], poisoned, env=environment)


def test_a_child_finds_us_where_only_the_current_folder_had_us(tmp_path):
    source = Path(undo.__file__).parents[1]
    look = "import os, subprocess\nfrom undo.study import child\n"
    look += "done = subprocess.run(child.command('undo', '--version'), cwd=os.sep, env=child.environment({}))\n"
    look += "raise SystemExit(done.returncode)"
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert ran([sys.executable, "-c", look], source, env=bare).startswith("undo ")


def test_the_users_own_paths_and_settings_are_kept(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"/somewhere{os.pathsep}/else")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    given = child.environment({"HF_HUB_OFFLINE": "1", "OTHER": "1"})
    assert given["PYTHONPATH"].startswith(f"/somewhere{os.pathsep}/else")
    assert (given["HF_HUB_OFFLINE"], given["OTHER"]) == ("0", "1")


def test_no_process_is_started_in_another_way():
    """`sys.executable` is for `child.command` alone."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    users = {
        path.name
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.executable"
    }
    assert users == {"child.py"}
