"""Batches as a pure function of (seed, step): an interrupted stage sees the same rows again."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from undo.data.corpus import Corpus
from undo.data.dataset import Domain
from undo.data.packing import FIRST_PROMPT, token_ids
from undo.objectives.targets import IGNORE, next_token_targets
from undo.spec.errors import UserError
from undo.spec.keys import derive_seed


class TokenBatch(NamedTuple):
    """Rows of one stream: ids (B, T) and the targets aligned with the logits (B, T), `IGNORE` on padding.

    count is the number of targets of the whole step where these rows are a part of its batch, otherwise None; index
    says which rows of the stream's array these are, where they come from one.
    """

    ids: Tensor
    targets: Tensor
    count: Tensor | None = None
    index: np.ndarray | None = None

    def to(self, device: torch.device) -> "TokenBatch":
        """The same batch on a device; the copy to a GPU does not wait."""
        if device.type == "cpu":
            return self
        ids, targets, count = (x if x is None else x.pin_memory().to(device, non_blocking=True) for x in self[:3])
        return TokenBatch(ids, targets, count, self.index)  # type: ignore[arg-type]  # only count may be None

    def tokens(self) -> int:
        """Number of targets."""
        return int((self.targets != IGNORE).sum())

    def parts(self, number: int) -> list["TokenBatch"]:
        """The rows in so many parts (the last ones may be smaller), which remember the targets of all of them."""
        count, rows = torch.tensor(self.tokens()), len(self.ids)
        ends = [-(-rows * part // number) for part in range(number + 1)]  # as even as can be
        cuts = [slice(*ends) for ends in pairwise(ends)]
        index = [None if self.index is None else self.index[cut] for cut in cuts]
        return [TokenBatch(self.ids[c], self.targets[c], count, i) for c, i in zip(cuts, index, strict=True)]


class Batch(NamedTuple):
    """One step's rows per domain; a domain that the stage does not read has no rows."""

    retain: TokenBatch
    forget: TokenBatch

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(self.retain.to(device), self.forget.to(device))

    def all(self) -> TokenBatch:
        """The rows of both domains as one, retain first."""
        width = max((rows.ids.shape[1] for rows in self if len(rows.ids)), default=0)
        ids_BT = torch.cat([F.pad(rows.ids, (0, width - rows.ids.shape[1])) for rows in self])
        targets_BT = torch.cat([F.pad(rows.targets, (0, width - rows.targets.shape[1]), value=IGNORE) for rows in self])
        counts = self.retain.count, self.forget.count
        count = None if counts[0] is None or counts[1] is None else counts[0] + counts[1]
        return TokenBatch(ids_BT, targets_BT, count)

    def parts(self, number: int) -> list["Batch"]:
        """The step in at most so many parts, none without rows; their losses add up to that of the whole."""
        number = min(number, max(len(self.retain.ids), len(self.forget.ids)))
        return [Batch(*rows) for rows in zip(self.retain.parts(number), self.forget.parts(number), strict=True)]


def token_batch(rows_BT: np.ndarray, pad: int, index: np.ndarray | None = None) -> TokenBatch:
    """Ids and next-token targets of packed rows; prompts and padding are none, and padding of no token is read as 0."""
    ids_BT = torch.from_numpy(token_ids(rows_BT).astype(np.int64))
    read_BT = torch.from_numpy((rows_BT == pad) | (rows_BT <= FIRST_PROMPT))
    targets_BT = next_token_targets(ids_BT.masked_fill(read_BT, IGNORE))
    return TokenBatch(ids_BT.clamp(min=0), targets_BT, index=index)


class RowStream:
    """Endless batches of a packed array, reshuffled every epoch; a step always gets the same rows.

    A batch holds a row once: where there are fewer rows than `batch_rows`, it is all of them, since twice the same row
    is the same gradient at twice the price. Padding that all rows end in is cut off. One side of a `mixture` keeps its
    share of the batch instead, and repeats rows where it has too few.
    """

    def __init__(self, rows: np.ndarray, batch_rows: int, pad: int, seed: int, mixture: bool = False) -> None:
        self.rows = rows if mixture else _without_common_padding(rows, pad)
        self.batch_rows = batch_rows if mixture else min(batch_rows, len(rows))
        self.pad, self.seed = pad, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __call__(self, step: int) -> TokenBatch:
        """The batch of a step, counted from 0."""
        first = step * self.batch_rows
        picked = np.array([self._row(position) for position in range(first, first + self.batch_rows)], dtype=np.int64)
        return token_batch(self.rows[picked], self.pad, picked)

    def _row(self, position: int) -> int:
        epoch, place = divmod(position, len(self.rows))
        if epoch < self._epoch:  # an order depends on the one before it
            self._epoch, self._order = -1, np.empty(0, dtype=np.int64)
        while self._epoch < epoch:
            self._epoch += 1
            self._order = self._next_order()
        return int(self._order[place])

    def _next_order(self) -> np.ndarray:
        """The epoch's permutation, but that a batch begun in the epoch before is filled with other rows than it has."""
        drawn = np.random.default_rng(derive_seed(self.seed, self._epoch)).permutation(len(self.rows))
        begun = self._epoch * len(self.rows) % self.batch_rows
        if not begun or len(self.rows) < self.batch_rows:
            return drawn
        fresh = drawn[~np.isin(drawn, self._order[-begun:])][: self.batch_rows - begun]
        return np.concatenate([fresh, drawn[~np.isin(drawn, fresh)]])


