"""A study small enough to kill and run again."""

import subprocess
import sys
from pathlib import Path

import pytest

TINY = [
    "suppress={maxent: {method: maxent, steps: 4, batch_rows: 4, optim: {learning_rate: 1.0e-3}}}",
    "distil.students=[{init: noised, noise_alpha: [0.5], teachers: [maxent]}]",
    "distil.stop.max_gap=0",  # the student runs to its last step, so that there is something to interrupt
    "attacks.relearn.skills=[forget]",
    "attacks.relearn.attack.learning_rates=[0.003]",
]


def command(out: Path, *more: str, workers: int = 2) -> list[str]:
    """`undo run` of the tiny study."""
    return [sys.executable, "-m", "undo", "run", "smoke", *TINY, *more, "--out", str(out), "--workers", str(workers)]


@pytest.fixture
def run():
    """Runs a tiny study to its end and returns the finished process."""

    def run(out: Path, *more: str, workers: int = 2) -> subprocess.CompletedProcess:
        return subprocess.run(command(out, *more, workers=workers), capture_output=True, text=True, timeout=200)

    return run
