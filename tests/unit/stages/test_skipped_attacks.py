"""An attack that a model's family cannot take is skipped with its reason, up to the certificate."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from transformers import AutoModelForCausalLM

from tests.families.tiny import tiny_config
from undo import models, stages
from undo.attacks import AdversaryContext
from undo.given.certificate import AttackResult, Certificate, _skipped
from undo.given.verdict import Case, verdict
from undo.report.certificate import render
from undo.spec.errors import NotApplicable, UserError
from undo.spec.registry import load
from undo.stages import Context
from undo.stages import attack as attack_stage
from undo.study.results import _curves, results_schema
from undo.study.results import _skipped as skipped_rows

BUDGET = {"steps": 1, "eval_steps": (1,), "batch_rows": 2, "learning_rates": (1e-3,)}
EVALUATION = {"name": "cross_entropy", "version": 1, "batch_tokens": 4096}


def tiny(family):
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(tiny_config(family)).eval()


def attacked(name, model, corpus, tmp_path, **knobs):
    """The evals of an attack's stage."""
    models.save_model(model, corpus.tokenizer, tmp_path / "model")
    (tmp_path / "stage").mkdir()
    context = Context(tmp_path / "stage", {"data": corpus.folder, "model": tmp_path / "model"}, lambda *_: None, 1e9)
    attack = load("attacks", name)(name=name, **knobs).variants()[0].model_dump(mode="json")
    settings = {"attack": attack, "skill": "forget", "seed": 1, "evaluation": EVALUATION}
    return stages.run("attack", settings, context).evals


@pytest.mark.parametrize(
    ("family", "name", "knobs", "reason"),
    [
        ("mamba", "lora", BUDGET, "MambaForCausalLM"),
        ("opt", "soft_prompt", BUDGET, "no gradient reaches what it trains in OPTForCausalLM"),
        ("gemma4_text", "soft_prompt", BUDGET, "do not exactly match the embedding"),  # shows once the prompt has moved
        ("llama", "lora", BUDGET, None),
        ("llama", "soft_prompt", BUDGET, None),
    ],
)
def test_the_stage_says_why_and_takes_nothing_away_from_those_that_can(family, name, knobs, reason, corpus, tmp_path):
    if name == "lora":
        pytest.importorskip("peft")
    evals = attacked(name, tiny(family), corpus, tmp_path, **knobs)
    if reason is None:
        assert evals["points"] and "skipped" not in evals
    else:
        assert evals["points"] == [] and reason in evals["skipped"] and "\n" not in evals["skipped"]


def test_no_layers_and_no_linear_head_are_reasons(tiny_model, corpus, tmp_path):
    plain = torch.nn.Linear(2, 2)
    with pytest.raises(NotApplicable, match="no list of decoder layers"):
        models.decoder_layers(plain)
    tiny_model.set_output_embeddings(torch.nn.Sequential())
    with pytest.raises(NotApplicable, match="no linear head"):
        models.own_head(tiny_model)


def test_a_loss_that_is_no_number_is_a_reason(tiny_model, corpus):
    class Broken(type(load("attacks", "quantise")(name="quantise"))):
        def wrap(self, model, means):
            changed = models.quantised(model, 8, 64)
            changed.lm_head.weight.data.fill_(float("inf"))
            return changed

    with pytest.raises(NotApplicable, match="not finite under it"):
        attack_stage._wrapped(Broken(name="quantise"), tiny_model, AdversaryContext(corpus, "forget", 1))


def test_what_the_model_itself_cannot_do_is_no_skip_and_neither_is_a_full_memory(tiny_model, corpus):
    class Full(type(load("attacks", "quantise")(name="quantise"))):
        def wrap(self, model, means):
            raise torch.OutOfMemoryError("CUDA out of memory")

    means = AdversaryContext(corpus, "forget", 1)
    with pytest.raises(torch.OutOfMemoryError):
        attack_stage._wrapped(Full(name="quantise"), tiny_model, means)
    tiny_model.model.layers[0].forward = None
    with pytest.raises(TypeError):
        attack_stage._wrapped(load("attacks", "quantise")(name="quantise"), tiny_model, means)


# -- what is told of it ------------------------------------------------------------------------------------------------


SKIPPED = [
    {"model": "model", "attack": "lora", "skill": "forget", "variant": {"rank": rank}, "reason": "it breaks"}
    for rank in (4, 16)
]


RUN = SimpleNamespace(stage="attack-1", attack="lora", skill="forget", variant={"rank": 4})
NODE: Any = SimpleNamespace(id="model", seed=1, evaluation="evaluate-1", attacks=[RUN])


