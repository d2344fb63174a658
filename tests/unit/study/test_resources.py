"""Memory and disk asked before a study of somebody's own model starts."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from undo.spec.errors import UserError
from undo.stages import attack, distil, import_model, suppress
from undo.study import resources
from undo.study.plan import Stage

WEIGHTS = 10**9
SMALL = {"learning_rate": 1e-3}


@pytest.fixture
def plan():
    """A study of a billion weights with one stage of each kind that trains."""
    given = SimpleNamespace(weights=WEIGHTS, width=2048, layers=16)
    asked = {"seed": 1, "evaluation": "cross_entropy"}
    relearn = {"name": "finetune", "steps": 1, "eval_steps": [1], "batch_rows": 8, "learning_rates": [1e-3]}
    student = {"init": "teacher", "domains": ["retain"], "batch_rows": 16, "stop": {"max_steps": 1}}
    settings = {
        "base": import_model.Settings(fingerprint="x"),
        "maxent": suppress_settings(),
        "student": distil.Settings.model_validate(asked | student | {"optim": SMALL | {"micro_batches": 2}}),
        "relearn": attack.Settings.model_validate(asked | {"attack": relearn, "skill": "forget"}),
    }
    stages = [Stage(label, each, {}) for label, each in settings.items()]
    recipe = SimpleNamespace(data=SimpleNamespace(row_tokens=256))
    return SimpleNamespace(given=given, recipe=recipe, stages={stage.id: stage for stage in stages})


def suppress_settings(**optim) -> suppress.Settings:
    settings = {"seed": 1, "method": "maxent", "steps": 1, "batch_rows": 8, "optim": SMALL | optim}
    return suppress.Settings.model_validate(settings)


def stage(plan, kind):
    return next(stage for stage in plan.stages.values() if stage.kind == kind)


def test_training_holds_model_gradient_moments_and_copies(plan):
    assert resources.stage_bytes(plan, stage(plan, "suppress")) > 20 * WEIGHTS
    needs = [resources.stage_bytes(plan, stage(plan, kind)) for kind in ("attack", "suppress")]
    assert 20 * WEIGHTS < needs[0] < needs[1]
    assert resources.stage_bytes(plan, stage(plan, "import_model")) < resources.MARGIN * 9 * WEIGHTS


def test_parts_and_checkpointing_need_less(plan):
    whole = stage(plan, "suppress")
    parts, again = (
        Stage("maxent", suppress_settings(**optim), {})
        for optim in ({"micro_batches": 4}, {"gradient_checkpointing": True})
    )
    fixed = resources.MARGIN * (resources.PROCESS_BYTES + 20 * WEIGHTS)
    needs = [resources.stage_bytes(plan, of) - fixed for of in (whole, parts, again)]
    assert needs[1] == pytest.approx(needs[0] / 4) and needs[2] < needs[0] / 4


def test_as_many_workers_as_fit_share_the_cores(plan, tmp_path, monkeypatch):
    need = resources.stage_bytes(plan, stage(plan, "suppress"))
    monkeypatch.setattr(resources, "free_memory", lambda: 2.5 * need)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e15))
    assert resources.workers_that_fit(plan, 8, 8, tmp_path) == resources.Workers(2, 4)
    assert resources.workers_that_fit(plan, 1, 8, tmp_path) == resources.Workers(1, 8)


def test_small_models_take_one_thread_each(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "free_memory", lambda: 0.0)
    plan.given.weights = 10**6
    assert resources.workers_that_fit(plan, 8, 8, tmp_path) == resources.Workers(8, 1)


def test_too_small_a_disk_is_refused_before_the_start(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "free_memory", lambda: 1e15)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=11.9e9))
    with pytest.raises(UserError, match=r"3 models take about 12\.0 GB, the disk of .* has 11\.9 GB"):
        resources.workers_that_fit(plan, 1, 1, tmp_path)
    done = tmp_path / "artifacts" / stage(plan, "import_model").id
    done.mkdir(parents=True)
    (done / "manifest.json").touch()
    assert resources.workers_that_fit(plan, 1, 1, tmp_path).number == 1, "what is there needs no room"


def test_a_containers_limit_counts(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert resources._container_room(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert resources._container_room(tmp_path) == float("inf") == resources._container_room(Path("/nowhere"))
