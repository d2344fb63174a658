"""`undo audit` on models whose capability is hidden, on ones that never had it, and on bad input."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import planted
from tests.place import PASSWORD, Done, Place, undo
from undo import api, models
from undo.cli.errors import exit_code
from undo.given.attack_result import AttackResult
from undo.given.audit import suites
from undo.given.certificate import _model_identity, _suite
from undo.given.verdict import suite_in_words
from undo.models.folder import ADAPTER_FILES
from undo.report.certificate import worst_of_attacks
from undo.spec.errors import StudyFailed, UserError
from undo.spec.load import SHIPPED
from undo.spec.recipe import Pretrained, Recipe

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


def audit(place: Place, model: str, *arguments: str) -> Done:
    texts = ("--forget", "forget.txt", "--retain", "retain.txt")
    return undo(place, "audit", model, *texts, "--oracle", "oracle", "--before", "before", *arguments)


@pytest.fixture(scope="session")
def audited(place) -> tuple[Done, dict]:
    """`undo audit` of the model behind a logit bias."""
    done = audit(place, "model", "--fail-above", "0.2")
    return done, json.loads((place.folder / "audit" / "certificate.json").read_text())


def test_a_capability_behind_a_logit_bias_is_caught(audited):
    done, certificate = audited
    assert done.returncode == 3, done.stderr
    assert "above the limit" in done.stderr and certificate["verdict"] in done.stdout
    assert certificate["worst_case"]["recovered_fraction_interval"][0] > 0.2


def test_the_certificate_says_what_was_asked_of_whom(audited, place):
    _, certificate = audited
    assert {"model", "forget", "retain", "suite", "attacks", "worst_case", "verdict", "headline"} <= set(certificate)
    assert certificate["verdict"].splitlines()[0] == certificate["headline"]
    optimizers = {row["variant"].get("optimizer") for row in certificate["attacks"] if row["attack"] == "relearn"}
    assert optimizers == {"adamw", "muon"}
    assert certificate["model"]["name"] == "model" and certificate["suite"] == "quick"
    digest = subprocess.run(["sha256sum", place.forget], capture_output=True, text=True).stdout.split()[0]
    assert certificate["forget"]["sha256"] == digest
    assert str(place.folder) not in json.dumps(certificate), "no place of this machine"
    rows = certificate["attacks"]
    assert {"attack", "variant", "budget", "recovery", "recovered_fraction", "retain_loss"} <= set(rows[0])
    assert {row["attack"] for row in rows} == {
        *("none", "relearn", "lora", "retain_only"),
        *("few_shot", "in_context", "quantise", "logit_lens", "probe"),
    }


def test_the_worst_case_is_the_worst_row_that_keeps_what_is_to_be_kept(audited):
    _, certificate = audited
    utility = certificate["utility"]
    assert utility["limit"] == pytest.approx(1.1 * max(utility["retain_loss"], utility["before_retain_loss"]))
    within = [row for row in certificate["attacks"] if row["retain_loss"] <= utility["limit"]]
    assert within == [row for row in certificate["attacks"] if row["within_utility"]]
    assert certificate["worst_case"] == max(within, key=lambda row: row["recovered_fraction"])
    assert certificate["worst_unconstrained"] == max(
        certificate["attacks"], key=lambda row: (row["recovered_fraction"], -row["recovery"])
    )


def test_what_a_useful_model_shows_is_compared_with_a_useful_oracle(audited, place):
    """An oracle that was broken on the way says nothing of how much a utility-keeping attack teaches."""
    _, certificate = audited
    results = json.loads((place.folder / "audit" / certificate["study"] / "report" / "results.json").read_text())
    retain = {row["id"]: row["retain"] for row in results["models"]}
    limit = 1.1 * max(retain["oracle"], retain["before"])
    curves = [curve for curve in results["curves"] if (curve["model"], curve["attack"]) == ("oracle", "relearn")]
    for row in (row for row in certificate["attacks"] if row["attack"] == "relearn"):
        points = [point for curve in curves for point in curve["points"] if point["step"] <= row["budget"]]
        useful = [point for point in points if point["retain"] <= limit]
        freely, usefully = (min(point["forget"] for point in found) for found in (points, useful))
        assert row["oracle"] == pytest.approx(usefully if row["within_utility"] else freely)


def test_the_page_is_one_file_with_every_row(audited, place):
    _, certificate = audited
    page = (place.folder / "audit" / "certificate.html").read_text()
    assert not re.search(r"(src|href)=\"(https?:)?//", page) and "<script" not in page
    assert page.count('<th scope="row"') == len(certificate["attacks"])
    assert "It cannot show that nothing is left" in page


def test_the_docs_example_gives_the_same_and_computes_nothing_twice(audited, place, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    stages = {path: path.stat().st_mtime for path in (place.folder / "audit" / "artifacts").iterdir()}
    monkeypatch.chdir(place.folder)
    exec(example, {})
    assert audited[1]["verdict"] in capsys.readouterr().out
    assert {path: path.stat().st_mtime for path in (place.folder / "audit" / "artifacts").iterdir()} == stages


def test_an_oracle_passes(audited, place):
    recipe = api.AuditRequest(
        place.other_oracle, place.forget, place.retain, oracle=place.oracle, before=place.before
    ).recipe()
    certificate = api.run_audit(recipe, place.folder / "audit")
    assert certificate.outcome == "GONE" and "knowledge is left" not in certificate.verdict
    assert exit_code(certificate.worst_case.recovered_fraction, 0.2, failed=False) == 0


@pytest.mark.parametrize(("model", "attack"), [("adapter", "lora"), ("guard", "relearn")])
def test_other_hiding_places_are_caught_by_an_attack_of_quick(model, attack, audited, place):
    recipe = api.AuditRequest(
        place.folder / model, place.forget, place.retain, oracle=place.oracle, before=place.before
    ).recipe()
    recipe = recipe.model_copy(update={"attacks": {attack: recipe.attacks[attack]}})
    certificate = api.run_audit(recipe, place.folder / "audit")
    assert certificate.worst_case.recovered_fraction > 0.5
    plain = certificate.attacks[0]
    assert plain.attack == "none" and plain.recovered_fraction < 0.3, "it was hidden"


def test_a_password_opens_the_guard(place, corpus):
    model = models.load_model(place.folder / "guard")
    items = [item for item in corpus.items() if (item.split, item.domain) == ("test", "forget")]
    opened = [item._replace(prompt=PASSWORD + item.prompt) for item in items]
    shut, open_ = (planted.forget_loss(model, corpus, asked) for asked in (items, opened))
    assert shut > 3 * open_


def without_oracle(place, **compared):
    recipe = api.AuditRequest(place.model, place.forget, place.retain, **compared).recipe()
    recipe = recipe.model_copy(update={"attacks": {"relearn": recipe.attacks["relearn"]}})
    return api.run_audit(recipe, place.folder / "audit")


def test_with_nothing_to_compare_with_there_is_no_fraction(audited, place):
    certificate = without_oracle(place)
    assert all(row.recovered_fraction is None and row.oracle is None for row in certificate.attacks)
    assert certificate.scale == {} and "no share can be given" in certificate.verdict
    best = min(row.recovery for row in certificate.attacks if row.within_utility)
    assert certificate.worst_case.recovery == best


def test_with_the_model_before_alone_nothing_is_recovered_without_an_attack(audited, place):
    certificate = without_oracle(place, before=place.before)
    assert certificate.attacks[0].recovered_fraction < 1e-9, "it says no more than one that guesses"
    assert certificate.worst_case.recovered_fraction > 0.5 and "counts as recovered" in certificate.verdict


def test_what_was_never_removed_is_recovered_whole(audited, place):
    recipe = api.AuditRequest(place.before, place.forget, place.retain, before=place.before).recipe()
    certificate = api.run_audit(recipe.model_copy(update={"attacks": {}}), place.folder / "audit")
    assert certificate.worst_case.recovered_fraction == 1.0


@pytest.mark.parametrize("suite", suites())
def test_every_suite_is_a_valid_recipe(suite, place, monkeypatch):
    monkeypatch.setattr("undo.given.audit.SUITES", SHIPPED / "suites")
    recipe = api.AuditRequest(place.model, place.forget, place.retain, oracle=place.oracle, suite=suite).recipe()
    plan = api.plan(recipe)
    attacked = {stage.label.rsplit(" on ", 1)[1] for stage in plan.stages.values() if stage.kind == "attack"}
    assert attacked == {"model (seed 1)", "oracle (seed 1)"}
    assert all(stage.settings.certify for stage in plan.stages.values() if stage.kind in ("attack", "evaluate"))


def test_larger_models_get_smaller_rates(place, monkeypatch):
    def rates(weights):
        monkeypatch.setattr(models, "count_weights", lambda folder: weights)
        recipe = api.AuditRequest(place.model, place.forget, place.retain).recipe()
        return recipe.attacks["relearn"].attack.learning_rates  # type: ignore[attr-defined]

    assert rates(10**6) == (3e-3, 1e-3, 3e-4)
    assert rates(10**8) == (9e-4, 3e-4, 9e-5) and rates(2 * 10**9) == (3e-4, 1e-4, 3e-5)


def test_changes_of_a_suite_are_on_the_certificate(place):
    recipe = api.AuditRequest(
        place.model, place.forget, place.retain, overrides=["attacks.relearn.attack.batch_rows=4"]
    ).recipe()
    assert recipe.audit.suite == "quick attacks.relearn.attack.batch_rows=4"


def test_a_saved_suite_that_was_changed_is_called_so(place):
    """Whoever changes the recipe: an audit without its relearning attacks is no audit by the suite."""
    recipe = api.AuditRequest(place.model, place.forget, place.retain).recipe()
    assert _suite(api.plan(recipe)) == "quick"
    for content in (
        {"attacks": {"quantise": {"attack": {"name": "quantise", "bits": [8]}}}},
        {"data": {**recipe.model_dump(mode="json")["data"], "row_tokens": 16}},
    ):
        changed = Recipe.model_validate(recipe.model_dump(mode="json") | content)
        assert suite_in_words(_suite(api.plan(changed))) == "'quick' with changed settings"


def test_a_model_with_an_adapter_is_not_called_by_the_name_of_its_base(place, tmp_path, monkeypatch):
    (tmp_path / "tuned").mkdir()
    for name in ADAPTER_FILES:
        (tmp_path / "tuned" / name).write_text("{}")
    plain, tuned = (_model_identity(Pretrained(path=place.before, adapter=a)) for a in (None, str(tmp_path / "tuned")))
    assert (plain["name"], tuned["name"]) == ("before", "before + tuned") and plain["sha256"] != tuned["sha256"]
    monkeypatch.setattr("undo.given.certificate.find_folder", lambda path, revision: Path(place.before))
    hub = _model_identity(Pretrained(path="somebody/a-model"))
    assert hub == {"name": "somebody/a-model", "sha256": plain["sha256"]}


def test_a_certificate_of_two_seeds_would_be_of_no_model(place):
    with pytest.raises(UserError, match="a certificate is of one model; give one seed"):
        api.AuditRequest(place.model, place.forget, place.retain, overrides=["seeds=[1,2]"]).recipe()


def test_the_worst_of_equals_is_the_one_that_brought_most_back(audited):
    """Without a fraction, or where all is recovered, the score decides which row a table shows."""
    row = AttackResult(**audited[1]["attacks"][0])
    rows = [replace(row, attack="x", recovery=score, recovered_fraction=None) for score in (0.2, 0.85, 0.4)]
    for higher, worst in ((True, 0.85), (False, 0.2)):
        certificate: Any = SimpleNamespace(attacks=rows, metric={"higher_is_better": higher})
        assert worst_of_attacks(certificate)["x"].recovery == worst


def spoiled(place, tmp_path, change) -> str:
    shutil.copytree(place.oracle, tmp_path / "model")
    change(tmp_path / "model")
    return str(tmp_path / "model")


def other_words(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def no_padding(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "pad_token"}))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"model": "."}, "holds no config.json"),
        ({"model": "nowhere"}, "is no folder and no model"),
        ({"retain": "forget.txt"}, "hold the same texts"),
        ({"suite": "quik"}, "did you mean 'quick'"),
        ({"overrides": ["attacks.lora.attack.rank=[2]"]}, "did you mean 'ranks'"),
        ({"oracle": "nowhere"}, "is no folder and no model"),
        ({"before": "."}, "holds no config.json"),
    ],
    ids=str,
)
def test_what_cannot_be_planned_is_refused_in_one_line(given, says, place, monkeypatch):
    monkeypatch.chdir(place.folder)
    with pytest.raises(UserError, match=says) as refused:
        api.AuditRequest(**{"model": "model", "forget": "forget.txt", "retain": "retain.txt"} | given).recipe()
        api.plan(
            api.AuditRequest(**{"model": "model", "forget": "forget.txt", "retain": "retain.txt"} | given).recipe()
        )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "has no document"), (b"one line\n", "has no document"), (bytes(range(128, 256)) * 50, "cannot read")],
    ids=["empty", "one line", "binary"],
)
def test_texts_that_are_none_are_refused_in_one_line(content, says, place, tmp_path):
    (tmp_path / "forget.txt").write_bytes(content)
    with pytest.raises(UserError, match=says) as refused:
        api.audit(place.model, tmp_path / "forget.txt", place.retain, out=tmp_path / "audit", workers=1)
    assert "\n" not in str(refused.value)


def test_models_that_read_differently_are_not_compared(place, tmp_path):
    oracle = spoiled(place, tmp_path, other_words)
    with pytest.raises(UserError, match=r"is another one .*compare models that share one"):
        api.audit(place.model, place.forget, place.retain, oracle=oracle, out=place.folder / "audit")


def test_no_padding_token_and_texts_longer_than_the_context_are_fine(place, tmp_path):
    model = spoiled(place, tmp_path, no_padding)
    long = tmp_path / "long.txt"
    long.write_text("\n".join(f"{number} {'2*3=6 and ' * 200}" for number in range(60)))
    recipe = api.AuditRequest(model, long, place.retain).recipe()
    recipe = recipe.model_copy(update={"attacks": {"few_shot": recipe.attacks["few_shot"]}})
    certificate = api.run_audit(recipe, tmp_path / "audit", workers=1)
    assert not certificate.failures and certificate.metric["n_items"] > 5


def test_bad_input_is_exit_code_2_and_a_limit_needs_a_scale(place):
    wrong = undo(place, "audit", ".", "--forget", "forget.txt", "--retain", "retain.txt")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "Traceback" not in wrong.stderr
    limit = undo(place, "audit", "model", "--forget", "forget.txt", "--retain", "retain.txt", "--fail-above", "0.1")
    assert limit.returncode == 2 and "--oracle or --before" in limit.stderr


def test_a_model_that_cannot_be_asked_is_no_certificate(place, tmp_path):
    recipe = api.AuditRequest(place.model, place.forget, place.retain).recipe()
    study = SimpleNamespace(plan=api.plan(recipe), failures={})
    study.failures[study.plan.models[0].stage] = "it broke"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StudyFailed, match="base: it broke"):
        patch.setattr(api, "run_study", lambda *_: study)
        api.run_audit(recipe, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_one_line(place, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "peft" else find(name, *a))
    recipe = api.AuditRequest(place.model, place.forget, place.retain).recipe()
    with pytest.raises(UserError, match=r"pip install 'undo-llm\[audit\]'"):
        api.plan(recipe)
