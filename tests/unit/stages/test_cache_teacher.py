"""A teacher's outputs on disk say what the live teacher would, row by row."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from undo import data, models, stages
from undo.stages import Context

DOMAINS = ["retain", "forget"]
VOCABULARY = 300
SETTINGS = {
    "model": {"width": 16, "layers": 2, "heads": 2, "mlp_width": 32},
    "evaluation": {"name": "exact_match"},
    "seed": 1,
    "init": "fresh",
    "domains": DOMAINS,
    "batch_rows": 8,
    "optim": {"learning_rate": 3e-3},
    "stop": {"max_gap": 0.0, "check_every": 10, "max_steps": 10},
}


@pytest.fixture
def taught(corpus_folder, trained_folder, tmp_path):
    """A function from the number of tokens kept to the finished stage's folder and outcome."""

    def run(top_k: int | None, domains=DOMAINS):
        folder = tmp_path / f"taught-{top_k}"
        folder.mkdir()
        told = []
        inputs = {"data": corpus_folder, "model": trained_folder}
        context = Context(folder, inputs, lambda *now: told.append(now), 1e9)
        return folder, stages.run("cache_teacher", {"domains": domains, "top_k": top_k}, context), told

    return run


@pytest.fixture
def distilled(corpus_folder, trained_folder, tmp_path):
    """A function from settings and outputs to the student and the outcome of its stage."""

    def run(outputs=None, **others):
        folder = tmp_path / f"student-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        inputs = {"data": corpus_folder, "model": trained_folder} | ({"outputs": outputs} if outputs else {})
        outcome = stages.run("distil", {**SETTINGS, **others}, Context(folder, inputs, lambda *_: None, 1e9))
        return models.load_model(folder / "model"), outcome

    return run


def own_probabilities(model, rows) -> torch.Tensor:
    with torch.no_grad():
        return F.softmax(model.eval()(input_ids=rows.ids).logits, -1)


def losses(outcome) -> list[float]:
    return [row["loss"] for row in outcome.metrics]


def furthest(first, second) -> float:
    return max((p - second.get_parameter(name)).abs().max().item() for name, p in first.named_parameters())


def test_a_student_of_exact_outputs_is_that_of_the_live_teacher(taught, distilled):
    """Not bit for bit: the teacher reads 32 rows at a time here and the student's 8 there, and products of other shapes
    are summed in another order. Ten steps of 3e-3 move a weight by up to 3e-2."""
    live, live_outcome = distilled()
    cached, outcome = distilled(taught(None)[0], teacher_cache={"top_k": None})
    assert losses(outcome) == pytest.approx(losses(live_outcome), abs=2e-6)
    assert furthest(live, cached) < 1e-4


def test_exact_outputs_of_the_same_rows_at_a_time_are_bit_for_bit(taught, corpus, trained_model):
    folder, _, _ = taught(None)
    for domain in DOMAINS:
        rows = data.first_rows(corpus, domain, "train", 32)
        with torch.inference_mode():
            hidden = models.predict(trained_model.eval(), rows).hidden
        assert np.array_equal(np.load(folder / f"hidden-{domain}.npy")[:32], hidden.numpy())


def test_a_student_of_every_token_is_nearly_that_of_the_live_teacher(taught, distilled):
    live, live_outcome = distilled()
    cached, outcome = distilled(taught(VOCABULARY)[0], teacher_cache={"top_k": VOCABULARY})
    assert losses(outcome) == pytest.approx(losses(live_outcome), abs=5e-6)
    assert furthest(live, cached) < 1e-3


def test_a_student_of_few_tokens_learns_too_but_is_another(taught, distilled):
    live, live_outcome = distilled()
    cached, outcome = distilled(taught(2)[0], teacher_cache={"top_k": 2})
    assert furthest(live, cached) > 1e-3
    assert losses(outcome)[0] < losses(live_outcome)[0] and losses(outcome)[-1] < losses(outcome)[0]


