"""What every evaluation owes."""

import json
import random
import shutil
from statistics import fmean

import pytest
import torch

from undo.data.corpus import Corpus
from undo.data.dataset import Item
from undo.evals import Evaluation, by_domain
from undo.spec.registry import load, names
from undo.stages._scoring import domain_scorer

KNOBS = {}  # knobs that have no default

every_eval = pytest.mark.parametrize("evaluation", names("evals"), indirect=True)


@pytest.fixture
def evaluation(request) -> Evaluation:
    return load("evals", request.param)(name=request.param, **KNOBS.get(request.param, {}))


def ask(evaluation, model, tokenizer, items) -> list[float]:
    """Encoded and scored."""
    return evaluation.scores(model, evaluation.encode(tokenizer, items))


@pytest.fixture(scope="session")  # trained_folder asks for it too
def corpus(corpus_folder, tmp_path_factory):
    """The corpus of every suite, whose questions have wrong answers to choose from as well."""
    folder = shutil.copytree(corpus_folder, tmp_path_factory.mktemp("corpus") / "with-options")
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    for row in rows:
        others = sorted({other["answer"] for other in rows if other["group"] == row["group"]} - {row["answer"]})
        row["options"] = others[:3]
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Corpus(folder)


@pytest.fixture(scope="module")
def items(corpus):
    """Questions of every domain, of many lengths."""
    return [item for item in corpus.items() if item.split == "test"]


@every_eval
def test_one_finite_score_per_item(evaluation, trained_model, corpus, items):
    scores = ask(evaluation, trained_model.eval(), corpus.tokenizer, items)
    assert len(scores) == len(items) and all(isinstance(score, float) for score in scores)
    if evaluation.unit == "fraction":
        assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) > 1, "the model of this test is right on some items and wrong on others"


@every_eval
def test_a_batch_scores_as_one_item_at_a_time(evaluation, trained_model, corpus, items):
    together = ask(evaluation, trained_model.eval(), corpus.tokenizer, items)
    alone = [ask(evaluation, trained_model, corpus.tokenizer, [item])[0] for item in items]
    assert together == pytest.approx(alone, abs=1e-5)


@every_eval
def test_the_order_of_the_items_does_not_matter(evaluation, trained_model, corpus, items):
    shuffled = random.Random(1).sample(range(len(items)), len(items))
    scores = ask(evaluation, trained_model.eval(), corpus.tokenizer, items)
    again = ask(evaluation, trained_model, corpus.tokenizer, [items[index] for index in shuffled])
    assert again == pytest.approx([scores[index] for index in shuffled], abs=1e-5)


@every_eval
def test_no_items_no_scores(evaluation, trained_model, corpus):
    assert ask(evaluation, trained_model, corpus.tokenizer, []) == []
    assert by_domain([], []) == {}


@every_eval
def test_the_model_is_left_as_it_was(evaluation, trained_model, corpus, items):
    before = {name: parameter.clone() for name, parameter in trained_model.named_parameters()}
    ask(evaluation, trained_model.eval(), corpus.tokenizer, items[:5])
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in trained_model.named_parameters())


@every_eval
def test_a_domain_is_the_mean_of_its_groups_and_a_group_of_its_items(evaluation, trained_model, corpus, items):
    uneven = [item for item in items if item.group != "sub"] + [item for item in items if item.group == "sub"][:3]
    scores = ask(evaluation, trained_model.eval(), corpus.tokenizer, uneven)
    found = by_domain(uneven, scores)
    groups = {(item.domain, item.group) for item in uneven}
    for domain, group in groups:
        mine = [score for item, score in zip(uneven, scores, strict=True) if item.group == group]
        assert found[f"{domain}/{group}"] == pytest.approx(fmean(mine))
    for domain in {domain for domain, _ in groups}:
        assert found[domain] == pytest.approx(fmean(found[f"{d}/{g}"] for d, g in groups if d == domain))
    assert len(found) == len(groups) + 3


@every_eval
def test_questions_are_encoded_once_and_asked_of_every_model(
    evaluation, trained_model, tiny_model, corpus, monkeypatch
):
    """A scorer is called at every evaluation point, and the scorers of stage after stage ask the same."""
    calls = []
    encode = type(evaluation).encode
    monkeypatch.setattr(type(evaluation), "encode", lambda *given: calls.append(1) or encode(*given))
    corpus = Corpus(corpus.folder)  # of this test alone: what was encoded of the shared one is kept
    score = domain_scorer(evaluation, corpus, "test", ["retain", "forget"])
    points = [score(model.eval()) for model in (trained_model, trained_model, tiny_model)]
    assert points[0] == points[1] != points[2]
    again = domain_scorer(evaluation, corpus, "test", ["retain", "forget"])(trained_model)
    assert again == points[0] and len(calls) == 1
    domain_scorer(evaluation, corpus, "test", ["retain"])(trained_model)
    assert len(calls) == 2, "other questions are encoded for themselves"


