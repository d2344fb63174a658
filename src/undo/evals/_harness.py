"""Tasks of the LM Evaluation Harness (the package lm-eval): found by name, and asked of a model in memory.

As a program (`python -m undo.evals._harness '[["wmdp_bio"], null]'`) it only looks whether tasks and items are there.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import math
import random
import sys
from contextlib import chdir, nullcontext
from functools import lru_cache
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

from undo.spec.errors import UserError

PACKAGES = ("lm_eval", "accelerate")
"""What models in memory are asked through; lm-eval leaves the second to an extra of its own."""
SEEDS = {"random": 0, "numpy": 1234, "few_shot": 1234}
"""Those of lm-eval's own command, so that the same items are drawn as examples."""
RESAMPLES = 1000
"""Bootstrap draws behind a standard error that has no formula (means have one)."""
Tasks = dict[str, Any]
"""What lm-eval calls a task dictionary: `tasks` and `groups` by name, and the members of each group."""


def harness_version() -> str:
    """The installed version of lm-eval. Raises UserError that names the command to install it."""
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise UserError(f"benchmarks need the package '{missing[0]}'; install it: pip install 'undo-llm[audit]'")
    return version("lm_eval")


def load_tasks(names: list[str], folder: Path | None) -> Tasks:
    """The tasks or groups of these names, with their items; those of the folder stand before lm-eval's own.

    Paths in the folder's tasks are relative to the folder. Raises UserError for a name that nobody knows (with the
    nearest), and for items that are not on this machine, or not in the folder.
    """
    folder = folder and folder.resolve()
    manager, loaded = _manager_for(names, folder), {"tasks": {}, "groups": {}, "group_map": {}}
    with chdir(folder) if folder else nullcontext():
        for name in names:
            for part, found in _load(manager, name).items():
                loaded[part] |= found
    for task in loaded["tasks"].values():
        _prepare(task)
        if folder:
            _check_inside(folder, task.config.task, (task.config.dataset_kwargs or {}).get("data_files"))
    return loaded


def ask(model: Any, tokenizer: Any, tasks: Tasks, limit: int | None, batch_rows: int) -> dict[str, Any]:
    """What lm-eval finds out about a model: `results`, `samples` and so on, as its documentation says; and `n-cut`.

    limit: the first so many items of each task, None for all; batch_rows: rows per forward pass.
    The tokenizer may be given a padding token.
    """
    from lm_eval import evaluator
    from lm_eval.models import huggingface

    build: Any = huggingface.HFLM  # its decorator hides its parameters
    asked = build(pretrained=model, tokenizer=tokenizer, batch_size=batch_rows, backend="causal")
    found: Any = evaluator.evaluate(asked, tasks, limit=limit, bootstrap_iters=RESAMPLES)  # type: ignore[arg-type]
    return found | {
        "n-cut": {name: _count_cut(asked, tasks["tasks"][name], of) for name, of in found["samples"].items()}
    }


def _count_cut(asked: Any, task: Any, samples: list[dict[str, Any]]) -> int:
    """Items that do not fit into the model's context: lm-eval drops their beginning, and says so in a log."""
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return 0  # whole texts are read in pieces
    longest = {sample["doc_id"]: max(map(_text, sample["arguments"]), key=len) for sample in samples}
    return sum(len(asked.tok_encode(text)) > asked.max_length + 1 for text in longest.values())