@pytest.mark.parametrize("top_k", [1, 5])
def test_top_tokens_keep_the_teachers_own_probabilities(taught, corpus, trained_model, top_k):
    folder, _, _ = taught(top_k)
    for domain in DOMAINS:
        expected = own_probabilities(trained_model, data.first_rows(corpus, domain, "train", 10**6))
        found = {
            name: torch.from_numpy(np.load(folder / f"{name}-{domain}.npy"))
            for name in ("tokens", "probabilities", "rest")
        }
        assert found["probabilities"].shape == (*expected.shape[:2], top_k)
        own = expected.gather(-1, found["tokens"].long())
        torch.testing.assert_close(found["probabilities"], own, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(own, expected.topk(top_k).values, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found["rest"], 1 - own.sum(-1), rtol=0, atol=1e-5)
        assert found["rest"].mean() > 0.02, "nothing is renormalised: the rest keeps its share"


@pytest.mark.parametrize("top_k", [None, 3])
def test_outputs_are_read_back_by_row(taught, corpus, trained_model, top_k):
    """The rows of a batch are shuffled, from two arrays and, where they are parts of a step, cut."""
    outputs = data.TeacherOutputs(taught(top_k)[0])
    whole = data.domain_batches(corpus, DOMAINS, "train", 12, seed=9)(7)
    for batch in (whole, *whole.parts(2)):
        expected = own_probabilities(trained_model, batch.all())
        if top_k is None:
            with torch.no_grad():
                found = F.softmax(trained_model.lm_head(outputs.hidden(batch)), -1)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        else:
            found = outputs.top(batch)
            assert found.rest.shape == expected.shape[:2]
            own = expected.gather(-1, found.tokens.long())
            torch.testing.assert_close(found.probabilities, own, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("top_k", [None, 3])
def test_a_stream_of_retain_rows_alone_has_outputs_of_them_alone(taught, corpus, top_k):
    folder, _, _ = taught(top_k, ["retain"])
    assert {path.stem.split("-")[1] for path in folder.glob("*.npy")} == {"retain"}
    batch = data.domain_batches(corpus, ["retain"], "train", 6, seed=9)(1)
    outputs = data.TeacherOutputs(folder)
    read = outputs.hidden(batch) if top_k is None else outputs.top(batch).tokens
    name = "hidden" if top_k is None else "tokens"
    assert np.array_equal(read.numpy(), np.load(folder / f"{name}-retain.npy")[batch.retain.index])


@pytest.mark.parametrize("top_k", [None, 3])
def test_the_outputs_of_every_row_are_written_once_told_and_paid_for(taught, corpus, top_k):
    folder, outcome, told = taught(top_k)
    sizes = {domain: len(corpus.rows(domain, "train")) for domain in DOMAINS}
    for path in folder.glob("*.npy"):
        assert len(np.load(path)) == sizes[path.stem.split("-")[1]]
    rows = sum(sizes.values())
    assert told[-1] == (rows, rows, None) and [now[0] for now in told] == sorted(now[0] for now in told)
    head = 16 * VOCABULARY if top_k else 0  # hidden states become logits, and are paid for, in the student's step
    weights = 2 * (4 * 16**2 + 3 * 16 * 32) + head
    assert outcome.ledger.forward_flops == rows * (2 * 32 * weights + 2 * 4 * 32**2 * 16)
    assert outcome.ledger.backward_flops == 0 and outcome.ledger.wall_s > 0
    json.dumps(outcome.ledger.as_row())


@pytest.mark.parametrize(("steps", "read"), [(3, 24), (30, None)])
def test_a_student_says_which_share_of_the_stream_it_has_read(taught, distilled, corpus, steps, read):
    """By rows: prompts are read too, though they are no targets."""
    rows = sum(len(corpus.rows(domain, "train")) for domain in DOMAINS)
    _, outcome = distilled(taught(None)[0], teacher_cache={"top_k": None}, steps=steps)
    assert outcome.evals["share_read"] == (read or rows) / rows


def test_outputs_are_read_without_pickle(tmp_path):
    np.save(tmp_path / "hidden-retain.npy", np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"allow_pickle|Python objects"):
        data.TeacherOutputs(tmp_path)
