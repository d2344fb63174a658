"""The benchmarks compare what they say, at sizes that take a second; the numbers themselves are the machine's."""

import itertools
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks import attacks, distil, evaluation, gpu, peers, rows
from benchmarks.__main__ import HEAD, table

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shapes of a second, and nothing but ours and the dense form: peers that compile take a minute."""
    monkeypatch.setattr(distil, "TOKENS", {4_096: 64, 65_536: 64, 262_144: 64})
    monkeypatch.setattr(peers, "find_spec", lambda name: None)


def test_a_ratio_is_the_median_of_the_rounds_and_above_one_where_ours_is_faster():
    (row,) = rows.compare("x", {"ours": [1.0, 2.0, 1.0], "dense": [3.0, 4.0, 5.0]}, 10, "tokens", {"dense": 3.0})
    assert (row.ratio, row.target, row.ours, row.theirs) == (3.0, 3.0, "10 tokens/s", "2 tokens/s")
    assert row.detail == {"rounds": 3, "lowest": 2.0, "highest": 5.0}
    assert row.as_json("m")["met"] is True


def test_peers_and_ours_compute_the_same_gradients():
    ours, dense = (distil.loss_job(loss, 8, 4_096, 64)() for loss in peers.installed(True)["forward KL"].values())
    for one, other in zip(ours, dense, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not find_spec("trl") or not find_spec("liger_kernel"), reason="needs the bench extra")
@pytest.mark.parametrize("divergence", ["forward KL", "JSD"])
def test_installed_peers_compute_the_same_gradients(divergence, monkeypatch):
    monkeypatch.setattr(peers, "find_spec", find_spec)
    gradients = {
        name: distil.loss_job(loss, 8, 4_096, 64)() for name, loss in peers.installed(True)[divergence].items()
    }
    for name, theirs in gradients.items():
        for one, other in zip(gradients["ours"], theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5, msg=name)


def test_evaluation_and_attacks_yield_their_rows(monkeypatch, worker_processes):
    (exact,) = evaluation.rows(quick=True)
    assert exact.peer == "one prompt at a time" and exact.ratio > 1
    monkeypatch.setattr(attacks, "STEPS", {True: 6})
    monkeypatch.setattr(attacks, "RATES", [1e-3, 1e-4])
    (grid,) = attacks.rows(quick=True)
    assert grid.detail["ten_over_one"] > 0


def test_a_step_on_a_gpu_is_the_step_on_a_cpu():
    (row,) = [row for row in gpu.step_rows("tiny", 1, 16, 300, 64, "cpu") if row.peer == "dense fp32"]
    assert row.target == 6.0 and row.ratio > 0


def test_the_page_shows_the_recorded_rows():
    recorded = [json.loads(line) for line in (ROOT / "records/benchmarks.jsonl").read_text().splitlines()]
    lines = table(recorded)
    assert table_of("docs/speed.md") == lines, "run: python -m benchmarks --show records/benchmarks.jsonl"


def table_of(page: str) -> list[str]:
    """The lines of a page's table of speed."""
    after = (ROOT / page).read_text().split(HEAD[0])[1]
    return [HEAD[0], *itertools.takewhile(lambda line: line.startswith("|"), after.splitlines()[1:])]


def test_json_is_one_row_a_line():
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", "--only", "gpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert {"name", "peer", "ratio", "target", "machine"} <= json.loads(line).keys()
