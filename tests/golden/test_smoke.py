"""The whole graph, run as a user runs it, against the contract and against itself."""

import getpass
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from undo.evidence.judge import gather
from undo.report.narrative import caveats
from undo.report.results import Results
from undo.spec.load import load_recipe
from undo.study.artifacts import Store
from undo.study.plan import make_plan
from undo.study.results import results_schema

STUDENTS = {"fresh-maxent", "fresh-rmu", "base_init-maxent", "undo-0.5-maxent", "teacher-maxent"}


def test_results_follow_the_contract(smoke):
    jsonschema.validate(smoke.results, results_schema())


def test_every_model_of_the_recipe_is_there_with_counted_cost(smoke):
    rows = {row["id"]: row for row in smoke.results["models"]}
    assert set(rows) == {"base", "oracle", "graddiff", "maxent", "rmu"} | STUDENTS
    assert all(row["flops"] > 0 and row["tokens"] > 0 for row in rows.values())
    assert rows["oracle"]["forget_tokens"] == 0
    assert rows["base"]["forget_tokens"] == pytest.approx(rows["base"]["tokens"] / 2, rel=0.01)


def test_a_student_pays_for_its_teacher_and_for_what_the_teacher_says(smoke):
    ledgers = {
        row["label"].removesuffix(" (seed 1)"): row["ledger"]
        for row in smoke.results["stages"]
        if "flops" in row["ledger"]
    }
    rows = {row["id"]: row for row in smoke.results["models"]}
    own, teacher, outputs = ledgers["fresh-maxent"], ledgers["maxent"], ledgers["outputs of maxent"]
    # The teacher spoke about the whole stream, for all of its students; one student alone would ask for what it reads.
    recipe, steps = load_recipe("smoke"), rows["fresh-maxent"]["distil"]["steps"]
    (corpus,) = (smoke.out / "artifacts").glob("data-*")
    stream = [len(np.load(corpus / f"rows-{domain}-train.npy")) for domain in ("retain", "forget")]
    share = sum(min(steps * recipe.distil.batch_rows // 2, count) for count in stream) / sum(stream)
    assert 0 < share < 1
    assert rows["fresh-maxent"]["flops"] == pytest.approx(own["flops"] + teacher["flops"] + share * outputs["flops"])
    # A student's step is one of the base and the teacher's head, which turns its hidden states into logits.
    config = AutoConfig.from_pretrained(next((smoke.out / "artifacts").glob("distil-*/model")))
    positions = recipe.pretrain.base_steps * recipe.pretrain.batch_rows * recipe.data.row_tokens
    head = 2 * positions * config.hidden_size * config.vocab_size
    base = ledgers["base"]
    expected = (base["forward_flops"] + head) / base["backward_flops"]
    assert own["forward_flops"] / own["backward_flops"] == pytest.approx(expected, rel=1e-9)


def test_the_line_at_the_end_repeats_the_run(smoke):
    (again,) = re.findall(r"again: (.*)$", smoke.stdout, flags=re.MULTILINE)
    assert shlex.split(again) == ["undo", "run", "smoke", "--out", str(smoke.out)]


def test_curves_start_at_the_model_itself_and_count_the_adversarys_tokens(smoke):
    forget = {row["id"]: row["forget"] for row in smoke.results["models"]}
    for curve in smoke.results["curves"]:
        steps = [point["step"] for point in curve["points"]]
        assert steps == [0, 5, 10]
        assert curve["points"][0]["forget"] == forget[curve["model"]]
        assert curve["points"][1]["forget_tokens"] == pytest.approx(5 * 4 * 32, rel=0.05)
        assert (curve["points"][1]["neutral"] is not None) == (curve["skill"] == "neutral")


def test_recovery_is_the_worst_case_within_the_budget(smoke):
    for score in smoke.results["scores"]:
        values = [
            point["forget"]
            for curve in smoke.results["curves"]
            if curve["model"] == score["model"] and curve["skill"] == "forget"
            for point in curve["points"]
            if point["step"] <= score["budget"]
        ]
        assert score["recovery"] == max(values)


def test_no_path_or_user_leaks_into_results(smoke):
    text = (smoke.folder / "report" / "results.json").read_text()
    assert str(smoke.out) not in text
    assert str(Path.home()) not in text and getpass.getuser() + "@" not in text


def test_a_finished_study_runs_again_to_the_same_results_and_starts_no_worker(smoke):
    log, kept = smoke.out / "worker.log", smoke.out / "kept.log"
    log.rename(kept)
    command = [sys.executable, "-m", "undo", "run", "smoke", "--out", str(smoke.out)]
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0
    assert "0 stages computed" in again.stdout
    assert not log.exists(), "whoever starts a worker opens its log"
    kept.rename(log)
    assert json.loads((smoke.folder / "report" / "results.json").read_text()) == smoke.results


def test_model_folders_load_with_plain_transformers(smoke):
    folders = sorted((smoke.out / "artifacts").glob("*/model"))
    assert len(folders) == len(smoke.results["models"])
    for folder in folders:
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        ids = tokenizer("3+4=", return_tensors="pt")["input_ids"]
        assert torch.isfinite(model(input_ids=ids).logits).all()
        assert tokenizer.pad_token_id != tokenizer.eos_token_id
        assert model.config.pad_token_id == tokenizer.pad_token_id
        assert tokenizer.decode(tokenizer("12*3=36")["input_ids"]) == "12*3=36"


def test_rmu_moved_only_the_named_parameters(smoke):
    plan = make_plan(load_recipe("smoke"))
    nodes = {node.id: node for node in plan.models}
    store = Store(smoke.out)
    base, rmu = (
        dict(AutoModelForCausalLM.from_pretrained(store.folder(nodes[id].stage) / "model").named_parameters())
        for id in ("base", "rmu")
    )
    moved = {name for name in base if not base[name].equal(rmu[name])}
    assert moved == {"model.layers.1.mlp.down_proj.weight"}


def test_the_plan_of_a_finished_study_says_so(smoke):
    command = [sys.executable, "-m", "undo", "plan", "smoke", "--out", str(smoke.out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "63 stages (63 done)" in done.stdout
    assert "measured here" in done.stdout


def test_changing_one_attack_rate_computes_only_that_variant(smoke):
    recipe = load_recipe("smoke", ["attacks.relearn.attack.learning_rates=[0.003,0.0005]"])
    store = Store(smoke.out)
    missing = [stage.label for stage in make_plan(recipe).stages.values() if not store.done(stage.id)]
    assert missing and all(" 0.0005 on " in label for label in missing)


def test_a_pilot_asks_the_validation_split_of_the_same_models(smoke, tmp_path):
    """It says so, and is no evidence: settings are chosen by it."""
    shutil.copytree(smoke.out / "artifacts", tmp_path / "artifacts", copy_function=os.link)
    few = ["attacks.relearn.skills=[forget]", "attacks.relearn.attack.learning_rates=[1e-3]", "eval_split=valid"]
    command = [sys.executable, "-m", "undo", "run", "smoke", *few, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    (pilot,) = tmp_path.glob("smoke-*/report/results.json")
    found, usual = json.loads(pilot.read_text()), {(m["id"], m["seed"]): m for m in smoke.results["models"]}
    assert found["metrics"]["forget"]["name"].endswith("forget valid")
    for row in found["models"]:
        assert (row["forget"], row["retain"]) == (row["valid_forget"], row["valid_retain"])
        assert row["artifact"] == usual[row["id"], row["seed"]]["artifact"]
    curves = {curve["model"]: curve["points"][0]["forget"] for curve in found["curves"]}
    assert curves == {row["id"]: row["valid_forget"] for row in found["models"]}
    assert "so no number of it is a result" in caveats(Results(found))[0] and not gather({"pilot": Results(found)})


def test_the_table_and_the_report_are_named_at_the_end(smoke):
    assert "worst of 2 variants" in smoke.stdout
    assert str(smoke.folder / "report" / "index.html") in smoke.stdout
    assert (smoke.folder / "report" / "index.html").is_file()
    assert (smoke.folder / "recipe.yaml").is_file()


def test_the_resolved_recipe_is_the_same_study(smoke):
    assert make_plan(load_recipe(smoke.folder / "recipe.yaml")).study == smoke.folder.name


def test_every_number_of_the_report_links_to_a_record_that_exists(smoke):
    page = smoke.folder / "report" / "index.html"
    links = set(re.findall(r'href="(\.\./\.\./[^"#]+)"', page.read_text(encoding="utf-8")))
    assert len(links) > 60
    assert [link for link in links if not (page.parent / unquote(link)).is_file()] == []
