"""One smoke study for every test that reads a finished one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest


class Finished(NamedTuple):
    """A study that ran as a user runs it."""

    out: Path
    folder: Path
    results: dict
    stdout: str


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Finished:
    """`undo run smoke` in a fresh folder."""
    out = tmp_path_factory.mktemp("smoke")
    command = [sys.executable, "-m", "undo", "run", "smoke", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    (folder,) = out.glob("smoke-*")
    return Finished(out, folder, json.loads((folder / "report" / "results.json").read_text()), done.stdout)
