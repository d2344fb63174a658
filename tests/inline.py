"""A worker in a thread of this process: what a process of its own takes five seconds to import is here already."""

import json
import queue
import subprocess
import threading
from types import SimpleNamespace

from undo.study import worker

ONE_AT_A_TIME = threading.Lock()
"""Loading a model is not thread-safe in transformers."""


class InlineWorker:
    """Looks like the process of a worker: jobs go into `stdin`, what it says comes out of `stdout`."""

    def __init__(self, *_: object, **__: object) -> None:
        self.jobs: queue.Queue = queue.Queue()
        self.said: queue.Queue = queue.Queue()
        self.stdin, self.stdout = self, iter(self.said.get, None)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        speak = SimpleNamespace(write=self.said.put, flush=lambda: None)
        for job in iter(self.jobs.get, None):
            with ONE_AT_A_TIME:
                worker._say(speak, **worker._run(job, speak))  # type: ignore[arg-type]

    def write(self, line: bytes) -> None:
        """Takes a job."""
        self.jobs.put(json.loads(line))

    def flush(self) -> None:
        """Nothing waits."""

    def kill(self) -> None:
        """Ends it after the job it is on."""
        self.jobs.put(None)
        self.said.put(None)

    def wait(self) -> int:
        """It has ended well."""
        return 0


INLINE = SimpleNamespace(Popen=InlineWorker, PIPE=subprocess.PIPE)
"""What stands in place of the module `subprocess` where workers are started."""