@every_eval
def test_scoring_does_not_tokenize(evaluation, trained_model, corpus, items):
    calls = []

    def tokenizer(texts, **knobs):
        calls.append(len(texts))
        return corpus.tokenizer(texts, **knobs)

    for name in ("bos_token_id", "eos_token_id", "model_max_length"):
        setattr(tokenizer, name, getattr(corpus.tokenizer, name))
    encoded = evaluation.encode(tokenizer, items)
    assert calls and len(calls) <= 2, "in one go, not item by item"
    made = len(calls)
    scores = [evaluation.scores(trained_model.eval(), encoded) for _ in range(3)]
    assert scores[0] == scores[1] == scores[2] and len(calls) == made


@every_eval
def test_metric_unit_and_direction_are_named(evaluation):
    assert evaluation.metric and evaluation.unit and isinstance(evaluation.higher_is_better, bool)
    assert type(evaluation).__doc__ and all(field.description for field in type(evaluation).model_fields.values())


@every_eval
def test_knobs_survive_json(evaluation):
    assert type(evaluation).model_validate(json.loads(evaluation.model_dump_json())) == evaluation


def exact_match(**knobs):
    return load("evals", "exact_match")(name="exact_match", **knobs)


def test_exact_match_is_greedy_generation_to_the_end_token(trained_model, corpus, items):
    tokenizer, trained_model = corpus.tokenizer, trained_model.eval()
    end, written = tokenizer.eos_token_id, []
    for item in items:
        prompt = torch.tensor([[end, *tokenizer(item.prompt)["input_ids"]]])
        length = len(tokenizer(item.answer)["input_ids"]) + 1
        output = trained_model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=length
        )
        written.append(output[0, prompt.shape[1] :].tolist() == [*tokenizer(item.answer)["input_ids"], end])
    scores = ask(exact_match(), trained_model, tokenizer, items)
    assert scores == [float(right) for right in written]
    assert 0.05 < fmean(scores) < 0.95


@pytest.mark.parametrize("batch_tokens", [1, 17, 64, 10_000])
def test_exact_match_does_not_depend_on_the_batch(trained_model, corpus, items, batch_tokens):
    expected = ask(exact_match(), trained_model.eval(), corpus.tokenizer, items)
    assert ask(exact_match(batch_tokens=batch_tokens), trained_model, corpus.tokenizer, items) == expected


class Parrot(torch.nn.Module):
    """Continues every prefix of one text by the text's next token, and asks how wide its batches are."""

    device = torch.device("cpu")

    def __init__(self, ids: list[int], vocabulary: int):
        super().__init__()
        self.ids, self.vocabulary, self.shapes = ids, vocabulary, []

    @property
    def base_model(self):
        """As of a model without a head: its logits are its own affair."""
        return self

    def forward(self, input_ids, use_cache=False):
        self.shapes.append(tuple(input_ids.shape))
        logits = torch.zeros(*input_ids.shape, self.vocabulary)
        for position in range(input_ids.shape[1]):
            logits[:, position, self.ids[min(position + 1, len(self.ids) - 1)]] = 1
        return type("Output", (), {"logits": logits})


@pytest.mark.parametrize(("answer", "score"), [("12", 1.0), ("1", 0.0), ("13", 0.0), ("122", 0.0), ("22", 0.0)])
def test_exact_match_asks_for_the_whole_answer_and_its_end(corpus, answer, score):
    """A model that writes 12 is not right about 1, nor about 122."""
    tokenizer = corpus.tokenizer
    end = tokenizer.eos_token_id
    model = Parrot([end, *tokenizer("3*4=12")["input_ids"], end], len(tokenizer))
    assert ask(exact_match(), model, tokenizer, [Item("test", "forget", "mul", "3*4=", answer)]) == [score]


def test_exact_match_keeps_to_its_batch_size(corpus, items):
    model = Parrot([1, 1], len(corpus.tokenizer))
    ask(exact_match(batch_tokens=100), model, corpus.tokenizer, items)
    assert all(rows * tokens <= 100 for rows, tokens in model.shapes)
    assert sum(rows for rows, _ in model.shapes) == len(items) and len(model.shapes) < len(items)
