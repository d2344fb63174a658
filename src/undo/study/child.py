"""Python processes of ours. None looks for modules in the current folder: it may be a model's, of anybody's files."""

import os
import sys
from pathlib import Path

import undo


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(usual: dict[str, str]) -> dict[str, str]:
    """The environment of such a process: ours, with `usual` where it says nothing.

    Where we ourselves were found in the current folder alone, the child is told the way.
    """
    home = str(Path(undo.__file__).resolve().parents[1])
    given = usual | dict(os.environ)
    if home in sys.path:
        return given
    return given | {"PYTHONPATH": os.pathsep.join(filter(None, [given.get("PYTHONPATH"), home]))}
