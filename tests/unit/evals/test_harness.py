"""lm-eval's tasks: they agree with our own scorer item by item, and what cannot be asked is one clear line."""

import copy
import json
from statistics import fmean

import pytest
from tokenizers.processors import TemplateProcessing

from tests.benchmark_tasks import HEADER, OPTIONS_FORM, WMDP_FORM, questions, write_group, write_task
from undo import models
from undo.data.datasets.questions import Questions
from undo.evals import _harness, _questions
from undo.spec.errors import UserError
from undo.spec.registry import load

pytest.importorskip("lm_eval")


@pytest.fixture
def tokenizer(corpus):
    """As those of Llama and Gemma: it opens every text by itself, as our own questions do with every tokenizer."""
    found = copy.deepcopy(corpus.tokenizer)
    opening = found.bos_token, found.bos_token_id
    found.backend_tokenizer.post_processor = TemplateProcessing(single=f"{opening[0]} $A", special_tokens=[opening])
    return found


def samples(folder, name, model, tokenizer) -> list[dict]:
    found = _harness.ask(model, copy.deepcopy(tokenizer), _harness.load_tasks([name], folder), None, batch_rows=5)
    return sorted(found["samples"][name], key=lambda sample: sample["doc_id"])


def choices(**knobs):
    return load("evals", "multiple_choice")(name="multiple_choice", **knobs)


def log_likelihoods(model, tokenizer, items) -> list[float]:
    """Nats of each item's whole answer, by our own scorer."""
    encoded = _questions.encode(tokenizer, items, batch_tokens=2000)
    return _questions.score(model, encoded, lambda asked: -asked.sum_by_row(_questions.token_losses(asked)))


def test_letters_are_answered_alike_item_by_item(tmp_path, corpus, tokenizer):
    """Questions of WMDP's form through the dataset and the evaluation of a study, and through lm-eval."""
    folder = write_task(tmp_path / "tasks", "words", WMDP_FORM, questions())
    asked = {"path": str(folder / "words.jsonl"), "header": HEADER}
    given = {f"{name}_questions": asked for name in ("retain", "forget")}
    texts = {name: {"path": "unread.txt"} for name in ("retain", "forget")}
    items = [i for i in Questions.model_validate({"name": "questions"} | texts | given).items() if i.domain == "forget"]
    tokenizer.model_max_length = 256
    model = models.build_llama(
        width=16, layers=2, heads=2, mlp_width=32, row_tokens=256, tokenizer=tokenizer, seed=1
    ).eval()

    ours = choices().scores(model, choices().encode(tokenizer, items))
    theirs = {sample["arguments"][0][0]: sample for sample in samples(folder, "words", model, tokenizer)}
    assert len(theirs) == len(items) == len(questions())
    assert [theirs[item.prompt]["acc"] for item in items] == ours
    assert 0 < fmean(ours) < 1
    letters = [item._replace(answer=f" {letter}", ends=False) for item in items for letter in "ABCD"]
    found = [answer[0] for item in items for answer in theirs[item.prompt]["filtered_resps"]]
    assert log_likelihoods(model, tokenizer, letters) == pytest.approx(found, abs=1e-4)


def test_options_have_the_same_log_likelihoods(tmp_path, corpus, tokenizer, trained_model):
    """Answers of several tokens, of a model that is right about some."""
    items = [item for item in corpus.items() if item.split == "test" and len(item.prompt) < 12]
    items = [item._replace(options=(f"{item.answer}1", "7", "10"), ends=False) for item in items]
    items = [item for item in items if item.answer not in item.options]
    rows = [{"prompt": item.prompt, "choices": [item.answer, *item.options], "answer": 0} for item in items]
    folder, model = write_task(tmp_path / "tasks", "sums", OPTIONS_FORM, rows), trained_model.eval()

    single = [item._replace(answer=answer) for item in items for answer in (item.answer, *item.options)]
    ours = log_likelihoods(model, tokenizer, single)
    theirs = samples(folder, "sums", model, tokenizer)
    assert ours == pytest.approx([answer[0] for sample in theirs for answer in sample["filtered_resps"]], abs=1e-4)

    per_token = [
        [ours[4 * n + k] / len(tokenizer.encode(option, add_special_tokens=False)) for k, option in enumerate(options)]
        for n, options in enumerate(row["choices"] for row in rows)
    ]
    scores = choices().scores(model, choices().encode(tokenizer, items))
    assert scores == [float(right > max(wrong)) for right, *wrong in per_token]
    assert len(items) > 20 and 0.1 < fmean(scores) < 1


