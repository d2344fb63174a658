"""A teacher's outputs for every row of a stream, on disk.

hidden-<domain>.npy (rows, T, D), or tokens-, probabilities- (rows, T, K) and rest-<domain>.npy (rows, T)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from undo.data.batches import Batch, TokenBatch, token_batch
from undo.data.corpus import Corpus
from undo.data.dataset import Domain
from undo.objectives.divergence import TopTokens

ROWS = 32  # per pass over the teacher: always the same, so that the outputs do not depend on who asks


def write_outputs(
    corpus: Corpus, domains: list[Domain], compute: Callable[[TokenBatch], dict[str, Tensor]], folder: Path
) -> Iterator[tuple[int, int]]:
    """Writes what `compute` says of each training row, array by array; yields (rows done, rows in all)."""
    sizes = {domain: len(corpus.rows(domain, "train")) for domain in domains}
    done = 0
    for domain in domains:
        rows, files = corpus.rows(domain, "train"), {}
        for start in range(0, len(rows), ROWS):
            for name, values in compute(token_batch(rows[start : start + ROWS], corpus.pad)).items():
                array = values.cpu().numpy()
                if name not in files:
                    path, shape = folder / f"{name}-{domain}.npy", (len(rows), *array.shape[1:])
                    files[name] = np.lib.format.open_memmap(path, "w+", dtype=array.dtype, shape=shape)
                files[name][start : start + len(array)] = array
            done += min(ROWS, len(rows) - start)
            yield done, sum(sizes.values())


class TeacherOutputs:
    """Reads them back by row."""

    def __init__(self, folder: Path) -> None:
        self.arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*-*.npy")}

    def hidden(self, batch: Batch) -> Tensor:
        """The teacher's hidden states (B, T, D) for all rows of a batch, retain first."""
        return self._read("hidden", batch)

    def top(self, batch: Batch) -> TopTokens:
        """The teacher's most likely tokens (B, T, K) for all rows of a batch, retain first."""
        return TopTokens(*(self._read(name, batch) for name in TopTokens._fields))

    def _read(self, name: str, batch: Batch) -> Tensor:
        parts = [
            torch.from_numpy(self.arrays[f"{name}-{domain}"][rows.index][:, : rows.ids.shape[1]])
            for domain, rows in zip(Batch._fields, batch, strict=True)
            if rows.index is not None and len(rows.index)
        ]
        return torch.cat(parts).to(batch.retain.ids.device)
