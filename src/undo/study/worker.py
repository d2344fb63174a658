"""A worker process: takes stages as JSON lines on stdin, runs them, tells its progress as JSON lines on stdout.

It lives as long as its parent: when stdin ends, it ends, and what it was doing goes on from the last checkpoint.
"""

import errno
import json
import os
import queue
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

PROGRESS_S = 0.2  # seconds between progress lines: smooth to watch, free to send


def main() -> None:
    """Serves stages until stdin ends."""
    speak = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the log and not between our lines
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # as many as study/resources.py says
    while True:
        job = jobs.get()
        _say(speak, **_run(job, speak))


def _listen(jobs: queue.Queue) -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)


def _say(speak: TextIO, **message: Any) -> None:
    speak.write(json.dumps(message) + "\n")
    speak.flush()


def _run(job: dict[str, Any], speak: TextIO) -> dict[str, Any]:
    from undo.spec.errors import TrainingDiverged, UserError

    try:
        execute(job, _progress(speak))
        return {"event": "done"}
    except TrainingDiverged as error:
        return {"event": "failed", "message": str(error)}
    except UserError as error:
        return {"event": "refused", "message": str(error)}
    except Exception as error:
        if _disk_is_full(error):
            return {"event": "refused", "message": "the disk is full; free some space and run the same command again"}
        return _defect(error)


def _disk_is_full(error: Exception) -> bool:
    """Python says it by number, safetensors in words."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


def _defect(error: Exception) -> dict[str, Any]:
    return {"event": "failed", "message": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def _progress(speak: TextIO):
    last = 0.0

    def notify(step: int, steps: int, loss: float | None) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_S:
            last = time.monotonic()
            _say(speak, event="progress", step=step, steps=steps, loss=loss)

    return notify


def execute(job: dict[str, Any], notify) -> None:
    """Runs one stage in its folder and completes the artifact."""
    from undo import stages
    from undo.study.artifacts import complete

    wall, cpu = time.perf_counter(), time.process_time()
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {role: Path(path) for role, path in job["input_folders"].items()}
    context = stages.Context(folder, inputs, notify, job["checkpoint_seconds"])
    outcome = stages.run(job["kind"], job["settings"], context)
    context.checkpoints().clear()
    ledger = outcome.ledger.as_row() if outcome.ledger else {}
    ledger["stage_wall_s"] = round(time.perf_counter() - wall, 3)
    steps_s = ledger.get("cpu_s", 0.0)  # an interrupted stage's steps count, whichever run did them
    ledger["stage_cpu_s"] = max(steps_s, round(time.process_time() - cpu, 3))
    stage = {name: job[name] for name in ("id", "kind", "label", "settings", "inputs", "version")}
    complete(folder, stage | {"ledger": ledger, "device": device_name()}, outcome.evals, outcome.metrics)


def device_name() -> str:
    """The device that computes, in words."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
