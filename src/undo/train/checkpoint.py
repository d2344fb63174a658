"""Checkpoints: everything the loop needs to go on to the same numbers, without pickle."""

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from undo.train.ledger import Ledger

LONG_S = 1.0  # seconds from which on the time that a write takes counts: those of gigabytes


@dataclass
class FitState:
    """Where a fit stands: steps done, rows logged, evaluations made, cost so far."""

    step: int = 0
    stopped: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    evals: list[dict[str, Any]] = field(default_factory=list)


class Checkpoints:
    """The checkpoint of one stage: a folder that is replaced as a whole, so a kill leaves the old or the new one.

    A finished write is `ready`; while it takes the place of the previous one, that one is `previous`.
    """

    def __init__(self, folder: Path, every_s: float) -> None:
        self.folder, self.every_s = folder, every_s
        self._last, self._took_s = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether `every_s` seconds have passed since the last one; long writes take at most a twentieth of it."""
        return time.monotonic() - self._last >= max(self.every_s, 20 * self._took_s)

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, state: FitState) -> None:
        """Writes the new checkpoint beside the old one, then exchanges them."""
        started = time.monotonic()
        writing, previous = self.folder.with_name("checkpoint-writing"), self.folder.with_name("checkpoint-previous")
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir(parents=True)
        save_file(_tensors(model, optimizer), writing / "state.safetensors")
        (writing / "state.json").write_text(json.dumps(asdict(state)))
        if self.folder.exists():  # otherwise a kill left the previous one alone, and it must stay until we are ready
            shutil.rmtree(previous, ignore_errors=True)
            self.folder.rename(previous)
        writing.rename(self.folder)
        shutil.rmtree(previous, ignore_errors=True)
        self._last = time.monotonic()
        self._took_s = self._last - started if self._last - started > LONG_S else 0.0

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> FitState:
        """Restores model and optimiser in place. Returns the state, a new one where there is no checkpoint."""
        folders = (self.folder, self.folder.with_name("checkpoint-previous"))
        found = next((folder for folder in folders if (folder / "state.json").exists()), None)
        if found is None:
            return FitState()
        _restore(load_file(found / "state.safetensors"), model, optimizer)
        state = FitState(**json.loads((found / "state.json").read_text()))
        state.ledger = Ledger(**state.ledger)  # type: ignore[arg-type]  # JSON holds it as a dict
        return state

    def clear(self) -> None:
        """Removes what is left once the stage is done."""
        for folder in self.folder.parent.glob("checkpoint*"):
            shutil.rmtree(folder, ignore_errors=True)


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    weights = {f"model/{name}": parameter.detach().contiguous() for name, parameter in model.named_parameters()}
    moments = {
        f"optim/{index}/{name}": value
        for index, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
    }
    return weights | moments


def _restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "optim":
            index, slot = rest.split("/")
            slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model/{name}"])