def test_rows_say_what_was_asked_and_how(tmp_path, tokenizer, trained_model):
    rows = [{"prompt": f"{n}+1=", "choices": [str(n + 1), "0"], "answer": 0} for n in range(8)]
    folder = write_task(tmp_path / "tasks", "one", OPTIONS_FORM, rows)
    write_task(folder, "two", OPTIONS_FORM | {"num_fewshot": 2, "fewshot_split": "test"}, rows[:4])
    write_group(folder, "both", ["one", "two"])
    found = _harness.ask(trained_model.eval(), tokenizer, _harness.load_tasks(["both"], folder), 6, batch_rows=4)
    by_task = {row["task"]: row for row in _harness.rows(found)}
    assert {name: (row["n_items"], row["part_of"]) for name, row in by_task.items()} == {
        "both": (10, None),
        "one": (6, "both"),
        "two": (4, "both"),
    }
    one, two = by_task["one"], by_task["two"]
    assert (one["metric"], one["higher_is_better"], one["task_version"], one["n_shot"]) == ("acc", True, 3, 0)
    assert two["n_shot"] == 2 and one["harness"].startswith("lm-eval ")
    assert by_task["both"]["value"] == pytest.approx((6 * one["value"] + 4 * two["value"]) / 10)
    spread = (one["value"] * (1 - one["value"]) / 5) ** 0.5
    assert one["stderr"] == pytest.approx(spread), "of a share over 6 items"
    assert json.dumps(list(by_task.values()), allow_nan=False)


def test_the_batch_changes_nothing(tmp_path, tokenizer, trained_model):
    rows = [{"prompt": f"{n}+{n}=", "choices": [str(2 * n), str(n)], "answer": 0} for n in range(9)]
    folder = write_task(tmp_path / "tasks", "sums", OPTIONS_FORM, rows)
    tasks = _harness.load_tasks(["sums"], folder)
    found = [
        _harness.rows(_harness.ask(trained_model.eval(), copy.deepcopy(tokenizer), tasks, None, batch_rows))
        for batch_rows in (1, 64)
    ]
    assert found[0] == found[1]


def test_items_longer_than_the_context_are_counted(tmp_path, tokenizer, trained_model):
    """The model reads 32 tokens: the opening one, a digit each, and no more."""
    rows = [{"prompt": "1" * digits, "choices": ["1", "2"], "answer": 0} for digits in (30, 31, 32, 60)]
    folder = write_task(tmp_path / "tasks", "long", OPTIONS_FORM, rows)
    write_group(folder, "all", ["long"])
    found = _harness.ask(trained_model.eval(), tokenizer, _harness.load_tasks(["all"], folder), None, batch_rows=4)
    assert {row["task"]: row["n_cut"] for row in _harness.rows(found)} == {"long": 2, "all": 2}


def refusal(names, folder=None) -> str:
    with pytest.raises(UserError) as raised:
        _harness.load_tasks(names, folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_items_that_are_not_there_are_named(tmp_path):
    folder = write_task(tmp_path / "tasks", "mine", OPTIONS_FORM, questions())
    write_task(folder, "away", OPTIONS_FORM | {"dataset_path": "someone/absent", "dataset_kwargs": None}, [])
    assert "benchmark 'away': " in refusal(["mine", "away"], folder)
    assert "HF_HUB_OFFLINE=0" in refusal(["away"], folder)
    (folder / "mine.jsonl").unlink()
    assert "benchmark 'mine': " in refusal(["mine"], folder) and "HF_HUB_OFFLINE" not in refusal(["mine"], folder)


def test_items_outside_the_folder_are_refused(tmp_path):
    elsewhere = write_task(tmp_path / "elsewhere", "mine", WMDP_FORM, questions()) / "mine.jsonl"
    files = {"dataset_kwargs": {"data_files": {"test": [str(elsewhere)]}}}
    folder = write_task(tmp_path / "tasks", "mine", WMDP_FORM | files, questions())
    assert "from outside its folder; put it beside the task" in refusal(["mine"], folder)


def test_a_folder_is_read_from_itself(tmp_path, monkeypatch):
    folder = write_task(tmp_path / "tasks", "mine", WMDP_FORM, questions(5))
    monkeypatch.chdir(tmp_path)
    assert len(_harness.load_tasks(["mine"], folder)["tasks"]["mine"].eval_docs) == 5


def test_a_missing_package_names_its_extra(monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "lm_eval" else find(name, *a))
    assert "need the package 'lm_eval'; install it: pip install 'undo-llm[audit]'" in refusal(["wmdp_bio"])
