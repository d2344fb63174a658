"""Questions with four choices, from files in the form of WMDP and MMLU; texts to train on beside them."""

import json

import pytest

from undo.data.datasets.questions import Questions
from undo.spec.errors import UserError
from undo.spec.load import load_recipe
from undo.study.plan import make_plan

datasets = pytest.importorskip("datasets")
HEADER = "The following are multiple choice questions (with answers) about words.\n\n"


def rows(name: str, count: int = 80) -> list[dict]:
    """As WMDP's: a question, four choices and the place of the right one."""
    return [
        {"question": f" Which is word {n} of {name}? ", "choices": [f"{c}{n}" for c in "wxyz"], "answer": n % 4}
        for n in range(count)
    ]


def write(folder, name: str, table: list[dict], kind: str = "parquet") -> str:
    path = folder / f"{name}.{kind}"
    made = datasets.Dataset.from_list(table)
    made.to_parquet(path) if kind == "parquet" else made.to_json(path)
    return str(path)


def settings(folder, kind: str = "parquet", **knobs) -> dict:
    texts = {
        name: {"path": write(folder, name, [{"text": f"Text {n} about {name}."} for n in range(300)])}
        for name in ("retain", "forget")
    }
    asked = {
        f"{name}_questions": {"path": write(folder, f"{name}-asked", rows(name), kind), "header": HEADER}
        for name in ("retain", "forget")
    }
    return {"name": "questions", **texts, **asked, **knobs}


def dataset(*given, **knobs) -> Questions:
    return Questions.model_validate(settings(*given, **knobs))


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_every_question_is_asked_once_in_the_form_of_the_harness(tmp_path, kind):
    items = list(dataset(tmp_path, kind).items())
    assert {item.domain for item in items} == {"retain", "forget"}
    for name in ("retain", "forget"):
        mine = {item.prompt: item for item in items if item.domain == name}
        for row in rows(name):
            listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCD", row["choices"], strict=True))
            item = mine.pop(f"{HEADER}{row['question'].strip()}\n{listed}\nAnswer:")
            right = " ABCD"[row["answer"] + 1]
            assert item.answer == f" {right}" and not item.ends
            assert sorted([item.answer, *item.options]) == [" A", " B", " C", " D"]
        assert mine == {}


def test_validation_asks_its_share_and_no_more_than_its_limit(tmp_path):
    def counts(**knobs):
        splits = [item.split for item in dataset(tmp_path, **knobs).items()]
        return splits.count("valid"), splits.count("test")

    assert counts(valid_share=0.25) == (2 * 20, 2 * 60)
    assert counts(valid_share=0.5, valid_items=7, test_items=5) == (2 * 7, 2 * 5)


def test_a_few_items_are_a_sample_of_them_all(tmp_path):
    """MMLU's rows are sorted by subject."""
    numbers = [int(item.prompt.split("word ")[1].split()[0]) for item in dataset(tmp_path, test_items=20).items()]
    assert max(numbers) > 60 and min(numbers) < 20


def test_documents_are_those_of_hub(tmp_path):
    from undo.data.datasets.hub import Hub

    given = settings(tmp_path)
    hub = Hub.model_validate({"name": "hub"} | {name: given[name] for name in ("retain", "forget")})
    asked = Questions.model_validate(given)
    for domain in ("retain", "forget", "neutral"):
        assert list(asked.documents(domain, "attack")) == list(hub.documents(domain, "attack"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"choices": ["a", "b"]}, "has 2 choices and answer 0; give four"),
        ({"answer": 4}, "has 4 choices and answer 4; give four"),
        ({"choices": "abcd"}, "holds str, not a list of choices"),
        ({"question": 3}, "holds int, not text"),
    ],
    ids=str,
)
def test_rows_that_are_no_questions_are_refused_in_one_line(tmp_path, change, says):
    path = tmp_path / "asked.jsonl"
    path.write_text("\n".join(json.dumps(row | change) for row in rows("x")[::4]))
    with pytest.raises(UserError, match=says) as refused:
        list(dataset(tmp_path, retain_questions={"path": str(path)}).items())
    assert "\n" not in str(refused.value)


def test_a_field_of_another_name_is_named_with_the_nearest(tmp_path):
    path = write(tmp_path, "other", [{"question": "?", "choices": [*"abcd"], "anwser": 1}])
    with pytest.raises(UserError, match="no field 'answer'; did you mean 'anwser'"):
        list(dataset(tmp_path, retain_questions={"path": path}).items())
    named = dataset(tmp_path, retain_questions={"path": path, "answer_field": "anwser"})
    with pytest.raises(UserError, match="too few questions to divide: 1"):
        list(named.items())


def smoke(folder, **knobs):
    return [f"data.dataset={json.dumps(settings(folder, **knobs))}"]


def test_questions_of_this_machine_are_known_by_their_content(tmp_path):
    def corpus(folder):
        folder.mkdir(exist_ok=True)
        plan = make_plan(load_recipe("smoke", [*smoke(folder), "attacks.relearn.skills=[forget]"]))
        return next(stage for stage in plan.stages.values() if stage.kind == "data")

    one = corpus(tmp_path / "one")
    assert corpus(tmp_path / "elsewhere").id == one.id and str(tmp_path) not in one.settings.model_dump_json()


def test_an_attack_on_a_skill_that_nobody_asks_about_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"attacks\.relearn\.skills: .* asks nothing about 'neutral'"):
        make_plan(load_recipe("smoke", smoke(tmp_path)))
    given = {"path": write(tmp_path, "neutral-asked", rows("neutral"))}
    assert make_plan(load_recipe("smoke", smoke(tmp_path, neutral_questions=given))).stages