def _text(request: tuple[Any, ...]) -> str:
    """What a model reads: a context and its continuation, or a context and settings."""
    return "".join(part for part in request if isinstance(part, str))


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per task and metric: `task, metric, value, stderr, n_items, n_shot, task_version`, and more.

    `part_of` names the group of which a task or group is a part, None where it stands for itself; `n_cut` counts the
    items that were longer than the model's context.
    """
    groups = {child: group for group in found.get("groups", {}) for child in found["group_subtasks"][group]}
    return [
        {
            "task": task,
            "metric": name if kind == "none" else f"{name},{kind}",
            "value": float(value) if math.isfinite(value) else None,
            "stderr": _number(metrics.get(f"{name}_stderr,{kind}")),
            "higher_is_better": found["higher_is_better"].get(task, {}).get(name),
            "n_items": metrics["sample_len"],
            "n_cut": _sum_of_parts(task, found["n-cut"], found["group_subtasks"]),
            "n_shot": found["n-shot"].get(task),
            "task_version": found["versions"].get(task),
            "part_of": groups.get(task),
            "harness": f"lm-eval {harness_version()}",
        }
        for task, metrics in found["results"].items()
        for (name, comma, kind), value in ((key.partition(","), value) for key, value in metrics.items())
        if comma and not name.endswith("_stderr") and isinstance(value, Real)
    ]


def _sum_of_parts(task: str, counts: dict[str, int], parts: dict[str, list[str]]) -> int:
    return counts[task] if task in counts else sum(_sum_of_parts(part, counts, parts) for part in parts[task])


def _number(value: Any) -> float | None:
    """lm-eval writes N/A where there is no standard error."""
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def _manager_for(names: list[str], folder: Path | None) -> Any:
    """lm-eval's own thousands of tasks take seconds to list: only where the folder is not enough."""
    harness_version()
    if folder:
        local = _manager(folder, False)
        if all(_complete(name, local) for name in names):
            return local
    return _manager(folder, True)


@lru_cache(maxsize=4)
def _manager(folder: Path | None, own_tasks: bool) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(folder) if folder else None, include_defaults=own_tasks)


def _complete(name: str, manager: Any) -> bool:
    """Whether a manager knows a name, and of a group all members."""
    entry = manager.task_index.get(name)
    if entry is None or name not in manager.all_groups:
        return entry is not None
    members = [member if isinstance(member, str) else member.get("task") for member in entry.cfg["task"]]
    return all(_complete(member, manager) for member in members)


def _load(manager: Any, name: str) -> Tasks:
    if name not in manager.task_index:
        near = difflib.get_close_matches(name, manager.all_tasks, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "lm-eval ls tasks shows them all"
        raise UserError(f"no benchmark '{name}'; {hint}")
    random.seed(SEEDS["random"])
    _seed_numpy(SEEDS["numpy"])
    try:
        return manager.load([name])
    except Exception as error:  # tasks may bring code of their own, so anything can go wrong
        reason = " ".join(str(error).split()) or type(error).__name__
        absent = isinstance(error, ConnectionError) or "cache" in reason
        fetch = "; studies download nothing: run the same command once with HF_HUB_OFFLINE=0 before it"
        raise UserError(f"cannot read the items of benchmark '{name}': {reason[:300]}{fetch * absent}") from error


def _seed_numpy(seed: int) -> None:
    import numpy as np

    np.random.seed(seed)


def _prepare(task: Any) -> None:
    """What lm-eval's command sets before it asks. Raises UserError for what is no business of a language model."""
    name = task.config.task
    if getattr(task, "UNSAFE_CODE", False):
        raise UserError(f"benchmark '{name}' runs code that the model writes; ask it with lm-eval itself, in a sandbox")
    if getattr(task, "MULTIMODAL", False):
        raise UserError(f"benchmark '{name}' asks about more than text; leave it out")
    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=SEEDS["few_shot"])


def _check_inside(folder: Path, name: str, files: Any) -> None:
    """A study knows a folder by its content; items that lie elsewhere could change unseen."""
    if isinstance(files, dict | list):
        for each in files.values() if isinstance(files, dict) else files:
            _check_inside(folder, name, each)
    elif files and not (folder / files).resolve().is_relative_to(folder):
        raise UserError(f"benchmark '{name}' reads '{files}' from outside its folder; put it beside the task")


def main(arguments: list[str]) -> int:
    """Looks whether tasks can be asked; where not, the reason is the last line on stdout, and the exit code 2."""
    names, folder = json.loads(arguments[0])
    try:
        load_tasks(names, folder and Path(folder))
    except UserError as error:
        print(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
