"""The recipes of this project: shipped ones by name, those beside their records by path."""

from tests.pages import ROOT
from undo.spec.shipped import shipped_recipes

RECORDED = {path.parent.name: path for path in sorted(ROOT.glob("records/*/recipe.yaml"))}
FILES = {name: ROOT / f"src/undo/recipes/{name}.yaml" for name in shipped_recipes()} | RECORDED
"""Name -> file of every recipe."""
SOURCES = {name: name for name in shipped_recipes()} | {name: str(path) for name, path in RECORDED.items()}
"""Name -> what `undo run` takes."""
