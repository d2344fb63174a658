"""Rows of a certificate, worked out by hand from artifacts of a few items."""

import json
from types import SimpleNamespace

import pytest

from undo.given.certificate import _Findings, _skipped, _worst, folder_identity
from undo.study.artifacts import MANIFEST, Store
from undo.study.plan import AttackRun

ITEMS = 20
ACCURACY = {"higher_is_better": True, "chance": 0.0, "n_items": ITEMS, "unit": "fraction", "name": "accuracy"}
SHARES = {"before": 1.0, "model": 0.0, "oracle": 0.2}
"""The share of forget items that each model answers without an attack."""


@pytest.fixture
def findings(tmp_path):
    """A function from (attack, share of items answered after it, retain loss) per model to what was found."""
    store = Store(tmp_path)

    def write(stage: str, **files) -> None:
        folder = store.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        (folder / MANIFEST).touch()

    def scores(share: float, swapped: bool) -> list[list[float]]:
        own = [[place, float(place < round(share * ITEMS))] for place in range(ITEMS)]
        return own + ([[ITEMS + place, 0.0] for place in range(ITEMS)] if swapped else [])

    def found(attacked: dict[str, list[tuple[str, float, float]]], compared=("before", "oracle"), swapped=False):
        item = {"split": "test", "group": "", "options": []}
        items = [{**item, "domain": "forget", "prompt": f"{n}?", "answer": str(n)} for n in range(ITEMS)]
        items += [{**one, "domain": "neutral", "answer": "other"} for one in items] if swapped else []
        write("corpus")
        (store.folder("corpus") / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
        nodes, names = [], sorted({name for runs in attacked.values() for name, *_ in runs})
        for model in ("model", *compared):
            write(f"evaluate-{model}", evals={"retain_loss": 1.0}, items={"0": scores(SHARES[model], swapped)})
            runs = []
            for index, (name, share, retain) in enumerate(attacked.get(model, [])):
                stage = f"attack-{model}-{index}"
                points = [{"step": 10, "forget_tokens": 100, "forget": share, "retain_loss": retain}]
                write(stage, evals={"points": points}, items={"10": scores(share, swapped)})
                runs.append(AttackRun(name, "forget", {}, stage))
            nodes.append(SimpleNamespace(id=model, evaluation=f"evaluate-{model}", stage="", attacks=runs))
        specs = {name: SimpleNamespace(attack=SimpleNamespace(needs_control=name == "prompt")) for name in names}
        plan = SimpleNamespace(corpus="corpus", models=nodes, recipe=SimpleNamespace(attacks=specs))
        return _Findings(plan, store, ACCURACY, "model")  # type: ignore[arg-type]

    return found


def test_a_fraction_lies_between_what_the_attack_brings_out_of_an_oracle_and_the_model_before(findings):
    rows = findings({"model": [("relearn", 0.6, 1.0)], "oracle": [("relearn", 0.2, 1.0)]}).rows()
    assert [row.attack for row in rows] == ["none", "relearn"]
    assert rows[1].recovery == pytest.approx(0.6) and rows[1].oracle == pytest.approx(0.2)
    assert rows[1].recovered_fraction == pytest.approx((0.6 - 0.2) / (1.0 - 0.2))
    low, high = rows[1].recovered_fraction_interval
    assert 0 < low < rows[1].recovered_fraction < high < 1


def test_without_an_oracle_the_fraction_starts_at_the_model_itself(findings):
    (_, row) = findings({"model": [("relearn", 0.6, 1.0)]}, compared=("before",)).rows()
    assert row.oracle is None and row.recovered_fraction == pytest.approx(0.6)


def test_with_nothing_to_compare_with_there_is_no_fraction(findings):
    found = findings({"model": [("relearn", 0.6, 1.0)]}, compared=())
    assert found.scale() == {} and found.rows()[1].recovered_fraction is None


def test_each_others_answers_are_the_zero_where_there_is_no_oracle(findings):
    found = findings({"model": [("relearn", 0.5, 1.0)]}, compared=("before",), swapped=True)
    (_, row) = found.rows()
    assert (row.neutral, row.specific_recovery) == (0.0, pytest.approx(0.5))
    assert row.recovered_fraction == pytest.approx(0.5) and "another prompt" in found.scale()["zero"]


def test_the_worst_row_keeps_the_model_useful_and_the_worst_of_all_need_not(findings):
    rows = findings({"model": [("relearn", 0.4, 1.09), ("lora", 0.9, 1.11)]}, compared=("before",)).rows()
    assert [row.within_utility for row in rows] == [True, True, False]
    assert _worst([row for row in rows if row.within_utility], True).attack == "relearn"
    assert _worst(rows, True).attack == "lora"


def test_a_prompt_that_needs_a_control_decides_nothing_without_one(findings):
    attacked = {"model": [("prompt", 0.9, 1.0), ("relearn", 0.4, 1.0)]}
    rows = findings(attacked, compared=("before",)).rows()
    assert [row.decides for row in rows] == [True, False, True] and _worst(rows, True).attack == "relearn"
    controlled = findings(attacked, compared=("before",), swapped=True).rows()
    assert all(row.decides for row in controlled) and _worst(controlled, True).attack == "prompt"


def test_skipped_variants_with_one_reason_are_one_row():
    row = {"model": "model", "skill": "forget", "attack": "lora", "reason": "no"}
    others = [{**row, "model": "oracle"}, {**row, "skill": "neutral"}]
    skipped = [{**one, "variant": {"rank": rank}} for rank, one in enumerate([row, row, *others])]
    expected = [{"attack": "lora", "reason": "no", "variants": [{"rank": 0}, {"rank": 1}]}]
    assert _skipped({"skipped": skipped}, "model") == expected


def test_a_folder_is_known_by_its_content_but_for_the_card(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "README.md").write_text(name)
    one, other = (folder_identity(tmp_path / name) for name in ("one", "other"))
    assert (one["name"], other["name"]) == ("one", "other") and one["sha256"] == other["sha256"]
    (tmp_path / "one" / "config.json").write_text("{ }")
    assert folder_identity(tmp_path / "one")["sha256"] != other["sha256"]
