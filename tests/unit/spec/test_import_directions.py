"""Imports go one way. A folder imports only from folders to its left."""

import ast
import sys
from pathlib import Path

import pytest

import undo

ROOT = Path(undo.__file__).parent
ORDER = (
    {"spec"},
    {"objectives"},
    {"data"},
    {"models"},  # reads the tokenizer's special tokens from data, which knows no models
    {"methods", "attacks", "evals"},
    {"train"},
    {"stages"},
    {"study"},
    {"given"},
    {"report"},
    {"evidence"},
    {"api"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
RANK = {folder: rank for rank, folders in enumerate(ORDER) for folder in folders}
OUTSIDE = {"recipes"}  # YAML only


def folder_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> list[tuple[int, str]]:
    """(line, folder) of every import from undo in a file, at any depth, those for type checkers too."""
    package = ["undo", *path.relative_to(ROOT).parent.parts]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            modules = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        parts = [module.split(".") for module in modules]
        found += [(node.lineno, names[1]) for names in parts if names[0] == "undo" and len(names) > 1]
    return [(line, folder) for line, folder in found if (ROOT / folder).is_dir() or (ROOT / f"{folder}.py").is_file()]


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def test_every_folder_has_its_place():
    assert {folder_of(path) for path in FILES} - OUTSIDE <= set(RANK), "add the new folder to ORDER"


def test_the_walk_sees_imports_inside_functions_and_relative_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    for folder in ("spec", "train", "models", "data"):
        (tmp_path / folder).mkdir()
    path = tmp_path / "data/file.py"
    path.write_text("import undo.spec.keys\ndef f():\n    from undo import train\n    from ..models import build\n")
    assert imported(path) == [(1, "spec"), (3, "train"), (4, "models")]


@pytest.mark.parametrize("folder", sorted(RANK))
def test_no_arrow_runs_back(folder):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports undo.{other}"
        for path in FILES
        if folder_of(path) == folder
        for line, other in imported(path)
        if other != folder and RANK[other] >= RANK[folder]
    ]
    assert wrong == []


@pytest.mark.parametrize("kind", ["methods", "attacks", "evals", "data/datasets"])
def test_plugins_of_a_kind_do_not_import_each_other(kind):
    """Files that start with _ are no plug-ins: what several of them share may be there."""
    names = {path.stem for path in (ROOT / kind).glob("[!_]*.py")}
    package = f"undo.{kind.replace('/', '.')}"
    for path in (ROOT / kind).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                siblings = names & {alias.name for alias in node.names} if node.module == package else set()
                inside = (node.module or "").removeprefix(f"{package}.").split(".")[0]
                assert not siblings and inside not in names, f"{path.name}:{node.lineno}"
