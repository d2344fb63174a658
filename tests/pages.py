"""Pages of documentation that tests run: their code blocks, and the plug-ins that these define."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from undo.spec import registry

ROOT = Path(__file__).parents[1]


def page(name: str) -> str:
    """The text of a page."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def block(text: str, language: str) -> str:
    """The page's one block of that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return found


@contextmanager
def registered(kind: str, name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """The plug-in of a source file, registered as if the file lay beside the others of its kind."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    package = importlib.import_module(registry.PACKAGES[kind])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    registry.names.cache_clear(), registry.load.cache_clear()
    try:
        yield registry.load(kind, name)
    finally:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        if hasattr(package, name):
            delattr(package, name)
        registry.names.cache_clear(), registry.load.cache_clear()


def assert_names_exist(text: str, contract: str, folder: str) -> None:
    """The tests, files and folders that a page names are there."""
    tests = (ROOT / "tests" / "contract" / contract).read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)`", text)
    assert named and all(f"def {name}(" in tests for name in named)
    files = re.findall(r"`(\w+\.py)`", text)
    assert files and all((ROOT / "src" / "undo" / folder / name).exists() for name in files)
    for path in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / path).exists()
