"""Packages whose names load on first use, so that planning, reports and help never import torch."""

import importlib
from collections.abc import Callable
from typing import Any


def lazy(package: str, **modules: str) -> Callable[[str], Any]:
    """A module-level `__getattr__` for a package: each keyword is a module, its value the names it defines."""
    where = {name: module for module, names in modules.items() for name in names.split()}
    assert not where.keys() & modules.keys(), "an imported module would hide the name it shares"

    def __getattr__(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{where[name]}"), name)

    return __getattr__
