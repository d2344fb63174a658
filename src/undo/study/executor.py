"""Runs the stages of a plan whose artifact is missing, siblings side by side on worker processes."""

import json
import math
import queue
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from undo.spec.errors import UserError
from undo.study import child
from undo.study.artifacts import Store
from undo.study.early_warnings import nothing_to_find, warnings
from undo.study.plan import Plan, Stage

WORKER_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # every input of a stage is a local folder
    # glibc gives large buffers back after every step and faults them in again; keeping them saves 7 % of a step
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "67108864",
}


class Listener:
    """What a face of the tool is told while a study runs. It does nothing with it: subclasses do."""

    def started(self, stage: Stage) -> None:
        """A stage began."""

    def progressed(self, stage: Stage, step: int, steps: int, loss: float | None) -> None:
        """A stage has done some steps."""

    def finished(self, stage: Stage) -> None:
        """A stage is complete."""

    def failed(self, stage: Stage, message: str) -> None:
        """A stage failed; its siblings go on."""

    def noted(self, message: str) -> None:
        """Something worth a line."""


@dataclass
class Worker:
    """A worker process, and the stage it is on."""

    process: subprocess.Popen
    stage: Stage | None = None


@dataclass
class Execution:
    """One execution of a plan."""

    plan: Plan
    store: Store
    workers: int
    listener: Listener
    threads: int = 1
    failures: dict[str, str] = field(default_factory=dict)
    cached: int = 0
    warned: set[tuple[str, str]] = field(default_factory=set)

    def run(self) -> dict[str, str]:
        """Runs what is missing. Returns the failed stages with their messages.

        Raises UserError where only the user can help (a full disk, a setting that does not fit the model).
        """
        self._discard_corrupted()
        self.waiting = {id: stage for id, stage in self.plan.stages.items() if not self.store.done(id)}
        self.cached = len(self.plan.stages) - len(self.waiting)
        self.events: queue.Queue[tuple[Worker, dict[str, Any]]] = queue.Queue()
        self.order = _order(self.plan)
        self._refuse_nothing_to_find()
        processes: list[Worker] = []
        try:
            self._start_ready(processes)
            while any(worker.stage for worker in processes):  # what waits when nobody works needs a failed stage
                if self._on_message(*self.events.get(), processes):
                    self._start_ready(processes)
        finally:
            for worker in processes:
                worker.process.kill()
                worker.process.wait()
        return self.failures

    def _discard_corrupted(self) -> None:
        for stage in self.plan.stages.values():
            if self.store.done(stage.id) and (bad := self.store.corrupted(stage.id)):
                what = f"artifact {stage.id} ({stage.label}) is corrupted: {bad} does not match its checksum"
                self.listener.noted(f"{what}; computing it again")
                self.store.discard(stage.id)

    def _start_ready(self, processes: list[Worker]) -> None:
        ready = [stage for stage in self.waiting.values() if self._may_start(stage)]
        for stage in sorted(ready, key=lambda stage: self.order[stage.id]):
            worker = next((worker for worker in processes if worker.stage is None), None)
            if worker is None and len(processes) < self.workers:
                worker = self._start_worker()
                processes.append(worker)
            if worker is None:
                return
            self._give(worker, stage)

    def _may_start(self, stage: Stage) -> bool:
        """Whether its inputs are there; what costs much waits until the given model is known to know the texts."""
        knower = self.plan.knower()
        if knower and stage.settings.traits.costly and not self.store.done(knower.evaluation):
            return False
        return all(map(self.store.done, stage.inputs.values()))

    def _refuse_nothing_to_find(self) -> None:
        if reason := nothing_to_find(self.plan, self.store):
            raise UserError(reason)

    def _start_worker(self) -> Worker:
        environment = child.environment(WORKER_ENVIRONMENT) | {"OMP_NUM_THREADS": str(self.threads)}
        log = open(self.store.root.parent / "worker.log", "ab")  # noqa: SIM115  # the process keeps it
        process = subprocess.Popen(
            child.command("undo.study.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us alone; we end the workers
        )
        log.close()
        worker = Worker(process)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    def _listen(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            self.events.put((worker, json.loads(line)))
        self.events.put((worker, {"event": "died"}))

    def _give(self, worker: Worker, stage: Stage) -> None:
        del self.waiting[stage.id]
        worker.stage = stage
        job = {
            "id": stage.id,
            "kind": stage.kind,
            "label": stage.label,
            "settings": stage.settings.model_dump(mode="json"),
            "inputs": stage.inputs,
            "version": stage.settings.traits.version,
            "folder": str(self.store.folder(stage.id)),
            "input_folders": stage.external_inputs
            | {role: str(self.input_folder(id)) for role, id in stage.inputs.items()},
            "checkpoint_seconds": self.plan.recipe.checkpoint_seconds,
        }
        assert worker.process.stdin is not None
        with suppress(BrokenPipeError):  # it has just died, which its own event says next
            worker.process.stdin.write(json.dumps(job).encode() + b"\n")
            worker.process.stdin.flush()
        self.listener.started(stage)

    def input_folder(self, stage_id: str) -> Path:
        """What a dependent stage reads of an artifact."""
        folder, traits = self.store.folder(stage_id), self.plan.stages[stage_id].settings.traits
        return folder / "model" if traits.output == "model" else folder

    def _on_message(self, worker: Worker, message: dict[str, Any], processes: list[Worker]) -> bool:
        """Takes in one message. Returns whether it ended a stage."""
        stage, event = worker.stage, message["event"]
        if stage is None:
            if event == "died":  # while it was idle
                processes.remove(worker)
                worker.process.wait()
            return False
        if event == "progress":
            self.listener.progressed(stage, message["step"], message["steps"], message["loss"])
            return False
        worker.stage = None
        if event == "done":
            self.listener.finished(stage)
            if stage.settings.traits.informs:
                self._refuse_nothing_to_find()
                self._warn()
        elif event == "refused":
            raise UserError(f"{stage.label}: {message['message']}")
        else:
            self._fail(worker, stage, message, processes)
        return True

    def _warn(self) -> None:
        """Tells what will come of stages while they are not paid for yet."""
        for about, warning in warnings(self.plan, self.store).items():
            if about not in self.warned:
                self.warned.add(about)
                self.listener.noted(warning)

    def _fail(self, worker: Worker, stage: Stage, message: dict[str, Any], processes: list[Worker]) -> None:
        text = message.get("message")
        if message["event"] == "died":
            processes.remove(worker)
            text = f"its process ended with code {worker.process.wait()} (out of memory?); see worker.log"
        if "trace" in message:
            trace = self.store.folder(stage.id) / "error.txt"
            trace.write_text(message["trace"])
            text = f"{text} (a defect of ours; the traceback is in artifacts/{stage.id}/error.txt)"
        self.failures[stage.id] = str(text)
        self.listener.failed(stage, str(text))


def _order(plan: Plan) -> dict[str, tuple[int, float]]:
    """Sort keys of the stages: seed by seed, so that whole replications finish early; within one, longest chains first.

    The length of a chain is its estimated FLOPs from a stage to the end of what needs it. What informs comes first.
    """
    after: dict[str, float] = dict.fromkeys(plan.stages, 0.0)
    for stage in reversed(plan.stages.values()):
        for needed in stage.inputs.values():
            after[needed] = max(after[needed], after[stage.id] + stage.flops)
    turns: dict[str, int] = {}
    for id, stage in plan.stages.items():
        inherited = max((turns[needed] for needed in stage.inputs.values()), default=0)
        seed = stage.settings.replication()
        turns[id] = inherited if seed is None else plan.recipe.seeds.index(seed)
    chains = {
        id: -math.inf if stage.settings.traits.informs else -after[id] - stage.flops
        for id, stage in plan.stages.items()
    }
    return {id: (turns[id], chains[id]) for id in plan.stages}
