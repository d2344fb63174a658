import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undo import data
from undo.data.batches import Batch, RowStream, token_batch
from undo.data.tokenizer import NO_TOKEN
from undo.objectives import IGNORE
from undo.spec.errors import UserError

PAD, END = 0, 1


def numbered(count: int) -> np.ndarray:
    """Rows that hold their own number."""
    return np.arange(2, count + 2, dtype=np.int32).repeat(2).reshape(count, 2)


def seen(stream: RowStream, steps) -> list[int]:
    return [row for step in steps for row in stream(step).ids[:, 0].tolist()]


@given(rows=st.integers(1, 9), batch_rows=st.integers(1, 12), steps=st.lists(st.integers(0, 20), min_size=1))
def test_a_batch_depends_on_seed_and_step_alone(rows, batch_rows, steps):
    used = RowStream(numbered(rows), batch_rows, PAD, seed=7)
    for step in steps:
        fresh = RowStream(numbered(rows), batch_rows, PAD, seed=7)
        assert torch.equal(used(step).ids, fresh(step).ids)


@given(rows=st.integers(1, 9), batch_rows=st.integers(1, 12))
def test_every_epoch_visits_every_row_once(rows, batch_rows):
    epochs = 3
    steps = -(-rows * epochs // min(rows, batch_rows))
    order = seen(RowStream(numbered(rows), batch_rows, PAD, seed=7), range(steps))
    for epoch in range(epochs):
        assert sorted(order[epoch * rows : (epoch + 1) * rows]) == list(range(2, rows + 2))


@given(rows=st.integers(1, 40), batch_rows=st.integers(1, 12), seed=st.integers(0, 5))
def test_a_batch_holds_no_row_twice(rows, batch_rows, seed):
    """Of fewer rows than asked for it is all of them, and where an epoch ends in a batch the next one begins apart."""
    stream = RowStream(numbered(rows), batch_rows, PAD, seed)
    for step in range(60):
        drawn = stream(step).ids[:, 0].tolist()
        assert len(drawn) == len(set(drawn)) == min(rows, batch_rows)


def test_one_side_of_a_mixture_keeps_its_share_by_repeating_rows():
    stream = RowStream(numbered(3), 8, PAD, seed=7, mixture=True)
    assert sorted(seen(stream, range(3))) == sorted([2, 3, 4] * 8)


def test_padding_that_every_row_ends_in_is_cut_off():
    """The adversary's few facts are one row, half of it padding."""
    short = np.array([[5, 6, END, PAD, PAD, PAD]], dtype=np.int32)
    batch = RowStream(short, 8, PAD, seed=1)(0)
    assert batch.ids.tolist() == [[5, 6, END]] and batch.tokens() == 2
    both = np.array([[5, 6, END, 7, 8, END], [5, END, PAD, PAD, PAD, PAD]], dtype=np.int32)
    assert RowStream(both, 8, PAD, seed=1)(0).ids.shape == (2, 6)
    none = token_batch(np.empty((0, 6), dtype=np.int32), PAD)
    assert Batch(none, batch).all().ids.tolist() == [[5, 6, END]]
    other = token_batch(np.array([[9, 9, 9, 9, 9, END]], dtype=np.int32), PAD)
    rows = Batch(other, batch).all()
    assert rows.ids.shape == (2, 6) and rows.targets[1].tolist() == [6, END, IGNORE, IGNORE, IGNORE, IGNORE]
    assert rows.tokens() == batch.tokens() + other.tokens()


def test_epochs_and_seeds_have_orders_of_their_own():
    first, second = (seen(RowStream(numbered(50), 50, PAD, seed=7), [epoch]) for epoch in (0, 1))
    other = seen(RowStream(numbered(50), 50, PAD, seed=8), [0])
    assert first != second and first != other and first != list(range(2, 52))


def test_padding_is_no_target_but_ends_are():
    rows = token_batch(np.array([[5, END, 6, END], [7, END, PAD, PAD]], dtype=np.int32), PAD)
    assert rows.ids.tolist() == [[5, END, 6, END], [7, END, PAD, PAD]]
    assert rows.targets.tolist() == [[END, 6, END, IGNORE], [END, IGNORE, IGNORE, IGNORE]]
    assert rows.ids.dtype == rows.targets.dtype == torch.int64


def test_targets_are_counted_not_tokens():
    assert token_batch(np.array([[5, END, PAD], [6, 7, END]], dtype=np.int32), PAD).tokens() == 3


def test_all_rows_are_retain_first():
    retain, forget = (token_batch(np.full((1, 2), token, dtype=np.int32), PAD) for token in (3, 4))
    rows = Batch(retain, forget).all()
    assert rows.ids.tolist() == [[3, 3], [4, 4]] and rows.targets.tolist() == [[3, IGNORE], [4, IGNORE]]


def test_domains_share_the_rows_of_a_batch_equally(corpus):
    batch = data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=1)(0)
    assert batch.retain.ids.shape == batch.forget.ids.shape == (4, 32)
    alone = data.domain_batches(corpus, ["retain"], "train", 8, seed=1)(0)
    assert alone.retain.ids.shape == (8, 32) and alone.forget.ids.shape == (0, 32)
    assert torch.equal(alone.all().ids, alone.retain.ids)