def _without_common_padding(rows: np.ndarray, pad: int) -> np.ndarray:
    """Only the last row of a stream is padded, so this shortens a stream of one row."""
    used = np.flatnonzero((rows != pad).any(axis=0))
    return rows[:, : used[-1] + 1] if len(used) else rows


def share_rows(batch_rows: int, share: float) -> tuple[int, int]:
    """A step's rows (2 at least) in two: as near to the share as can be, but one row on each side at least."""
    first = min(max(1, round(share * batch_rows)), batch_rows - 1)
    return first, batch_rows - first


def domain_batches(
    corpus: Corpus, domains: list[Domain], role: str, batch_rows: int, seed: int, forget_share: float = 0.5
) -> Callable[[int], Batch]:
    """Batches of `batch_rows` rows of the domains (retain, forget), by step; one domain alone gets all of them."""
    forget, retain = share_rows(batch_rows, forget_share)
    rows = {"retain": retain, "forget": forget} if len(domains) > 1 else {domains[0]: batch_rows}
    mixture = len(domains) > 1
    streams = {domain: _stream(corpus, domain, role, rows[domain], seed, mixture) for domain in domains}
    none = _no_rows(corpus)
    retain, forget = (streams.get(domain, lambda step: none) for domain in ("retain", "forget"))
    return lambda step: Batch(retain(step), forget(step))


class Labels(NamedTuple):
    """Shares of the training rows that are labelled, and the share of the forget labels that are right."""

    forget: float
    retain: float
    precision: float


def labelled_batches(corpus: Corpus, batch_rows: int, seed: int, labels: Labels) -> Callable[[int], Batch]:
    """Batches of `batch_rows` labelled rows per domain.

    Wrong forget labels stand on rows of the retain stream's end, which no label calls retain. Raises UserError where
    they would take all of it.
    """
    retain, forget = (corpus.rows(domain, "train") for domain in ("retain", "forget"))
    labelled = max(1, round(labels.forget * len(forget)))
    right = max(1, round(labels.precision * labelled))
    others = len(retain) - (labelled - right)
    if others < 1:
        what = f"label_precision {labels.precision:g}: {labelled - right} wrong labels need as many rows to keep"
        raise UserError(f"{what}, and one more; there are {len(retain)}")
    rows = {
        "retain": retain[: max(1, min(others, round(labels.retain * len(retain))))],
        "forget": np.concatenate([forget[:right], retain[others:]]),
    }
    streams = [
        RowStream(rows[domain], batch_rows, corpus.pad, derive_seed(seed, domain, "train")) for domain in Batch._fields
    ]
    return lambda step: Batch(*(stream(step) for stream in streams))


def filtered_batches(
    corpus: Corpus,
    domains: list[Domain],
    loss_of: Callable[[TokenBatch], Tensor],
    share: float,
    batch_rows: int,
    seed: int,
) -> Callable[[int], Batch]:
    """Batches of the share of the domains' rows whose loss (B) is lowest, whatever their label; all count as retain."""
    rows = np.concatenate([corpus.rows(domain, "train") for domain in domains])
    parts = [token_batch(rows[start : start + 64], corpus.pad) for start in range(0, len(rows), 64)]
    order = torch.cat([loss_of(part).cpu() for part in parts]).argsort(stable=True).numpy()
    kept = rows[np.sort(order[: max(1, round(share * len(rows)))])]
    stream, none = RowStream(kept, batch_rows, corpus.pad, derive_seed(seed, "filtered")), _no_rows(corpus)
    return lambda step: Batch(retain=stream(step), forget=none)


def adversary_batches(corpus: Corpus, skill: Domain, batch_rows: int, seed: int) -> Callable[[int], Batch]:
    """The adversary's batches: its own draws of the skill to relearn, counted as forget rows, and nothing else."""
    stream = _stream(corpus, skill, "attack", batch_rows, seed)
    none = _no_rows(corpus)
    return lambda step: Batch(retain=none, forget=stream(step))


def mixed_adversary_batches(
    corpus: Corpus, rows: tuple[int, int], skill: Domain, other: Domain, seed: int
) -> Callable[[int], Batch]:
    """The adversary's draws of the skill, counted as forget rows, and of another domain; `rows` says how many each."""
    none = _no_rows(corpus)
    forget, retain = (
        _stream(corpus, domain, "attack", count, seed, mixture=all(rows)) if count else lambda step: none
        for domain, count in zip((skill, other), rows, strict=True)
    )
    return lambda step: Batch(retain=retain(step), forget=forget(step))


def text_batches(corpus: Corpus, texts: list[str], batch_rows: int, seed: int) -> Callable[[int], Batch]:
    """Batches of texts of one's own, packed like the corpus and counted as forget rows."""
    stream, none = RowStream(corpus.pack(texts), batch_rows, corpus.pad, derive_seed(seed, "texts")), _no_rows(corpus)
    return lambda step: Batch(retain=none, forget=stream(step))


def first_rows(corpus: Corpus, domain: Domain, role: str, count: int) -> TokenBatch:
    """The first rows of a stream, unshuffled, to measure on."""
    return token_batch(corpus.rows(domain, role)[:count], corpus.pad)


def _no_rows(corpus: Corpus) -> TokenBatch:
    return token_batch(np.empty((0, corpus.tokenizer.model_max_length), dtype=np.int32), corpus.pad)


def _stream(corpus: Corpus, domain: Domain, role: str, batch_rows: int, seed: int, mixture: bool = False) -> RowStream:
    own_seed = derive_seed(seed, domain, role)
    return RowStream(corpus.rows(domain, role), batch_rows, corpus.pad, own_seed, mixture)
