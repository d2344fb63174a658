"""Batches as a pure function of (seed, step): an interrupted stage sees the same rows again."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from undo.data.corpus import Corpus
from undo.data.dataset import Domain
from undo.objectives.targets import IGNORE, next_token_targets
from undo.spec.keys import derive_seed


class TokenBatch(NamedTuple):
    """Rows of one stream: ids (B, T) and the targets aligned with the logits (B, T), `IGNORE` on padding."""

    ids: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "TokenBatch":
        """The same batch on a device."""
        return TokenBatch(self.ids.to(device), self.targets.to(device))


class Batch(NamedTuple):
    """One step's rows per domain; a stage that reads one stream leaves the other empty (None)."""

    retain: TokenBatch | None
    forget: TokenBatch | None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(*(rows.to(device) if rows is not None else None for rows in self))

    def all(self) -> TokenBatch:
        """The rows of both domains as one, retain first."""
        present = [rows for rows in self if rows is not None]
        return TokenBatch(torch.cat([rows.ids for rows in present]), torch.cat([rows.targets for rows in present]))

    def tokens(self, domain: str | None = None) -> int:
        """Targets in the batch, or in one domain of it."""
        rows = self.all() if domain is None else getattr(self, domain)
        return 0 if rows is None else int((rows.targets != IGNORE).sum())


def token_batch(rows_BT: np.ndarray, pad: int) -> TokenBatch:
    """Ids and next-token targets of packed rows; padding is no target."""
    ids_BT = torch.from_numpy(rows_BT.astype(np.int64))
    return TokenBatch(ids_BT, next_token_targets(ids_BT.masked_fill(ids_BT == pad, IGNORE)))


class Stream:
    """Endless batches of a packed array, reshuffled every epoch; a step always gets the same rows."""

    def __init__(self, rows: np.ndarray, batch_rows: int, pad: int, seed: int) -> None:
        self.rows, self.batch_rows, self.pad, self.seed = rows, batch_rows, pad, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __call__(self, step: int) -> TokenBatch:
        """The batch of a step, counted from 0."""
        first = step * self.batch_rows
        picked = [self._row(position) for position in range(first, first + self.batch_rows)]
        return token_batch(self.rows[picked], self.pad)

    def _row(self, position: int) -> int:
        epoch, place = divmod(position, len(self.rows))
        if epoch != self._epoch:
            self._order = np.random.default_rng(derive_seed(self.seed, epoch)).permutation(len(self.rows))
            self._epoch = epoch
        return int(self._order[place])


def domain_batches(
    corpus: Corpus, domains: list[Domain], role: str, batch_rows: int, seed: int
) -> Callable[[int], Batch]:
    """Batches of `batch_rows` rows in equal parts from the domains (retain, forget), by step."""
    each = batch_rows // len(domains)
    streams = {domain: _stream(corpus, domain, role, each, seed) for domain in domains}
    return lambda step: Batch(*(streams[d](step) if d in streams else None for d in ("retain", "forget")))


def adversary_batches(corpus: Corpus, skill: Domain, batch_rows: int, seed: int) -> Callable[[int], Batch]:
    """The adversary's batches: its own draws of the skill to relearn, counted as forget rows, and nothing else."""
    stream = _stream(corpus, skill, "attack", batch_rows, seed)
    return lambda step: Batch(retain=None, forget=stream(step))


def first_rows(corpus: Corpus, domain: Domain, role: str, count: int) -> TokenBatch:
    """The first rows of a stream, unshuffled, to measure on."""
    return token_batch(corpus.rows(domain, role)[:count], corpus.tokenizer.pad_token_id)


def _stream(corpus: Corpus, domain: Domain, role: str, batch_rows: int, seed: int) -> Stream:
    own_seed = derive_seed(seed, domain, role)
    return Stream(corpus.rows(domain, role), batch_rows, corpus.tokenizer.pad_token_id, own_seed)
