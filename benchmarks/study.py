"""(d) A whole study beside pretraining its base, in CPU seconds of all processes."""

from __future__ import annotations

import json
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Row
from undo.study import child

TARGETS = {"smoke": 0.0, "quickstart": 0.2}  # smoke trains for seconds: its ratio is that of starting Python, not ours


def rows(quick: bool) -> Iterator[Row]:
    """Base pretraining's share of a study's CPU seconds: a fifth is five times the base."""
    for recipe in () if quick else ("smoke", "quickstart"):
        with tempfile.TemporaryDirectory() as folder:
            before = _children_s()
            study = child.command("undo", "run", recipe, "--out", folder)
            subprocess.run(study, env=child.environment({}), check=True, capture_output=True)
            whole = _children_s() - before
            results = json.loads(next(Path(folder).glob("*/report/results.json")).read_text())
        base = results["totals"]["base_pretraining_s"]
        detail = {"study_over_base": round(whole / base, 2), "by_kind_s": _by_kind(results)}
        name = f"whole {recipe} study, CPU seconds"
        yield Row(
            name, "its base's pretraining", base / whole, TARGETS[recipe], f"{whole:.0f} s", f"{base:.0f} s", detail
        )


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _by_kind(results: dict) -> dict[str, float]:
    kinds: dict[str, float] = {}
    for stage in results["stages"]:
        kinds[stage["kind"]] = kinds.get(stage["kind"], 0.0) + stage["ledger"]["stage_cpu_s"]
    return {kind: round(seconds, 1) for kind, seconds in sorted(kinds.items())}
