"""Pitfalls of public code that no other test would notice (PROTOCOL section 8; docs/protocol.md lists all of them)."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch

from undo import data, models, stages, train
from undo.attacks import AdversaryContext
from undo.data.batches import RowStream
from undo.spec.recipe import Optim
from undo.spec.registry import load
from undo.stages import Context
from undo.stages.pretrain import next_token_loss

EVALUATION = {"name": "exact_match", "version": 1}
BUDGET = {"steps": 3, "eval_steps": [3], "batch_rows": 4, "learning_rates": [1e-3]}


def context(folder, corpus_folder, model_folder) -> Context:
    folder.mkdir()
    return Context(folder, {"data": corpus_folder, "model": model_folder}, lambda *_: None, 1e9)


# -- weights in low precision swallow small updates --------------------------------------------------------------------


def moved_share(before, after) -> float:
    pairs = [(before.get_parameter(name), p) for name, p in after.named_parameters()]
    return sum((old.float() != new.float()).sum().item() for old, new in pairs) / sum(new.numel() for _, new in pairs)


@pytest.mark.parametrize("rate", [1e-5, 1e-6])
def test_the_smallest_published_rate_moves_a_model_that_came_in_bf16(rate, trained_model, corpus, tmp_path):
    """Of bf16 weights 98 % would stay where they are; ours are fp32 whatever the folder holds."""
    trained_model.to(torch.bfloat16).save_pretrained(tmp_path / "bf16")
    model = models.load_model(tmp_path / "bf16")
    before = copy.deepcopy(model)
    job = train.FitJob(
        objective=next_token_loss,
        batch_at=data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=1),
        optim=Optim(learning_rate=rate, warmup_steps=0),
        steps=2,
    )
    train.fit(model, job, train.Checkpoints(tmp_path / "checkpoint", 1e9), lambda *_: None)
    in_use = torch.cat([p.grad.flatten() for p in model.parameters()]).ne(0).float().mean().item()
    assert moved_share(before, model) > 0.95 * in_use > 0.9


# -- an attack on forget data whose path points elsewhere --------------------------------------------------------------


@pytest.mark.parametrize("name", ["finetune", "lora", "perturb_relearn", "probe", "soft_prompt"])
@pytest.mark.parametrize("skill", ["forget", "neutral"])
def test_an_attack_trains_on_texts_of_its_skill_and_on_no_others(name, skill, corpus):
    attack = load("attacks", name).model_validate({"name": name, **BUDGET, "batch_rows": 16})
    batch_at = attack.batches(AdversaryContext(corpus, skill, 5))
    read = {tuple(row) for step in range(4) for row in batch_at(step).all().ids.tolist()}
    rows = {domain: {tuple(row) for row in corpus.rows(domain, "attack")} for domain in ("retain", "forget", "neutral")}
    assert read <= rows[skill] and all(read.isdisjoint(rows[other]) for other in rows.keys() - {skill})
    symbols = {"forget": "*/", "neutral": "#%"}
    texts = "".join(corpus.tokenizer.decode(list(row)) for row in read)
    assert all(symbol in texts for symbol in symbols[skill])
    assert not any(symbol in texts for other, of in symbols.items() for symbol in of if other != skill)


# -- one set of questions for choosing, stopping and reporting ---------------------------------------------------------


@pytest.fixture
def corpus_without(corpus_folder, tmp_path):
    """A function from names of splits to the same corpus without their questions."""

    def without(*splits: str):
        folder = shutil.copytree(corpus_folder, tmp_path / f"without-{'-'.join(splits)}")
        items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
        kept = [item for item in items if item["split"] not in splits]
        assert 0 < len(kept) < len(items)
        (folder / "items.jsonl").write_text("\n".join(map(json.dumps, kept)) + "\n")
        return folder

    return without


def test_distillation_stops_without_a_look_at_what_is_reported(corpus_folder, corpus_without, trained_folder, tmp_path):
    settings = {
        "model": {"width": 16, "layers": 2, "heads": 2, "mlp_width": 32},
        "evaluation": EVALUATION,
        "seed": 1,
        "init": "fresh",
        "domains": ["retain", "forget"],
        "steps": None,
        "filter_share": None,
        "teacher_cache": None,
        "batch_rows": 4,
        "optim": {"learning_rate": 3e-3},
        "stop": {"max_gap": 0.2, "check_every": 2, "max_steps": 4},
    }
    folders = (corpus_folder, corpus_without("test", "heldout"))
    found = [
        stages.run("distil", settings, context(tmp_path / str(i), folder, trained_folder)).evals
        for i, folder in enumerate(folders)
    ]
    assert found[0] == found[1] and found[0]["teacher_retain"] > 0


def test_an_attack_reports_the_test_split_and_nothing_else(corpus_folder, corpus_without, trained_folder, tmp_path):
    settings = {
        "attack": {"name": "finetune", **BUDGET},
        "skill": "forget",
        "seed": 1,
        "evaluation": EVALUATION,
    }
    folders = (corpus_folder, corpus_without("valid", "heldout"))
    found = [
        stages.run("attack", settings, context(tmp_path / str(i), folder, trained_folder)).evals["points"]
        for i, folder in enumerate(folders)
    ]
    assert found[0] == found[1] and 0 < found[0][0]["forget"] < 1
    folders = (corpus_folder, corpus_without("test", "heldout"))
    pilot = [
        stages.run(
            "attack", settings | {"split": "valid"}, context(tmp_path / f"pilot{i}", folder, trained_folder)
        ).evals
        for i, folder in enumerate(folders)
    ]
    assert pilot[0]["points"] == pilot[1]["points"] != found[0], (
        "settings are chosen without a look at what is reported"
    )


# -- a schedule whose length depends on the data -----------------------------------------------------------------------


def test_the_schedule_does_not_know_how_much_data_there_is(untrained, corpus, tmp_path):
    rows, rates = corpus.rows("retain", "train"), []
    none = data.domain_batches(corpus, ["retain"], "train", 4, seed=1)(0).forget
    for number in (3, len(rows)):
        stream = RowStream(np.asarray(rows[:number]), 4, corpus.pad, seed=1)
        job = train.FitJob(
            objective=next_token_loss,
            batch_at=lambda step, stream=stream: data.Batch(stream(step), none),
            optim=Optim(learning_rate=1e-3, schedule="cosine", warmup_steps=2),
            steps=9,
        )
        checkpoints = train.Checkpoints(tmp_path / str(number), 1e9)
        state = train.fit(copy.deepcopy(untrained), job, checkpoints, lambda *_: None)
        rates.append([row["learning_rate"] for row in state.metrics])
    assert rates[0] == rates[1] and len(rates[0]) == 9
    assert rates[0][-1] < 0.2 * max(rates[0]), "three rows last nine steps, and the rate falls over all of them"
