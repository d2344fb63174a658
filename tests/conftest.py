"""Fixtures of every suite: a corpus and models small enough to be built anew, one thread, no network, no chance."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import settings

from tests.inline import INLINE
from undo import data, models, train
from undo.spec.recipe import Optim

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported; a test that needs the network is a wrong test
torch.set_num_threads(1)
settings.register_profile("undo", deadline=None, derandomize=True, database=None, max_examples=30)
settings.load_profile("undo")


@pytest.fixture(scope="session", autouse=True)
def one_worker_in_this_process():
    """For studies that a test runs by itself: the tests run side by side, and a process takes seconds to start.

    Commands that are run as a user runs them have their own processes, and so has who asks for `worker_processes`.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in ("environment", "runner"):
            patch.setattr(f"undo.study.{module}.available_cores", lambda: 1)
        patch.setattr("undo.study.executor.subprocess", INLINE)
        yield


@pytest.fixture
def worker_processes(monkeypatch):
    """Workers are processes, as outside of tests."""
    monkeypatch.setattr("undo.study.executor.subprocess", subprocess)


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory) -> Path:
    from undo.data.datasets.arithmetic import Arithmetic

    folder = tmp_path_factory.mktemp("corpus")
    dataset = Arithmetic(
        name="arithmetic", max_operand=8, max_factor=5, documents_per_domain=150, test_items=20, valid_items=10
    )
    data.write_corpus(dataset, vocab_size=300, row_tokens=32, folder=folder)
    return folder


@pytest.fixture(scope="session")
def corpus(corpus_folder):
    return data.open_corpus(corpus_folder)


@pytest.fixture
def batch(corpus):
    """Four retain and four forget rows."""
    return data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=3)(0)


@pytest.fixture(scope="session")
def untrained(corpus):
    """The weights of `tiny_model`, to be read only."""
    return models.build_llama(
        width=16, layers=2, heads=2, mlp_width=32, row_tokens=32, tokenizer=corpus.tokenizer, seed=1
    )


@pytest.fixture
def tiny_model(untrained):
    return copy.deepcopy(untrained)


@pytest.fixture(scope="session")
def trained_folder(corpus, untrained, tmp_path_factory) -> Path:
    """A tiny model that has seen both domains for 120 steps: right on some items, wrong on others."""
    from undo.stages.pretrain import next_token_loss

    folder, model = tmp_path_factory.mktemp("trained"), copy.deepcopy(untrained)
    job = train.FitJob(
        objective=next_token_loss,
        batch_at=data.domain_batches(corpus, ["retain", "forget"], "train", 16, seed=5),
        optim=Optim(learning_rate=1e-2, warmup_steps=3),
        steps=120,
    )
    train.fit(model, job, train.Checkpoints(folder / "checkpoint", every_s=1e9), lambda *_: None)
    models.save_model(model, corpus.tokenizer, folder / "model")
    return folder / "model"


@pytest.fixture
def trained_model(trained_folder):
    return models.load_model(trained_folder)


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