class Artifacts:
    def done(self, stage):
        return True

    def read(self, stage, name):
        return {"points": [], "skipped": "it breaks", "test": {"retain": 1.0, "forget": 1.0}}


def test_results_list_it_and_have_no_curve_of_it():
    assert _curves(Artifacts(), NODE, "test") == []  # type: ignore[arg-type]
    rows = skipped_rows(Artifacts(), NODE)  # type: ignore[arg-type]
    assert rows == [SKIPPED[0]]
    Draft202012Validator(results_schema()["properties"]["skipped"]).validate(rows)


def test_certificate_and_verdict_name_it():
    row = AttackResult("none", {}, 0, 0, 2.0, (1.9, 2.1), None, None, None, None, None, None, 1.0, True)
    utility = {"retain_loss": 1.0, "before_retain_loss": None, "margin": 0.1, "limit": 1.1}
    metric = {"name": "loss", "higher_is_better": False, "unit": "nats per token", "n_items": 10, "chance": None}
    skipped = _skipped({"skipped": SKIPPED}, "model")
    assert skipped == [{"attack": "lora", "reason": "it breaks", "variants": [{"rank": 4}, {"rank": 16}]}]
    said = verdict(Case("quick", metric, {}, utility, [row], row, row, [], skipped))
    assert "Skipped, since this family of models cannot take them: 'lora'." in said
    known = {field.name: None for field in dataclasses.fields(Certificate)}
    known |= {"model": {"name": "m", "sha256": "0"}, "forget": {"name": "f", "sha256": "0"}, "suite": "quick"}
    known |= {
        "retain": {"name": "r", "sha256": "0"},
        "metric": metric,
        "scale": {},
        "attacks": [row],
        "worst_case": row,
    }
    known |= {"utility": utility, "benchmarks": [], "verdict": said, "failures": [], "warnings": []}
    known |= {"environment": {}, "study": "s", "skipped": skipped}
    html = render(Certificate(**known))
    assert "<h2>Skipped</h2>" in html and "<strong>lora</strong>: it breaks" in html


# -- what RMU moves ----------------------------------------------------------------------------------------------------


DOWN = {
    "llama": {"mlp.down_proj.weight"},
    "gpt2": {"mlp.c_proj.weight", "mlp.c_proj.bias"},
    "gpt_neox": {"mlp.dense_4h_to_h.weight", "mlp.dense_4h_to_h.bias"},
    "opt": {"fc2.weight", "fc2.bias"},
    "phi": {"mlp.fc2.weight", "mlp.fc2.bias"},
    "falcon": {"mlp.dense_4h_to_h.weight"},
    "bloom": {"mlp.dense_4h_to_h.weight", "mlp.dense_4h_to_h.bias"},
    "mpt": {"ffn.down_proj.weight"},
    "gptj": {"mlp.fc_out.weight", "mlp.fc_out.bias"},
    "mixtral": {"mlp.experts.down_proj"},
    "qwen3_moe": {"mlp.experts.down_proj"},
    "gpt_oss": {"mlp.experts.down_proj"},
    "mamba": {"mixer.out_proj.weight"},
}


@pytest.mark.parametrize("family", DOWN)
def test_rmu_finds_the_down_projections_of_every_family(family):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(tiny_config(family))
    (place, _), rmu = models.decoder_layers(model)[1], load("methods", "rmu")(name="rmu", layers=(1,))
    assert rmu.trainable(model) == {f"{place}.{name}" for name in DOWN[family]}


def test_patterns_that_match_nothing_are_refused_with_the_nearest_before_anything_runs(tmp_path, corpus):
    from undo.given.robustify import SuppressRequest
    from undo.spec.load import build_recipe
    from undo.study.plan import make_plan

    models.save_model(tiny("gpt_neox"), corpus.tokenizer, tmp_path / "given")
    for domain in ("forget", "retain"):
        (tmp_path / f"{domain}.txt").write_text("\n".join(f"{domain} {n}+{n}={2 * n}" for n in range(60)))
    recipe = SuppressRequest(
        tmp_path / "given", tmp_path / "forget.txt", tmp_path / "retain.txt", method="rmu"
    ).recipe()
    assert make_plan(recipe)
    wrong = recipe.model_dump(mode="json")
    wrong["suppress"]["rmu"]["method"]["parameters"] = [r"mlp\.dense_4h_to_hh"]
    with pytest.raises(UserError, match=r"suppress.rmu.method: no parameter matches .*; did you mean 'gpt_neox.layers"):
        make_plan(build_recipe(wrong, [], "here"))
