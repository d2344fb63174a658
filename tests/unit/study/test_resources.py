"""Memory and disk asked before a study of somebody's own model starts."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from undo.spec.errors import UserError
from undo.study import resources
from undo.study.plan import Origin, Stage

WEIGHTS = 10**9


@pytest.fixture
def plan(tmp_path):
    """A study of a billion weights with one stage of each kind that trains."""
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16})
    )
    origin, attack = Origin(tmp_path, "x", WEIGHTS), {"attack": {"batch_rows": 8}}
    stages = [
        Stage("adopt", "base", {}, {}),
        Stage("suppress", "maxent", {"method": {}, "batch_rows": 8, "optim": {}}, {}),
        Stage("distil", "student", {"batch_rows": 16, "optim": {"micro_batches": 2}}, {}),
        Stage("attack", "relearn", attack, {}),
    ]
    recipe = SimpleNamespace(data=SimpleNamespace(row_tokens=256))
    return SimpleNamespace(origin=origin, recipe=recipe, stages={stage.id: stage for stage in stages})


def stage(plan, kind):
    return next(stage for stage in plan.stages.values() if stage.kind == kind)


def test_training_holds_model_gradient_moments_and_copies(plan):
    assert resources.stage_bytes(plan, stage(plan, "suppress")) > 20 * WEIGHTS
    needs = [resources.stage_bytes(plan, stage(plan, kind)) for kind in ("attack", "suppress")]
    assert 20 * WEIGHTS < needs[0] < needs[1]
    assert resources.stage_bytes(plan, stage(plan, "adopt")) < resources.MARGIN * 9 * WEIGHTS


def test_parts_and_checkpointing_need_less(plan):
    whole = stage(plan, "suppress")
    parts, again = (
        Stage("suppress", "maxent", whole.settings | {"optim": optim}, {})
        for optim in ({"micro_batches": 4}, {"gradient_checkpointing": True})
    )
    fixed = resources.MARGIN * (resources.PROCESS_BYTES + 20 * WEIGHTS)
    needs = [resources.stage_bytes(plan, of) - fixed for of in (whole, parts, again)]
    assert needs[1] == pytest.approx(needs[0] / 4) and needs[2] < needs[0] / 4


def test_as_many_workers_as_fit_share_the_cores(plan, tmp_path, monkeypatch):
    need = resources.stage_bytes(plan, stage(plan, "suppress"))
    monkeypatch.setattr(resources, "free_memory", lambda: 2.5 * need)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e15))
    assert resources.crew_that_fits(plan, 8, 8, tmp_path) == resources.Crew(2, 4)
    assert resources.crew_that_fits(plan, 1, 8, tmp_path) == resources.Crew(1, 8)


def test_small_models_take_one_thread_each(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "free_memory", lambda: 0.0)
    plan.origin = plan.origin._replace(weights=10**6)
    assert resources.crew_that_fits(plan, 8, 8, tmp_path) == resources.Crew(8, 1)


def test_too_small_a_disk_is_refused_before_the_start(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "free_memory", lambda: 1e15)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=11.9e9))
    with pytest.raises(UserError, match=r"3 models take about 12\.0 GB, the disk of .* has 11\.9 GB"):
        resources.crew_that_fits(plan, 1, 1, tmp_path)
    done = tmp_path / "artifacts" / stage(plan, "adopt").id
    done.mkdir(parents=True)
    (done / "manifest.json").touch()
    assert resources.crew_that_fits(plan, 1, 1, tmp_path).workers == 1, "what is there needs no room"


def test_a_containers_limit_counts(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert resources._container_room(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert resources._container_room(tmp_path) == float("inf") == resources._container_room(Path("/nowhere"))
