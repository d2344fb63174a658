"""`undo robustify`: what it hands over, what it decides by itself, and what it refuses."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tests.place import undo
from undo import api, models
from undo.given import robustify
from undo.given.certificate import folder_identity
from undo.given.robustify import DistilRequest
from undo.spec.errors import StudyFailed, UserError
from undo.spec.load import load_recipe
from undo.study import resources
from undo.study.artifacts import Store

PAGE = Path(__file__).parents[2] / "docs" / "robustify.md"
TEXTS = ("--forget", "forget.txt", "--retain", "retain.txt")
RELEARN = {"name": "finetune", "steps": 30, "batch_rows": 8, "eval_steps": [30], "learning_rates": [3e-3]}
ATTACKS = {"relearn": {"attack": RELEARN}, "quantise": {"attack": {"name": "quantise", "bits": [8]}}}


@pytest.fixture(scope="session")
def made(place):
    """A recipe that was saved, changed by hand and run; what the command said, and its folder."""
    saved = undo(place, "robustify", "before", *TEXTS, "--budget", "0.2", "--save-recipe", "mine.yaml")
    assert saved.returncode == 0, saved.stderr
    recipe = yaml.safe_load((place.folder / "mine.yaml").read_text())
    recipe["attacks"] = ATTACKS
    recipe["suppress"]["maxent"]["optim"]["learning_rate"] = 1e-2
    (place.folder / "mine.yaml").write_text(yaml.safe_dump(recipe))
    done = undo(place, "robustify", "mine.yaml", "--out", "made", "distil.stop.max_steps=100", "--shard-size", "12KB")
    assert done.returncode == 0, done.stderr
    return done, place.folder / "made"


def certificates(folder):
    return [json.loads((folder / part / "certificate.json").read_text()) for part in (".", "suppressed")]


def test_the_model_is_a_plain_folder_in_shards(made):
    _, folder = made
    model, tokenizer = (kind.from_pretrained(folder / "model") for kind in (AutoModelForCausalLM, AutoTokenizer))
    assert len(list((folder / "model").glob("*.safetensors"))) > 1
    assert GenerationConfig.from_pretrained(folder / "model").eos_token_id == tokenizer.eos_token_id
    (student,) = (folder / "artifacts").glob("distil-*")
    expected = models.load_model(student / "model").state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in model.state_dict().items())


def test_the_skill_is_gone_and_the_rest_is_kept(made):
    results = json.loads(next(made[1].glob("robustify-*/report/results.json")).read_text())
    rows = {row["role"]: row for row in results["models"]}
    assert min(rows[role]["forget"] for role in ("teacher", "student")) > rows["base"]["forget"] + 1
    assert rows["student"]["retain"] < rows["base"]["retain"] + 0.5
    attacked = {curve["model"] for curve in results["curves"]}
    assert attacked == {"maxent", rows["student"]["id"]}, "the original is only asked"


def test_both_certificates_are_about_their_own_model(made, place):
    own, suppressed = certificates(made[1])
    assert own["model"] == folder_identity(made[1] / "model") and own["model"] != suppressed["model"]
    assert own["before"] == suppressed["before"] == folder_identity(Path(place.before))
    assert {row["attack"] for row in own["attacks"]} == {"none", "relearn", "quantise"}
    assert own["worst_case"]["recovery"] != suppressed["worst_case"]["recovery"]
    assert own["suite"] == "quick changed" and "'quick' with changed settings" in own["verdict"], "by hand, in the file"
    assert made[0].stdout.startswith(own["verdict"]) and suppressed["headline"] in made[0].stdout


def test_the_card_says_what_was_done_in_the_numbers_of_the_certificates(made):
    card = (made[1] / "model" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["base_model"] == "before" and "unlearning" in head["tags"]
    own, suppressed = certificates(made[1])
    assert all(line in card for line in own["verdict"].splitlines())
    assert own["forget"]["sha256"] in card and own["retain"]["sha256"] in card
    assert ("# before without forget" in card) == (own["outcome"] == "GONE"), "the title says no more than the verdict"
    (line,) = [line for line in card.splitlines() if line.startswith("| `relearn`")]
    for certificate in (own, suppressed):
        (row,) = [row for row in certificate["attacks"] if row["attack"] == "relearn"]
        assert f"{row['recovery']:.3f}" in line and f"{100 * row['recovered_fraction']:.1f}" in line
    assert "cannot show that nothing is left" in card


def test_the_card_is_no_part_of_the_models_identity(made):
    before = folder_identity(made[1] / "model")
    (made[1] / "model" / "README.md").write_text((made[1] / "model" / "README.md").read_text() + "\nmore\n")
    assert folder_identity(made[1] / "model") == before


def test_the_model_that_it_is_made_of_is_not_written_over(place, tmp_path):
    shutil.copytree(place.before, tmp_path / "model")
    recipe = api.RobustifyRequest(tmp_path / "model", place.forget, place.retain).recipe()
    with pytest.raises(UserError, match="would be written over the model that it is made of"):
        api.run_robustify(recipe, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_came_out_can_be_audited(made, place):
    recipe = api.AuditRequest(made[1] / "model", place.forget, place.retain, before=place.before).recipe()
    certificate = api.run_audit(recipe.model_copy(update={"attacks": {}}), place.folder / "audit")
    assert certificate.model == certificates(made[1])[0]["model"]
    assert certificate.worst_case.recovered_fraction < 0.3


def example(number):
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)[number]


def test_the_docs_example_runs(made, place, monkeypatch, capsys):
    monkeypatch.chdir(place.folder)
    exec(example(0), {})
    assert "Suite 'quick" in capsys.readouterr().out
    assert (place.folder / "robustified" / "model" / "config.json").is_file()


def test_the_docs_example_of_single_steps_runs(place, monkeypatch):
    monkeypatch.chdir(place.folder)
    names = {}
    exec(example(1), names)
    teacher, student, model = names["teacher"], names["student"], names["model"]
    assert teacher.scores["forget"] > teacher.before["forget"] + 0.3, (
        "20 steps of GradDiff were seen to move it by 0.47"
    )
    assert student.before == teacher.scores, "the student's past is its teacher"
    weights = names["noised"].state_dict()
    assert any(not torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert not (teacher.study.results["curves"] or student.study.results["curves"]), "neither attacks"


def test_another_step_leaves_the_model_of_the_first_alone(place, tmp_path):
    """Whoever holds the first one's folder distils that one, and not whatever was made last."""
    texts, short = (place.before, place.forget, place.retain), ["suppress.maxent.steps=2"]
    first, second = (
        api.suppress(*texts, out=tmp_path, overrides=[*short, f"suppress.maxent.method.retain_weight={weight}"])
        for weight in (1, 2)
    )
    assert first.model != second.model and first.scores != second.scores
    assert all((made.model / "model.safetensors").is_file() for made in (first, second))