@pytest.mark.parametrize("domain", ["retain", "forget"])
def test_training_reads_the_rows_of_its_domains(corpus, domain):
    rows = {tuple(row) for row in corpus.rows(domain, "train").tolist()}
    batch_at = data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=1)
    drawn = [tuple(row) for step in range(30) for row in getattr(batch_at(step), domain).ids.tolist()]
    assert set(drawn) == rows


@pytest.mark.parametrize("skill", ["forget", "neutral"])
def test_the_adversary_reads_its_own_draws_of_the_skill_and_nothing_else(corpus, skill):
    rows = {tuple(row) for row in corpus.rows(skill, "attack").tolist()}
    batch_at = data.adversary_batches(corpus, skill, 4, seed=1)
    for step in range(30):
        batch = batch_at(step)
        assert len(batch.retain.ids) == 0
        assert {tuple(row) for row in batch.forget.ids.tolist()} <= rows


def test_first_rows_are_unshuffled(corpus):
    expected = corpus.rows("retain", "attack")[:5]
    assert data.first_rows(corpus, "retain", "attack", 5).ids.numpy().tolist() == expected.tolist()


@given(rows=st.integers(1, 9), number=st.integers(1, 6))
def test_parts_hold_every_row_once_and_the_count_of_the_whole(rows, number):
    batch = RowStream(numbered(9), rows, PAD, seed=7)(3)
    batch.targets[0] = IGNORE
    parts = batch.parts(number)
    assert len(parts) == number
    assert torch.equal(torch.cat([part.ids for part in parts]), batch.ids)
    assert torch.equal(torch.cat([part.targets for part in parts]), batch.targets)
    assert np.concatenate([part.index for part in parts]).tolist() == batch.index.tolist()
    assert all(part.count.item() == batch.tokens() == rows - 1 for part in parts)
    assert batch.count is None


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_parts_of_a_step_hold_every_row_of_both_domains_once(corpus, number):
    batch = data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=1)(2)
    parts = batch.parts(number)
    for domain in Batch._fields:
        whole = getattr(batch, domain)
        assert torch.equal(torch.cat([getattr(part, domain).ids for part in parts]), whole.ids)
        assert {getattr(part, domain).count.item() for part in parts} == {whole.tokens()}
    assert {part.all().count.item() for part in parts} == {batch.all().tokens()}
    assert batch.all().count is None


def test_no_part_of_a_step_is_empty_where_there_are_rows_enough(corpus):
    batch = data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=1)(0)
    assert [len(part.retain.ids) for part in batch.parts(3)] == [2, 1, 1]


def test_a_domain_without_rows_has_parts_without_rows(corpus):
    batch = data.domain_batches(corpus, ["retain"], "train", 4, seed=1)(0)
    assert [(len(part.retain.ids), len(part.forget.ids)) for part in batch.parts(2)] == [(2, 0), (2, 0)]
    assert {part.forget.count.item() for part in batch.parts(2)} == {0}


def test_a_batch_knows_which_rows_of_its_stream_it_holds(corpus):
    batch = data.domain_batches(corpus, ["retain", "forget"], "train", 8, seed=1)(5)
    for domain in Batch._fields:
        rows = getattr(batch, domain)
        assert rows.ids.tolist() == corpus.rows(domain, "train")[rows.index].tolist()
        assert rows.index.tolist() != sorted(rows.index), "a shuffled batch, or this test says nothing"


