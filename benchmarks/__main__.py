"""`python -m benchmarks`: every comparison, or with --quick those that fit into 50 seconds."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from importlib.util import find_spec

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
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"  # as a worker of a study, and for its helpers' processes too
    torch.set_num_threads(1)
    machine = describe()
    if not asked.json:
        print(f"{machine}\n\n| what | beside | ours | theirs | ratio | target |\n|---|---|---|---|---|---|")
    for group in (asked.only,) if asked.only else GROUPS:
        for row in importlib.import_module(f"benchmarks.{group}").rows(asked.quick):
            cells = (row.name, row.peer, row.ours, row.theirs, f"{row.ratio:.2f}", f"{row.target:g}")
            print(json.dumps(row.as_json(machine)) if asked.json else f"| {' | '.join(cells)} |", flush=True)
    for peer, package in (("trl", "trl"), ("liger", "liger_kernel")):
        if find_spec(package) is None:
            print(f"no rows beside {peer}: pip install -c constraints.txt -e '.[bench]'", file=sys.stderr)


def describe() -> str:
    """The machine in words: cores, processor or GPU, versions."""
    found = describe_environment(device_name())
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items() if version)
    machine = f"{found['cores']} cores of {found['processor']}, one thread, {found['device']}"
    return f"{machine}; Python {found['python']}, {packages}"


if __name__ == "__main__":
    main()