def test_a_student_without_noise_is_a_fresh_model(place):
    (student,) = DistilRequest(place.before, place.forget, place.retain).recipe().students()
    assert student.init == "fresh" and student.teachers == ("base",)


def test_a_single_step_that_fails_says_why(place, tmp_path):
    broken = ["suppress.maxent.optim.learning_rate=1e30"]
    with pytest.raises(StudyFailed, match=r"maxent.*is not finite"):
        api.suppress(place.before, place.forget, place.retain, out=tmp_path, overrides=broken, workers=1)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("verb", "given", "says"),
    [
        ("suppress", {"method": "maxnet"}, "did you mean 'maxent'"),
        ("suppress", {"overrides": ["suppress.maxent.step=5"]}, "did you mean 'steps'"),
        ("distil", {"noise_alpha": 1.5}, r"must lie in \[0, 1\]"),
        ("distil", {"overrides": ["distil.stop.max_step=5"]}, "did you mean 'max_steps'"),
        ("distil", {"overrides": ["seeds=[1,2]"]}, "this makes one model; give one seed"),
    ],
    ids=str,
)
def test_a_wrong_step_is_refused_before_it_starts(verb, given, says, place):
    with pytest.raises(UserError, match=says):
        getattr(api, verb)(place.before, place.forget, place.retain, out=place.folder / "refused", **given)
    assert not (place.folder / "refused").exists()


