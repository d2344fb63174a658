"""docs/add-a-method.md is run: its file is put beside the others, its recipe is read, its tests exist."""

import copy
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.pages import ROOT, assert_names_exist, block, page, registered
from undo import data, train
from undo.methods import Memo
from undo.models import freeze
from undo.spec import registry
from undo.spec.load import load_recipe
from undo.spec.recipe import Optim, Suppress

PAGE = page("add-a-method.md")


@pytest.fixture
def maxent_kl(tmp_path, monkeypatch):
    """The page's method, registered as if its file lay in undo/methods."""
    with registered("methods", "maxent_kl", block(PAGE, "python"), tmp_path, monkeypatch) as method:
        yield method


def test_the_file_is_a_registered_method(maxent_kl):
    assert "maxent_kl" in registry.names("methods") and maxent_kl.__doc__
    assert all(field.description for field in maxent_kl.model_fields.values())


def test_its_loss_and_two_steps_of_suppression(maxent_kl, trained_model, batch, corpus, tmp_path):
    method = maxent_kl(name="maxent_kl")
    memo, before = Memo(freeze(copy.deepcopy(trained_model)), 1), copy.deepcopy(trained_model.state_dict())
    terms = method.loss(trained_model, batch, memo)
    assert terms.parts["retain_kl"].item() == pytest.approx(0, abs=1e-6), "the reference is the model itself"
    job = train.FitJob(
        objective=lambda model, batch: method.loss(model, batch, memo),
        batch_at=data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=1),
        optim=Optim(learning_rate=3e-3),
        steps=2,
        trainable=method.trainable(trained_model),
    )
    state = train.fit(trained_model, job, train.Checkpoints(tmp_path / "checkpoint", 1e9), lambda *_: None)
    assert {"loss", "forget_uniform_kl", "retain_kl"} <= state.metrics[-1].keys()
    assert all((value != before[name]).any() for name, value in trained_model.state_dict().items())


def test_the_recipe_and_the_command_are_read(maxent_kl):
    suppress = yaml.safe_load(block(PAGE, "yaml"))["suppress"]["gentle"]
    assert isinstance(Suppress.model_validate(suppress).method, maxent_kl)
    undo_, run, recipe, change = shlex.split(block(PAGE, "sh"))
    assert (undo_, run) == ("undo", "run")
    assert load_recipe(recipe, [change]).suppress["maxent_kl"].method.retain_weight == 2, (
        "it is called after its method"
    )


def test_the_contract_suite_passes_without_a_line_about_it(tmp_path):
    """As a package of one's own, which registers by an entry point: nothing of ours is touched."""
    (tmp_path / "mine.py").write_text(block(PAGE, "python"))
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[undo.methods]\nmaxent_kl = mine:MaxEntKL\n")
    suite = ["-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/contract/test_methods.py", "-k", "maxent_kl"]
    place = {"cwd": ROOT, "env": os.environ | {"PYTHONPATH": str(tmp_path)}}
    done = subprocess.run([sys.executable, *suite], capture_output=True, text=True, **place)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0 and passed and int(passed[1]) > 20, done.stdout


def test_what_the_page_names_is_there():
    assert_names_exist(PAGE, "test_methods.py", "methods")
