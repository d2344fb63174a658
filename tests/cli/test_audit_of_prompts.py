"""An audit of prompts with answers: knowledge is told from the form of answers, without an oracle."""

import json
import random
from pathlib import Path

import pytest

from tests import planted
from undo import api, data, models
from undo.spec.errors import UserError

SHORT = ("steps=10", "eval_steps=[10]", "learning_rates=[1e-3]", "muon_learning_rates=[3e-3]")


def facts(seed: int) -> dict[str, str]:
    """Sixty prompts and answers to learn by heart; nothing stands between them."""
    draw = random.Random(seed)
    return {f"{number}+{number + 7}=": str(draw.randrange(100, 1000)) for number in range(100, 160)}


@pytest.fixture(scope="module")
def asked(corpus, tmp_path_factory) -> Path:
    """A folder with texts, a model that knows the facts, one that hides them, and one that knows others."""
    folder = tmp_path_factory.mktemp("asked")
    retain = list(dict.fromkeys(corpus.texts("retain", "train")))[:150]
    (folder / "retain.txt").write_text("\n".join(retain))
    rows = [json.dumps({"prompt": prompt, "answer": answer}) for prompt, answer in facts(1).items()]
    (folder / "forget.jsonl").write_text("\n".join(rows))
    before = trained_on(corpus, facts(1), retain, folder)
    made = {"before": before, "never": trained_on(corpus, facts(2), retain, folder)}
    made["hidden"] = planted.behind_a_logit_bias(before, corpus, 20.0)
    for name, model in made.items():
        models.save_model(model, corpus.tokenizer, folder / name)
    return folder


def trained_on(corpus, known: dict[str, str], retain: list[str], folder: Path):
    model = models.build_llama(
        width=32, layers=2, heads=2, mlp_width=64, row_tokens=64, tokenizer=corpus.tokenizer, seed=1
    )
    texts = [prompt + answer for prompt, answer in known.items()] * 3 + retain
    batches = data.text_batches(corpus, texts, 16, seed=5)
    return planted.trained_to(model, batches, planted.plain_next_token, 300, 1e-2, folder / "checkpoint")


def audit(folder: Path, model: str, attacks=("relearn",), before="before", out="audit"):
    recipe = api.AuditRequest(
        folder / model, folder / "forget.jsonl", folder / "retain.txt", before=folder / before,
        overrides=[f"attacks.relearn.attack.{short}" for short in SHORT],
    ).recipe()  # fmt: skip
    recipe = recipe.model_copy(update={"attacks": {name: recipe.attacks[name] for name in attacks}})
    return api.run_audit(recipe, folder / out)


def test_specific_recovery_tells_knowledge_from_form_without_an_oracle(asked):
    hidden, never = (audit(asked, model) for model in ("hidden", "never"))
    for row in hidden.attacks:
        assert row.specific_recovery == pytest.approx(row.recovery - row.neutral, abs=1e-6)
    assert hidden.worst_case.specific_recovery_interval[1] < 0
    assert hidden.outcome in ("COMES BACK", "NOT GONE")
    assert never.worst_case.recovered_fraction < 0.3 < hidden.worst_case.recovered_fraction
    assert hidden.scale["zero"] == "a right answer no likelier than the answer to another prompt"


def test_what_is_joined_as_it_stands_is_known(asked):
    """With a space that nobody asked for, the model that knows all answers stood at the level of guessing."""
    certificate = audit(asked, "before", attacks=())
    assert certificate.outcome == "NOT GONE" and certificate.worst_case.recovered_fraction == pytest.approx(1)
    assert not [warning for warning in certificate.warnings if "space" in warning]


def test_an_audit_about_nothing_is_refused_before_any_attack(asked):
    with pytest.raises(UserError, match="the model before unlearning does not know the forget answers") as refused:
        audit(asked, "hidden", before="never", out="nothing")
    assert "\n" not in str(refused.value) and not list((asked / "nothing").glob("artifacts/attack-*"))