def test_answers_to_prompts_are_shared_out_by_their_number_and_the_card_says_who_read_them(
    place, tmp_path, monkeypatch
):
    monkeypatch.setattr("undo.study.executor.nothing_to_find", lambda *_: None)  # this model knows none of them
    rows = [{"prompt": f"{number} and one make", "answer": str(number + 1)} for number in range(40)]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("\n".join(map(json.dumps, rows)))
    short = ["attacks={}", "suppress.maxent.steps=2", "distil.stop.max_steps=2"]
    short += ["suppress.maxent.max_steps=2", "suppress.maxent.max_signal=0.99"]
    made = api.robustify(place.before, pairs, place.retain, tmp_path / "out", overrides=short, workers=1)
    documents = api.RobustifyRequest(place.before, place.forget, place.retain).recipe().data.dataset.shares
    answers = made.study.plan.recipe.data.dataset.shares
    assert answers.test > documents.test and answers.attack > documents.attack
    card = (made.model / "README.md").read_text()
    assert "30.0\u00a0% of documents and all answers to prompts training" in card and "distillation read all" in card
    assert "no training" not in card and "Suite 'quick' with changed settings:" in card


def test_a_suite_is_changed_by_settings_of_attacks_and_texts_alone(place):
    """A certificate made with another student is of the suite as it is."""
    given = ["distil.stream=retain", "attacks.lora.attack.batch_rows=4", "data.dataset.test_items=20"]
    recipe = api.RobustifyRequest(place.before, place.forget, place.retain, overrides=given).recipe()
    assert recipe.audit.suite == "quick attacks.lora.attack.batch_rows=4 data.dataset.test_items=20"
    assert (
        api.RobustifyRequest(place.before, place.forget, place.retain, overrides=given[:1]).recipe().audit.suite
        == "quick"
    )


def test_more_budget_buys_more_noise_and_more_steps(place):
    def chosen(budget):
        recipe = api.RobustifyRequest(place.before, place.forget, place.retain, budget=budget).recipe()
        (student,) = recipe.students()
        return student, recipe.distil.stop.max_steps

    students, steps = zip(*(chosen(budget) for budget in (0.05, 0.2, 0.5, 1)), strict=True)
    alphas = [student.noise_alpha[0] for student in students[:-1]]
    assert alphas == sorted(set(alphas)) and students[-1].init == "fresh"
    assert list(steps) == sorted(set(steps))


@pytest.mark.parametrize("method", ["maxent", "graddiff", "npo", "rmu", "undial", "wga", "sam", "repnoise", "tar"])
def test_every_method_may_suppress(method, place):
    recipe = api.RobustifyRequest(place.before, place.forget, place.retain, method=method).recipe()
    assert recipe.suppress[method].method.name == method and api.plan(recipe).stages


@pytest.mark.parametrize("weights", [10**6, 10**8, 10**10])
def test_larger_models_get_smaller_rates_and_less_noise(weights, place, monkeypatch):
    monkeypatch.setattr(models, "count_weights", lambda folder: weights)
    recipe = api.RobustifyRequest(place.before, place.forget, place.retain).recipe()
    expected = {10**6: (1e-3, 0.5), 10**8: (1e-4, 0.25), 10**10: (2e-5, 0.25)}[weights]
    assert (recipe.suppress["maxent"].optim.learning_rate, recipe.students()[0].noise_alpha[0]) == expected


