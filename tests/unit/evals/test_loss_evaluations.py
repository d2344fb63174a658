"""Cross-entropy and multiple choice against their dense definitions, one item at a time."""

import pytest
import torch
import torch.nn.functional as F

from undo.data.dataset import Item
from undo.evals.cross_entropy import CrossEntropy
from undo.evals.exact_match import ExactMatch
from undo.evals.multiple_choice import MultipleChoice
from undo.objectives import predictions
from undo.spec.errors import UserError

ITEMS = [
    ("3*4=", "12"),
    ("", "Ann has 3 pens"),
    ("Ann has 3 pens", " and gets 2 more: 5"),
    ("7 pens plus 2 pens makes ", "9"),
    ("1+1=", "2"),
]


def item(prompt, answer, options=()):
    return Item("test", "retain", "any", prompt, answer, tuple(options))


def scores(evaluation, model, tokenizer, items):
    return evaluation.scores(model.eval(), evaluation.encode(tokenizer, items))


@torch.no_grad()
def dense_losses(model, tokenizer, prompt, answer, ends):
    """(N) F.cross_entropy of the answer's tokens, on the logits of the whole text."""
    end = tokenizer.eos_token_id
    before = [end, *tokenizer(prompt)["input_ids"]]
    ids = torch.tensor([before + tokenizer(answer)["input_ids"] + [end] * ends])
    logits = model.eval()(input_ids=ids).logits[0, len(before) - 1 : -1]
    return F.cross_entropy(logits, ids[0, len(before) :], reduction="none")


@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
@pytest.mark.parametrize("chunk", [1, 2**24])
def test_cross_entropy_is_the_mean_loss_of_answer_and_end(trained_model, corpus, batch_tokens, chunk, monkeypatch):
    monkeypatch.setattr(predictions, "CHUNK_ROWS", 1)
    monkeypatch.setitem(predictions.CHUNK_ENTRIES, "cpu", chunk)
    evaluation = CrossEntropy(name="cross_entropy", batch_tokens=batch_tokens)
    found = scores(evaluation, trained_model, corpus.tokenizer, [item(*texts) for texts in ITEMS])
    expected = [dense_losses(trained_model, corpus.tokenizer, *texts, ends=True).mean().item() for texts in ITEMS]
    assert found == pytest.approx(expected, abs=1e-5)


def test_lower_is_better_in_nats():
    assert CrossEntropy.higher_is_better is False and CrossEntropy.unit == "nats per token"


@pytest.mark.parametrize("evaluation", [CrossEntropy(name="cross_entropy"), ExactMatch(name="exact_match")])
@pytest.mark.parametrize(("prompt", "answer"), [("7+", "1+" * 50), ("1+" * 50, "7"), ("", "1+" * 200)])
def test_a_text_beyond_the_context_is_cut(trained_model, corpus, evaluation, prompt, answer):
    limit = corpus.tokenizer.model_max_length
    (questions,) = evaluation.encode(corpus.tokenizer, [item(prompt, answer)])
    assert questions.rows.ids.shape == (1, limit)
    assert questions.rows.ids[0, 0] == corpus.tokenizer.eos_token_id, "opened by the end token"
    asked = (questions.rows.targets >= 0).sum()
    assert asked == min(len(corpus.tokenizer(answer, verbose=False)["input_ids"]) + 1, limit - 1), "the answer stays"
    (score,) = evaluation.scores(trained_model.eval(), [questions])
    assert 0 <= score < 50


def test_of_a_long_prompt_the_end_is_kept(trained_model, corpus):
    """What stands right before the answer says most about it."""
    limit = corpus.tokenizer.model_max_length
    kept = limit - 3  # opening token, one answer token, end token
    evaluation = CrossEntropy(name="cross_entropy")
    (long,) = scores(evaluation, trained_model, corpus.tokenizer, [item("5+" * 50, "7")])
    (short,) = scores(evaluation, trained_model, corpus.tokenizer, [item(("5+" * 50)[-kept:], "7")])
    assert long == pytest.approx(short, abs=1e-6)


CHOICES = [
    ("3*4=", "12", ("13", "7")),
    ("", "Ann has 3 pens", ("Tom has 3 keys", "Eva", "Ben has 22 nuts and")),
    ("7 pens plus 2 pens makes ", "9", ("19", "2", "99")),
]


def choice(**knobs):
    return MultipleChoice(name="multiple_choice", **knobs)


@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
def test_multiple_choice_compares_mean_losses_of_the_answers_alone(trained_model, corpus, batch_tokens):
    """Every option stands in once for the right answer, so that both scores occur."""
    items, expected = [], []
    for prompt, answer, options in CHOICES:
        answers = [answer, *options]
        losses = [dense_losses(trained_model, corpus.tokenizer, prompt, a, ends=False).mean().item() for a in answers]
        for index, right in enumerate(answers):
            items.append(item(prompt, right, answers[:index] + answers[index + 1 :]))
            expected.append(float(losses[index] == min(losses)))
    assert scores(choice(batch_tokens=batch_tokens), trained_model, corpus.tokenizer, items) == expected
    assert sum(expected) == len(CHOICES)


class Even(torch.nn.Module):
    """Finds every token equally likely, so that no answer is likelier than another."""

    device = torch.device("cpu")
    base_model = property(lambda self: self)

    def forward(self, input_ids, use_cache=False):
        return type("Output", (), {"logits": torch.zeros(*input_ids.shape, 300)})


def test_a_tie_is_not_right(corpus):
    items = [item("1+1=", "2", ("3",)), item("1+1=", "22", ("3", "4"))]
    assert scores(choice(), Even(), corpus.tokenizer, items) == [0.0, 0.0]


def test_questions_without_options_are_refused(corpus):
    with pytest.raises(UserError, match="have none"):
        choice().encode(corpus.tokenizer, [item("1+1=", "2", ("3",)), item("1+1=", "2")])


def test_options_beyond_the_context_are_cut(trained_model, corpus):
    long = item("1+" * 50, "7", ("1+" * 60, "8"))
    assert scores(choice(), trained_model, corpus.tokenizer, [long])[0] in (0.0, 1.0)


def test_the_end_is_asked_for_where_the_text_ends(trained_model, corpus):
    whole = item("3*4=", "12")
    found = scores(CrossEntropy(name="cross_entropy"), trained_model, corpus.tokenizer, [whole._replace(ends=False)])
    expected = dense_losses(trained_model, corpus.tokenizer, "3*4=", "12", ends=False).mean().item()
    assert found == pytest.approx([expected], abs=1e-5)
