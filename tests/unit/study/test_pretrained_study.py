"""A study that starts at somebody's own model: its keys, and all of it from the folder to the report."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import undo
from undo import models, stages
from undo.cli.main import main
from undo.spec.errors import UserError
from undo.spec.load import load_recipe
from undo.spec.recipe import Recipe
from undo.stages import Context
from undo.study.plan import make_plan

SMALL = {"learning_rate": 1e-3}
SETTINGS = {
    "name": "own",
    "summary": "A model of somebody's own.",
    "seeds": [1],
    "data": {
        "dataset": {"name": "arithmetic", "max_operand": 8, "max_factor": 5, "documents_per_domain": 60},
        "row_tokens": 16,
    },
    "suppress": {"maxent": {"method": "maxent", "steps": 2, "batch_rows": 2, "optim": SMALL}},
    "distil": {
        "batch_rows": 4,
        "teacher_cache": {},
        "optim": SMALL,
        "stop": {"check_every": 2, "max_steps": 2},
        "students": [
            {"init": "fresh", "teachers": ["maxent"]},
            {"init": "noised", "noise_alpha": [0.5], "teachers": ["maxent"]},
        ],
    },
    "attacks": {
        "relearn": {
            "attack": {"name": "finetune", "learning_rates": [1e-3], "steps": 2, "batch_rows": 2, "eval_steps": [2]}
        }
    },
}


def recipe(folder, **changes) -> Recipe:
    return Recipe.model_validate(SETTINGS | {"pretrained": {"path": str(folder)}} | changes)


@pytest.fixture(scope="module")
def own(corpus, tmp_path_factory):
    """A tiny Llama whose padding token is its end token, with more rows than tokens."""
    folder = tmp_path_factory.mktemp("own")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(3)
    config = LlamaConfig(vocab_size=320, max_position_embeddings=24, pad_token_id=1, eos_token_id=1, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)
    corpus.tokenizer.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"pad_token": settings["eos_token"], "model_max_length": 24}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("name", "students"),
    [
        ("carroll", {"undo-0.8-maxent", "fresh-maxent", "undo-0.8-retain-stream-top64-maxent"}),
        ("knowledge_smollm2", {"undo-0.25-beta0-maxent"}),
    ],
)
def test_the_shipped_studies_of_given_models_start_at_them(name, students, trained_folder, tmp_path):
    (tmp_path / "texts.txt").write_text("Alice was beginning to get very tired.\n")
    texts = [f"data.dataset.{of}.path={tmp_path / 'texts.txt'}" for of in ("retain", "forget")]
    shipped = load_recipe(name, [f"pretrained.path={trained_folder}", *(texts if name == "carroll" else ())])
    plan = make_plan(shipped)
    assert {model.id for model in plan.models if model.role == "student"} >= students
    assert not [stage for stage in plan.stages.values() if stage.kind == "pretrain"]
    assert len({model.stage for model in plan.models if model.id == "base"}) == 1, "one given base for every seed"


def keys(recipe) -> tuple[str, set[str]]:
    plan = make_plan(recipe)
    return plan.study, set(plan.stages)


def test_the_same_model_elsewhere_is_the_same_study(own, tmp_path):
    assert keys(recipe(own)) == keys(recipe(shutil.copytree(own, tmp_path / "elsewhere")))


def test_another_model_is_another_study(own, tmp_path):
    other = shutil.copytree(own, tmp_path / "other")
    model = models.load_model(own)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(2)
    model.save_pretrained(other)
    (study, stages), (other_study, other_stages) = keys(recipe(own)), keys(recipe(other))
    assert study != other_study and not stages & other_stages


def test_seeds_share_the_base_and_nobody_has_an_oracle(own):
    plan = make_plan(recipe(own, seeds=[1, 2]))
    kinds = [stage.kind for stage in plan.stages.values()]
    assert kinds.count("import_model") == kinds.count("data") == 1 and "pretrain" not in kinds
    assert {node.id for node in plan.models} == {"base", "maxent", "fresh-maxent", "undo-0.5-maxent"}
    assert len({node.stage for node in plan.models if node.role == "base"}) == 1
    assert all(stage.flops > 0 for stage in plan.stages.values() if stage.kind in ("suppress", "distil", "attack"))


@pytest.fixture(scope="module")
def study(own, tmp_path_factory):
    return undo.run(recipe(own), out=tmp_path_factory.mktemp("runs"), workers=2)


def test_the_whole_study_runs(study):
    assert study.failures == {}
    assert {row["id"] for row in study.results["models"]} == {"base", "maxent", "fresh-maxent", "undo-0.5-maxent"}


def test_the_base_is_the_model_itself(study, own, corpus, batch):
    folder = study.folder.parent / next(r["artifact"] for r in study.results["models"] if r["id"] == "base") / "model"
    adopted, given = models.load_model(folder), models.load_model(own)
    assert all(torch.equal(p, given.get_parameter(name)) for name, p in adopted.named_parameters())
    assert adopted.config.pad_token_id is None, "an end token that is never learnt"


def test_what_needs_an_oracle_is_null(study):
    scores = study.results["scores"]
    assert len(scores) == 4 and all(row["recovery"] is not None for row in scores)
    assert {row["relative_robustness"] for row in scores} == {row["relative_compute"] for row in scores} == {None}
    assert study.results["totals"]["study_over_base"] is None
    assert next(row for row in study.results["models"] if row["id"] == "base")["flops"] == 0


def test_students_have_the_models_shape_and_tokenizer(study, own):
    for row in study.results["models"]:
        folder = study.folder.parent / row["artifact"] / "model"
        student = models.load_model(folder)
        assert student.get_input_embeddings().weight.shape == (320, 16)
        assert (folder / "tokenizer.json").read_bytes() == (own / "tokenizer.json").read_bytes()


def test_the_report_says_where_the_study_started(study):
    page = (study.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "No oracle in these results" in page and "as it was given" in page


def test_the_resolved_recipe_is_the_same_study_and_all_of_it_is_done(study):
    again = load_recipe(study.folder / "recipe.yaml")
    assert make_plan(again).study == study.folder.name
    assert undo.run(again, out=study.folder.parent, workers=1).cached == len(study.plan.stages)


def test_rows_longer_than_the_models_context_are_refused(own, tmp_path):
    context = Context(tmp_path, {"model": own}, lambda *_: None, 1e9)
    with pytest.raises(UserError, match="row_tokens is 32, but the model reads 24 tokens at most"):
        stages.run("data", {**SETTINGS["data"], "vocab_size": None, "row_tokens": 32}, context)


def test_a_folder_that_changes_after_the_plan_is_refused(own, tmp_path):
    context = Context(tmp_path, {"pretrained": own}, lambda *_: None, 1e9)
    with pytest.raises(UserError, match="has changed since the study was planned"):
        stages.run("import_model", {"fingerprint": "another"}, context)


def test_a_path_that_is_nowhere_is_the_users_to_mend(tmp_path, capsys):
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(SETTINGS | {"pretrained": {"path": "./nowhere"}}))
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(path)])
    assert ended.value.code == 2 and "'./nowhere' is no folder" in capsys.readouterr().err


def test_the_recipe_of_the_page_on_own_models_is_a_study(own, tmp_path):
    page = (Path(__file__).parents[3] / "docs/robustify.md").read_text()
    path = tmp_path / "mine.yaml"
    shown = re.search(r"```yaml\n(extends:.*?)```", page, re.DOTALL)[1].replace("./my-model", str(own))
    path.write_text(shown)
    with pytest.raises(UserError, match="no layer 5: this model has layers 0 to 1"):
        make_plan(load_recipe(path))
    path.write_text(re.sub(r"layers: \[.*?\]", "layers: [1]", shown))
    plan = make_plan(load_recipe(path))
    assert {"rmu", "fresh-maxent", "undo-0.25-maxent", "undo-0.25-rmu"} <= {node.id for node in plan.models}