def test_a_step_is_never_cut_into_parts_without_rows():
    retain, forget = (token_batch(numbered(count), PAD) for count in (2, 3))
    parts = Batch(retain, forget).parts(8)
    assert [len(part.all().ids) for part in parts] == [2, 2, 1]
    none = token_batch(numbered(0), PAD)
    assert len(Batch(none, forget).parts(8)) == 3


@pytest.mark.parametrize(
    ("share", "retain", "precision"),
    [(1, 1, 1), (0.5, 0.5, 1), (0.5, 0.5, 0.6), (0.01, 0.01, 0.5), (0.01, 1, 1), (0.5, 1, 0.5)],
)
def test_labelled_batches_hold_the_labelled_shares_and_the_wrong_labels(corpus, share, retain, precision):
    rows = {domain: len(corpus.rows(domain, "train")) for domain in ("retain", "forget")}
    labelled = max(1, round(share * rows["forget"]))
    batches = data.labelled_batches(corpus, 4, 1, data.Labels(share, retain, precision))
    seen = {"retain": set(), "forget": set()}
    for step in range(-(-rows["retain"] // 4) + 1):
        for domain, part in zip(seen, batches(step), strict=True):
            seen[domain] |= {tuple(row) for row in part.ids.tolist()}
    of = {domain: {tuple(row) for row in corpus.rows(domain, "train").tolist()} for domain in seen}
    wrong = labelled - max(1, round(precision * labelled))
    kept = min(max(1, round(retain * rows["retain"])), rows["retain"] - wrong)
    assert len(seen["retain"]) == kept and seen["retain"] <= of["retain"] - seen["forget"]
    assert seen["forget"] - of["retain"] <= of["forget"] and len(seen["forget"] & of["retain"]) == wrong


def test_wrong_labels_that_would_take_all_of_the_retain_rows_are_refused(corpus, monkeypatch):
    """The shares that were asked for cannot be had; some others would be a result of another question."""
    few, all_of_them = corpus.rows("retain", "train")[:3], corpus.rows("forget", "train")
    monkeypatch.setattr(type(corpus), "rows", lambda self, domain, role: few if domain == "retain" else all_of_them)
    with pytest.raises(UserError, match=r"label_precision 0.5: \d+ wrong labels need as many rows to keep, .* are 3$"):
        data.labelled_batches(corpus, 4, 1, data.Labels(1.0, 1.0, 0.5))


def test_filtered_batches_hold_the_rows_of_lowest_loss_whatever_their_domain(corpus):
    """A judge that finds forget rows unlikely keeps retain rows alone."""
    forget = {tuple(row) for row in corpus.rows("forget", "train").tolist()}

    def loss_of(rows):
        return torch.tensor([float(tuple(row) in forget) for row in rows.ids.tolist()])

    count = len(corpus.rows("retain", "train"))
    share = count / (count + len(forget))
    batches = data.filtered_batches(corpus, ["retain", "forget"], loss_of, share, 4, seed=1)
    seen = {tuple(row) for step in range(-(-count // 4)) for row in batches(step).all().ids.tolist()}
    assert seen == {tuple(row) for row in corpus.rows("retain", "train").tolist()}


@pytest.mark.parametrize(("share", "forget"), [(0.5, 8), (1 / 16, 1), (0.01, 1), (0.25, 4), (0.99, 15)])
def test_a_mixed_batch_holds_its_share_of_forget_rows_and_at_least_one(corpus, share, forget):
    batch = data.domain_batches(corpus, ["retain", "forget"], "train", 16, 1, share)(0)
    assert (len(batch.retain.ids), len(batch.forget.ids)) == (16 - forget, forget)
    alone = data.domain_batches(corpus, ["retain"], "train", 16, 1, share)(0)
    assert (len(alone.retain.ids), len(alone.forget.ids)) == (16, 0)


def test_what_fills_a_row_without_being_a_token_is_no_target_whatever_the_real_tokens_are():
    """The end token of a foreign tokenizer may be its padding too: the place decides, and real ends are learnt."""
    rows = token_batch(np.array([[5, END, 6, END], [0, END, NO_TOKEN, NO_TOKEN]], dtype=np.int32), NO_TOKEN)
    assert rows.targets.tolist() == [[END, 6, END, IGNORE], [END, IGNORE, IGNORE, IGNORE]]
    assert rows.ids.min() == 0 and rows.tokens() == 4
