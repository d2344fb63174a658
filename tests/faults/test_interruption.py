"""Ctrl-C and kill -9 lose at most the work since the last checkpoint, and change no number."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import command

EVERY_STEP = "checkpoint_seconds=0"
LONGER = "pretrain.base_steps=150"  # long enough to be hit in its middle


def numbers(out: Path) -> dict:
    """What a study found, without what a clock says."""
    (path,) = out.glob("smoke-*/report/results.json")
    results = json.loads(path.read_text())
    models = [{name: value for name, value in row.items() if name != "wall_s"} for row in results["models"]]
    return {"models": models, "curves": results["curves"], "scores": results["scores"]}


def weights(out: Path) -> dict[str, bytes]:
    return {path.parent.parent.name: path.read_bytes() for path in out.glob("artifacts/*/model/model.safetensors")}


def stop_at_checkpoint(out: Path, how: signal.Signals) -> subprocess.Popen:
    """Starts a study and sends the signal while pretraining is between two checkpoints."""
    process = subprocess.Popen(
        command(out, EVERY_STEP, LONGER),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job's children ignore Ctrl-C
    )
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if any(step(path) > 20 for path in out.glob("artifacts/pretrain-*/checkpoint/state.json")):
            process.send_signal(how)
            return process
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written in time")


def step(path: Path) -> int:
    try:
        return json.loads(path.read_text())["step"]
    except (OSError, ValueError):
        return 0  # just being exchanged


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(out, LONGER, workers=1), check=True, capture_output=True, timeout=200)
    return out


def test_a_killed_study_goes_on_to_the_same_numbers(tmp_path, undisturbed, run):
    process = stop_at_checkpoint(tmp_path, signal.SIGKILL)
    process.communicate(timeout=30)
    done = run(tmp_path, LONGER)
    assert done.returncode == 0, done.stderr
    assert numbers(tmp_path) == numbers(undisturbed)
    assert weights(tmp_path) == weights(undisturbed)


def test_ctrl_c_says_how_to_go_on_and_leaves_no_worker(tmp_path):
    process = stop_at_checkpoint(tmp_path, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "To go on: undo run smoke" in stderr
    assert "Traceback" not in stderr
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("artifacts/*/checkpoint/state.json")}
    time.sleep(0.5)
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_two_runs_do_not_share_a_folder(tmp_path, run):
    first = subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        while not (tmp_path / "artifacts").exists():
            time.sleep(0.02)
        time.sleep(0.2)
        second = run(tmp_path)
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert "another undo run is using" in second.stderr