def test_presets_cover_every_size():
    assert {name for _, name in robustify.PRESETS} == set(robustify.ALPHA_BY_BUDGET)
    for size, points in robustify.ALPHA_BY_BUDGET.items():
        assert [robustify.noise_for(size, budget) for budget, _ in points] == [alpha for _, alpha in points]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"budget": 0}, "a share of a fresh student's compute"),
        ({"budget": 1.5}, "a share of a fresh student's compute"),
        ({"method": "maxnet"}, "did you mean 'maxent'"),
        ({"suite": "quik"}, "did you mean 'quick'"),
        ({"adapter": "."}, "holds no adapter_config.json"),
        ({"model": "nowhere"}, "is no folder and no model"),
        ({"retain": "forget.txt"}, "hold the same texts"),
        ({"overrides": ["distil.stop.max_step=5"]}, "did you mean 'max_steps'"),
        ({"overrides": ["seeds=[1,2]"]}, "a certificate is of one model; give one seed"),
    ],
    ids=str,
)
def test_what_cannot_be_planned_is_refused_in_one_line(given, says, place, monkeypatch):
    monkeypatch.chdir(place.folder)
    with pytest.raises(UserError, match=says) as refused:
        api.plan(
            api.RobustifyRequest(**{"model": "before", "forget": "forget.txt", "retain": "retain.txt"} | given).recipe()
        )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["before"], "--forget and --retain are needed"),
        (["nowhere.yaml", *TEXTS], "no recipe 'nowhere.yaml'"),
        (["smoke.yaml"], "no recipe 'smoke.yaml'"),
        (["before", *TEXTS, "--benchmark-limit", "3"], "need --benchmark"),
        (["before", *TEXTS, "--shard-size", "5XB", "--out", "refused"], "'5XB' is no size of a file"),
        (["before", *TEXTS, "--save-recipe", "nowhere/mine.yaml"], "cannot write nowhere/mine.yaml"),
        (["before", *TEXTS, "--save-recipe", "before"], "cannot write before: it is a folder"),
        (["made/recipe.yaml", "--budget", "0.5"], "made/recipe.yaml says that already; leave --budget out"),
    ],
    ids=str,
)
def test_bad_input_is_exit_code_2_in_one_line(arguments, says, place, made):
    done = undo(place, "robustify", *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and says in done.stderr


def test_a_recipe_of_another_kind_or_without_a_student_is_refused(place, tmp_path):
    none = api.RobustifyRequest(place.before, place.forget, place.retain, overrides=["distil.students=[]"]).recipe()
    for recipe in (load_recipe("smoke"), none):
        with pytest.raises(UserError, match="no recipe of `undo robustify`"):
            api.run_robustify(recipe, tmp_path)


def test_without_a_student_nothing_is_handed_over(place, tmp_path):
    recipe = api.RobustifyRequest(
        place.before, place.forget, place.retain, overrides=["attacks={}", "suppress.maxent.optim.learning_rate=1e30"]
    ).recipe()
    with pytest.raises(StudyFailed, match=r"maxent.*is not finite"):
        api.run_robustify(recipe, tmp_path, workers=1)
    assert not (tmp_path / "model").exists()


def test_what_does_not_fit_into_memory_is_refused_with_advice_before_the_start(place, tmp_path, monkeypatch):
    recipe = api.RobustifyRequest(place.before, place.forget, place.retain).recipe()
    monkeypatch.setattr(resources, "SMALL", 1e3)
    monkeypatch.setattr(resources, "free_memory", lambda: 1e9)
    monkeypatch.setattr(resources, "PROCESS_BYTES", 0.999e9 / resources.MARGIN)
    with pytest.raises(UserError, match=r"gradient_checkpointing=true, or .*for fewer rows") as refused:
        api.run_robustify(recipe, tmp_path)
    assert "\n" not in str(refused.value)
    monkeypatch.setattr(resources, "PROCESS_BYTES", 2e9)
    with pytest.raises(UserError, match="use a machine or GPU with more"):
        api.run_robustify(recipe, tmp_path)
    assert not any(Store(tmp_path).root.glob("*-*")), "nothing was computed"


def test_what_a_stage_took_is_within_the_estimate(place, corpus, tmp_path, worker_processes):
    """Measured in worker processes of their own, on the smallest model of which memory is asked."""
    shape = {"width": 512, "layers": 4, "heads": 4, "mlp_width": 1536, "row_tokens": 64}
    models.save_model(
        models.build_llama(**shape, tokenizer=corpus.tokenizer, seed=1), corpus.tokenizer, tmp_path / "model"
    )
    short = ["suppress.maxent.steps=2", "suppress.maxent.batch_rows=16"]
    short += ["data.dataset.test_items=5", "data.dataset.valid_items=5"]
    made = api.suppress(
        tmp_path / "model", place.forget, place.retain, out=tmp_path / "out", overrides=short, workers=1
    )
    plan = made.study.plan
    assert resources.is_large(plan)
    (stage,) = [stage for stage in plan.stages.values() if stage.kind == "suppress"]
    (row,) = [row for row in made.study.results["models"] if row["role"] == "teacher"]
    taken = json.loads((tmp_path / "out" / row["artifact"] / "stage.json").read_text())["ledger"]["peak_memory_bytes"]
    assert 0.3 * resources.stage_bytes(plan, stage) < taken < resources.stage_bytes(plan, stage)
