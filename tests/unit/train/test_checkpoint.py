"""A kill at any moment leaves the old checkpoint or the new one."""

import contextlib
import shutil
from pathlib import Path

import pytest
import torch

from undo.spec.recipe import Optim
from undo.train import Checkpoints, FitState, Ledger
from undo.train.optim import make_optimizer


class Killed(Exception):
    """Stands for a kill in the middle of a save."""


def tiny(seed: int):
    """A model with moments, one step after its start."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    optimizer = make_optimizer(model.parameters(), Optim(learning_rate=0.1))
    model(torch.randn(4, 3)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def state(step: int) -> FitState:
    return FitState(
        step=step,
        ledger=Ledger(tokens=step, wall_s=0.1),
        metrics=[{"step": step, "loss": 1 / 3}],
        evals=[{"step": step, "retain": 0.1}],
    )


def loaded(folder: Path):
    model, optimizer = tiny(seed=99)
    return model, optimizer, Checkpoints(folder / "checkpoint", 0).load(model, optimizer)


@pytest.fixture
def saved(tmp_path):
    model, optimizer = tiny(seed=1)
    Checkpoints(tmp_path / "checkpoint", 0).save(model, optimizer, state(3))
    return tmp_path, model, optimizer


def test_weights_moments_and_state_come_back_exactly(saved):
    folder, model, optimizer = saved
    again, again_optimizer, found = loaded(folder)
    assert found == state(3) and isinstance(found.ledger, Ledger)
    assert all(torch.equal(parameter, again.get_parameter(name)) for name, parameter in model.named_parameters())
    slots, again_slots = optimizer.state_dict()["state"], again_optimizer.state_dict()["state"]
    assert slots.keys() == again_slots.keys() and len(slots) == 4
    for index, values in slots.items():
        assert values.keys() == again_slots[index].keys() >= {"exp_avg", "exp_avg_sq", "step"}
        assert all(torch.equal(value, again_slots[index][name]) for name, value in values.items())


def test_without_a_checkpoint_a_fit_begins(tmp_path):
    assert loaded(tmp_path)[2] == FitState()


def test_the_newest_of_two_saves_counts_and_nothing_else_is_left(saved):
    folder, *_ = saved
    Checkpoints(folder / "checkpoint", 0).save(*tiny(seed=2), state(4))
    assert loaded(folder)[2].step == 4
    assert [path.name for path in folder.iterdir()] == ["checkpoint"]


def test_a_kill_between_the_two_renames_leaves_the_previous_one(saved):
    folder, model, _ = saved
    (folder / "checkpoint").rename(folder / "checkpoint-previous")
    again, _, found = loaded(folder)
    assert found.step == 3
    assert all(torch.equal(parameter, again.get_parameter(name)) for name, parameter in model.named_parameters())
    Checkpoints(folder / "checkpoint", 0).save(*tiny(seed=2), state(4))
    assert loaded(folder)[2].step == 4


def test_half_a_write_is_ignored(saved):
    folder, *_ = saved
    (folder / "checkpoint-writing").mkdir()
    (folder / "checkpoint-writing/state.safetensors").write_bytes(b"half")
    assert loaded(folder)[2].step == 3


@pytest.mark.parametrize("operation", range(7))
@pytest.mark.parametrize("start", ["checkpoint", "checkpoint-previous"])
def test_a_kill_before_any_file_operation_of_a_save_loses_no_older_checkpoint(saved, monkeypatch, start, operation):
    """`start: checkpoint-previous` is a fit that was already killed once, between the two renames."""
    folder, *_ = saved
    if start == "checkpoint-previous":
        (folder / "checkpoint").rename(folder / start)
    done = []

    def killable(original):
        def call(*arguments, **keywords):
            if len(done) == operation:
                raise Killed
            done.append(original)
            return original(*arguments, **keywords)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((shutil, "rmtree"), (Path, "mkdir"), (Path, "rename"), (Path, "write_text")):
            patch.setattr(owner, name, killable(getattr(owner, name)))
        with contextlib.suppress(Killed):
            Checkpoints(folder / "checkpoint", 0).save(*tiny(seed=2), state(4))
    assert loaded(folder)[2].step in (3, 4)


def test_a_full_disk_leaves_the_old_checkpoint(saved, monkeypatch):
    folder, *_ = saved

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("undo.train.checkpoint.save_file", full)
        with pytest.raises(OSError, match="No space left"):
            Checkpoints(folder / "checkpoint", 0).save(*tiny(seed=2), state(4))
    assert loaded(folder)[2].step == 3


def test_a_cleared_checkpoint_is_gone_with_its_leftovers(saved):
    folder, *_ = saved
    for name in ("checkpoint-previous", "checkpoint-writing"):
        (folder / name).mkdir()
    (folder / "model").mkdir()
    Checkpoints(folder / "checkpoint", 0).clear()
    assert [path.name for path in folder.iterdir()] == ["model"]


def test_a_checkpoint_is_due_by_the_clock(saved, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("undo.train.checkpoint.time.monotonic", lambda: clock[0])
    checkpoints = Checkpoints(saved[0] / "checkpoint", 15)
    assert not checkpoints.due()
    clock[0] += 15
    assert checkpoints.due()
    checkpoints.save(*tiny(seed=2), state(4))
    assert not checkpoints.due()


def test_a_checkpoint_that_takes_long_is_seldom_due(saved, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("undo.train.checkpoint.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("undo.train.checkpoint.save_file", lambda *_: clock.append(clock.pop() + 10))
    checkpoints = Checkpoints(saved[0] / "checkpoint", 15)
    checkpoints.save(*tiny(seed=2), state(4))
    clock[0] += 199
    assert not checkpoints.due()
    clock[0] += 1
    assert checkpoints.due()


def test_no_checkpoint_holds_a_pickle(saved):
    assert sorted(path.name for path in (saved[0] / "checkpoint").iterdir()) == ["state.json", "state.safetensors"]
