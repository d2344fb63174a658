"""What goes wrong is one clear line, the exit code of DESIGN, and nothing lost."""

import errno
import json
import os
import shutil
import subprocess

import pytest

from undo.cli.main import main
from undo.study import worker


def test_a_diverging_stage_names_step_and_rate_and_its_siblings_go_on(tmp_path, run):
    bad = "suppress.graddiff={method: graddiff, steps: 5, batch_rows: 4, optim: {learning_rate: 1.0e+30}}"
    done = run(tmp_path, bad)
    assert done.returncode == 1
    assert "failed: graddiff (seed 1): gradient is not finite at step 2 (learning rate 1e+30)" in done.stderr
    assert "Traceback" not in done.stderr
    (path,) = tmp_path.glob("smoke-*/report/results.json")
    results = json.loads(path.read_text())
    assert {row["id"] for row in results["models"]} == {"base", "oracle", "maxent", "undo-0.5-maxent"}
    assert results["failures"][0]["label"] == "graddiff (seed 1)"


def test_a_corrupted_artifact_is_named_and_computed_again(tmp_path, run):
    assert run(tmp_path).returncode == 0
    (path,) = tmp_path.glob("smoke-*/report/results.json")
    before = json.loads(path.read_text())["models"]
    (model,) = tmp_path.glob("artifacts/suppress-*/model/model.safetensors")
    model.write_bytes(model.read_bytes()[:-1] + b"\x00")
    assert main_of("doctor", path.parents[1]) == 1
    again = run(tmp_path)
    assert again.returncode == 0
    assert (
        f"artifact {model.parent.parent.name} (maxent (seed 1)) is corrupted: model/model.safetensors" in again.stderr
    )
    assert "1 stages computed" in again.stdout
    after = json.loads(path.read_text())["models"]
    assert [row["forget"] for row in after] == [row["forget"] for row in before]
    assert main_of("doctor", path.parents[1]) == 0


def main_of(*arguments: object) -> object:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_an_output_folder_that_is_a_file(tmp_path, run):
    place = tmp_path / "taken"
    place.write_text("")
    done = run(place)
    assert done.returncode == 2
    assert "cannot write to" in done.stderr and "--out" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; the file-in-the-way test covers the message")
def test_an_output_folder_without_permission(tmp_path, run):
    tmp_path.chmod(0o500)
    done = run(tmp_path / "out")
    assert done.returncode == 2 and "Permission denied" in done.stderr


def test_a_full_disk_in_a_stage_is_the_users_to_mend(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(worker, "execute", full)
    message = worker._run({}, None)
    assert message["event"] == "refused" and "disk is full" in message["message"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 kB, where the machine lets us mount one."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", tmp_path], capture_output=True)
    if made.returncode != 0:
        pytest.skip("this machine does not let us mount a small file system")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_full_disk_for_real(small_disk, run):
    done = run(small_disk)
    assert done.returncode == 2, done.stderr
    assert "full" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
