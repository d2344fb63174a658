"""`python -m benchmarks`: every comparison, or with --quick those that fit into 50 seconds."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from undo.study.environment import describe_environment
from undo.study.worker import device_name

GROUPS = ("distil", "evaluation", "attacks", "study", "gpu")


def main() -> None:
    """Prints the rows as they come, as a table or as JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds: fewer shapes, peers and rounds")
    parser.add_argument("--json", action="store_true", help="one JSON object a line: name, peer, ratio, target, ...")
    parser.add_argument("--only", choices=GROUPS, help="one group of comparisons")
    parser.add_argument("--show", type=Path, help="run nothing; print the table of these JSON lines")
    asked = parser.parse_args()
    if asked.show:
        return print("\n".join(table([json.loads(line) for line in asked.show.read_text().splitlines()])))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"  # as a worker of a study, and for its helpers' processes too
    torch.set_num_threads(1)
    machine = describe()
    if not asked.json:
        print("\n".join([machine, "", *HEAD]))
    for group in (asked.only,) if asked.only else GROUPS:
        for row in importlib.import_module(f"benchmarks.{group}").rows(asked.quick):
            line = row.as_json(machine)
            print(json.dumps(line) if asked.json else table_line(line), flush=True)
    for peer, package in (("trl", "trl"), ("liger", "liger_kernel")):
        if find_spec(package) is None:
            print(f"no rows beside {peer}: pip install -c constraints.txt -e '.[bench]'", file=sys.stderr)


HEAD = ("| what | beside | ours | theirs | ratio | target |", "|---|---|---|---|---|---|")


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown lines."""
    return [*HEAD, *map(table_line, rows)]


def table_line(row: dict[str, Any]) -> str:
    """A row as Markdown; a ratio below its target is marked."""
    ratio = f"{row['ratio']:.2f}" if row["met"] else f"{row['ratio']:.2f} (missed)"
    target = f"{row['target']:g}" if row["target"] else "-"
    return f"| {' | '.join((row['name'], row['peer'], row['ours'], row['theirs'], ratio, target))} |"


def describe() -> str:
    """The machine in words: cores, processor or GPU, versions."""
    found = describe_environment(device_name())
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items() if version)
    machine = f"{found['cores']} cores of {found['processor']}, one thread, {found['device']}"
    return f"{machine}; Python {found['python']}, {packages}"


if __name__ == "__main__":
    main()
